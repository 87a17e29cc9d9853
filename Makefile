# Everything a newcomer, a test machine or a benchmark calls. `make` alone lists it.
# All paths are relative, so a folder name with spaces does no harm.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PORT ?= 8000
#: What pytest is to run, and how: make test TESTS=tests/scoring PYTEST_ARGS="-x -k gap"
TESTS ?= tests
PYTEST_ARGS ?=
WORKERS ?= 2

PY := .venv/bin/python
UV := .venv/bin/uv
LOCK = $(UV) pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11.7 $(if $(UPGRADE),--upgrade)

# uv takes seconds where pip takes minutes. Where uv can't be had (or reaches no registry: it doesn't read pip's
# configuration), pip installs the same files against the same hashes.
# $(1) = interpreter, $(2) = uv's subcommand and lock file, $(3) = lock file
define install
if ! { [ -x $(UV) ] && $(UV) pip $(2) --quiet --python $(1) --require-hashes; }; then \
	echo "uv could not install $(3); pip does it instead, which takes minutes." >&2; \
	$(1) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(3); \
fi
endef

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# --- environments; the stamps make a second run instant ---

.venv/bin/pip:
	@command -v "$(PYTHON)" >/dev/null || { echo "No $(PYTHON) found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, $(PYTHON) is {v}. Name another: make PYTHON=/path/to/python3.11")'
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: install its venv module (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Making the Python environment in .venv ..."
	@"$(PYTHON)" -m venv .venv

.venv/.uv: requirements-bootstrap.lock | .venv/bin/pip
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $< || echo "uv can't be had here; going on with pip." >&2
	@touch $@

# Only adds: run after `make test` it must not take the test tools away again.
.venv/.runtime: requirements.lock .venv/.uv
	@echo "Installing what the platform needs to run (requirements.lock) ..."
	@$(call install,$(PY),install -r $<,$<)
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.uv
	@echo "Installing what tests and checks need too (requirements-dev.lock) ..."
	@$(call install,$(PY),sync $<,$<)
	@touch $@

.venv-pure/.stamp: requirements-pure.lock .venv/.uv
	@echo "Making the environment without Django in .venv-pure ..."
	@"$(PYTHON)" -m venv .venv-pure
	@$(call install,.venv-pure/bin/python,sync $<,$<)
	@touch $@

.PHONY: env dev browser lock
env: .venv/.runtime ## the environment to run in
dev: .venv/.dev ## the environment to test in
browser: .venv/.dev ## finds or installs the browser that the journeys drive
	@$(PY) scripts/find_browser.py

lock: .venv/.uv ## makes the lock files again (UPGRADE=1: with the newest releases)
	$(LOCK) requirements-bootstrap.in -o requirements-bootstrap.lock
	$(LOCK) requirements.in -o requirements.lock
	$(LOCK) requirements-dev.in -c requirements.lock -o requirements-dev.lock
	$(LOCK) requirements-pure.in -c requirements-dev.lock -o requirements-pure.lock

# --- running ---

.PHONY: demo stop
demo: .venv/.runtime ## the whole platform with synthetic data on http://127.0.0.1:8000 (PORT=)
	@PORT="$(PORT)" exec $(PY) scripts/demo.py

stop: ## stops a demo that runs in the background
	@pid=$$(cat var/supervisord.pid 2>/dev/null || true); \
	if [ -z "$$pid" ] || ! kill "$$pid" 2>/dev/null; then echo "No demo is running from this folder."; exit 0; fi; \
	for _ in $$(seq 300); do kill -0 "$$pid" 2>/dev/null || { echo "The demo has stopped."; exit 0; }; sleep 0.1; done; \
	echo "The demo (process $$pid) is still stopping after 30 s." >&2; exit 1

# --- testing ---

.PHONY: test test-long test-services services test-pure check bench
test: browser ## the whole suite, in a real browser where there are pages
	@$(PY) -m pytest -m "not services" -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS) $(TESTS)

test-long: browser ## the large doses of the browser's fault tests, for a night (TEST_DOSE=50)
	@TEST_DOSE="$${TEST_DOSE:-50}" $(PY) -m pytest -rP $(PYTEST_ARGS) tests/journeys/test_never_lost.py \
		tests/journeys/test_tablet_comfort.py tests/journeys/test_whole_form_by_keyboard.py tests/instruments/test_absences.py

services: .venv/.dev ## makes PostgreSQL and Redis ready on this machine (installs them when root on Debian)
	@scripts/start_services.sh --install

test-services: .venv/.dev ## the parts that need PostgreSQL and Redis (DATABASE_URL, CELERY_BROKER_URL)
	@[ -n "$${DATABASE_URL:-}" ] || scripts/start_services.sh
	@export DATABASE_URL="$${DATABASE_URL:-postgres://healing:healing@127.0.0.1:5432/healing}" \
		CELERY_BROKER_URL="$${CELERY_BROKER_URL:-redis://127.0.0.1:6379/1}"; \
	$(PY) scripts/check_services.py && $(PY) -m pytest -m services $(PYTEST_ARGS) tests/services

test-pure: .venv-pure/.stamp ## rules, definitions and statistics where Django isn't installed
	@.venv-pure/bin/python -m pytest -c tests/pytest-pure.ini --rootdir . -n $(WORKERS) --dist loadscope $(PYTEST_ARGS) \
		tests/instruments/catalogue tests/scoring/test_rules*.py tests/analysis/psychometrics

check: .venv/.dev ## ruff, mypy, import contracts, migrations, deployment settings, translations
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo
	$(PY) manage.py makemigrations --check --dry-run
	env DJANGO_SETTINGS_MODULE=healing_survey.settings.production SECRET_KEY="$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(60))')" \
		ALLOWED_HOSTS=survey.example BASE_URL=https://survey.example DATABASE_URL=postgres://localhost/healing \
		CELERY_BROKER_URL=redis://localhost $(PY) manage.py check --deploy --fail-level WARNING
	$(PY) scripts/translations.py check

.PHONY: messages
messages: .venv/.dev ## compiles the translations in locale/
	@$(PY) scripts/translations.py compile

bench: .venv/.dev ## every benchmark in turn, one JSON line a figure
	@for benchmark in bench/*.py; do PYTHONPATH=. $(PY) "$$benchmark"; done
