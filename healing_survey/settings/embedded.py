"""One machine, one command: SQLite and the file-system broker in `var/`, a secret key made on first use."""

import json
import os
import secrets
from pathlib import Path

from healing_survey import env
from healing_survey.settings.base import *  # noqa: F403  an overlay takes everything
from healing_survey.settings.base import BASE_URL, IDENTIFIER_KEY_FILE, IDENTIFIER_KEYS, VAR_DIR
from studies.identifier_keys import new_key


def _kept_secret(name: str, fresh: str) -> Path:
    """The file of a secret of this installation, made once; written whole elsewhere first, so that two starts agree."""
    path = VAR_DIR / name
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        draft = VAR_DIR / f"{name}.{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(fresh)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path


def _address_of_the_demonstration() -> str | None:
    """Where `make demo` serves this folder's installation, so that commands print links that work."""
    try:
        address: str = json.loads((VAR_DIR / "demo.json").read_text(encoding="utf-8"))["base_url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address


SECRET_KEY = env.text("SECRET_KEY", default="") or _kept_secret("secret_key", secrets.token_urlsafe(50)).read_text()
if not IDENTIFIER_KEYS and IDENTIFIER_KEY_FILE is None:
    IDENTIFIER_KEY_FILE = _kept_secret("identifier-keys", new_key().line() + "\n")
if not (os.environ.get("BASE_URL") or os.environ.get("PORT")):
    BASE_URL = _address_of_the_demonstration() or BASE_URL
