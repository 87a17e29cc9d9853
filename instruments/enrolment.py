"""The front desk's way to a visit: a new patient, or one whose study code is known."""

from datetime import date, datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from instruments.patient_form import form_by_lot
from instruments.services import CreatedVisit, create_visit, dyad_between, new_patient_code, study_instrument_version
from studies import audit
from studies.models import Clinician, Patient, Study, Visit, Wave
from studies.windows import VisitMade, proposed_wave


class EnrolmentRefused(Exception):
    """No visit was made; `field` names the form's field to mend. The message is for the person at the desk."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


class VisitMadeAlready(Exception):
    """The same form was sent before; `visit` is what it made then."""

    def __init__(self, visit: Visit) -> None:
        super().__init__(f"Visit {visit.pk} was made by this form.")
        self.visit = visit


def enrol_visit(
    *,
    study: Study,
    clinician: Clinician,
    wave: Wave | None,
    form: str,
    patient_code: str,
    visit_date: date,
    request_key: UUID,
    actor: User,
    now: datetime,
) -> CreatedVisit:
    """A visit of one patient with one clinician, with the secrets of both links.

    A blank `patient_code` makes a new patient under a fresh study code; without a `wave` the windows of the waves say
    which (`studies.windows.proposed_wave`), without a `form` the study or its lot. `request_key` names the page that
    asks: however often and however quickly it is sent, it makes one visit.

    Raises
    ------
    EnrolmentRefused
        If the study is closed, the site has no such patient, or this dyad was already asked at this wave.
    VisitMadeAlready
        If a form with this `request_key` has made a visit.
    """

    def enrol() -> CreatedVisit:
        return _enrol(
            study=study,
            clinician=clinician,
            wave=wave,
            form=form,
            patient_code=patient_code,
            visit_date=visit_date,
            request_key=request_key,
            actor=actor,
            now=now,
        )

    try:
        return enrol()
    except IntegrityError:
        # Somebody was faster by a moment. Nothing of ours is stored, and what they stored is seen now.
        return enrol()


@transaction.atomic
def _enrol(
    *,
    study: Study,
    clinician: Clinician,
    wave: Wave | None,
    form: str,
    patient_code: str,
    visit_date: date,
    request_key: UUID,
    actor: User,
    now: datetime,
) -> CreatedVisit:
    before = Visit.objects.filter(request_key=request_key).first()
    if before is not None:
        raise VisitMadeAlready(before)
    if study.status != Study.Status.OPEN:
        raise EnrolmentRefused(None, _("This study is closed: no visit can be added. Its admin can open it again."))
    if patient_code and not Patient.objects.filter(site=clinician.site, code=patient_code).exists():
        raise EnrolmentRefused(
            "patient_code",
            _("The clinician's site has no patient with this study code. Check it, or leave it blank."),
        )
    dyad, _is_new = dyad_between(
        study=study, clinician=clinician, patient_code=patient_code or new_patient_code(clinician)
    )
    if dyad.withdrawals.exists():
        raise EnrolmentRefused(
            "patient_code", _("The patient or the clinician has withdrawn from this dyad: no visit can be added.")
        )
    made = [VisitMade(wave_id=one.wave_id, day=one.visit_date) for one in dyad.visits.all()]
    wave = wave or proposed_wave(list(study.waves.all()), day=visit_date, made=made)
    if wave is None:
        raise EnrolmentRefused("wave", _("This study has no wave yet. Its admin can add one."))
    if any(one.wave_id == wave.pk for one in made):
        raise EnrolmentRefused(
            "patient_code",
            _("This patient has a visit with this clinician at this wave already. Choose another wave."),
        )
    created = create_visit(
        dyad=dyad,
        wave=wave,
        form=form or form_by_lot(study, dyad.patient_id),
        instrument_version=study_instrument_version(study),
        visit_date=visit_date,
        now=now,
        link_valid_days=study.link_valid_days,
        request_key=request_key,
    )
    audit.record(study=study, actor=actor, action="add visit", detail={"dyad": dyad.code, "wave": wave.code}, now=now)
    return created
