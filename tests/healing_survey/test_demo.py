"""The demonstration study: synthetic, of the promised size, the same each time, and repeatable."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from analysis.models import AnalysisRun
from healing_survey import demo_study
from healing_survey.demo import describe_demo
from healing_survey.demo_study import make_demo_study
from instruments.definitions import Role
from instruments.models import Administration
from instruments.services import release_instrument
from scoring.models import DyadScore
from studies.models import Clinician, Dyad, Site, Study
from tests.factories import CATALOGUE_FILE, NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer dyads, where their number proves nothing."""
    monkeypatch.setattr(demo_study, "DESIGN", replace(demo_study.DESIGN, n_dyads=24))


def seed(path: Path, base_url: str = "http://127.0.0.1:8000") -> dict[str, object]:
    release_instrument(CATALOGUE_FILE, now=NOW)
    make_demo_study(clock=timezone.now)
    describe_demo(base_url=base_url, path=path, now=timezone.now())
    read: dict[str, object] = json.loads(path.read_text())
    return read


def test_the_demonstration_study(tmp_path: Path) -> None:
    """3 sites, 12 clinicians, 180 dyads and a fresh one; ceiling, skips, DNA, scored, analysed, marked synthetic."""
    demo = seed(tmp_path / "demo.json")
    study = Study.objects.get(code=demo["study"])
    assert study.is_synthetic
    assert (Site.objects.count(), Clinician.objects.count(), Dyad.objects.count()) == (3, 12, 181)
    scores = DyadScore.objects.filter(study=study)
    assert 140 < scores.filter(is_complete=True).count() <= 180
    answers = [
        value
        for form in Administration.objects.filter(status="completed", role=Role.PATIENT)
        for code, value in form.answers.items()
        if code in form.instrument.items
    ]
    given = [value for value in answers if isinstance(value, int)]
    assert 0.35 < given.count(5) / len(given) < 0.55
    assert answers.count("SKIPPED") > 50
    assert answers.count("DNA") > 100
    assert AnalysisRun.objects.get().status == "done"
    for person in demo["staff"]:  # type: ignore[attr-defined]
        assert authenticate(username=person["username"], password=person["password"]) is not None
    for role in Role:
        assert Client().get(demo["visit"][f"{role}_url"].removeprefix("http://127.0.0.1:8000")).status_code == 200  # type: ignore[index]
    assert (tmp_path / "demo.json").stat().st_mode & 0o077 == 0


def test_seeding_again_keeps_data_staff_and_the_unused_visit(small: None, tmp_path: Path) -> None:
    """A second start changes the address only; a used visit is replaced by a fresh one; a lost file is made again."""
    path = tmp_path / "demo.json"
    first = seed(path)
    again = seed(path, "http://127.0.0.1:9000")
    assert again["staff"] == first["staff"]
    assert again["visit"]["patient_url"] == first["visit"]["patient_url"].replace("8000", "9000")  # type: ignore[index]
    form = Administration.objects.with_token(first["visit"]["patient_url"].rstrip("/").rpartition("/")[2]).get()  # type: ignore[index]
    form.status = "started"
    form.save(update_fields=["status"])
    assert seed(path)["visit"] != first["visit"]
    path.unlink()
    seed(path)
    assert (Dyad.objects.count(), AnalysisRun.objects.count()) == (27, 1)


def test_the_same_seed_draws_the_same_answers(small: None, tmp_path: Path) -> None:
    """The data are fixed by seed and design."""

    def drawn() -> list[object]:
        seed(tmp_path / "demo.json")
        return list(
            Administration.objects.filter(status="completed")
            .order_by("visit__dyad__code", "role")
            .values_list("visit__dyad__code", "role", "answers")
        )

    first = drawn()
    call_command("flush", verbosity=0, interactive=False)
    assert drawn() == first


def test_a_closed_demonstration_still_starts(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody may close the study to see what happens; the next start says so instead of breaking."""
    seed(tmp_path / "demo.json")
    Study.objects.update(status=Study.Status.CLOSED)
    Administration.objects.filter(status="waiting").update(status="started")
    demo = describe_demo(base_url="http://127.0.0.1:8000", path=tmp_path / "demo.json", now=timezone.now())
    assert demo.visit == {"dyad": "", "patient_url": "", "clinician_url": ""}
    call_command("print_demo")
    assert "somebody has closed the study" in capsys.readouterr().out
