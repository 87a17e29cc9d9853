"""Running analyses: claimed, computed, stored; what they compute stands in `analysis.first_look`."""

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version as library_version
from typing import Any

from django.conf import settings

from analysis.datasets import FormMatrix, baseline_wave, digest, form_matrix
from analysis.first_look import first_look
from analysis.models import AnalysisRun
from analysis.psychometrics.errors import AnalysisInputError
from instruments.definitions import Instrument, Role
from instruments.services import study_instrument_version
from scoring.models import DyadScore
from scoring.services import set_gap_reference

Clock = Callable[[], datetime]

LIBRARIES = ("numpy", "scipy", "pandas", "pingouin", "factor-analyzer", "scikit-learn")
MAXIMUM_ATTEMPTS = 3


class ClaimLost(Exception):
    """Another worker took the run over while this one was at it."""


def run_analysis(*, run_id: int, owner: str, clock: Clock) -> None:
    """Compute one run if it is due, telling its row how far it is. A run that cannot be computed says why."""
    seconds = settings.ANALYSIS_LEASE_SECONDS
    if not AnalysisRun.objects.claim(pk=run_id, owner=owner, now=clock(), seconds=seconds):
        return
    run = AnalysisRun.objects.select_related("study").get(pk=run_id)
    if run.attempts > MAXIMUM_ATTEMPTS:
        _end(run, owner=owner, clock=clock, status=AnalysisRun.Status.FAILED, error=_stopped_too_often())
        return

    def tell(share: float, note: str) -> None:
        """Progress is also the sign of life that keeps the claim."""
        now = clock()
        alive = AnalysisRun.objects.held(pk=run_id, owner=owner).update(
            status=AnalysisRun.Status.RUNNING,
            progress=share,
            progress_note=note,
            lease_expires_at=now + timedelta(seconds=seconds),
        )
        if not alive:
            raise ClaimLost

    try:
        tell(0.0, "data")
        instrument = study_instrument_version(run.study).instrument
        matrices = _matrices(run, instrument)
        result: dict[str, Any] = {}
        for position, matrix in enumerate(matrices):
            result[matrix.role.value] = _look(run, matrix, instrument, tell=_share_of(tell, matrix.role, position))
        if all("error" in look for look in result.values()):
            raise AnalysisInputError(next(iter(result.values()))["error"])
        if not run.exclude_flagged:
            # Before "done": a worker that dies in here leaves a run that is due, and all of it can be repeated.
            tell(0.95, "gap reference")
            _set_reference(run, result, clock=clock, alive=lambda: tell(0.95, "gap reference"))
        _end(
            run,
            owner=owner,
            clock=clock,
            status=AnalysisRun.Status.DONE,
            result=result,
            data_digest=digest(matrices),
            versions=_versions(instrument),
            progress=1.0,
        )
    except ClaimLost:
        return
    except (AnalysisInputError, ValueError) as error:
        _end(run, owner=owner, clock=clock, status=AnalysisRun.Status.FAILED, error=str(error))
    except Exception as error:
        _end(
            run,
            owner=owner,
            clock=clock,
            status=AnalysisRun.Status.FAILED,
            error=f"The analysis broke off ({type(error).__name__}: {error}). The log of the worker has the details.",
        )
        raise


def _matrices(run: AnalysisRun, instrument: Instrument) -> list[FormMatrix]:
    wave = baseline_wave(run.study)
    if wave is None or run.form not in instrument.forms:
        raise AnalysisInputError(
            f"The study needs a first wave and the form {run.form!r}. Remedy: check the study's settings."
        )
    matrices = [
        form_matrix(
            study=run.study,
            wave=wave,
            form=run.form,
            role=role,
            instrument=instrument,
            exclude_flagged=run.exclude_flagged,
        )
        for role in Role
    ]
    if not any(len(matrix.values) for matrix in matrices):
        raise AnalysisInputError(
            f"There is no finished {run.form} form at wave {wave.code} yet. "
            "Remedy: collect answers first, or choose the other form."
        )
    return matrices


def _look(
    run: AnalysisRun, matrix: FormMatrix, instrument: Instrument, *, tell: Callable[[float, str], None]
) -> dict[str, Any]:
    """One role's first look; a role that has too little data says so and leaves the other alone."""
    on_form = set(matrix.item_codes)
    scales = {
        component: [code for code in matrix.item_codes if instrument.items[code].component == component]
        for component in instrument.components
    }
    try:
        return first_look(
            matrix.values,
            item_codes=matrix.item_codes,
            scales=scales,
            reverse=[code for code in matrix.item_codes if instrument.items[code].reverse],
            seed=run.seed,
            progress=tell,
            domains={domain.id: domain.components for domain in instrument.domains.values()},
            gap_scales=_gap_scales(instrument, on_form),
            formative=[c.id for c in instrument.components.values() if c.measurement == "formative_leaning"],
            scale_values=instrument.scale_values,
            missing_by_reason=matrix.missing_by_reason,
            scores=matrix.scores,
            n_factors=run.n_factors,
        )
    except AnalysisInputError as error:
        return {"error": str(error)}


def _gap_scales(instrument: Instrument, on_form: set[str]) -> Sequence[str]:
    """The outcomes are shown one by one; on the short form they are single items without a reliability."""
    return [
        component
        for component in instrument.domains["outcome"].components
        if sum(instrument.items[code].component == component for code in on_form) > 1
    ]


def _share_of(tell: Callable[[float, str], None], role: Role, position: int) -> Callable[[float, str], None]:
    """A role's progress as its half of the statistics; the rest is left to the gaps' reference."""

    def told(share: float, note: str) -> None:
        tell(0.95 * (position + share) / len(Role), f"{role.value}: {note}")

    return told


def _end(run: AnalysisRun, *, owner: str, clock: Clock, **columns: Any) -> None:
    """Store the end of the run, if the claim still holds; whoever took it over stores its own."""
    AnalysisRun.objects.held(pk=run.pk, owner=owner).update(
        finished_at=clock(), lease_owner="", lease_expires_at=None, progress_note="", **columns
    )


def _set_reference(run: AnalysisRun, result: Mapping[str, Any], *, clock: Clock, alive: Callable[[], None]) -> None:
    """Hold the study's gaps against this run's figures: mean gap and errors of the same wave's dyads."""
    records = (
        DyadScore.objects.filter(study=run.study, form=run.form, is_eligible=True, visit__wave=baseline_wave(run.study))
        .order_by("pk")
        .values_list("dyad", flat=True)
    )
    parameters = gap_parameters(
        result["patient"].get("gap_reference", {}),
        result["clinician"].get("gap_reference", {}),
        gaps=[record["gaps"]["values"] for record in records],
    )
    if parameters:
        set_gap_reference(
            study=run.study,
            form=run.form,
            parameters=parameters,
            source=f"analysis {run.pk}",
            clock=clock,
            alive=alive,
        )


def gap_parameters(
    patient: Mapping[str, Any], clinician: Mapping[str, Any], *, gaps: Sequence[Mapping[str, float | None]]
) -> dict[str, dict[str, float]]:
    """Per score with a usable standard error of measurement in both roles: mean gap and both SEM, in points.

    Parameters
    ----------
    patient, clinician : the `gap_reference` parts of both roles' first looks.
    gaps : per eligible dyad, score id -> signed gap or None.
    """
    parameters: dict[str, dict[str, float]] = {}
    for score in patient:
        sems = [sem for side in (patient, clinician) if (sem := (side.get(score) or {}).get("sem")) is not None]
        known = [value for gap in gaps if (value := gap.get(score)) is not None]
        if not known or len(sems) < 2 or not all(map(math.isfinite, sems)):
            continue
        parameters[score] = {
            "mean_gap": math.fsum(known) / len(known),
            "sem_patient": sems[0],
            "sem_clinician": sems[1],
            "n_gaps": len(known),
            "sd_patient": patient[score]["sd"],
            "sd_clinician": clinician[score]["sd"],
            "reliability_patient": patient[score]["reliability"],
            "reliability_clinician": clinician[score]["reliability"],
        }
    return parameters


def _versions(instrument: Instrument) -> dict[str, str]:
    return {
        "instrument": f"{instrument.code} {instrument.version} ({instrument.content_hash[:12]})",
        "scoring rules": instrument.scoring.version,
        "python": platform.python_version(),
        **{name: library_version(name) for name in LIBRARIES},
    }


def _stopped_too_often() -> str:
    return (
        f"A worker was stopped {MAXIMUM_ATTEMPTS} times while it was at this analysis, perhaps for want of memory. "
        "Remedy: look into the worker's log, then run the analysis again."
    )
