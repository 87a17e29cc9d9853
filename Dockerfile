# Two stages: the first installs the locked dependencies and collects the static files, the second only runs.
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/healing
RUN python -m venv .venv
COPY requirements-bootstrap.lock requirements.lock ./
RUN .venv/bin/pip install --no-cache-dir --require-hashes -r requirements-bootstrap.lock \
    && .venv/bin/uv pip sync --no-cache --python .venv/bin/python --compile-bytecode --require-hashes requirements.lock
COPY . .
# The key below is never used to serve anything: collecting static files only has to load the settings.
RUN SECRET_KEY=only-to-collect-static-files DJANGO_SETTINGS_MODULE=healing_survey.settings.embedded \
    .venv/bin/python manage.py collectstatic --no-input

FROM python:3.11.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent healing
WORKDIR /srv/healing
COPY --from=build /srv/healing /srv/healing
# The container's file system may be read-only; what libraries cache goes to /tmp.
ENV PATH=/srv/healing/.venv/bin:$PATH \
    DJANGO_SETTINGS_MODULE=healing_survey.settings.production \
    VAR_DIR=/srv/healing/var \
    MPLCONFIGDIR=/tmp \
    HOST=0.0.0.0 \
    PORT=8000 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
CMD ["gunicorn", "--config", "deploy/gunicorn.conf.py", "healing_survey.wsgi:application"]
