"""Small, real rows for tests: a study with its instrument, sites, clinicians and visits."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from instruments.definitions import Answer, Instrument, Role
from instruments.models import Administration, InstrumentVersion, hash_token
from instruments.services import (
    CreatedVisit,
    GivenAnswer,
    complete_administration,
    create_visits_with_new_patients,
    record_answers,
    release_instrument,
)
from scoring.models import DyadScore
from scoring.rules.dyad import score_dyad
from scoring.rules.layout import form_layouts
from scoring.rules.records import dyad_record
from scoring.services import DOMAINS
from studies.consent_texts import write_text
from studies.models import Clinician, Dyad, Invitation, Member, Patient, Site, Study, Visit, Wave

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CATALOGUE_FILE = Path(__file__).resolve().parents[1] / "instruments" / "catalogue" / "healing-relationships-1.0.yaml"


#: What the form of a study's settings sends about its clinicians where nothing is changed.
CLINICIAN_SETTINGS = {
    "clinician_form": "same",
    "n_full_form_patients": "3",
    "n_planned_patients": "20",
    "first_reminder_days": "3",
    "second_reminder_days": "7",
}


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


CONSENT = {"en": "# About\n\nYou may say no.\n\n- It is <b>yours</b>.", "es": "Usted puede decir que no."}


def ask_for_consent(kit: StudyKit, *, languages: tuple[str, ...] = ("en", "es"), now: datetime = NOW) -> None:
    """From here on the study asks its patients first, with a text in each of these languages."""
    Study.objects.filter(pk=kit.study.pk).update(consent=Study.Consent.HERE)
    kit.study.refresh_from_db()
    for language in languages:
        write_text(study=kit.study, site=None, language=language, text=CONSENT[language], why="", actor=None, now=now)


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


PASSWORD = "a long enough password"


def make_user(username: str, *, is_superuser: bool = False) -> User:
    """An account; everyone has the same password."""
    return User.objects.create_user(username=username, password=PASSWORD, is_superuser=is_superuser)


def make_member(
    kit: StudyKit, role: str, *, username: str = "", site: Site | None = None, clinician: Clinician | None = None
) -> User:
    """A new account with a role in the study. A coordinator gets the first site, a clinician the first clinician."""
    user = make_user(username or f"{kit.study.code.lower()}-{role}")
    if role == Member.Role.COORDINATOR:
        site = site or kit.sites[0]
    if role == Member.Role.CLINICIAN:
        clinician = clinician or kit.clinicians[0]
        clinician.user = user
        clinician.save(update_fields=["user"])
    Member.objects.create(study=kit.study, user=user, role=role, site=site)
    return user


def make_invitation(kit: StudyKit, invited_by: User, *, email: str = "somebody@example.org") -> Invitation:
    """A role that waits to be taken up."""
    return Invitation.objects.create(
        study=kit.study,
        email=email,
        role=Member.Role.AUDITOR,
        token_hash=hash_token(f"{kit.study.pk} {email}"),
        invited_by=invited_by,
        invited_at=timezone.now(),
        expires_at=timezone.now() + timedelta(days=1),
    )


def make_scored_visits(kit: StudyKit, n: int, *, seed: int = 1) -> list[DyadScore]:
    """Visits with random stored scores, about one in six of them missing; the same seed gives the same rows.

    The rows are written straight to the table: for pages that list and sort, not for what a score means.
    """
    rng = random.Random(seed)
    waves = [
        kit.wave,
        Wave.objects.get_or_create(study=kit.study, code="retest", defaults={"label": "Retest", "position": 2})[0],
    ]
    record = dyad_record(
        score_dyad(
            form_layouts(kit.instrument), patient=None, clinician=None, days_apart=None, months_known=None, visits=None
        )
    )
    del record["patient"], record["clinician"]
    scores = []
    n_before = Dyad.objects.filter(study=kit.study).count()
    for number in range(n_before, n_before + n):
        clinician = rng.choice(kit.clinicians)
        patient = Patient.objects.create(site=clinician.site, code=f"P{number:03}")
        dyad = Dyad.objects.create(
            study=kit.study,
            clinician=clinician,
            patient=patient,
            code=f"{rng.choice(['ash', 'Birch', 'CEDAR', '100%', 'a_b'])}-{number}",
        )
        visit = Visit.objects.create(
            dyad=dyad,
            wave=rng.choice(waves),
            form="full",
            visit_date=NOW.date() - timedelta(days=rng.randrange(20)),
        )
        columns = {
            f"{role}_{domain}": None if rng.random() < 1 / 6 else float(rng.randrange(0, 101, 5))
            for role in Role
            for domain in DOMAINS
        }
        is_complete = rng.random() < 0.8
        scores.append(
            DyadScore(
                visit=visit,
                study=kit.study,
                dyad_clinician=clinician,
                wave=visit.wave,
                visit_date=visit.visit_date,
                dyad_code=dyad.code,
                form="full",
                is_complete=is_complete,
                is_eligible=is_complete and rng.random() < 0.8,
                is_flagged=rng.random() < 0.2,
                dyad=record,
                rules_version="1.0",
                scored_at=NOW,
                **columns,
            )
        )
    return DyadScore.objects.bulk_create(scores)


def settings_as_they_are(client: Client, code: str) -> dict[str, Any]:
    """What the settings page would send if nothing were changed."""
    form = client.get(reverse("study_settings", args=[code])).context["form"]
    values = {bound.name: bound.value() for bound in form}
    return {name: value for name, value in values.items() if value not in (None, False)}
