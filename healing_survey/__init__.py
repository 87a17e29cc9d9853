"""The project: settings, URLs, and the Celery application that `shared_task` binds to."""

from healing_survey.celery import app as celery_app

__all__ = ["celery_app"]
