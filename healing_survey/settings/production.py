"""Behind TLS, with PostgreSQL and Redis: every secret and address comes from the environment."""

from healing_survey import env
from healing_survey.settings.base import *  # noqa: F403  an overlay takes everything

SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
env.text("ALLOWED_HOSTS")
env.text("DATABASE_URL")
env.text("CELERY_BROKER_URL")
BASE_URL = env.text("BASE_URL")

SECOND_FACTOR_REQUIRED = env.flag("SECOND_FACTOR_REQUIRED", default=True)
KNOWN_BROWSER_COOKIE = "__Host-known_browser"
DEVICE_COOKIE = "__Host-tablet_device"

SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("BEHIND_PROXY", default=False) else None
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-sessionid"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrftoken"
LANGUAGE_COOKIE_SECURE = True
