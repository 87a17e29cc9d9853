"""One machine, one command: SQLite and the file-system broker in `var/`, a secret key made on first use."""

import json
import os
import secrets

from healing_survey import env
from healing_survey.settings.base import *  # noqa: F403  an overlay takes everything
from healing_survey.settings.base import BASE_URL, VAR_DIR


def _kept_secret() -> str:
    """The secret of this installation, made once; written whole under another name so that two starts agree."""
    path = VAR_DIR / "secret_key"
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        draft = VAR_DIR / f"secret_key.{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()


def _address_of_the_demonstration() -> str | None:
    """Where `make demo` serves this folder's installation, so that commands print links that work."""
    try:
        address: str = json.loads((VAR_DIR / "demo.json").read_text(encoding="utf-8"))["base_url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address


SECRET_KEY = env.text("SECRET_KEY", default="") or _kept_secret()
if not (os.environ.get("BASE_URL") or os.environ.get("PORT")):
    BASE_URL = _address_of_the_demonstration() or BASE_URL
