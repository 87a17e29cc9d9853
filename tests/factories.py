"""Small, real rows for tests: a study with its instrument, sites, clinicians and visits."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from instruments.definitions import Answer, Instrument, Role
from instruments.models import Administration, InstrumentVersion
from instruments.services import (
    CreatedVisit,
    GivenAnswer,
    complete_administration,
    create_visits_with_new_patients,
    record_answers,
    release_instrument,
)
from studies.models import Clinician, Site, Study, Wave

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CATALOGUE_FILE = Path(__file__).resolve().parents[1] / "instruments" / "catalogue" / "healing-relationships-1.0.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyKit:
    """A study with everything that a visit needs."""

    study: Study
    version: InstrumentVersion
    wave: Wave
    sites: list[Site]
    clinicians: list[Clinician]

    @property
    def instrument(self) -> Instrument:
        return self.version.instrument


def make_study(
    code: str = "PILOT", *, n_sites: int = 1, n_clinicians: int = 1, is_synthetic: bool = False, form: str = "full"
) -> StudyKit:
    """A study; `n_clinicians` at each of `n_sites` sites."""
    version, _ = release_instrument(CATALOGUE_FILE, now=NOW)
    study = Study.objects.create(
        code=code, title=f"Study {code}", is_synthetic=is_synthetic, default_form=form, link_valid_days=30
    )
    sites = [Site.objects.create(study=study, code=f"S{n}", name=f"Site {n}") for n in range(1, n_sites + 1)]
    clinicians = [
        Clinician.objects.create(site=site, code=f"C{n}") for site in sites for n in range(1, n_clinicians + 1)
    ]
    wave = Wave.objects.create(study=study, code="baseline", label="Baseline", position=1)
    return StudyKit(study=study, version=version, wave=wave, sites=sites, clinicians=clinicians)


def make_visit(
    kit: StudyKit, *, clinician: Clinician | None = None, form: str | None = None, now: datetime = NOW
) -> CreatedVisit:
    """One visit of a new patient with both questionnaires open."""
    return create_visits_with_new_patients(
        study=kit.study,
        clinicians=[clinician or kit.clinicians[0]],
        wave=kit.wave,
        form=form or kit.study.default_form,
        count=1,
        now=now,
    )[0]


def administration_of(created: CreatedVisit, role: Role) -> Administration:
    """The questionnaire of one role."""
    return Administration.objects.for_answering().get(visit=created.visit, role=role)


def answer(administration: Administration, answers: dict[str, Answer], *, now: datetime = NOW) -> None:
    """Give these answers, in order, as the next ones."""
    start = Administration.objects.values_list("last_sequence", flat=True).get(pk=administration.pk) + 1
    record_answers(
        administration_id=administration.pk,
        given=[
            GivenAnswer(item=item, value=value, sequence=start + offset)
            for offset, (item, value) in enumerate(answers.items())
        ],
        now=now,
    )


def finish(created: CreatedVisit, role: Role, *, value: int = 4, now: datetime = NOW, **answers: Answer) -> None:
    """Answer every item of a role's form with `value`, except those named, and finish it."""
    administration = administration_of(created, role)
    items = administration.instrument.forms[administration.form].order
    answer(administration, {code: answers.get(code, value) for code in items}, now=now)
    answer(administration, {code: given for code, given in answers.items() if code not in items}, now=now)
    complete_administration(administration_id=administration.pk, now=now)
