"""A request that can't be read is the client's mistake: 4xx on every address, signed in or not."""

import pytest
from django.test import Client

from studies.models import Member
from tests.factories import make_member, make_study

pytestmark = pytest.mark.django_db

UNREADABLE = [
    ("multipart/form-data", b"xx"),
    ("multipart/form-data; boundary=\xff", b"xx"),
    ("application/x-www-form-urlencoded; charset=utf-16", b"a=b"),
]
ADDRESSES = [
    "/nope/",
    "/",
    "/login/",
    "/studies/PILOT/import/",
    "/studies/PILOT/visits/new/",
    "/studies/new/",
    "/admin/",
]


@pytest.mark.parametrize(("content_type", "body"), UNREADABLE)
@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("signed_in", [False, True])
def test_an_unreadable_form_is_a_4xx(content_type: str, body: bytes, address: str, signed_in: bool) -> None:
    """With the CSRF cookie that a browser has, so that the check looks for its field."""
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    if signed_in:
        kit = make_study()
        client.force_login(make_member(kit, Member.Role.ADMIN))
    client.get("/login/")
    response = client.post(address, body, content_type=content_type)
    assert 300 <= response.status_code < 500, response.status_code


def test_the_pages_name_what_happened() -> None:
    """A missing page is friendly and 404; a broken request is friendly and 400."""
    missing = Client().get("/nope/")
    assert (missing.status_code, b"no such page" in missing.content) == (404, True)
    broken = Client().post("/login/", b"xx", content_type="multipart/form-data")
    assert (broken.status_code, b"could not be read" in broken.content) == (400, True)
