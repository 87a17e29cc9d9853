"""Tablets as rows: enrolled once, known by a secret, slowed down alone, and heard when they need a hand."""

import json
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from instruments import codes, devices, hand_over
from instruments.definitions import Role
from instruments.devices import Need, State
from instruments.models import Administration, HandOver
from instruments.services import (
    LinkExpired,
    QuestionnaireClosed,
    QuestionnaireUnderWay,
    complete_administration,
    reissue_link,
)
from studies import audit
from studies.models import AuditEvent, Device, Member, Site
from studies.scope import Scope, within
from tests.factories import NOW, StudyKit, administration_of, answer, finish, make_member, make_study, make_visit

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
PIN = "2580"


@pytest.fixture
def kit() -> StudyKit:
    return make_study(form="short", n_sites=2)


@pytest.fixture
def desk(kit: StudyKit) -> User:
    """Who sits at the first site's front desk."""
    return make_member(kit, Member.Role.COORDINATOR)


def enrolled(site: Site, desk: User, *, name: str = "Front desk 1", now: datetime = NOW) -> tuple[Device, str]:
    """A tablet and the secret in its cookie."""
    offer = devices.add_device(site=site, name=name, pin=PIN, actor=desk, now=now)
    secret = devices.enrol(device=devices.offered_device(offer.token, now=now), replaces=None, now=now)
    device = devices.device_with_secret(secret)
    assert device is not None
    return device, secret


def form_of(kit: StudyKit) -> Administration:
    """A patient's questionnaire that nobody has opened."""
    return administration_of(make_visit(kit), Role.PATIENT)


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


# --- becoming a tablet of the site ---


def test_a_tablet_is_enrolled_once_and_stored_hashed(kit: StudyKit, desk: User) -> None:
    """Its link and code work once and for an hour; nothing in the row opens anything."""
    offer = devices.add_device(site=kit.sites[0], name="Front desk 1", pin=PIN, actor=desk, now=NOW)
    with pytest.raises(devices.OfferGone):
        devices.offered_device(offer.token, now=NOW + devices.OFFER_VALID)
    by_code = devices.device_of_code(typed=codes.in_groups(offer.code).lower(), browser="", now=NOW)
    by_link = devices.offered_device(offer.token, now=NOW)
    assert by_code == by_link == offer.device
    secret = devices.enrol(device=by_link, replaces=None, now=NOW)
    with pytest.raises(devices.OfferGone):  # another browser opened the page, too
        devices.enrol(device=by_code, replaces=None, now=NOW)
    with pytest.raises(devices.OfferGone):
        devices.offered_device(offer.token, now=NOW)
    row = str(Device.objects.values().get())
    assert not any(one in row for one in (offer.token, offer.code, secret, PIN))
    assert devices.device_with_secret(secret) == offer.device
    assert devices.device_with_secret("") is devices.device_with_secret("x") is None
    assert actions() == ["add tablet", "enrol tablet"]
    assert list(audit.problems()) == []


def test_a_new_link_ends_the_one_before(kit: StudyKit, desk: User) -> None:
    """Also for a tablet whose browser lost its cookie: the old cookie works until the new link is opened."""
    device, secret = enrolled(kit.sites[0], desk)
    first = devices.offer_again(device=device, actor=desk, now=NOW)
    second = devices.offer_again(device=device, actor=desk, now=NOW)
    with pytest.raises(devices.OfferGone):
        devices.offered_device(first.token, now=NOW)
    assert devices.device_with_secret(secret) is not None
    again = devices.enrol(device=devices.offered_device(second.token, now=NOW), replaces=None, now=NOW)
    assert devices.device_with_secret(secret) is None
    assert devices.device_with_secret(again) == device


def test_wrong_codes_are_counted_as_those_of_questionnaires_are(kit: StudyKit, desk: User) -> None:
    """Sixty from unknown browsers in ten minutes, then none is looked up, a right one neither."""
    offer = devices.add_device(site=kit.sites[0], name="Front desk 1", pin=PIN, actor=desk, now=NOW)
    for _ in range(codes.GUESSES_OF_ALL_OTHERS):
        with pytest.raises(devices.OfferGone):
            devices.device_of_code(typed=codes.new_code(), browser="", now=NOW)
    with pytest.raises(codes.TooManyGuesses):
        devices.device_of_code(typed=offer.code, browser="", now=NOW)
    assert devices.device_of_code(typed=offer.code, browser="", now=NOW + codes.GUESS_WINDOW) == offer.device


def test_a_browser_is_one_tablet_only(kit: StudyKit, desk: User) -> None:
    """Enrolled again under another name it ceases to be the first; two tablets of a site can't have one name."""
    first, _secret = enrolled(kit.sites[0], desk)
    offer = devices.add_device(site=kit.sites[0], name="Front desk 2", pin=PIN, actor=desk, now=NOW)
    devices.enrol(device=offer.device, replaces=first, now=NOW)
    first.refresh_from_db()
    assert first.revoked_at == NOW
    devices.add_device(site=kit.sites[0], name="Front desk 1", pin=PIN, actor=desk, now=NOW)  # its name is free again
    with pytest.raises(IntegrityError):
        devices.add_device(site=kit.sites[0], name="Front desk 2", pin=PIN, actor=desk, now=NOW)


@pytest.mark.parametrize(
    ("pin", "problem"),
    [("2580", ""), ("90210371", ""), ("123", "form"), ("123456789", "form"), ("12a4", "form"), ("٢٥٨٠", "form"),
     ("1111", "easy"), ("1234", "easy"), ("8765", "easy"), ("", "form")],
)  # fmt: skip
def test_what_a_pin_must_be(pin: str, problem: str) -> None:
    """Four to eight digits, and not the first ones that anybody tries."""
    assert devices.pin_problem(pin) == problem


def test_wrong_pins_slow_down_one_tablet_alone(kit: StudyKit, desk: User) -> None:
    """The right one waits, too; the tablet beside it does not."""
    one, _secret = enrolled(kit.sites[0], desk)
    other, _secret = enrolled(kit.sites[0], desk, name="Front desk 2")
    for _ in range(5):
        with pytest.raises(devices.WrongPin):
            devices.check_pin(device=one, pin="9999", now=NOW)
    with pytest.raises(devices.PinMustWait) as waits:
        devices.check_pin(device=one, pin=PIN, now=NOW)
    devices.check_pin(device=other, pin=PIN, now=NOW)
    devices.check_pin(device=one, pin=PIN, now=NOW + waits.value.wait)
    one.refresh_from_db()
    assert (one.pin_failures, one.pin_blocked_until) == (0, None)
    assert actions().count("wrong tablet PIN") == 5
    assert "9999" not in str(list(AuditEvent.objects.values_list("record", flat=True)))


# --- a questionnaire on a tablet ---


def test_a_questionnaire_is_taken_once(kit: StudyKit, desk: User) -> None:
    """The link is made when the tablet takes it; the one on paper ends; nothing else is taken until the PIN."""
    device, secret = enrolled(kit.sites[0], desk)
    visit = make_visit(kit)
    form = administration_of(visit, Role.PATIENT)
    assert hand_over.take(device=device, secret=secret, now=NOW) is None
    hand_over.ask(device=device, administration=form, actor=desk, now=NOW)
    assert hand_over.waiting_for(device, now=NOW)
    assert Administration.objects.with_token(visit.patient_token).exists()
    token = hand_over.take(device=device, secret=secret, now=NOW)
    assert token is not None
    assert Administration.objects.with_token(token).get() == form
    assert not Administration.objects.with_token(visit.patient_token).exists()
    assert hand_over.take(device=device, secret=secret, now=NOW) is None
    opened = hand_over.current(device)
    assert opened is not None
    assert hand_over.token_again(opened, secret) == token
    assert hand_over.token_again(opened, "another tablet") is None
    assert token not in opened.token_box
    following = form_of(kit)
    hand_over.ask(device=device, administration=following, actor=desk, now=NOW)
    assert hand_over.take(device=device, secret=secret, now=NOW) is None
    hand_over.end(hand_over=opened, now=NOW)
    token = hand_over.take(device=device, secret=secret, now=NOW)
    assert token is not None
    assert Administration.objects.with_token(token).get() == following
    assert actions()[2:] == ["hand over", "open on tablet", "hand over", "tablet back", "open on tablet"]


def test_what_is_handed_over_last_counts(kit: StudyKit, desk: User) -> None:
    """On one tablet, and of one questionnaire; what nobody opened for half an hour opens for nobody."""
    one, one_secret = enrolled(kit.sites[0], desk)
    other, other_secret = enrolled(kit.sites[0], desk, name="Front desk 2")
    first, second = form_of(kit), form_of(kit)
    hand_over.ask(device=one, administration=first, actor=desk, now=NOW)
    hand_over.ask(device=one, administration=second, actor=desk, now=NOW)
    hand_over.ask(device=other, administration=second, actor=desk, now=NOW)
    assert hand_over.take(device=one, secret=one_secret, now=NOW) is None
    assert hand_over.waiting_for(other, now=NOW)
    late = NOW + devices.WAITS_FOR_TABLET
    assert not hand_over.waiting_for(other, now=late)
    assert hand_over.take(device=other, secret=other_secret, now=late) is None
    waiting = hand_over.ask(device=one, administration=first, actor=desk, now=late)
    assert hand_over.cancel(hand_over=waiting, actor=desk, now=late)
    assert not hand_over.cancel(hand_over=waiting, actor=desk, now=late)
    assert hand_over.take(device=one, secret=one_secret, now=late) is None


def test_what_cannot_be_answered_is_not_handed_over(kit: StudyKit, desk: User) -> None:
    """Finished, expired, begun elsewhere; to a tablet that is not enrolled, or not any more; or meanwhile finished."""
    device, secret = enrolled(kit.sites[0], desk)
    visit = make_visit(kit)
    finish(visit, Role.PATIENT)
    with pytest.raises(QuestionnaireClosed):
        hand_over.ask(device=device, administration=administration_of(visit, Role.PATIENT), actor=desk, now=NOW)
    form = form_of(kit)
    with pytest.raises(LinkExpired):
        hand_over.ask(device=device, administration=form, actor=desk, now=form.expires_at)
    answer(form, {"VN1": 4})
    form.refresh_from_db()
    with pytest.raises(QuestionnaireUnderWay):
        hand_over.ask(device=device, administration=form, actor=desk, now=NOW)
    meanwhile = make_visit(kit)
    hand_over.ask(device=device, administration=administration_of(meanwhile, Role.PATIENT), actor=desk, now=NOW)
    finish(meanwhile, Role.PATIENT)
    assert hand_over.take(device=device, secret=secret, now=NOW) is None
    offered = devices.add_device(site=kit.sites[0], name="Front desk 2", pin=PIN, actor=desk, now=NOW).device
    devices.revoke(device=device, actor=desk, now=NOW)
    for not_ready in (offered, device):
        with pytest.raises(hand_over.DeviceNotReady):
            hand_over.ask(device=not_ready, administration=form_of(kit), actor=desk, now=NOW)


def test_a_paused_questionnaire_goes_on_where_it_was_begun(kit: StudyKit, desk: User) -> None:
    """On the same tablet under the same link; on another tablet not, and staff get no link to it."""
    device, secret = enrolled(kit.sites[0], desk)
    other, _secret = enrolled(kit.sites[0], desk, name="Front desk 2")
    form = form_of(kit)
    hand_over.ask(device=device, administration=form, actor=desk, now=NOW)
    token = hand_over.take(device=device, secret=secret, now=NOW)
    answer(form, {"VN1": 4})
    opened = hand_over.current(device)
    assert opened is not None
    hand_over.end(hand_over=opened, now=NOW)
    form.refresh_from_db()
    with pytest.raises(QuestionnaireUnderWay):
        hand_over.ask(device=other, administration=form, actor=desk, now=NOW)
    with pytest.raises(QuestionnaireUnderWay):
        reissue_link(administration_id=form.pk, now=NOW)
    hand_over.ask(device=device, administration=form, actor=desk, now=NOW)
    assert hand_over.take(device=device, secret=secret, now=NOW) == token


def test_a_lost_answer_can_be_asked_for_again(kit: StudyKit, desk: User) -> None:
    """For a minute, and only as long as nobody has begun."""
    device, secret = enrolled(kit.sites[0], desk)
    form = form_of(kit)
    hand_over.ask(device=device, administration=form, actor=desk, now=NOW)
    hand_over.take(device=device, secret=secret, now=NOW)
    opened = hand_over.current(device)
    assert opened is not None
    assert hand_over.may_ask_again(opened, now=NOW + MINUTE / 2)
    assert not hand_over.may_ask_again(opened, now=NOW + MINUTE)
    answer(form, {"VN1": 4})
    opened = hand_over.current(device)
    assert opened is not None
    assert not hand_over.may_ask_again(opened, now=NOW + MINUTE / 2)


def test_links_from_the_history_open_nothing_that_was_begun(kit: StudyKit, desk: User) -> None:
    """A fresh link and a typed code open on a waiting tablet; what it had before and while one is open, nothing."""
    device, secret = enrolled(kit.sites[0], desk)
    fresh, begun = make_visit(kit), make_visit(kit)
    answer(administration_of(begun, Role.PATIENT), {"VN1": 4})

    def opens(token: str, *, with_code: bool = False) -> bool:
        return hand_over.open_here(device=device, secret=secret, token=token, with_code=with_code, now=NOW)

    assert not opens("unknown")
    assert not opens(begun.patient_token)
    assert opens(begun.patient_token, with_code=True)
    assert not opens(fresh.patient_token)
    opened = hand_over.current(device)
    assert opened is not None
    hand_over.end(hand_over=opened, now=NOW)
    assert not opens(begun.patient_token, with_code=True)
    assert opens(fresh.patient_token)


def test_a_revoked_tablet_keeps_what_its_patient_has_open(kit: StudyKit, desk: User) -> None:
    """The questionnaire under way can be finished; what waited is let go."""
    device, secret = enrolled(kit.sites[0], desk)
    form = form_of(kit)
    hand_over.ask(device=device, administration=form, actor=desk, now=NOW)
    hand_over.take(device=device, secret=secret, now=NOW)
    hand_over.ask(device=device, administration=form_of(kit), actor=desk, now=NOW)
    devices.revoke(device=device, actor=desk, now=NOW)
    devices.revoke(device=device, actor=desk, now=NOW + MINUTE)  # changes nothing
    assert actions().count("revoke tablet") == 1
    assert hand_over.current(device) is not None
    assert not hand_over.waiting_for(device, now=NOW)
    answer(form, {"VN1": 4})
    complete_administration(administration_id=form.pk, now=NOW)


# --- what the front desk learns ---


def needs(kit: StudyKit, now: datetime) -> dict[str, tuple[Need, ...]]:
    return {one.device.name: one.needs for one in devices.devices_needing_a_hand(kit.study, now=now)}


def test_answers_that_wait_or_were_refused_are_told(kit: StudyKit, desk: User) -> None:
    """Waiting ones after two minutes, refused ones at once until somebody notes them; a report twice counts once."""
    device, _secret = enrolled(kit.sites[0], desk)
    devices.report(device=device, n_unsent=3, refused_counter=0, now=NOW)
    assert needs(kit, NOW + MINUTE) == {}
    devices.report(device=device, n_unsent=3, refused_counter=0, now=NOW + MINUTE)
    assert needs(kit, NOW + 2 * MINUTE) == {"Front desk 1": (Need.UNSENT,)}
    for _ in range(2):
        devices.report(device=device, n_unsent=0, refused_counter=2, now=NOW + 3 * MINUTE)
    assert needs(kit, NOW + 3 * MINUTE) == {"Front desk 1": (Need.REFUSED,)}
    device.refresh_from_db()
    assert (device.n_unsent, device.n_refused) == (0, 2)
    devices.report(device=device, n_unsent=0, refused_counter=3, now=NOW + 4 * MINUTE)
    devices.note_refused(device=device, actor=desk, now=NOW + 4 * MINUTE)  # saw two of them
    device.refresh_from_db()
    assert device.n_refused == 1
    devices.note_refused(device=device, actor=desk, now=NOW + 4 * MINUTE)
    devices.report(device=device, n_unsent=0, refused_counter=1, now=NOW + 5 * MINUTE)  # its storage was emptied
    device.refresh_from_db()
    assert device.n_refused == 1


def test_a_silent_tablet_and_one_that_opens_nothing_are_told(kit: StudyKit, desk: User) -> None:
    """With a patient and unheard for a quarter of an hour; an answer from any page is a sign of life."""
    device, secret = enrolled(kit.sites[0], desk)
    form = form_of(kit)
    hand_over.ask(device=device, administration=form, actor=desk, now=NOW)
    (state,) = devices.device_states(kit.study, now=NOW + MINUTE)
    assert (state.state, state.dyad, state.needs) == (State.ASKED, form.visit.dyad.code, ())
    assert needs(kit, NOW + 2 * MINUTE) == {"Front desk 1": (Need.NOT_OPENED,)}
    hand_over.take(device=device, secret=secret, now=NOW + 3 * MINUTE)
    assert needs(kit, NOW + 17 * MINUTE) == {}
    assert needs(kit, NOW + 18 * MINUTE) == {"Front desk 1": (Need.SILENT,)}
    answer(form, {"VN1": 4}, now=NOW + 10 * MINUTE)
    assert needs(kit, NOW + 18 * MINUTE) == {}
    devices.seen(device, now=NOW + 20 * MINUTE)
    assert needs(kit, NOW + 30 * MINUTE) == {}
    complete_administration(administration_id=form.pk, now=NOW + 30 * MINUTE)
    (state,) = devices.device_states(kit.study, now=NOW + 90 * MINUTE)
    assert (state.state, state.needs) == (State.LOCKED, ())


def test_a_tablet_is_out_of_reach_of_other_sites(kit: StudyKit, desk: User, django_assert_num_queries: object) -> None:
    """By the manager, not by a filter; the whole list is one query; revoked ones are listed only with a reason."""
    device, secret = enrolled(kit.sites[0], desk)
    enrolled(kit.sites[1], desk, name="Hill 1")
    hand_over.ask(device=device, administration=form_of(kit), actor=desk, now=NOW)
    hand_over.take(device=device, secret=secret, now=NOW)
    with django_assert_num_queries(1):  # type: ignore[operator]
        states = devices.device_states(kit.study, now=NOW)
    assert [(one.device.name, one.state) for one in states] == [
        ("Front desk 1", State.WITH_PATIENT),
        ("Hill 1", State.READY),
    ]
    with within(Scope(study_id=kit.study.pk, site_ids=frozenset([kit.sites[1].pk]))):
        assert [one.device.name for one in devices.device_states(kit.study, now=NOW)] == ["Hill 1"]
        assert not HandOver.objects.exists()
    with within(Scope()):
        assert not Device.objects.exists()
    devices.report(device=device, n_unsent=0, refused_counter=1, now=NOW)
    for site_device in Device.objects.all():
        devices.revoke(device=site_device, actor=desk, now=NOW)
    (left,) = devices.device_states(kit.study, now=NOW)
    assert (left.device.name, left.state, left.needs) == ("Front desk 1", State.REVOKED, (Need.REFUSED,))


def test_another_name_and_pin(kit: StudyKit, desk: User) -> None:
    """The trail keeps the old and the new name and that there is a new PIN, not the PIN."""
    device, _secret = enrolled(kit.sites[0], desk)
    devices.change_device(device=device, name="Desk", pin="", actor=desk, now=NOW)
    devices.check_pin(device=device, pin=PIN, now=NOW)
    devices.change_device(device=device, name="Desk", pin="5683", actor=desk, now=NOW)
    device.refresh_from_db()
    devices.check_pin(device=device, pin="5683", now=NOW)
    with pytest.raises(devices.WrongPin):
        devices.check_pin(device=device, pin=PIN, now=NOW)
    lines = [json.loads(one.record) for one in AuditEvent.objects.filter(action="change tablet").order_by("sequence")]
    assert [(one["detail"]["new PIN"], one["old"], one["new"]) for one in lines] == [
        (False, {"name": "Front desk 1"}, {"name": "Desk"}),
        (True, {"name": "Desk"}, {"name": "Desk"}),
    ]
    assert "5683" not in str(lines)
