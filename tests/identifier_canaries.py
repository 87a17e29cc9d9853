"""A patient's name goes through the platform as people use it; then everything that is kept or told is searched for it.

`JOURNEY` runs inside an installation, by `manage.py shell`, and writes what pages and downloads gave into its folder.
With PLAIN set it stores the name unsealed and tells it everywhere: the control, which must be found.
"""

import gzip
import tarfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

from healing_survey.sealed_file import sealed_pieces

NAME, EMAIL, PHONE, NUMBER = "Zacarías Canario-Quux", "zcanario@quux.example", "+34 699 123 987", "ZQ-0099-7713"
#: As they may stand anywhere: whole, in parts, in ASCII, percent-encoded.
CANARIES = tuple(
    word.encode()
    for word in (
        "Zacar", "Canario-Quux", "canarioquux", "canario quux", "zcanario", "quux.example", "123 987", "0099-7713",
        "00997713", "zq00997713",
    )
)  # fmt: skip
#: Where the journey tells, and the searches look.
PLACES = ("database", "backup", "logs", "addresses", "tasks", "audit trail", "downloads")

JOURNEY = f"""
import logging, os, re
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from instruments.definitions import Role
from scoring.services import score_due
from scoring.tasks import score_visit
from studies import audit
from studies.identifier_keys import KeyRing
from studies.models import Member, Study
from tests.factories import finish, make_member, make_study, make_visit

NAME, EMAIL, PHONE, NUMBER = {(NAME, EMAIL, PHONE, NUMBER)!r}
is_plain = bool(os.environ.get("PLAIN"))
if is_plain:
    KeyRing.seal = lambda self, text, *, place: (self.newest.id, text.encode())
    KeyRing.open = lambda self, key_id, box, *, place: box.decode()
settings.ALLOWED_HOSTS.append("testserver")
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
kit = make_study("QUIET", form="short")
Study.objects.update(keeps_identifiers=True)
user = make_member(kit, Member.Role.ADMIN)
Member.objects.update(sees_identifiers=True)
visit = make_visit(kit)
for role in Role:
    finish(visit, role)
score_due(owner="journey", clock=timezone.now)
client = Client(raise_request_exception=False)
client.force_login(user)
patient = visit.visit.dyad.patient
home = reverse("identifiers", args=["QUIET"])
show, edit = (reverse(name, args=["QUIET", patient.pk]) for name in ("identifiers_show", "identifiers_edit"))
known = {{"name": NAME, "email": EMAIL, "phone": PHONE, "record_number": NUMBER}}
answers = [
    client.post(edit, known),
    client.post(edit, known | {{"email": EMAIL + "@"}}),
    *(client.post(home, {{"by": by, "value": value}}) for by, value in
      (("name", NAME), ("email", EMAIL), ("record_number", NUMBER), ("code", patient.code))),
    client.get(show),
    client.post(show, {{"purpose": "contact"}}),
    client.get(edit),
    client.get(home),
]
assert NAME in answers[7].content.decode()
if is_plain:
    answers.append(client.get(home, {{"value": NUMBER}}))
    client.get(f"/studies/{{NUMBER}}/")
    logging.getLogger("studies").warning("looked at %s", NAME)
    score_visit.delay(EMAIL)
    detail = {{"name": NUMBER}}
    audit.record(study=kit.study, actor=user, action="look at identifiers", detail=detail, now=timezone.now())
    visit.visit.dyad.code = NUMBER
    visit.visit.dyad.save()
told = [answer.request["PATH_INFO"] + "?" + answer.request["QUERY_STRING"] for answer in answers]
told += [answer.headers.get("Location", "") for answer in answers]
for answer in answers:
    told += re.findall(r'(?:href|action|src)="([^"]*)"', answer.content.decode())
out = settings.VAR_DIR / "out"
out.mkdir(exist_ok=True)
(out / "addresses.txt").write_text("\\n".join(told))
downloads = b""
for name in ("dyads_download", "codebook_download", "audit_download"):
    answer = client.get(reverse(name, args=["QUIET"]) + "?incomplete=1")
    assert answer.status_code == 200, name
    downloads += b"".join(answer.streaming_content) if answer.streaming else answer.content
(out / "downloads.txt").write_bytes(downloads)
"""


def found_in(texts: Mapping[str, Iterable[bytes]]) -> dict[str, list[str]]:
    """Place -> the canaries that are seen there; places without any are left out."""
    found = {}
    for place, pieces in texts.items():
        seen = {canary.decode() for piece in pieces for canary in CANARIES if canary.lower() in piece.lower()}
        if seen:
            found[place] = sorted(seen)
    return found


def backup_parts(path: Path) -> list[bytes]:
    """What stands in an unencrypted backup, unpacked."""
    with path.open("rb") as file:
        packed = b"".join(sealed_pieces(file, key=None))
    with tarfile.open(fileobj=BytesIO(gzip.decompress(packed))) as tar:
        return [part.read() for entry in tar if (part := tar.extractfile(entry)) is not None]


def files_below(folder: Path) -> list[bytes]:
    """Every file's bytes."""
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
