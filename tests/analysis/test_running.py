"""An analysis is computed by whoever holds its claim, tells how far it is, and says why when it fails."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest
from django.conf import settings

from analysis import running, services
from analysis.datasets import digest, form_matrix
from analysis.models import AnalysisRun
from analysis.psychometrics.simulation import SimulationDesign, simulate_dyads
from analysis.running import gap_parameters, run_analysis
from healing_survey.demo_study import simulation_structure
from instruments.definitions import Absence, Role
from instruments.models import Administration
from instruments.services import FinishedForm, store_finished_forms
from scoring.models import DyadScore, GapReference
from scoring.services import rescore_study
from studies.models import AuditEvent, Dyad, Patient, Wave
from tests.factories import NOW, StudyKit, make_study

pytestmark = pytest.mark.django_db


def clock() -> datetime:
    return NOW


def with_dyads(n: int, *, form: str = "short") -> StudyKit:
    """A study with n synthetic dyads, scored."""
    kit = make_study(form=form, is_synthetic=True)
    design = SimulationDesign(n_sites=1, n_clinicians=1, n_dyads=n, clinician_form_missing_share=0)
    made = simulate_dyads(simulation_structure(kit.instrument, form), design, np.random.default_rng(5))
    codes = kit.instrument.forms[form].order
    reasons = {0: Absence.SKIPPED, -1: Absence.DOES_NOT_APPLY, -2: Absence.SKIPPED, -3: Absence.NOT_REACHED}
    forms = []
    for row in range(n):
        patient = Patient.objects.create(site=kit.sites[0], code=f"P{row}")
        dyad = Dyad.objects.create(study=kit.study, clinician=kit.clinicians[0], patient=patient, code=f"D{row}")
        for role, items in ((Role.PATIENT, made.patient_items), (Role.CLINICIAN, made.clinician_items)):
            answers = {
                code: value if value > 0 else reasons.get(value, Absence.NOT_REACHED).value
                for code, value in zip(codes, items[row].tolist(), strict=True)
            }
            forms.append(
                FinishedForm(
                    dyad=dyad,
                    wave=kit.wave,
                    role=role,
                    form=form,
                    language="en",
                    answers=answers,
                    completed_at=NOW,
                    median_item_seconds=1.0 if row % 10 == 0 else 6.0,  # every tenth is flagged as fast
                )
            )
    store_finished_forms(
        study=kit.study, instrument_version=kit.version, forms=forms, mode=Administration.Mode.IMPORTED, now=NOW
    )
    rescore_study(study=kit.study, clock=clock)
    return kit


def asked(
    kit: StudyKit, *, form: str = "short", n_factors: int | None = 2, exclude_flagged: bool = False
) -> AnalysisRun:
    return services.request_analysis(
        study=kit.study, form=form, n_factors=n_factors, exclude_flagged=exclude_flagged, seed=11, user=None, now=NOW
    )


def test_a_run_stores_results_seed_digest_and_versions() -> None:
    """Both roles' parts, and all that is needed to repeat the run."""
    kit = with_dyads(130)
    run = asked(kit)
    run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    assert (run.status, run.error, run.progress, run.finished_at) == ("done", "", 1.0, NOW)
    assert set(run.result) == {"patient", "clinician"}
    for role in Role:
        part = run.result[role]
        assert part["n_forms"] + part["n_empty"] == 130
        assert len(part["items"]) == 20
        assert len(part["structure"]["factors"]["loadings"]) == 20
        assert 0.5 < part["domains"]["valuing"]["alpha"]["alpha"] < 1
    assert run.versions["pingouin"] == "0.7.0"
    assert run.versions["instrument"].startswith("healing-relationships 1.0")
    assert AuditEvent.objects.get().detail["seed"] == 11


def test_the_same_seed_and_data_give_the_same_result_and_digest() -> None:
    """Nothing random is left to chance."""
    kit = with_dyads(60)
    runs = [asked(kit), asked(kit)]
    for run in runs:
        run_analysis(run_id=run.pk, owner="w", clock=clock)
        run.refresh_from_db()
    assert runs[0].result == runs[1].result
    assert runs[0].data_digest == runs[1].data_digest


def test_the_digest_tells_changed_data() -> None:
    """One answer more is another digest."""
    kit = with_dyads(30)

    def of_role(role: Role) -> object:
        return form_matrix(
            study=kit.study,
            wave=kit.wave,
            form="short",
            role=role,
            instrument=kit.instrument,
            exclude_flagged=False,
        )

    before = digest([of_role(Role.PATIENT)])  # type: ignore[list-item]
    assert digest([of_role(Role.PATIENT)]) == before  # type: ignore[list-item]
    assert digest([of_role(Role.CLINICIAN)]) != before  # type: ignore[list-item]


def test_the_matrix_holds_answers_as_given_and_counts_reasons() -> None:
    """NaN for every absence, the reasons counted beside it, scores in the same rows."""
    kit = with_dyads(30)
    matrix = form_matrix(
        study=kit.study,
        wave=kit.wave,
        form="short",
        role=Role.PATIENT,
        instrument=kit.instrument,
        exclude_flagged=False,
    )
    for row, visit in enumerate(matrix.visit_ids):
        answers = Administration.objects.get(visit=visit, role=Role.PATIENT).answers
        for column, code in enumerate(matrix.item_codes):
            value = matrix.values[row, column]
            assert (None if np.isnan(value) else value) == (None if isinstance(answers[code], str) else answers[code])
        stored = DyadScore.objects.get(pk=visit).patient["values"]["valuing"]
        assert (matrix.scores["valuing"][row] == stored) or (stored is None and np.isnan(matrix.scores["valuing"][row]))
    n_missing = sum(sum(counts.values()) for counts in matrix.missing_by_reason.values())
    assert n_missing == int(np.isnan(matrix.values).sum()) > 0


def test_leaving_out_flagged_forms_leaves_them_out() -> None:
    """The rerun without careless forms has fewer of them, and does not become the gaps' reference."""
    kit = with_dyads(130)
    flagged = sum(bool(score.patient["flags"]) for score in DyadScore.objects.all())
    assert flagged >= 13
    run = asked(kit, exclude_flagged=True)
    run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    assert run.result["patient"]["n_forms"] + run.result["patient"]["n_empty"] == 130 - flagged
    assert not GapReference.objects.exists()


def test_a_run_over_all_forms_becomes_the_reference_of_gaps() -> None:
    """Mean gap and both standard errors, and every dyad judged by them at once."""
    kit = with_dyads(130)
    run = asked(kit)
    run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    reference = GapReference.objects.get()
    assert reference.source == f"analysis {run.pk}"
    one = reference.parameters["valuing"]
    scores = DyadScore.objects.filter(is_eligible=True)
    gaps = [s.dyad["gaps"]["values"]["valuing"] for s in scores]
    known = [gap for gap in gaps if gap is not None]
    assert one["mean_gap"] == pytest.approx(sum(known) / len(known), abs=1e-12)
    for role in Role:
        part = run.result[role]["gap_reference"]["valuing"]
        assert one[f"sem_{role}"] == pytest.approx(part["sd"] * (1 - part["reliability"]) ** 0.5)
    threshold = 1.96 * (one["sem_patient"] ** 2 + one["sem_clinician"] ** 2) ** 0.5
    for score in scores:
        gap = score.dyad["gaps"]["values"]["valuing"]
        if gap is not None:
            assert score.dyad["gaps"]["reliable"]["valuing"] == (abs(gap - one["mean_gap"]) > threshold)
    assert "trust" not in reference.parameters  # a single item on the short form has no reliability


def test_a_score_without_a_usable_error_in_one_role_has_no_reference() -> None:
    """An inadmissible reliability gives no verdict."""
    sound = {"sem": 5.0, "sd": 10.0, "reliability": 0.75}
    gaps = [{"a": 2.0, "b": 1.0, "c": None}, {"a": 4.0, "b": None, "c": None}]
    parameters = gap_parameters(
        {"a": sound, "b": {"error": "…"}, "c": sound}, {"a": sound, "b": sound, "c": sound}, gaps=gaps
    )
    assert set(parameters) == {"a"}
    assert parameters["a"]["mean_gap"] == 3.0


@pytest.mark.parametrize("form", ["short", "full"])
def test_a_run_without_data_fails_and_says_why(form: str) -> None:
    """The reason and the remedy stand on the run."""
    kit = make_study()
    run = asked(kit, form=form)
    run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    assert run.status == "failed"
    assert f"no finished {form} form" in run.error
    assert "Remedy" in run.error


def test_a_run_that_breaks_off_says_so_and_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is on the row for the researcher and in the log for the operator."""
    kit = with_dyads(20)
    run = asked(kit)

    def breaks(*args: object, **options: object) -> None:
        raise MemoryError("planted")

    monkeypatch.setattr(running, "first_look", breaks)
    with pytest.raises(MemoryError):
        run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    assert run.status == "failed"
    assert "MemoryError: planted" in run.error


def test_progress_keeps_the_claim_and_a_lost_claim_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report renews the lease; who was overtaken ends without a trace."""
    kit = with_dyads(20)
    run = asked(kit)
    seen: list[tuple[float, str, datetime]] = []
    first_look = running.first_look

    def watched(*args: object, progress: Callable[[float, str], None], **options: object) -> object:
        def tell(share: float, note: str) -> None:
            progress(share, note)
            row = AnalysisRun.objects.get(pk=run.pk)
            seen.append((row.progress, row.status, row.lease_expires_at or NOW))
            if len(seen) == 4:
                AnalysisRun.objects.filter(pk=run.pk).update(lease_owner="other")

        return first_look(*args, progress=tell, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "first_look", watched)
    run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    assert run.status == "running"
    assert run.result is None
    assert [share for share, _, _ in seen] == sorted(share for share, _, _ in seen)
    assert {status for _, status, _ in seen} == {"running"}
    assert {until for _, _, until in seen} == {NOW + timedelta(seconds=settings.ANALYSIS_LEASE_SECONDS)}


def test_a_run_whose_worker_dies_again_and_again_fails_with_the_reason() -> None:
    """Three dead workers are enough."""
    kit = with_dyads(20)
    run = asked(kit)
    AnalysisRun.objects.filter(pk=run.pk).update(attempts=3)
    run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    assert run.status == "failed"
    assert "stopped 3 times" in run.error


def test_a_held_run_is_left_alone_and_a_finished_one_is_not_due() -> None:
    """Two workers never compute the same run."""
    kit = with_dyads(20)
    run = asked(kit)
    assert services.due_runs(now=NOW) == [run.pk]
    assert AnalysisRun.objects.claim(pk=run.pk, owner="other", now=NOW, seconds=60)
    run_analysis(run_id=run.pk, owner="w", clock=clock)
    run.refresh_from_db()
    assert (run.status, services.due_runs(now=NOW)) == ("waiting", [])
    assert services.due_runs(now=NOW + timedelta(seconds=60)) == [run.pk]


def test_a_worker_that_dies_while_it_stores_the_reference_leaves_a_run_that_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reference comes before "done", so that nothing half done is ever called finished."""
    kit = with_dyads(130)
    run = asked(kit)

    class Killed(BaseException):
        """As SIGKILL: no handler of the run sees it."""

    def dies(**options: object) -> None:
        raise Killed

    with monkeypatch.context() as during:
        during.setattr(running, "set_gap_reference", dies)
        with pytest.raises(Killed):
            run_analysis(run_id=run.pk, owner="dead", clock=clock)
    later = NOW + timedelta(seconds=settings.ANALYSIS_LEASE_SECONDS)
    assert services.due_runs(now=later) == [run.pk]
    run_analysis(run_id=run.pk, owner="alive", clock=lambda: later)
    run.refresh_from_db()
    assert run.status == "done"
    assert GapReference.objects.exists()


def test_gaps_and_their_errors_come_from_the_same_wave() -> None:
    """A retest's gaps do not move the mean that baseline gaps are held against."""
    kit = with_dyads(130)
    first, second = asked(kit), asked(kit)
    run_analysis(run_id=first.pk, owner="w", clock=clock)
    before = GapReference.objects.get().parameters
    retest = Wave.objects.create(study=kit.study, code="retest", label="Retest", position=2, is_follow_up=True)
    dyad = kit.study.dyads.first()
    assert dyad is not None
    items = kit.instrument.forms["short"].order
    store_finished_forms(
        study=kit.study,
        instrument_version=kit.version,
        forms=[
            FinishedForm(
                dyad=dyad,
                wave=retest,
                role=role,
                form="short",
                language="en",
                answers=dict.fromkeys(items, 5 if role is Role.CLINICIAN else 1),
                completed_at=NOW,
            )
            for role in Role
        ],
        mode=Administration.Mode.IMPORTED,
        now=NOW,
    )
    rescore_study(study=kit.study, clock=clock)
    run_analysis(run_id=second.pk, owner="w", clock=clock)
    assert GapReference.objects.get().parameters == before
