"""The demonstration as people meet it: staff to sign in as, one fresh visit, and the file that tells of them.

How its study and synthetic dyads are made stands in `healing_survey.demo_study`, which needs the statistics libraries.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import Permission, User
from django.urls import reverse

from instruments.definitions import Role
from instruments.models import Administration, hash_token
from instruments.services import CreatedVisit, create_visits_with_new_patients
from studies.models import Clinician, Member, Study

STUDY_CODE = "DEMO"

STAFF = (
    (Member.Role.ADMIN, "demo-admin"),
    (Member.Role.COORDINATOR, "demo-coordinator"),
    (Member.Role.CLINICIAN, "demo-clinician"),
    (Member.Role.RESEARCHER, "demo-researcher"),
    (Member.Role.AUDITOR, "demo-auditor"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What `var/demo.json` tells: where to go, as whom, and one fresh visit."""

    base_url: str
    study: str
    staff: list[dict[str, str]]  # role, username, password
    visit: dict[str, str]  # dyad, patient_url, clinician_url

    def as_json(self) -> str:
        return json.dumps(
            {"base_url": self.base_url, "study": self.study, "staff": self.staff, "visit": self.visit}, indent=2
        )


def describe_demo(*, base_url: str, path: Path, now: datetime) -> Demo:
    """Staff and a fresh visit of the demonstration study, written to the file at `path`. Repeatable.

    Raises `Study.DoesNotExist` before the study was made.
    """
    study = Study.objects.get(code=STUDY_CODE)
    before = _read(path)
    demo = Demo(
        base_url=base_url,
        study=study.code,
        staff=_staff(study, before),
        visit=_fresh_visit(study, before, base_url=base_url, now=now),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(demo.as_json() + "\n", encoding="utf-8")
    return demo


def _read(path: Path) -> Mapping[str, Any]:
    try:
        read: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read


def _staff(study: Study, before: Mapping[str, Any]) -> list[dict[str, str]]:
    """The demo staff; passwords are made here and kept in the file only."""
    known = {one["username"]: one["password"] for one in before.get("staff", [])}
    staff = []
    for role, username in STAFF:
        user, is_new = User.objects.get_or_create(username=username)
        password = known.get(username)
        if is_new or password is None:
            password = secrets.token_urlsafe(9)
            user.set_password(password)
            user.save(update_fields=["password"])
        site = study.sites.earliest("pk") if role is Member.Role.COORDINATOR else None
        sees = {"sees_identifiers": role is Member.Role.COORDINATOR}
        Member.objects.get_or_create(study=study, user=user, role=role, site=site, defaults=sees)
        if role is Member.Role.ADMIN:
            user.user_permissions.add(Permission.objects.get(content_type__app_label="studies", codename="add_study"))
        if role is Member.Role.CLINICIAN:
            _attach_clinician(study, user)
        staff.append({"role": role.value, "username": username, "password": password})
    return staff


def _attach_clinician(study: Study, user: User) -> None:
    if not Clinician.objects.filter(site__study=study, user=user).exists():
        clinician = Clinician.objects.filter(site__study=study).earliest("pk")
        clinician.user = user
        clinician.save(update_fields=["user"])


def _fresh_visit(study: Study, before: Mapping[str, Any], *, base_url: str, now: datetime) -> dict[str, str]:
    """The visit of the last start if nobody has used it, or a new one; all blank while the study is closed."""
    if study.status != Study.Status.OPEN:
        return {"dyad": "", "patient_url": "", "clinician_url": ""}
    visit = before.get("visit", {})
    links = {role: urlsplit(visit.get(f"{role}_url", "")).path for role in Role}
    tokens = [path.strip("/").rpartition("/")[2] for path in links.values()]
    unused = Administration.objects.filter(
        token_hash__in=[hash_token(token) for token in tokens],
        status=Administration.Status.WAITING,
        expires_at__gt=now,
    ).count() == len(Role)
    if unused:
        return {"dyad": visit["dyad"], **{f"{role}_url": base_url + path for role, path in links.items()}}
    created: CreatedVisit = create_visits_with_new_patients(
        study=study,
        clinicians=list(Clinician.objects.filter(site__study=study).select_related("site").order_by("pk")[:1]),
        wave=study.waves.get(code="baseline"),
        form=study.default_form,
        count=1,
        now=now,
    )[0]
    return {
        "dyad": created.visit.dyad.code,
        "patient_url": base_url + reverse("questionnaire", args=[created.patient_token]),
        "clinician_url": base_url + reverse("questionnaire", args=[created.clinician_token]),
    }
