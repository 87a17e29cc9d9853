"""The Celery application: `celery -A healing_survey worker` and `celery -A healing_survey beat`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healing_survey.settings.embedded")

app = Celery("healing_survey")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
