"""Everything that changes what was asked and answered. Each function is one transaction."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count as counted_from
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from instruments.answer_log import append_events, save_answers
from instruments.catalogue.reader import parse_instrument
from instruments.clinician_form import clinician_forms
from instruments.codes import link_fields
from instruments.definitions import Answer, Item, Role
from instruments.models import Administration, AnswerEvent, InstrumentVersion, hash_token, new_token
from instruments.opening import locked_administration, locked_administration_with_token
from instruments.patient_form import form_by_lot, order_fields
from instruments.questionnaire import InvalidAnswer
from studies.models import Clinician, Dyad, NonParticipation, Patient, Study, Visit, Wave
from studies.scope import beyond_sites

#: Sent inside the transaction that completes questionnaires, with `visit_ids`; a signal, so that this package need not
#: know who scores.
administration_completed = Signal()
#: Sent inside the transaction that puts answers out of use or erases them, with `visit_ids`: their scores are stale.
answers_taken_away = Signal()


#: How far an answer may run ahead of the last one stored: more than a device that was offline can have queued.
MAXIMUM_SEQUENCE_GAP = 10_000
MAXIMUM_SEQUENCE = 2_000_000_000  # what the column holds, rounded down
MAXIMUM_DYAD_CODE = 80  # what the column holds
#: Answers that wait on a device are kept there so long; when the link ends meanwhile, they are still taken.
QUEUE_GRACE = timedelta(hours=72)


class AnswerRefused(Exception):
    """An answer was not stored, and nothing was changed. `status` is the HTTP status that says why."""

    status = 422


class QuestionnaireClosed(AnswerRefused):
    """The questionnaire is finished; its answers are final."""

    status = 409


class LinkExpired(AnswerRefused):
    """The time for answering is over."""

    status = 410


class QuestionnaireNotStarted(AnswerRefused):
    """Nobody has opened the questionnaire yet, so there is nothing to finish."""

    status = 409


class ConsentAwaited(AnswerRefused):
    """The patient has not agreed yet, so nothing is asked."""

    status = 409


class QuestionnaireUnderWay(AnswerRefused):
    """The patient has begun to answer: whoever had a new link could read the answers."""

    status = 409


class RatingDeclined(AnswerRefused):
    """The clinician has said that this patient can't be rated, and has not taken that back."""

    status = 409


class SequenceConflict(AnswerRefused):
    """This sequence number already carries another answer."""

    status = 409


class ReleaseRefused(Exception):
    """A catalogue file differs from the version that was released under its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """One answer as delivered: the code, the raw value and its place in the order of giving."""

    item: str
    value: object
    sequence: int
    client_time: datetime | None = None
    language: str = ""  # in which it was asked; that of the questionnaire when it is not said
    paradata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedVisit:
    """A new visit and the two secrets that open its questionnaires. They are not kept: only their hashes are."""

    visit: Visit
    patient_token: str
    clinician_token: str


def release_instrument(path: Path, *, now: datetime) -> tuple[InstrumentVersion, bool]:
    """Load a catalogue file and freeze it; (version, whether it is new). Loading it again changes nothing.

    Raises
    ------
    CatalogueError
        If the file does not describe a sound instrument.
    ReleaseRefused
        If another content was released under the same code and version.
    """
    content = path.read_bytes()
    instrument = parse_instrument(content, source=str(path))
    version, created = InstrumentVersion.objects.get_or_create(
        code=instrument.code,
        version=instrument.version,
        defaults={
            "content": content.decode("utf-8"),
            "content_hash": instrument.content_hash,
            "released_at": now,
        },
    )
    if version.content_hash != instrument.content_hash:
        raise ReleaseRefused(
            f"{path}: {version} was released on {version.released_at:%Y-%m-%d} with other content "
            f"(hash {version.content_hash[:12]}, this file {instrument.content_hash[:12]}). A released version is "
            "never edited: restore the file, and put the correction into a new file with a new version number."
        )
    return version, created


@transaction.atomic
def create_visit(
    *,
    dyad: Dyad,
    wave: Wave,
    form: str,
    instrument_version: InstrumentVersion,
    visit_date: date,
    now: datetime,
    link_valid_days: int,
    request_key: UUID | None = None,
) -> CreatedVisit:
    """Open both questionnaires of a dyad at a wave and mint the secrets of their links."""
    visit = Visit.objects.create(
        dyad=dyad, wave=wave, form=form, visit_date=visit_date, created_at=now, request_key=request_key
    )
    forms = clinician_forms(study=dyad.study, instrument=instrument_version.instrument, visits=[(dyad, form)], now=now)
    tokens = {role: new_token() for role in Role}
    Administration.objects.bulk_create(
        Administration(
            visit=visit,
            role=role,
            instrument_version=instrument_version,
            form=forms[dyad.pk] if role == Role.CLINICIAN else form,
            **order_fields(dyad.study, instrument_version.instrument, visit, role),
            token_hash=hash_token(token),
            **link_fields(token),
            expires_at=now + timedelta(days=link_valid_days),
        )
        for role, token in tokens.items()
    )
    return CreatedVisit(visit=visit, patient_token=tokens[Role.PATIENT], clinician_token=tokens[Role.CLINICIAN])


@transaction.atomic
def create_visits_with_new_patients(
    *, study: Study, clinicians: Sequence[Clinician], wave: Wave, form: str, count: int, now: datetime
) -> list[CreatedVisit]:
    """`count` visits of new patients under fresh study codes, spread evenly over the clinicians.

    A blank `form` is the study's, or by lot where the study draws (`patient_form.form_by_lot`).

    Raises
    ------
    ValueError
        If the study is closed, or its instrument is not loaded or has no such form.
    """
    if study.status != Study.Status.OPEN:
        raise ValueError(f"Study {study.code} is closed: no visit can be added. Its admin can open it under Settings.")
    version = study_instrument_version(study)
    if form and form not in version.instrument.forms:
        raise ValueError(f"{version} has no form {form!r}; its forms are {', '.join(version.instrument.forms)}.")
    created = []
    for number in range(count):
        clinician = clinicians[number % len(clinicians)]
        dyad, _ = dyad_between(study=study, clinician=clinician, patient_code=new_patient_code(clinician))
        created.append(
            create_visit(
                dyad=dyad,
                wave=wave,
                form=form or form_by_lot(study, dyad.patient_id),
                instrument_version=version,
                visit_date=timezone.localdate(now),
                now=now,
                link_valid_days=study.link_valid_days,
            )
        )
    return created


def fresh_patient_code(clinician: Clinician) -> str:
    """A study code that says nothing about the patient: the site and eight characters without look-alikes."""
    alphabet = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
    return f"{clinician.site.code}-{''.join(secrets.choice(alphabet) for _ in range(8))}"


def new_patient_code(clinician: Clinician) -> str:
    """Such a code that no patient of the site has."""
    while True:
        code = fresh_patient_code(clinician)
        # `dyad_between` takes a code that is there for a known patient: two people must never share one by chance.
        if not Patient.objects.filter(site=clinician.site, code=code).exists():
            return code


@transaction.atomic
def dyad_between(*, study: Study, clinician: Clinician, patient_code: str) -> tuple[Dyad, bool]:
    """The dyad of a clinician and a patient of the same site, and whether it is new; what is missing is made."""
    patient, _ = Patient.objects.get_or_create(site=clinician.site, code=patient_code)
    dyad = Dyad.objects.filter(clinician=clinician, patient=patient).first()
    if dyad is not None:
        return dyad, False
    with beyond_sites():  # a dyad's code is its own in the whole study
        code = next(
            code
            for code in _dyad_codes(clinician, patient_code)
            if len(code) <= MAXIMUM_DYAD_CODE and not Dyad.objects.filter(study=study, code=code).exists()
        )
    return Dyad.objects.create(study=study, clinician=clinician, patient=patient, code=code), True


def _dyad_codes(clinician: Clinician, patient_code: str) -> Iterator[str]:
    """Codes to try: patients' and clinicians' codes are unique within a site only, and a dyad may bear any code."""
    yield f"{patient_code}.{clinician.code}"
    yield f"{clinician.site.code}.{patient_code}.{clinician.code}"
    yield from (f"{patient_code}.{clinician.code}.{number}" for number in counted_from(2))


def study_instrument_version(study: Study) -> InstrumentVersion:
    """The released version that a study uses; a clear error when it was never loaded."""
    try:
        return InstrumentVersion.objects.get(code=study.instrument_code, version=study.instrument_version)
    except InstrumentVersion.DoesNotExist:
        raise ValueError(
            f"Study {study.code} uses {study.instrument_code} {study.instrument_version}, which is not loaded. "
            "Run `manage.py load_instruments`."
        ) from None


@transaction.atomic
def reissue_link(*, administration_id: int, now: datetime, into_hand: bool = False) -> str:
    """A new secret for an unfinished questionnaire; the old link stops working, the answers stay.

    A patient who had declined is asked again, and the clinician's form about this visit is open again as well.
    `into_hand` notes that the patient is given a tablet with it now.

    Raises
    ------
    QuestionnaireClosed
        If it is finished, or the patient does not take part.
    QuestionnaireUnderWay
        If a patient has begun to answer it. Answers are shown to whoever holds the link, and are the patient's alone.
    """
    administration = locked_administration(administration_id)
    if administration.is_completed:
        raise QuestionnaireClosed("This questionnaire is finished; it has no link any more.")
    if NonParticipation.objects.filter(visit=administration.visit_id).exists():
        raise QuestionnaireClosed(
            "This patient does not take part; the visit's links stay closed until that is undone."
        )
    if administration.is_under_way_with_patient:
        raise QuestionnaireUnderWay("This questionnaire can only be continued with the link that the patient has.")
    is_closed = administration.status == Administration.Status.DECLINED and not administration.cannot_rate
    if is_closed and administration.role == Role.CLINICIAN:
        raise QuestionnaireClosed("The patient would rather not take part; nobody rates this visit.")
    expires_at = now + timedelta(days=administration.visit.dyad.study.link_valid_days)
    if administration.is_declined:
        administration.status = Administration.Status.WAITING
        administration.language = ""
        _open_again(administration.visit_id, expires_at=expires_at)
    token = new_token()
    administration.token_hash = hash_token(token)
    for name, value in link_fields(token).items():
        setattr(administration, name, value)
    administration.expires_at = expires_at
    administration.handed_over_at = now if into_hand else None
    changed = ["token_hash", "code_hash", "token_box", "expires_at", "handed_over_at", "status", "language"]
    administration.save(update_fields=changed)
    return token


def _open_again(visit_id: int, *, expires_at: datetime) -> None:
    """The clinician's form that was closed because the patient declined."""
    closed = Administration.objects.filter(
        visit=visit_id, role=Role.CLINICIAN, status=Administration.Status.DECLINED, cannot_rate=None
    )
    for form in closed:
        form.status = Administration.Status.STARTED if form.started_at else Administration.Status.WAITING
        form.expires_at = expires_at
        form.save(update_fields=["status", "expires_at"])


@transaction.atomic
def choose_language(*, administration_id: int, language: str, now: datetime) -> None:
    """Show the questionnaire in this language from now on; starts it if it had not been started."""
    administration = _open(administration_id, now=now)
    if language not in administration.languages:
        raise AnswerRefused(f"This questionnaire is offered in {', '.join(administration.languages)}.")
    administration.language = language
    _mark_started(administration, now=now)
    administration.save(update_fields=["language", "status", "started_at"])


@transaction.atomic
def record_answers(*, administration_id: int, given: Sequence[GivenAnswer], now: datetime) -> int:
    """Store answers as they were given: into the answer log and the current answers. Returns the last sequence number.

    Delivering the same answers again changes nothing. An answer that arrives late, after one with a higher sequence
    number for the same item, goes into the log and leaves the current answer alone. All or nothing.

    Raises
    ------
    AnswerRefused
        For a code that is not asked, a value that is not offered or a sequence number below 1 (422); after the
        questionnaire was finished or when the sequence number carries another answer (409); after expiry (410).
    """
    administration = locked_administration(administration_id)
    if _record(administration, given, now=now):
        save_answers(administration)
    return administration.last_sequence


@transaction.atomic
def receive_delivery(
    *, token: str, given: Sequence[GivenAnswer], language: str, finish: bool, now: datetime
) -> Administration:
    """Take what waited on a device: answers in the order of giving and, if all were given, the finish. All or nothing.

    The same delivery again changes nothing. What was given before the link ended is taken until `QUEUE_GRACE` after it.

    Raises
    ------
    Administration.DoesNotExist
        If no questionnaire has this link.
    AnswerRefused
        As `record_answers`; also for a language in which the questionnaire is not offered (422).
    """
    administration = locked_administration_with_token(token)
    if language not in administration.instrument.languages:
        raise AnswerRefused(f"This questionnaire is offered in {', '.join(administration.instrument.languages)}.")
    grace = QUEUE_GRACE if administration.status != Administration.Status.WAITING else timedelta()
    if administration.is_completed:
        _record(administration, given, now=now)  # known answers are welcome again, new ones are refused
        return administration
    require_open(administration, now=now, grace=grace)
    administration.language = language
    _mark_started(administration, now=now)
    _record(administration, given, now=now, grace=grace)
    save_answers(administration)
    if finish:
        _complete(administration, now=now)
    return administration


def _record(
    administration: Administration, given: Sequence[GivenAnswer], *, now: datetime, grace: timedelta = timedelta()
) -> bool:
    """Put what is new into the log and the current answers; whether anything was. The caller saves the form."""
    answers = [_checked(administration, one) for one in given]
    stored = _stored_at(administration, [one.sequence for one in answers])
    fresh: list[_CheckedAnswer] = []
    for one in answers:
        if one.sequence not in stored:
            stored[one.sequence] = (one.item, one.value)
            fresh.append(one)
        elif stored[one.sequence] != (one.item, one.value):
            raise SequenceConflict(f"Sequence number {one.sequence} already carries another answer.")
    if not fresh:
        return False
    require_open(administration, now=now, grace=grace)
    late_items = [one.item for one in fresh if one.sequence < administration.last_sequence]
    newest = _newest_sequences(administration, late_items)
    for one in fresh:
        if one.sequence > newest.get(one.item, 0):
            administration.answers[one.item] = one.value
            newest[one.item] = one.sequence
    administration.last_sequence = max(administration.last_sequence, *(one.sequence for one in fresh))
    _mark_started(administration, now=now)
    append_events(
        AnswerEvent(
            administration=administration,
            sequence=one.sequence,
            item=one.item,
            value=one.value,
            language=one.language or administration.language,
            client_time=one.client_time,
            received_at=now,
            paradata=one.paradata,
        )
        for one in fresh
    )
    return True


@transaction.atomic
def complete_administration(*, administration_id: int, now: datetime) -> None:
    """Finish a questionnaire: every gap gets its reason, the answers become final, and scoring is asked for.

    Finishing again changes nothing. "Completed" and "this dyad needs scoring" are committed together.

    Raises
    ------
    AnswerRefused
        If the questionnaire was never started (409) or its time is over (410).
    """
    administration = locked_administration(administration_id)
    if administration.is_completed:
        return
    require_open(administration, now=now)
    if administration.status == Administration.Status.WAITING:
        raise QuestionnaireNotStarted("This questionnaire was never started; there is nothing to finish.")
    _complete(administration, now=now)


def _complete(administration: Administration, *, now: datetime) -> None:
    administration.answers = administration.questionnaire.closed_answers(administration.answers)
    administration.status = Administration.Status.COMPLETED
    administration.completed_at = now
    administration.median_item_seconds = median_item_seconds(administration)
    administration.save(update_fields=["answers", "status", "completed_at", "median_item_seconds"])
    administration_completed.send(sender=Administration, visit_ids=[administration.visit_id])


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedForm:
    """A questionnaire that was filled in elsewhere: all its answers, checked and closed."""

    dyad: Dyad
    wave: Wave
    role: Role
    form: str
    language: str
    answers: Mapping[str, Answer]
    completed_at: datetime
    median_item_seconds: float | None = None


class FormsTaken(Exception):
    """Nothing was stored: these questionnaires are being answered or finished, and answers are never replaced."""

    def __init__(self, forms: Sequence[FinishedForm]) -> None:
        super().__init__(f"{len(forms)} questionnaires are started or finished; their answers are never replaced.")
        self.forms = list(forms)


@transaction.atomic
def store_finished_forms(
    *,
    study: Study,
    instrument_version: InstrumentVersion,
    forms: Sequence[FinishedForm],
    mode: Administration.Mode,
    now: datetime,
) -> None:
    """Store whole finished questionnaires: visits where missing, administrations, answer log, and the announcement.

    A questionnaire of the same visit and role that waits unanswered is taken over; its link stops working.
    The partner's questionnaire of a new visit stays open for `link_valid_days` of its study, without a link yet.

    Raises
    ------
    FormsTaken
        If somebody is answering or has finished one of these questionnaires; nothing is stored then.
    """
    visits = {
        (visit.dyad_id, visit.wave_id): visit
        for visit in Visit.objects.filter(dyad__study=study).select_related("dyad__study")
    }
    new_visits = {
        (form.dyad.pk, form.wave.pk): Visit(
            dyad=form.dyad,
            wave=form.wave,
            form=form.form,
            visit_date=timezone.localdate(form.completed_at),
            created_at=now,
        )
        # A visit's date is that of its earlier form: written last, it stays.
        for form in sorted(forms, key=lambda form: form.completed_at, reverse=True)
        if (form.dyad.pk, form.wave.pk) not in visits
    }
    Visit.objects.bulk_create(new_visits.values(), batch_size=500)
    visits |= new_visits
    finished = {(visits[form.dyad.pk, form.wave.pk].pk, form.role.value): form for form in forms}
    new_pks = {visit.pk for visit in new_visits.values()}
    waiting = _held_waiting({place: form for place, form in finished.items() if place[0] not in new_pks})
    places = set(finished) | {(pk, role.value) for pk in new_pks for role in Role}
    visit_by_pk = {visit.pk: visit for visit in visits.values()}
    stored = []
    for visit, role in sorted(places):
        one = _administration(visit_by_pk[visit], role, finished.get((visit, role)), instrument_version, mode, now)
        one.pk = waiting.get((visit, role))
        stored.append(one)
    # Rows are taken over in place: a respondent whose first answer waits for this lock learns that the form is closed.
    for one in stored:
        if one.pk is not None:
            one.save(force_update=True)
    Administration.objects.bulk_create((one for one in stored if one.pk is None), batch_size=500)
    AnswerEvent.objects.bulk_create(
        (
            AnswerEvent(
                administration=administration,
                sequence=sequence,
                item=item,
                value=value,
                language=administration.language,
                received_at=now,
            )
            for administration in stored
            for sequence, (item, value) in enumerate(administration.answers.items(), start=1)
        ),
        batch_size=5000,
    )
    administration_completed.send(sender=Administration, visit_ids=sorted({visit for visit, _ in finished}))


def _held_waiting(forms: Mapping[tuple[int, str], FinishedForm]) -> dict[tuple[int, str], int]:
    """The unanswered questionnaires at these visits and roles, held so that nobody can start them meanwhile."""
    waiting: dict[tuple[int, str], int] = {}
    taken = []
    visits = sorted({visit for visit, _ in forms})
    for start in range(0, len(visits), 500):
        held = Administration.objects.select_for_update().filter(visit__in=visits[start : start + 500]).order_by("pk")
        for pk, visit, role, status in held.values_list("pk", "visit_id", "role", "status"):
            if (visit, role) not in forms:
                continue
            if status == Administration.Status.WAITING:
                waiting[visit, role] = pk
            else:
                taken.append(forms[visit, role])
    if taken:
        raise FormsTaken(taken)
    return waiting


def _administration(
    visit: Visit,
    role: str,
    form: FinishedForm | None,
    version: InstrumentVersion,
    mode: Administration.Mode,
    now: datetime,
) -> Administration:
    """A finished questionnaire, or the open one of its partner."""
    administration = Administration(
        visit=visit,
        role=role,
        instrument_version=version,
        form=visit.form,
        token_hash=hash_token(new_token()),
        expires_at=now + timedelta(days=visit.dyad.study.link_valid_days),
    )
    if form is not None:
        administration.mode = mode
        administration.status = Administration.Status.COMPLETED
        administration.language = form.language
        administration.started_at = administration.completed_at = form.completed_at
        administration.answers = dict(form.answers)
        administration.last_sequence = len(form.answers)
        administration.median_item_seconds = form.median_item_seconds
    return administration


def median_item_seconds(administration: Administration) -> float | None:
    """Median seconds from one item to the next, from the answer log; None without any answered item.

    The script's own clock counts where it measured: what waited offline arrives all at once. Otherwise items that
    arrived together (a block of the clinician's page) share the time since the arrival before them.
    """
    codes = {code for code, entry in administration.questionnaire.entries.items() if isinstance(entry, Item)}
    events = administration.events.order_by("received_at", "sequence").values_list("received_at", "item", "paradata")
    seconds: list[float] = []
    seen: set[str] = set()
    previous = administration.started_at
    for received_at, group in groupby(events, key=lambda event: event[0]):
        arrived = [(item, paradata or {}) for _, item, paradata in group]
        first_answers = {item: paradata for item, paradata in reversed(arrived) if item in codes and item not in seen}
        measured = [paradata["ms"] / 1000 for paradata in first_answers.values() if "ms" in paradata]
        n_unmeasured = len(first_answers) - len(measured)
        seconds.extend(measured)
        if previous is not None and n_unmeasured:
            elapsed = (received_at - previous).total_seconds()
            seconds.extend([elapsed / n_unmeasured] * n_unmeasured)
        seen |= {item for item, _ in arrived}
        previous = received_at
    return median(seconds) if seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckedAnswer:
    item: str
    value: Answer
    sequence: int
    client_time: datetime | None
    language: str
    paradata: Mapping[str, Any] | None


def _checked(administration: Administration, given: GivenAnswer) -> _CheckedAnswer:
    # A number far ahead would use up those between: no later answer could be stored.
    highest = min(administration.last_sequence + MAXIMUM_SEQUENCE_GAP, MAXIMUM_SEQUENCE)
    if not 1 <= given.sequence <= highest:
        raise AnswerRefused(f"The sequence number must be a whole number from 1 to {highest}: count on from the last.")
    try:
        value = administration.questionnaire.check_answer(given.item, given.value)
    except InvalidAnswer as error:
        raise AnswerRefused(str(error)) from error
    return _CheckedAnswer(
        item=given.item,
        value=value,
        sequence=given.sequence,
        client_time=given.client_time,
        # A language that is not offered was not shown; the questionnaire's own is the better guess.
        language=given.language if given.language in administration.instrument.languages else "",
        paradata=given.paradata,
    )


def _open(administration_id: int, *, now: datetime) -> Administration:
    administration = locked_administration(administration_id)
    require_open(administration, now=now)
    return administration


def require_open(administration: Administration, *, now: datetime, grace: timedelta = timedelta()) -> None:
    """Raises `QuestionnaireClosed` or `LinkExpired` where nothing can be answered any more."""
    if administration.is_completed:
        raise QuestionnaireClosed("This questionnaire is finished; its answers can no longer change.")
    if administration.is_declined:
        raise QuestionnaireClosed("The patient would rather not take part; nothing is asked.")
    if administration.is_expired(now=now - grace):
        raise LinkExpired("The time for answering this questionnaire is over.")
    if administration.cannot_rate:
        raise RatingDeclined("You said that you can't rate this patient. Take it up again first.")


def _mark_started(administration: Administration, *, now: datetime) -> None:
    if administration.awaits_consent:
        raise ConsentAwaited("The patient has to be asked for consent before anything is answered.")
    if administration.status == Administration.Status.WAITING:
        administration.status = Administration.Status.STARTED
        administration.started_at = now


def _stored_at(administration: Administration, sequences: Sequence[int]) -> dict[int, tuple[str, Answer]]:
    """The logged (item, value) at these sequence numbers; no query when all are new, as they nearly always are."""
    used = [sequence for sequence in sequences if sequence <= administration.last_sequence]
    if not used:
        return {}
    events = administration.events.filter(sequence__in=used).values_list("sequence", "item", "value")
    return {sequence: (item, value) for sequence, item, value in events}


def _newest_sequences(administration: Administration, items: Sequence[str]) -> dict[str, int]:
    """The highest sequence number in the log for each of these items."""
    if not items:
        return {}
    newest: dict[str, int] = {}
    events = administration.events.filter(item__in=items).values_list("item", "sequence")
    for item, sequence in events:
        newest[item] = max(sequence, newest.get(item, 0))
    return newest
