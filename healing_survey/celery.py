"""The Celery application: `celery -A healing_survey worker` and `celery -A healing_survey beat`."""

import os

from celery import Celery

from healing_survey import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healing_survey.settings.embedded")

app = Celery("healing_survey")
app.config_from_object("django.conf:settings", namespace="CELERY")
# The statistics libraries take seconds to load: a process that only scores, or only beats, says so and starts at once.
app.autodiscover_tasks([*env.words("TASK_PACKAGES", default="scoring,analysis"), "studies", "instruments"])
