"""The export holds what was stored: every score to the last digit, every reason, every answer."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analysis.exports import codebook_csv, dyads_csv
from instruments.definitions import Answer, Role
from instruments.imports import import_responses
from instruments.models import Administration
from scoring.models import DyadScore, GapReference
from scoring.services import rescore_study, score_due
from studies.models import AuditEvent
from tests.factories import NOW, StudyKit, finish, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    kit = make_study(is_synthetic=True)
    created = make_visit(kit)
    finish(created, Role.PATIENT, value=5, VN1=3, VI1="DNA", VC1="SKIPPED", rel_years=18, pt_illness=["cancer", "hiv"])
    finish(created, Role.CLINICIAN, value=4, now=NOW + timedelta(days=1))
    finish(make_visit(kit), Role.PATIENT)
    score_due(owner="test", clock=lambda: NOW)
    return kit


def read(lines: Iterator[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(lines))))


def test_one_row_for_each_dyad_with_both_forms(kit: StudyKit) -> None:
    """A dyad with one form is left out unless asked for."""
    assert len(read(dyads_csv(kit.study))) == 1
    assert len(read(dyads_csv(kit.study, include_incomplete=True))) == 2


def test_scores_and_gaps_read_back_exactly(kit: StudyKit) -> None:
    """float(cell) is the stored number; a blank cell has its reason."""
    (row,) = read(dyads_csv(kit.study))
    score = DyadScore.objects.get(is_complete=True)
    for role, record in (("patient", score.patient), ("clinician", score.clinician)):
        for name, value in record["values"].items():
            assert (float(row[f"{role}_{name}"]) if row[f"{role}_{name}"] else None) == value
            assert row[f"{role}_{name}_reason"] == record["reasons"].get(name, "")
            assert row[f"{role}_{name}_thin"] == str(int(name in record["thin"]))
    for name, value in score.dyad["gaps"]["values"].items():
        assert (float(row[f"gap_{name}"]) if row[f"gap_{name}"] else None) == value
        assert (float(row[f"abs_gap_{name}"]) if row[f"abs_gap_{name}"] else None) == (
            None if value is None else abs(value)
        )
        assert row[f"gap_{name}_reason"] == score.dyad["gaps"]["reasons"].get(name, "")
        assert row[f"reliable_gap_{name}"] == ""
    assert float(row["profile_d_squared"]) == score.dyad["profile"]["d_squared"]


def test_answers_stand_beside_the_scores_as_given(kit: StudyKit) -> None:
    """Before reversal, absences by their codes, several options joined by a bar."""
    (row,) = read(dyads_csv(kit.study))
    assert (row["patient_VN1"], row["patient_VI1"], row["patient_VC1"]) == ("3", "DNA", "SKIPPED")
    assert (row["patient_VN3"], row["clinician_VN1"]) == ("5", "4")
    assert (row["patient_rel_years"], row["patient_pt_illness"]) == ("18", "hiv|cancer") or row[
        "patient_pt_illness"
    ] == "cancer|hiv"
    assert row["patient_X_OWNED"] == "NOT_SHOWN"


def test_synthetic_data_are_marked_in_every_row(kit: StudyKit) -> None:
    """The mark travels with the data."""
    rows = read(dyads_csv(kit.study, include_incomplete=True))
    assert {row["synthetic"] for row in rows} == {"1"}
    kit.study.is_synthetic = False
    assert read(dyads_csv(kit.study))[0]["synthetic"] == "0"


def test_an_unfinished_side_is_blank_with_its_reason(kit: StudyKit) -> None:
    """No zero stands where there is no score."""
    row = next(r for r in read(dyads_csv(kit.study, include_incomplete=True)) if r["eligible"] == "0")
    assert row["clinician_trust"] == ""
    assert row["ineligible_reasons"] == "CLINICIAN_FORM_MISSING"
    assert row["gap_trust_reason"] == "NOT_ELIGIBLE"


def test_the_codebook_explains_every_column_in_order(kit: StudyKit) -> None:
    """Same names, same order, none without a meaning."""
    book = read(codebook_csv(kit.study))
    header = next(iter(dyads_csv(kit.study))).strip().split(",")
    assert [line["column"] for line in book] == header
    assert all(line["meaning"] for line in book)
    assert len(set(header)) == len(header)


def test_the_reliable_gap_and_its_reference_are_exported(kit: StudyKit) -> None:
    """The verdict as 1 or 0, the figures that it rests on in the codebook."""
    GapReference.objects.create(
        study=kit.study,
        form="full",
        parameters={"trust": {"mean_gap": 0.0, "sem_patient": 3.0, "sem_clinician": 4.0}},
        source="test",
    )
    rescore_study(study=kit.study, clock=lambda: NOW)
    (row,) = read(dyads_csv(kit.study))
    assert row["reliable_gap_trust"] == str(int(abs(float(row["gap_trust"])) > 1.96 * 5.0))
    meaning = next(line["meaning"] for line in read(codebook_csv(kit.study)) if line["column"] == "reliable_gap_trust")
    assert "mean gap 0.0, threshold 9.8 points" in meaning


@pytest.mark.parametrize("form", ["full", "short"])
def test_exported_answers_can_be_imported_again(form: str) -> None:
    """What leaves comes back the same: all of the export's answer cells, as they are, are the import's."""
    first, again = make_study("FIRST", form=form), make_study("AGAIN", form=form)
    created = make_visit(first)
    items = first.instrument.form_items(form)
    does_not_apply = next(item.code for item in items if item.allow_does_not_apply)
    given: dict[str, Answer] = {items[0].code: 3, items[1].code: "SKIPPED", does_not_apply: "DNA"}
    given |= {"X_MISTAKE": "yes", "X_OWNED": "partly", "rel_years": 18, "pt_age": "PREFER_NOT"}
    finish(created, Role.PATIENT, value=5, **given, pt_illness=["cancer", "hiv"])
    finish(created, Role.CLINICIAN, value=4, X_MISTAKE="no")
    score_due(owner="test", clock=lambda: NOW)
    answer_columns = {
        line["column"] for line in read(codebook_csv(first.study)) if line["meaning"].startswith("answer as given")
    }
    (row,) = read(dyads_csv(first.study))
    sides = [
        {"role": str(role), "clinician": "C1", "patient": "P1"}
        | {
            column.removeprefix(f"{role}_"): row[column]
            for column in row
            if column in answer_columns and column.startswith(f"{role}_")
        }
        for role in Role
    ]
    assert {"VN2", "X_CHANGE", "X_OWNED"} < sides[0].keys() & sides[1].keys()
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys([*sides[0], *sides[1]])), restval="")
    writer.writeheader()
    writer.writerows(sides)
    import_responses(study=again.study, data=text.getvalue().encode(), now=NOW, actor=None)
    for role in Role:
        exported, imported = (
            Administration.objects.get(visit__dyad__study=kit.study, role=role).answers for kit in (first, again)
        )
        assert imported == exported


def test_the_command_writes_a_whole_file_with_receipt_and_codebook(
    kit: StudyKit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row count and checksum are printed, the codebook stands beside it, the audit trail knows."""
    output = tmp_path / "dyads.csv"
    call_command("export_dyads", study="PILOT", format="csv", output=output)
    assert len(read(iter(output.read_text().splitlines(keepends=True)))) == 1
    assert (tmp_path / "dyads.codebook.csv").exists()
    assert "1 dyads (SYNTHETIC data) written" in capsys.readouterr().out
    assert AuditEvent.objects.get(action="export dyads").detail["rows"] == 1


def test_the_command_names_what_is_wrong(kit: StudyKit, tmp_path: Path) -> None:
    """An unknown study and a place that can't be written are one clear line, and leave no file."""
    with pytest.raises(CommandError, match=r"no study 'NONE'\. Studies: PILOT"):
        call_command("export_dyads", study="NONE", format="csv", output=tmp_path / "x.csv")
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_dyads", study="PILOT", format="csv", output=tmp_path / "no" / "x.csv")
    assert not list(tmp_path.iterdir())


def test_the_number_of_queries_does_not_grow_with_the_rows(kit: StudyKit) -> None:
    """Chunks, not rows, cost queries."""

    def n_queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            list(dyads_csv(kit.study, include_incomplete=True))
        return len(queries)

    before = n_queries()
    for _ in range(5):
        finish(make_visit(kit), Role.PATIENT)
    score_due(owner="test", clock=lambda: NOW)
    assert n_queries() == before


def test_create_visits_prints_one_json_line_for_each(kit: StudyKit, capsys: pytest.CaptureFixture[str]) -> None:
    """With dyad and both links, on the base URL given; the links open those questionnaires."""
    call_command("create_visits", study="PILOT", count=3, base_url="https://survey.example/")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({line["dyad"] for line in lines}) == 3
    for line in lines:
        for role in Role:
            url = line[f"{role}_url"]
            assert url.startswith("https://survey.example/q/")
            token = url.rstrip("/").rpartition("/")[2]
            opened = Administration.objects.with_token(token).get()
            assert (opened.role, opened.visit.dyad.code) == (role, line["dyad"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"study": "NONE"}, "no study 'NONE'"),
        ({"count": 0}, "--count"),
        ({"form": "long"}, "no form 'long'"),
        ({"wave": "x"}, "no such wave"),
        ({"site": "x"}, "No clinician fits"),
    ],
)
def test_create_visits_names_what_is_wrong(kit: StudyKit, options: dict[str, object], message: str) -> None:
    """One clear line, and no visit."""
    before = Administration.objects.count()
    with pytest.raises(CommandError, match=message):
        call_command("create_visits", **({"study": "PILOT", "count": 1} | options))
    assert Administration.objects.count() == before
