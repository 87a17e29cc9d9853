"""What a device's queue delivers: accepted once, in order, a day later too; refused with a reason; never a 5xx."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from instruments.bundle import form_bundle
from instruments.definitions import Absence, Role
from instruments.delivery import read_paradata
from instruments.models import Administration, AnswerEvent
from instruments.services import (
    QUEUE_GRACE,
    CreatedVisit,
    GivenAnswer,
    complete_administration,
    receive_delivery,
)
from tests.factories import StudyKit, administration_of, make_study, make_visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def kit() -> StudyKit:
    """A study with the released instrument."""
    return make_study(form="short")


@pytest.fixture
def visit(kit: StudyKit) -> CreatedVisit:
    """A visit whose links are open now."""
    return make_visit(kit, now=datetime.now(UTC))


def queued(*answers: tuple[str, object], first: int = 1, **more: Any) -> list[dict[str, Any]]:
    """Answers as a device numbers them."""
    return [
        {"item": item, "value": value, "sequence": first + place, **more} for place, (item, value) in enumerate(answers)
    ]


def deliver(visit: CreatedVisit, answers: list[dict[str, Any]], *, role: Role = Role.PATIENT, **more: Any) -> Any:
    """Post a queue to the questionnaire's address, without a cookie and with the CSRF check on."""
    token = visit.patient_token if role is Role.PATIENT else visit.clinician_token
    body = {"language": "en", "answers": answers, **more}
    return Client(enforce_csrf_checks=True).post(f"/q/{token}/deliver/", body, content_type="application/json")


def patient_form(visit: CreatedVisit) -> Administration:
    """The row as it stands now."""
    return administration_of(visit, Role.PATIENT)


def test_a_delivery_starts_records_and_finishes(visit: CreatedVisit) -> None:
    """Answers and the finish may come in one piece, from a page whose Start never reached the server."""
    response = deliver(visit, queued(("VN1", 4), ("VC2", "SKIPPED")), finish=True)
    assert (response.status_code, response.json()) == (200, {"last_sequence": 2, "status": "completed"})
    form = patient_form(visit)
    assert form.is_completed
    assert (form.language, form.answers["VN1"], form.answers["VC2"]) == ("en", 4, Absence.SKIPPED)
    assert form.answers["VP1"] == Absence.NOT_REACHED
    assert "HttpOnly" in str(response.cookies["finished"])  # evicts pages that the browser keeps for Back


def test_a_queue_replayed_a_day_later_is_accepted_once(visit: CreatedVisit) -> None:
    """The whole queue again, after part of it had been stored and acknowledged into the void."""
    answers = queued(("VN1", 4), ("VC2", 2), ("VN1", 5))
    form = patient_form(visit)
    given = [GivenAnswer(item=one["item"], value=one["value"], sequence=one["sequence"]) for one in answers]
    start = datetime.now(UTC)
    for later in (timedelta(), timedelta(days=1), timedelta(days=1, hours=1)):
        stored = receive_delivery(
            token=visit.patient_token,
            given=given[:2] if not later else given,
            language="en",
            finish=bool(later),
            now=start + later,
        )
    assert stored.is_completed
    assert patient_form(visit).answers["VN1"] == 5
    assert AnswerEvent.objects.filter(administration=form).count() == 3


def test_known_answers_are_welcome_after_the_finish_and_new_ones_are_not(visit: CreatedVisit) -> None:
    """A repeat is answered as before; what was never stored before the finish is refused, and nothing changes."""
    deliver(visit, queued(("VN1", 4)), finish=True)
    assert deliver(visit, queued(("VN1", 4)), finish=True).status_code == 200
    late = deliver(visit, queued(("VN1", 4), ("VC2", 2)))
    assert late.status_code == 409
    assert "last_sequence" not in late.json()  # closed, not a matter of numbers
    assert patient_form(visit).answers["VN1"] == 4
    assert AnswerEvent.objects.count() == 1


def test_the_same_number_with_other_content_is_a_conflict(visit: CreatedVisit) -> None:
    """409 with the number to count on from; nothing of that delivery is stored."""
    deliver(visit, queued(("VN1", 4), ("VC2", 3)))
    response = deliver(visit, queued(("VC2", 1), ("VP1", 1), first=2))
    assert (response.status_code, response.json()["last_sequence"]) == (409, 2)
    assert patient_form(visit).answers == {"VN1": 4, "VC2": 3}
    assert deliver(visit, queued(("VC2", 1), ("VP1", 1), first=3)).status_code == 200
    assert patient_form(visit).answers == {"VN1": 4, "VC2": 1, "VP1": 1}


def test_a_late_answer_never_replaces_a_newer_one(visit: CreatedVisit) -> None:
    """Two devices deliver out of order: the log has both, the current answer is the one with the higher number."""
    deliver(visit, queued(("VN1", 5), first=7))
    assert deliver(visit, queued(("VN1", 1), first=3)).json()["last_sequence"] == 7
    assert patient_form(visit).answers == {"VN1": 5}
    assert AnswerEvent.objects.count() == 2


def test_one_bad_answer_keeps_the_others_out_too(visit: CreatedVisit) -> None:
    """All or nothing, so that the device can find the bad one by sending them singly."""
    assert deliver(visit, queued(("VN1", 4), ("VC2", 9))).status_code == 422
    assert patient_form(visit).answers == {}
    assert patient_form(visit).status == Administration.Status.WAITING


def test_what_waited_is_taken_for_three_days_after_the_link_has_ended(visit: CreatedVisit) -> None:
    """The patient was in time; the Wi-Fi was not. A form that nobody had begun stays closed."""
    deliver(visit, queued(("VN1", 4)))
    form = patient_form(visit)
    for after, status in ((timedelta(hours=1), 200), (QUEUE_GRACE, 410)):
        form.expires_at = datetime.now(UTC) - after
        form.save(update_fields=["expires_at"])
        assert deliver(visit, queued(("VC2", 4), first=int(2 + after.total_seconds()))).status_code == status
        assert Client().get(f"/q/{visit.patient_token}/page/1/").status_code == 410
    other = administration_of(visit, Role.CLINICIAN)
    other.expires_at = datetime.now(UTC) - timedelta(hours=1)
    other.save(update_fields=["expires_at"])
    assert deliver(visit, queued(("VN1", 4)), role=Role.CLINICIAN).status_code == 410


def test_a_retired_version_still_takes_its_answers(kit: StudyKit, visit: CreatedVisit) -> None:
    """The study goes over to another version while a queue waits: the form keeps the version it was given in."""
    deliver(visit, queued(("VN1", 4)))
    kit.study.instrument_version = "9.9"
    kit.study.save()
    assert deliver(visit, queued(("VC2", 4), first=2), finish=True).status_code == 200
    assert patient_form(visit).is_completed


def test_the_language_of_each_answer_is_logged(visit: CreatedVisit) -> None:
    """Switched in the middle, offline: each answer keeps the language it was asked in, the form the last."""
    answers = [*queued(("VN1", 4), language="en"), *queued(("VC2", 4), first=2, language="es")]
    deliver(visit, answers, language="es")
    assert list(AnswerEvent.objects.values_list("item", "language")) == [("VN1", "en"), ("VC2", "es")]
    assert patient_form(visit).language == "es"
    assert deliver(visit, [], language="xx").status_code == 422


def test_paradata_are_kept_as_far_as_they_make_sense(visit: CreatedVisit) -> None:
    """How an answer was given goes into the log; nonsense in it costs no answer."""
    good = {"ms": 2300, "shown": 2, "changed": 1, "portrait": True, "offline": False, "text": "0f" * 8}
    sent_at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    answers = queued(("VN1", 4), paradata=good, client_time=sent_at)
    answers += queued(("VC2", 4), first=2, paradata={"ms": -1, "portrait": 3, "text": "<script>"}, client_time="soon")
    answers += queued(("VP1", 4), first=3, paradata="none", client_time="1970-01-01T00:00:00Z")
    assert deliver(visit, answers, sent_at=sent_at).status_code == 200
    first, second, third = AnswerEvent.objects.order_by("sequence")
    assert first.paradata is not None
    assert 86_390 < first.paradata.pop("skew") < 86_410  # a clock off by a day is known for one
    assert first.paradata == good
    assert first.client_time is not None
    assert (second.paradata, second.client_time) == (None, None)
    assert (third.paradata, third.client_time) == (None, None)


def test_seconds_an_item_come_from_the_device_s_own_clock(visit: CreatedVisit) -> None:
    """What waited offline arrives in one moment, and must not look like answers given in no time."""
    answers = [
        {**one, "paradata": {"ms": ms}}
        for one, ms in zip(queued(("VN1", 4), ("VC2", 4), ("VP1", 4)), (2000, 9000, 4000), strict=True)
    ]
    deliver(visit, answers, finish=True)
    assert patient_form(visit).median_item_seconds == 4


@pytest.mark.parametrize("sent", [None, [], 3, {"ms": True}, {"ms": 10**30}, {"text": "x" * 900}, {"shown": 1.5}])
def test_paradata_without_sense_are_none(sent: object) -> None:
    """Nothing of it is stored."""
    assert read_paradata(sent, skew=1.0) is None


BAD_DELIVERIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 200_000,
    b'{"language": "en"}',
    b'{"answers": []}',
    b'{"language": 3, "answers": []}',
    b'{"language": "en", "answers": {}}',
    b'{"language": "en", "answers": [], "more": 1}',
    b'{"language": "en", "answers": [1]}',
    b'{"language": "en", "answers": [{"item": "VN1", "value": 4}]}',
    b'{"language": "en", "answers": [{"item": "VN1", "value": 4, "sequence": 1.0}]}',
    b'{"language": "en", "answers": [{"item": "VN1", "value": 4, "sequence": 0}]}',
    b'{"language": "en", "answers": [{"item": "VN1", "value": 4, "sequence": 1' + b"0" * 30 + b"}]}",
    b'{"language": "en", "answers": [{"item": "VN1", "value": NaN, "sequence": 1}]}',
    b'{"language": "en", "answers": [{"item": "VN1", "value": 4, "value": 5, "sequence": 1}]}',
    b'{"language": "en", "answers": [{"item": "\\ud800", "value": "\\u0000", "sequence": 1}]}',
    b'{"language": "\\ud800", "answers": []}',
    b'{"language": "en", "answers": [' + b'{"item": "VN1", "value": 4, "sequence": 1},' * 250 + b"0]}",
]


@pytest.mark.parametrize("body", BAD_DELIVERIES, ids=range(len(BAD_DELIVERIES)))
def test_malformed_deliveries_are_refused(visit: CreatedVisit, body: bytes) -> None:
    """A 4xx with a reason, and nothing has changed."""
    response = Client().post(f"/q/{visit.patient_token}/deliver/", body, content_type="application/json")
    assert 400 <= response.status_code < 500
    assert response.json()["error"]
    assert patient_form(visit).status == Administration.Status.WAITING


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["VN1", "en", "DNA", 4, 1]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["item", "value", "sequence", "paradata", "client_time", "language"]) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(answers=st.lists(_JSON, max_size=3) | _JSON, more=st.dictionaries(st.text(max_size=8), _JSON, max_size=2))
def test_no_delivery_breaks_the_server(visit: CreatedVisit, answers: object, more: dict[str, object]) -> None:
    """Whatever is sent: a success or a refusal, never a server error."""
    body = json.dumps({"language": "en", "answers": answers, **more})
    response = Client().post(f"/q/{visit.patient_token}/deliver/", body, content_type="application/json")
    assert response.status_code == 200 or 400 <= response.status_code < 500


def test_unknown_links_deliver_nothing(visit: CreatedVisit) -> None:
    """404 without a word about what there is; only POST means something."""
    response = Client().post("/q/nope/deliver/", {"language": "en", "answers": []}, content_type="application/json")
    assert (response.status_code, response.json()) == (404, {"error": "No questionnaire has this link."})
    assert Client().get(f"/q/{visit.patient_token}/deliver/").status_code == 405


def state_of(visit: CreatedVisit) -> HttpResponse:
    """What the script reads when it begins."""
    return Client().get(f"/q/{visit.patient_token}/state/")


def test_the_state_holds_answers_until_the_finish_only(visit: CreatedVisit) -> None:
    """Where to go on while the form is open; nothing of the answers when it is finished."""
    deliver(visit, queued(("VN1", 4)))
    state = state_of(visit).json()
    assert (state["status"], state["last_sequence"], state["answers"]) == ("started", 1, {"VN1": 4})
    complete_administration(administration_id=patient_form(visit).pk, now=datetime.now(UTC))
    response = state_of(visit)
    assert (response.json()["status"], response.json()["answers"]) == ("completed", {})
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_bundle_holds_all_pages_and_nobody(visit: CreatedVisit, language: str) -> None:
    """Every question as the server words it, packed, the same for everybody, kept by browsers under its digest."""
    address = state_of(visit).json()["bundles"][language]
    response = Client().get(address, headers={"accept-encoding": "gzip"})
    assert (response.status_code, response["Content-Encoding"]) == (200, "gzip")
    assert "immutable" in response["Cache-Control"]
    bundle = json.loads(gzip.decompress(response.content))
    form = patient_form(visit)
    assert [code for page in bundle["pages"] for code in page["codes"]] == list(form.questionnaire.entries)
    for code, entry in form.questionnaire.entries.items():
        assert bundle["entries"][code]["text"] == entry.text[Role.PATIENT][language]
        assert (
            entry.text[Role.PATIENT][language].replace("'", "&#x27;")
            in bundle["pages"][form.questionnaire.page_of[code] - 1]["html"]
        )
    assert visit.patient_token not in json.dumps(bundle)
    assert Client().get(address).json() == bundle
    assert len(response.content) < 15_000


def test_bundles_that_are_not_there(visit: CreatedVisit) -> None:
    """A foreign address is a 404; an outdated digest gives today's words and is not kept."""
    address = state_of(visit).json()["bundles"]["en"]
    key, digest = address.split("/")[2], address.split("/")[-1].removesuffix(".json")
    for wrong in (
        address.replace(key, "0" * 16),
        address.replace(key, "x"),
        address.replace("/short/", "/long/"),
        address.replace("/patient/", "/nurse/"),
        address.replace("/en/", "/xx/"),
    ):
        assert Client().get(wrong).status_code == 404
    outdated = Client().get(address.replace(digest, "0" * 16))
    assert (outdated.status_code, outdated["Cache-Control"]) == (200, "no-store")
    assert Client().post(address).status_code == 405


def test_bundles_differ_by_role_form_and_wave(kit: StudyKit) -> None:
    """A follow-up asks one question more, the clinician is asked in other words."""
    form = administration_of(make_visit(kit), Role.PATIENT)
    bundle = form_bundle(form.questionnaire, "en")
    follow_up = Client().get(
        reverse("form_texts", args=[bundle.key, "short", "patient-follow-up", "en", bundle.digest])
    )
    assert "X_CHANGE" in follow_up.json()["entries"]
    assert "X_CHANGE" not in json.loads(bundle.body)["entries"]


def test_the_service_worker_and_its_shell_hold_nobodys_anything(visit: CreatedVisit) -> None:
    """Both are the same for everybody, and are asked for anew."""
    worker = Client().get("/q/service-worker.js")
    assert worker["Content-Type"].startswith("text/javascript")
    assert worker["Cache-Control"] == "no-cache"
    shell = Client().get(reverse("questionnaire_shell"))
    assert "default-src 'none'" in shell["Content-Security-Policy"]
    assert "no-store" in shell["Cache-Control"]
    assert "data-root" not in shell.content.decode()
    assert Client().get("/q/shell/").content == Client().get("/q/shell/").content


def test_the_digest_tells_which_words_were_shown(kit: StudyKit) -> None:
    """Each form, role and language has its own, so that a stored answer tells what stood on the screen."""
    visits = [make_visit(kit, form=form) for form in kit.instrument.forms]
    digests = {
        form_bundle(administration_of(visit, role).questionnaire, language).digest
        for visit in visits
        for role in Role
        for language in kit.instrument.languages
    }
    assert len(digests) == 8
