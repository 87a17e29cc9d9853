"""Scoring a whole study again, database included: reading answers, the vectorised rules, writing scores.

    python bench/rescore_study.py [--dyads 20000]

A throwaway SQLite database with synthetic dyads on the full form. Prints one JSON line per figure.
"""

import argparse
import json
import os
import tempfile
import time
from io import StringIO
from pathlib import Path

import django

FOLDER = tempfile.TemporaryDirectory(prefix="healing-survey-bench-")
os.environ |= {"DJANGO_SETTINGS_MODULE": "healing_survey.settings.embedded", "VAR_DIR": FOLDER.name}
django.setup()

import numpy as np
from django.core.management import call_command
from django.utils import timezone

from analysis.psychometrics.simulation import SimulationDesign, simulate_dyads
from healing_survey.demo_study import ABSENCE_OF_CODE, simulation_structure
from instruments.definitions import Role
from instruments.models import Administration, hash_token
from instruments.services import study_instrument_version
from scoring.services import request_scoring, rescore_study
from studies.models import Clinician, Dyad, Patient, Site, Study, Visit, Wave


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dyads", type=int, default=20_000)
    n_dyads: int = parser.parse_args().dyads
    seconds, size = measure(n_dyads)
    FOLDER.cleanup()
    figures = [
        ("seconds", round(seconds, 2), "s"),
        ("dyads_per_second", round(n_dyads / seconds), "dyads/s"),
        ("database_size", round(size / 1e6), "MB"),
    ]
    for figure, value, unit in figures:
        line = {"benchmark": "rescore_study", "figure": figure, "value": value, "unit": unit, "n": n_dyads, "items": 50}
        print(json.dumps(line), flush=True)


def measure(n_dyads: int) -> tuple[float, int]:
    """Seconds of one re-scoring, and the bytes of the database after it."""
    call_command("migrate", verbosity=0)
    call_command("load_instruments", stdout=StringIO())
    study = made_study(n_dyads)
    rescore_study(study=study, clock=timezone.now)  # the first scoring inserts; what is measured replaces
    start = time.perf_counter()
    n_scored = rescore_study(study=study, clock=timezone.now)
    seconds = time.perf_counter() - start
    assert n_scored == n_dyads, n_scored
    return seconds, sum(file.stat().st_size for file in Path(FOLDER.name).glob("healing_survey.sqlite3*"))


def made_study(n_dyads: int) -> Study:
    """Synthetic dyads, written in bulk without their answer logs, which re-scoring does not read."""
    now = timezone.now()
    study = Study.objects.create(code="BENCH", title="Benchmark", is_synthetic=True)
    site = Site.objects.create(study=study, code="S", name="S")
    clinician = Clinician.objects.create(site=site, code="C")
    wave = Wave.objects.create(study=study, code="baseline", label="Baseline")
    version = study_instrument_version(study)
    design = SimulationDesign(
        n_sites=1, n_clinicians=1, n_dyads=n_dyads, clinician_form_missing_share=0, patient_unfinished_share=0
    )
    structure = simulation_structure(version.instrument, "full")
    made = simulate_dyads(structure, design, np.random.default_rng(1))
    patients = Patient.objects.bulk_create((Patient(site=site, code=f"P{n}") for n in range(n_dyads)), batch_size=5000)
    dyads = Dyad.objects.bulk_create(
        (Dyad(study=study, clinician=clinician, patient=patient, code=patient.code) for patient in patients),
        batch_size=5000,
    )
    visits = Visit.objects.bulk_create(
        (Visit(dyad=dyad, wave=wave, form="full", visit_date=now.date()) for dyad in dyads), batch_size=5000
    )
    items = {Role.PATIENT: made.patient_items, Role.CLINICIAN: made.clinician_items}
    absences = {code: reason.value for code, reason in ABSENCE_OF_CODE.items()}
    Administration.objects.bulk_create(
        (
            Administration(
                visit=visit,
                role=role,
                instrument_version=version,
                form="full",
                language="en",
                status="completed",
                token_hash=hash_token(f"{role} {row}"),
                expires_at=now,
                started_at=now,
                completed_at=now,
                answers={
                    code: value if value > 0 else absences.get(value, "NOT_REACHED")
                    for code, value in zip(structure.item_codes, items[role][row].tolist(), strict=True)
                }
                | {"rel_years": 40},
            )
            for row, visit in enumerate(visits)
            for role in Role
        ),
        batch_size=2000,
    )
    request_scoring(visit_ids=[visit.pk for visit in visits], now=now)
    return study


if __name__ == "__main__":
    main()
