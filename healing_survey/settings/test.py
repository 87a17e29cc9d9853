"""For the test suite: as embedded, but quick passwords and static files straight from their folders."""

import os
import tempfile

# Before NumPy is loaded. Small matrices gain nothing from threads, and those of two test processes wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("VAR_DIR", tempfile.mkdtemp(prefix="healing-survey-test-"))

from healing_survey.settings.base import *  # noqa: F403  both have to be set first
from healing_survey.settings.base import DATABASES, VAR_DIR
from studies.identifier_keys import new_key

SECRET_KEY = "only-for-tests"
IDENTIFIER_KEYS = new_key().line()
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, not memory: live servers and worker processes open it too.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
