"""Sealing names and contact details under a new key, database included: open, seal, check, write.

    python bench/rotate_identifier_keys.py [--patients 100000]

A throwaway SQLite database. Prints one JSON line per figure.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict
from io import StringIO

import django

FOLDER = tempfile.TemporaryDirectory(prefix="healing-survey-bench-")
os.environ |= {"DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded", "VAR_DIR": FOLDER.name}
django.setup()

from django.core.management import call_command

from studies.identifiers import Identifiers, configured_ring, rotate, rows_by_key, sealed_row, unsealed_row
from studies.models import Patient, PatientIdentifiers, Site, Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=100_000)
    n_patients: int = parser.parse_args().patients
    seconds, failures = measure(n_patients)
    FOLDER.cleanup()
    figures = [
        ("seconds", round(seconds, 2), "s"),
        ("rows_per_second", round(n_patients / seconds), "rows/s"),
        ("failures", failures, "rows"),
    ]
    for figure, value, unit in figures:
        line = {"benchmark": "rotate_identifier_keys", "figure": figure, "value": value, "unit": unit, "n": n_patients}
        print(json.dumps(line), flush=True)


def measure(n_patients: int) -> tuple[float, int]:
    """Seconds of one rotation, and the rows that are not as they were under the new key alone."""
    call_command("migrate", verbosity=0)
    study = Study.objects.create(code="BENCH", title="Benchmark", is_synthetic=True, keeps_identifiers=True)
    site = Site.objects.create(study=study, code="S", name="S")
    patients = Patient.objects.bulk_create(
        (Patient(site=site, code=f"P{number}") for number in range(n_patients)), batch_size=5000
    )
    ring = configured_ring()
    PatientIdentifiers.objects.bulk_create(
        (sealed_row(one.pk, study.pk, known(number), ring) for number, one in enumerate(patients)), batch_size=5000
    )
    call_command("rotate_identifier_keys", make_key=True, stdout=StringIO())
    start = time.perf_counter()
    n_done, failed = rotate()
    seconds = time.perf_counter() - start
    call_command("rotate_identifier_keys", retire=True, stdout=StringIO())
    assert rows_by_key() == {configured_ring().newest.id: n_patients}, rows_by_key()
    rows = PatientIdentifiers.objects.order_by("pk").iterator(chunk_size=5000)
    n_wrong = sum(
        asdict(unsealed_row(row, configured_ring())) != asdict(known(number)) for number, row in enumerate(rows)
    )
    return seconds, n_wrong + len(failed) + n_patients - n_done


def known(number: int) -> Identifiers:
    """Somebody."""
    return Identifiers(
        name=f"Person Number {number}",
        email=f"{number}@example.org",
        phone=f"+34 600 {number:06}",
        record_number=f"R-{number:08}",
    )


if __name__ == "__main__":
    main()
