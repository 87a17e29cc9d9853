"""Scoring: which visits, when, by whom; what a score is stands in `scoring.rules`."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from django.conf import settings
from django.db import models, transaction
from django.db.models import F

from instruments.definitions import Answer, Instrument, Role
from instruments.models import Administration, instrument_with_hash
from scoring.models import DyadScore, GapReference, ScoringRequest
from scoring.rules import batch
from scoring.rules.dyad import DyadScoring, RatedForm, common_form, score_dyad, score_dyad_of_two_lengths
from scoring.rules.dyad import GapReference as Reference
from scoring.rules.layout import FormLayout, form_layouts
from scoring.rules.records import Record, dyad_record, dyad_records
from studies.models import Study, Visit, Withdrawal

Clock = Callable[[], datetime]

#: How long one sweep goes on, in seconds. Forms that people finish meanwhile wait behind it, and five are promised.
SWEEP_SECONDS = 2.0
#: Visits scored in one transaction when a whole study is scored again.
RESCORING_CHUNK = 2000
LONGEST_WAIT_SECONDS = 600
DOMAINS = ("valuing", "appreciating_power", "abiding", "competence", "outcome")


class ClaimLost(Exception):
    """Another worker took the visit over while this one was at it; that one stores the result."""


class CompletedForm(NamedTuple):
    """What scoring reads of one finished questionnaire."""

    form: str
    answers: dict[str, Answer]
    completed_at: datetime
    median_item_seconds: float | None
    content_hash: str  # of the instrument version


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitForms:
    """What one visit brings to scoring: the finished questionnaires, by role, and how long the two know each other."""

    visit_id: int
    study_id: int
    clinician_id: int
    wave_id: int
    visit_date: date
    dyad_code: str
    visit_form: str
    finished: Mapping[Role, CompletedForm]  # at least one
    withdrawn: frozenset[Role] = frozenset()  # who takes part no more

    @property
    def is_of_two_lengths(self) -> bool:
        """Whether the two roles answered different forms, as clinicians do where the study asks them for less."""
        return len({form.form for form in self.finished.values()}) == 2

    @property
    def form(self) -> str:
        """On which form the two are compared: the one that both answered; of two lengths, the shorter inside it."""
        answered = sorted({form.form for form in self.finished.values()})
        if len(answered) == 1:
            return answered[0]
        return common_form(_layouts(self.instrument), *answered) or self.visit_form

    @property
    def instrument(self) -> Instrument:
        return instrument_with_hash(next(iter(self.finished.values())).content_hash)

    @property
    def days_apart(self) -> int | None:
        """Calendar days between the two completions."""
        days = [form.completed_at.date() for form in self.finished.values()]
        return abs((days[0] - days[1]).days) if len(days) == 2 else None

    @property
    def months_known(self) -> float | None:
        """As the patient says; as the clinician says where the patient does not."""
        return self._number("rel_years", Role.PATIENT, Role.CLINICIAN)

    @property
    def visits_in_12_months(self) -> int | None:
        visits = self._number("rel_visits_12m", Role.PATIENT)
        return None if visits is None else int(visits)

    def _number(self, question: str, *roles: Role) -> float | None:
        for role in roles:
            if role in self.finished:
                answer = self.finished[role].answers.get(question)
                if isinstance(answer, int | float):
                    return answer
        return None

    def rated(self, role: Role) -> RatedForm | None:
        """The role's form as the rules take it. Every way of answering here is blind to the partner's answers."""
        form = self.finished.get(role)
        if form is None:
            return None
        return RatedForm(form=form.form, answers=form.answers, blind=True, median_seconds=form.median_item_seconds)


def request_scoring(*, visit_ids: Sequence[int], now: datetime) -> None:
    """Note that these visits need scoring; part of the caller's transaction."""
    ScoringRequest.objects.bulk_create(
        [ScoringRequest(visit_id=pk, requested=uuid.uuid4(), requested_at=now) for pk in visit_ids],
        update_conflicts=True,
        unique_fields=["visit"],
        update_fields=["requested", "requested_at"],
        batch_size=500,
    )


def score_visit(*, visit_id: int, owner: str, clock: Clock) -> int:
    """Score one visit until no request for it is open; the number of times it was scored (0: nothing due, or held).

    Claim, load, rules, and then result and "done" in one transaction that counts only while the claim holds: a worker
    that dies anywhere leaves a claim that runs out, and nothing else.
    """
    n_scored = 0
    while ScoringRequest.objects.claim(pk=visit_id, owner=owner, now=clock(), seconds=settings.SCORING_LEASE_SECONDS):
        try:
            _score_claimed(visit_id, owner=owner, now=clock())
        except ClaimLost:
            break
        except Exception as error:
            _note_failure(visit_id, owner=owner, error=error, now=clock())
            raise
        n_scored += 1
    return n_scored


def score_due(*, owner: str, clock: Clock, seconds: float | None = None) -> int:
    """Score every visit that is due, or as many as fit into `seconds`; the number of scorings.

    One failure does not keep the others waiting.
    """
    n_scored = 0
    failure: Exception | None = None
    until = None if seconds is None else clock() + timedelta(seconds=seconds)
    for visit_id in list(ScoringRequest.objects.due(now=clock()).order_by("requested_at").values_list("pk", flat=True)):
        if until is not None and clock() >= until:
            break
        try:
            n_scored += score_visit(visit_id=visit_id, owner=owner, clock=clock)
        except Exception as error:  # noqa: BLE001  noted on the row by score_visit; raised again below
            failure = error
    if failure is not None:
        raise failure
    return n_scored


def _score_claimed(visit_id: int, *, owner: str, now: datetime) -> None:
    requested = ScoringRequest.objects.get(pk=visit_id).requested
    forms = next(_visit_forms(Visit.objects.filter(pk=visit_id)), None)
    score = None if forms is None else _scored_alone(forms, now=now)
    with transaction.atomic():
        done = ScoringRequest.objects.held(pk=visit_id, owner=owner).update(
            scored=requested, lease_owner="", lease_expires_at=None, attempts=0, error=""
        )
        if not done:
            raise ClaimLost
        if score is not None:
            DyadScore.objects.store([score])
        else:  # its answers were taken away
            DyadScore.objects.filter(pk=visit_id).delete()


def _note_failure(visit_id: int, *, owner: str, error: Exception, now: datetime) -> None:
    """Keep the reason on the row, and wait longer after each attempt."""
    request = ScoringRequest.objects.get(pk=visit_id)
    wait = timedelta(seconds=min(2**request.attempts, LONGEST_WAIT_SECONDS))
    ScoringRequest.objects.held(pk=visit_id, owner=owner).update(
        error=f"{type(error).__name__}: {error}"[:2000], lease_expires_at=now + wait
    )


def _scored_alone(forms: VisitForms, *, now: datetime) -> DyadScore:
    score: Callable[..., DyadScoring] = score_dyad_of_two_lengths if forms.is_of_two_lengths else score_dyad
    scoring = score(
        _layouts(forms.instrument),
        patient=forms.rated(Role.PATIENT),
        clinician=forms.rated(Role.CLINICIAN),
        days_apart=forms.days_apart,
        months_known=forms.months_known,
        visits=forms.visits_in_12_months,
        references=gap_references(forms.study_id, forms.form, instrument=forms.instrument),
    )
    return _row(forms, dyad_record(scoring), now=now)


def rescore_study(*, study: Study, clock: Clock, progress: Callable[[int], None] = lambda n_done: None) -> int:
    """Score all visits of a study again with the vectorised rules; the number of visits scored.

    Each chunk is one transaction that holds the chunk's scoring requests, so that a worker's newer result is never
    overwritten by an older reading.
    """
    n_done = 0
    last_pk = 0
    while True:
        with transaction.atomic():
            pks = list(
                ScoringRequest.objects.select_for_update()
                .filter(visit__dyad__study=study, pk__gt=last_pk)
                .order_by("pk")
                .values_list("pk", flat=True)[:RESCORING_CHUNK]
            )
            if not pks:
                return n_done
            last_pk = pks[-1]
            rows = list(_visit_forms(Visit.objects.filter(pk__in=pks)))
            DyadScore.objects.store(_scored_together(rows, now=clock()))
            DyadScore.objects.filter(pk__in=set(pks) - {one.visit_id for one in rows}).delete()
            ScoringRequest.objects.filter(pk__in=pks).update(
                scored=F("requested"), lease_owner="", lease_expires_at=None, attempts=0, error=""
            )
        n_done += len(rows)
        progress(n_done)


def _scored_together(visits: Sequence[VisitForms], *, now: datetime) -> list[DyadScore]:
    """The vectorised twin of `_scored_alone`, form by form; dyads of two lengths have no place in it."""
    scores = [_scored_alone(one, now=now) for one in visits if one.is_of_two_lengths]
    in_groups = sorted((one for one in visits if not one.is_of_two_lengths), key=_group)
    for (study_id, _, form), members in groupby(in_groups, key=_group):
        group = list(members)
        instrument = group[0].instrument
        layout = _layouts(instrument)[form]
        result = batch.score_dyads(
            layout,
            patient=_form_batch(layout, group, Role.PATIENT),
            clinician=_form_batch(layout, group, Role.CLINICIAN),
            days_apart=_column(one.days_apart for one in group),
            months_known=_column(one.months_known for one in group),
            visits=_column(one.visits_in_12_months for one in group),
            references=gap_references(study_id, form, instrument=instrument),
        )
        records = dyad_records(result)
        scores.extend(_row(one, record, now=now) for one, record in zip(group, records, strict=True))
    return scores


def _group(forms: VisitForms) -> tuple[int, str, str]:
    return forms.study_id, forms.instrument.content_hash, forms.form


def _form_batch(layout: FormLayout, visits: Sequence[VisitForms], role: Role) -> batch.FormBatch:
    forms = [one.rated(role) for one in visits]
    return batch.FormBatch(
        answers=batch.encode_answers(layout, [{} if form is None else form.answers for form in forms]),
        present=np.array([form is not None for form in forms], dtype=np.bool_),
        blind=np.array([form is None or form.blind for form in forms], dtype=np.bool_),
        median_seconds=_column(None if form is None else form.median_seconds for form in forms),
    )


def _column(numbers: Iterator[float | None]) -> batch.Floats:
    return np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)


def _visit_forms(visits: models.QuerySet[Visit]) -> Iterator[VisitForms]:
    """The finished questionnaires of these visits, in three light queries; visits without any are left out."""
    finished: dict[int, dict[Role, CompletedForm]] = {}
    administrations = Administration.objects.filter(
        visit__in=visits, status=Administration.Status.COMPLETED
    ).values_list(
        "visit_id",
        "role",
        "form",
        "answers",
        "completed_at",
        "median_item_seconds",
        "instrument_version__content_hash",
    )
    for visit_id, role, *columns in administrations:
        finished.setdefault(visit_id, {})[Role(role)] = CompletedForm(*columns)
    withdrawn: dict[int, set[Role]] = {}
    for visit_id, role in Withdrawal.objects.filter(dyad__visits__in=visits).values_list("dyad__visits", "role"):
        withdrawn.setdefault(visit_id, set()).add(Role(role))
    rows = visits.order_by("pk").values_list(
        "pk", "dyad__study_id", "dyad__clinician_id", "wave_id", "visit_date", "dyad__code", "form"
    )
    for pk, study_id, clinician_id, wave_id, visit_date, dyad_code, form in rows:
        if pk in finished:
            yield VisitForms(
                visit_id=pk,
                study_id=study_id,
                clinician_id=clinician_id,
                wave_id=wave_id,
                visit_date=visit_date,
                dyad_code=dyad_code,
                visit_form=form,
                finished=finished[pk],
                withdrawn=frozenset(withdrawn.get(pk, ())),
            )


def _row(forms: VisitForms, record: Record, *, now: datetime) -> DyadScore:
    patient, clinician = record.pop("patient"), record.pop("clinician")
    gone = [f"{role.value}_withdrew".upper() for role in Role if role in forms.withdrawn - set(forms.finished)]
    record["ineligible"] = [*record["ineligible"], *gone]
    domains = {
        f"{role}_{domain}": None if form is None else form["values"].get(domain)
        for role, form in (("patient", patient), ("clinician", clinician))
        for domain in DOMAINS
    }
    return DyadScore(
        visit_id=forms.visit_id,
        study_id=forms.study_id,
        dyad_clinician_id=forms.clinician_id,
        wave_id=forms.wave_id,
        visit_date=forms.visit_date,
        dyad_code=forms.dyad_code,
        form=forms.form,
        is_complete=patient is not None and clinician is not None,
        is_eligible=record["eligible"],
        is_flagged=any(form is not None and form["flags"] for form in (patient, clinician)),
        patient=patient,
        clinician=clinician,
        dyad=record,
        rules_version=record["rules"],
        scored_at=now,
        **domains,
    )


def gap_references(study_id: int, form: str, *, instrument: Instrument) -> dict[str, Reference]:
    """What the gaps of a study's form are judged by; empty before an analysis has set it."""
    row = GapReference.objects.filter(study_id=study_id, form=form).first()
    known = {*instrument.components, *instrument.domains, *instrument.composites}
    parameters: Mapping[str, Any] = {} if row is None else row.parameters
    return {
        score: Reference(mean_gap=one["mean_gap"], sem_patient=one["sem_patient"], sem_clinician=one["sem_clinician"])
        for score, one in parameters.items()
        if score in known
    }


def set_gap_reference(
    *,
    study: Study,
    form: str,
    parameters: Mapping[str, Mapping[str, float]],
    source: str,
    clock: Clock,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Hold the study's gaps against these figures from now on, those already scored included.

    `alive` is called as the re-scoring goes on, so that the caller can keep a claim of its own.
    """
    GapReference.objects.update_or_create(
        study=study, form=form, defaults={"parameters": parameters, "source": source, "set_at": clock()}
    )
    rescore_study(study=study, clock=clock, progress=lambda n_done: alive())


_LAYOUTS: dict[str, dict[str, FormLayout]] = {}


def _layouts(instrument: Instrument) -> dict[str, FormLayout]:
    """The scoring plans of an instrument's forms, laid out once per process."""
    if instrument.content_hash not in _LAYOUTS:
        _LAYOUTS[instrument.content_hash] = form_layouts(instrument)
    return _LAYOUTS[instrument.content_hash]
