"""Settings shared by every way of running. The overlays beside this file differ in a handful of lines."""

from pathlib import Path

import dj_database_url
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from kombu import Queue

from healing_survey import env

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = Path(env.text("VAR_DIR", default=str(BASE_DIR / "var"))).resolve()

DEBUG = False
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", default="127.0.0.1,localhost")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
#: Where people reach this server; commands that print links have no request to take it from.
BASE_URL = env.text("BASE_URL", default=f"http://127.0.0.1:{env.whole_number('PORT', default=8000, minimum=1)}")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "crispy_forms",
    "crispy_bootstrap5",
    "studies",
    "instruments",
    "scoring",
    "analysis",
    "healing_survey",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "healing_survey.logs.log_requests",
    # Around all the others, so that what they refuse is guarded as well.
    "healing_survey.middleware.guard_pages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "healing_survey.middleware.refuse_nul",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "healing_survey.middleware.record_refusals",
    "studies.sessions.GuardSessions",
    "healing_survey.policy.EnforcePolicy",
]

ROOT_URLCONF = "healing_survey.urls"
WSGI_APPLICATION = "healing_survey.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "healing_survey.attention.attention",
            ],
        },
    },
]

# SQLite: WAL lets readers and the one writer work side by side; IMMEDIATE takes the write lock when a transaction
# begins, so that none fails half-way with "database is locked"; FULL syncs every commit to the disk.
_SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
}

DATABASES = {
    "default": dj_database_url.parse(
        env.text("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'healing_survey.sqlite3'}"),
        conn_max_age=600,
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = _SQLITE_OPTIONS
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"]["ENGINE"] = "healing_survey.postgresql"
    # Statements that come again are prepared once per connection: planning the questionnaire's join costs more than
    # running it.
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 2}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.text("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# An import is read in memory, line by line checked, all or nothing; this bounds what one request may bring.
MAXIMUM_IMPORT_BYTES = env.whole_number("MAXIMUM_IMPORT_BYTES", default=50 * 1024 * 1024, minimum=1)
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500
FILE_UPLOAD_HANDLERS = [
    "healing_survey.uploads.BoundedUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"

SESSION_COOKIE_HTTPONLY = True
#: A sign-in ends after this long without use, and after this long in any case.
SESSION_IDLE_SECONDS = env.whole_number("SESSION_IDLE_SECONDS", default=30 * 60, minimum=60)
SESSION_ABSOLUTE_SECONDS = env.whole_number("SESSION_ABSOLUTE_SECONDS", default=8 * 60 * 60, minimum=60)
SESSION_COOKIE_AGE = SESSION_ABSOLUTE_SECONDS
#: Whether admins, researchers and superusers need a second factor. Whoever has set one up is asked for it in any case.
SECOND_FACTOR_REQUIRED = env.flag("SECOND_FACTOR_REQUIRED", default=False)
KNOWN_BROWSER_COOKIE = "known_browser"
#: Makes a browser one of a site's tablets.
DEVICE_COOKIE = "tablet_device"
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", default="healing-survey@localhost")
EMAIL_BACKEND = env.text("EMAIL_BACKEND", default="django.core.mail.backends.console.EmailBackend")
EMAIL_HOST = env.text("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.whole_number("EMAIL_PORT", default=25, minimum=1)
EMAIL_HOST_USER = env.text("EMAIL_USER", default="")
EMAIL_HOST_PASSWORD = env.text("EMAIL_PASSWORD", default="")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", default=False)
EMAIL_TIMEOUT = 15
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# Celery. The database row is the queue (see studies/leases.py); a message is a nudge that any broker may lose.
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", default="filesystem://localhost/")
if CELERY_BROKER_URL.startswith("filesystem:"):
    _BROKER_DIR = VAR_DIR / "broker"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_BROKER_DIR / "messages"),
        "data_folder_out": str(_BROKER_DIR / "messages"),
        "control_folder": str(_BROKER_DIR / "control"),
        "polling_interval": 0.2,
    }
    for _folder in (_BROKER_DIR / "messages", _BROKER_DIR / "control"):
        _folder.mkdir(parents=True, exist_ok=True)
else:
    # A message of a killed worker comes back after this many seconds; the lease rows keep that harmless.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 600,
        "unacked_restore_throttle": 1,
        "unacked_restore_interval": 2,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# A page must not wait for a broker that is away: the sweep sends the work again.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}
CELERY_TASK_QUEUES = (Queue("scoring"), Queue("analysis"))
CELERY_TASK_DEFAULT_QUEUE = "scoring"
CELERY_TASK_ROUTES = {"analysis.tasks.*": {"queue": "analysis"}}
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "send scoring that is due": {"task": "scoring.tasks.sweep_scoring", "schedule": 3.0, "options": {"expires": 3}},
    "send analyses that are due": {
        "task": "analysis.tasks.sweep_analysis",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "count again what has changed": {
        "task": "studies.tasks.refresh_tallies",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "send sign-in links that were asked for": {
        "task": "studies.tasks.send_sign_in_links",
        "schedule": 20.0,
        "options": {"expires": 20},
    },
    # In working hours of the installation's time zone; a mail that failed goes with the next hour's.
    "remind clinicians": {
        "task": "instruments.tasks.send_reminders",
        "schedule": crontab(minute="17", hour="7-18"),
        "options": {"expires": 3600},
    },
    "the worker for scores is alive": {
        "task": "studies.tasks.note_alive",
        "schedule": 60.0,
        "args": ("scoring worker",),
        "options": {"queue": "scoring", "expires": 60},
    },
    "the worker for analyses is alive": {
        "task": "studies.tasks.note_alive",
        "schedule": 60.0,
        "args": ("analysis worker",),
        "options": {"queue": "analysis", "expires": 60},
    },
    "delete what retention rules ask for": {
        "task": "instruments.tasks.apply_retention",
        "schedule": crontab(minute="23", hour="3"),
    },
    "note the end of the audit trail": {"task": "studies.tasks.anchor_audit", "schedule": 6 * 3600.0},
}
#: How long a claim on work is good for without a sign of life, in seconds.
SCORING_LEASE_SECONDS = env.whole_number("SCORING_LEASE_SECONDS", default=8, minimum=1)
ANALYSIS_LEASE_SECONDS = env.whole_number("ANALYSIS_LEASE_SECONDS", default=90, minimum=1)

#: Where the ends of the audit trail are noted; a copy belongs where nobody who can change the database can change it.
AUDIT_ANCHOR_FILE = Path(env.text("AUDIT_ANCHOR_FILE", default=str(VAR_DIR / "audit-anchors.jsonl")))

#: Who withdrew and who was erased, so that a restored backup forgets them again; kept like the anchors.
ERASURE_LEDGER_FILE = Path(env.text("ERASURE_LEDGER_FILE", default=str(VAR_DIR / "erasures.jsonl")))

#: The keys of patients' names and contact details: the text itself, or the file that holds it. Never in the database.
IDENTIFIER_KEYS = env.text("IDENTIFIER_KEYS", default="")
IDENTIFIER_KEY_FILE = Path(path) if (path := env.text("IDENTIFIER_KEY_FILE", default="")) else None

#: `plain` for people, `json` for a collector; and whether each request gets a line.
LOG_FORMAT = env.text("LOG_FORMAT", default="plain")
if LOG_FORMAT not in ("plain", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT must be plain or json; it is {LOG_FORMAT!r}.")
LOG_REQUESTS = env.flag("LOG_REQUESTS", default=False)
#: What Prometheus sends as its bearer token; without one /metrics/ is not there.
METRICS_TOKEN = env.text("METRICS_TOKEN", default="")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"without_links": {"()": "healing_survey.logs.WithoutLinks"}},
    "formatters": {
        "plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {"()": "healing_survey.logs.JsonLines"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["without_links"]}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # A 4xx is an answer to somebody's request, not an event of the server.
    "loggers": {"django.request": {"level": "ERROR"}},
}
