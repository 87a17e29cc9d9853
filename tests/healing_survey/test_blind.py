"""Neither side of a dyad learns the other's answers: every URL, method and error, searched for planted words.

The patient's and the clinician's answers, log and scores hold a word of their own, which no true answer could be. What
a clinician's session, pass and link, and a patient's link get from the server is searched for the other's word.
"""

import re
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from healing_survey.policy import POLICY
from instruments import views
from instruments.definitions import Role
from instruments.inbox import pass_for
from instruments.models import Administration, AnswerEvent
from scoring.models import DyadScore
from studies.models import Member
from tests.factories import NOW, StudyKit, administration_of, answer, make_member, make_study, make_visit
from tests.healing_survey.test_policy import ask, every_url

pytestmark = pytest.mark.django_db

WORD = {Role.PATIENT: "zzpatientzz", Role.CLINICIAN: "zzclinicianzz"}
FIGURE = {Role.PATIENT: 37.1313, Role.CLINICIAN: 61.4747}
BODIES = ("", "{", '{"language": "en", "answers": [{"item": "nothing", "value": 1, "sequence": 1}]}')


@pytest.fixture
def kit() -> StudyKit:
    return make_study("BLIND", form="short")


class Dyad:
    """One dyad with planted words, and every way in that its two people have."""

    def __init__(self, kit: StudyKit, *, finished: frozenset[Role]) -> None:
        now = timezone.now()
        self.user = kit.clinicians[0].user or make_member(kit, Member.Role.CLINICIAN)
        self.created = make_visit(kit, now=now)
        self.forms = {role: administration_of(self.created, role) for role in Role}
        for role, form in self.forms.items():
            answer(form, {"VN1": 3}, now=now)
            AnswerEvent.objects.create(
                administration=form, sequence=2, item="VC2", value=WORD[role], language="en", received_at=now
            )
            changes: dict[str, Any] = {"answers": {"VN1": 3, "VC2": WORD[role]}, "last_sequence": 2, "language": "en"}
            if role in finished:
                changes |= {"status": "completed", "completed_at": now}
            Administration.objects.filter(pk=form.pk).update(**changes)
        self.score = DyadScore(
            visit=self.created.visit,
            study=kit.study,
            dyad_clinician=kit.clinicians[0],
            wave=kit.wave,
            visit_date=self.created.visit.visit_date,
            dyad_code=self.created.visit.dyad.code,
            form="short",
            is_complete=len(finished) == 2,
            is_eligible=True,
            is_flagged=False,
            patient={"form": "short", "note": WORD[Role.PATIENT]},
            clinician={"form": "short", "note": WORD[Role.CLINICIAN]},
            dyad={"note": " ".join(WORD.values())},
            rules_version="1.0",
            scored_at=NOW,
            patient_valuing=FIGURE[Role.PATIENT],
            clinician_valuing=FIGURE[Role.CLINICIAN],
        )
        self.score.save()
        self.tokens = {
            Role.PATIENT: [self.created.patient_token],
            Role.CLINICIAN: [
                self.created.clinician_token,
                pass_for(administration=self.forms[Role.CLINICIAN], user=self.user, now=now),
            ],
        }

    def addresses(self, role: Role) -> list[tuple[str, str]]:
        """(name, address) of all that the role could ask for: each URL with the ids of both forms and its own links."""
        visit = self.created.visit
        found = []
        for name, route in every_url():
            for form in self.forms.values():
                for token in self.tokens[role]:
                    known = {
                        "code": "BLIND",
                        "token": token,
                        "administration_id": form.pk,
                        "dyad_code": visit.dyad.code,
                        "wave_code": visit.wave.code,
                        "clinician_id": visit.dyad.clinician_id,
                        "site_id": visit.dyad.clinician.site_id,
                        "wave_id": visit.wave_id,
                        "patient_id": visit.dyad.patient_id,
                        "visit_id": visit.pk,
                        "number": 1,
                        "key": UUID(int=7),
                    }
                    parameters = re.findall(r"<(\w+):(\w+)>", route)
                    values = [known.get(one, 1 if kind == "int" else "nothing") for kind, one in parameters]
                    try:
                        found.append((name, reverse(name, args=values)))
                    except NoReverseMatch:  # Django's own admin writes its addresses in another way
                        continue
        return sorted(set(found))


def told(dyad: Dyad, role: Role) -> list[str]:
    """Where the other side's word or figure reached this role."""
    other = Role.CLINICIAN if role is Role.PATIENT else Role.PATIENT
    client = Client(raise_request_exception=False)
    if role is Role.CLINICIAN:
        client.force_login(dyad.user)
    leaks = []
    for name, address in dyad.addresses(role):
        answers = [ask(client, method, address) for method in ("get", "post", "head", "put")]
        if name.startswith("questionnaire"):
            for body in BODIES:
                with transaction.atomic():  # each finds the forms as they were
                    response = client.post(address, body, content_type="application/json")
                    transaction.set_rollback(True)
                answers.append(type(answers[0])(status=response.status_code, body=response.content.decode()))
        for got in answers:
            if WORD[other] in got.body or str(FIGURE[other])[:5] in got.body:
                leaks.append(f"{role} {name} {got.status}")
            if got.status >= 500:
                leaks.append(f"{role} {name} failed: {got.status}")
    return leaks


@pytest.mark.parametrize(
    "finished",
    [frozenset(), frozenset({Role.PATIENT}), frozenset({Role.CLINICIAN}), frozenset(Role)],
    ids=["none", "patient", "clinician", "both"],
)
def test_nobody_learns_the_others_answers(kit: StudyKit, finished: frozenset[Role]) -> None:
    """Before and after either has finished; own answers show that the search does see what a page tells."""
    assert set(POLICY) >= {"questionnaire_state", "patients_to_rate", "dyad"}
    dyad = Dyad(kit, finished=finished)
    assert told(dyad, Role.CLINICIAN) == []
    assert told(dyad, Role.PATIENT) == []
    if Role.CLINICIAN not in finished:
        state = Client().get(reverse("questionnaire_state", args=[dyad.created.clinician_token])).content.decode()
        assert WORD[Role.CLINICIAN] in state


def test_the_search_finds_a_planted_leak(kit: StudyKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a state that told the partner's answers as well would be found, on both sides."""
    dyad = Dyad(kit, finished=frozenset())
    real = views._state

    def telling(opened: Any) -> dict[str, Any]:
        partner = Administration.objects.exclude(pk=opened.administration.pk).get(visit=opened.administration.visit)
        return real(opened) | {"partner": partner.answers}

    monkeypatch.setattr(views, "_state", telling)
    for role in Role:
        assert f"{role} questionnaire_state 200" in told(dyad, role)


def test_a_score_is_not_there_for_the_clinician_after_rating(kit: StudyKit) -> None:
    """The dyad's page, table and file refuse a clinician before and after; a researcher's session opens them."""
    dyad = Dyad(kit, finished=frozenset(Role))
    address = reverse("dyads", args=["BLIND"])
    client = Client()
    client.force_login(dyad.user)
    assert client.get(address).status_code == 403
    researcher = Client()
    researcher.force_login(make_member(kit, Member.Role.RESEARCHER))
    shown = researcher.get(address)
    assert shown.status_code == 200
    assert dyad.created.visit.dyad.code in shown.content.decode()
