"""One machine, one command: SQLite and the file-system broker in `var/`, a secret key made on first use."""

import secrets

from healing_survey import env
from healing_survey.settings.base import *  # noqa: F403  an overlay takes everything
from healing_survey.settings.base import VAR_DIR


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


SECRET_KEY = env.text("SECRET_KEY", default="") or _kept_secret()
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
