"""Gunicorn's settings, on one machine and in a container. Reads HOST, PORT, WEB_WORKERS and WEB_THREADS."""

import os
from typing import Any

from django.urls import get_resolver

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
# Loaded once, then forked: a start costs one import instead of one a worker, and a killed worker is back at once.
preload_app = True
timeout = 60
graceful_timeout = 8
keepalive = 5
# No access log: the path of a patient's request holds the secret that opens the questionnaire.
accesslog = None
errorlog = "-"
# Nobody steers this server through gunicorn's control socket; without it nothing is written to the home folder.
control_socket_disable = True
# The heartbeat file of a worker belongs in memory where there is such a place: a slow disk must not look like a hang.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None


def when_ready(server: Any) -> None:
    """Loads every page before the workers are forked: otherwise the first visitor would wait while each does it."""
    _ = get_resolver().url_patterns
