#!/usr/bin/env python
"""Run a management command. Outside the project's environment (.venv) it goes on inside it."""

import os
import sys
from pathlib import Path


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healing_survey.settings.embedded")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError:
        python = Path(__file__).resolve().parent / ".venv" / "bin" / "python"
        if not python.exists() or Path(sys.prefix) == python.parents[1]:
            sys.exit("Django is not installed here. `make env` sets up the project's environment in .venv.")
        os.execv(python, [str(python), *sys.argv])
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
