"""Processes that write the audit trail at once: each adds sites, one transaction for a site and its line.

Run as a program it is one such writer: `python -m tests.audit_writers STUDY NAME N MODE`. MODE `unlocked` takes the end
of the trail without waiting for whoever holds it, as a control.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def start_writer(
    environment: dict[str, str], *, study: str, name: str, n: int, mode: str = "locked"
) -> "subprocess.Popen[bytes]":
    """One writer as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.audit_writers", study, name, str(n), mode],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def write(study_code: str, name: str, n: int, mode: str) -> None:
    """Add n sites; a writer that meets the others' lines where its own should be tries again in unlocked mode."""
    import django

    django.setup()
    from django.db import IntegrityError
    from django.db.models import QuerySet
    from django.utils import timezone

    from studies.models import Site, Study
    from studies.setup import add_part

    if mode == "unlocked":
        QuerySet.select_for_update = lambda self, *args, **kwargs: self  # type: ignore[method-assign, assignment]
    study = Study.objects.get(code=study_code)
    for number in range(n):
        try:
            add_part(
                study=study,
                part=Site(study=study, code=f"{name}-{number}", name="x"),
                actor=None,  # type: ignore[arg-type]
                now=timezone.now(),
            )
        except IntegrityError:
            if mode == "locked":
                raise


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
