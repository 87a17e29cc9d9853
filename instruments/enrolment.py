"""The front desk's way to a visit: a new patient, or one whose study code is known."""

from datetime import date, datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _

from instruments.services import CreatedVisit, create_visit, new_patient_code, study_instrument_version
from studies import audit
from studies.models import Clinician, Dyad, Patient, Study, Visit, Wave


class EnrolmentRefused(Exception):
    """No visit was made; `field` names the form's field to mend. The message is for the person at the desk."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def enrol_visit(
    *,
    study: Study,
    clinician: Clinician,
    wave: Wave,
    form: str,
    patient_code: str,
    visit_date: date,
    actor: User,
    now: datetime,
) -> CreatedVisit:
    """A visit of one patient with one clinician, with the secrets of both links.

    A blank `patient_code` makes a new patient under a fresh study code.

    Raises
    ------
    EnrolmentRefused
        If the study is closed, the site has no such patient, or this dyad was already asked at this wave.
    """
    if study.status != Study.Status.OPEN:
        raise EnrolmentRefused(None, _("This study is closed: no visit can be added. Its admin can open it again."))
    if patient_code:
        patient = Patient.objects.filter(site=clinician.site, code=patient_code).first()
        if patient is None:
            raise EnrolmentRefused(
                "patient_code",
                _("The clinician's site has no patient with this study code. Check it, or leave it blank."),
            )
    else:
        patient = Patient.objects.create(site=clinician.site, code=new_patient_code(clinician))
    dyad = _dyad(study=study, clinician=clinician, patient=patient)
    if Visit.objects.filter(dyad=dyad, wave=wave).exists():
        raise EnrolmentRefused(
            "patient_code",
            _("This patient has a visit with this clinician at this wave already. Choose another wave."),
        )
    created = create_visit(
        dyad=dyad,
        wave=wave,
        form=form,
        instrument_version=study_instrument_version(study),
        visit_date=visit_date,
        now=now,
        link_valid_days=study.link_valid_days,
    )
    audit.record(study=study, actor=actor, action="add visit", detail={"dyad": dyad.code, "wave": wave.code}, now=now)
    return created


def _dyad(*, study: Study, clinician: Clinician, patient: Patient) -> Dyad:
    dyad = Dyad.objects.filter(clinician=clinician, patient=patient).first()
    if dyad is not None:
        return dyad
    code = f"{patient.code}.{clinician.code}"
    # Patients' and clinicians' codes are unique within a site only; two sites may share a pair of them.
    if Dyad.objects.filter(study=study, code=code).exists():
        code = f"{clinician.site.code}.{code}"
    return Dyad.objects.create(study=study, clinician=clinician, patient=patient, code=code)
