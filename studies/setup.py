"""Changes to who and where: each is one transaction that leaves its line in the audit trail."""

from datetime import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import transaction

from studies import audit
from studies.models import Clinician, Member, Site, Study, Wave


@transaction.atomic
def add_part(*, study: Study, part: Site | Clinician | Wave, actor: User, now: datetime) -> None:
    """Store a new site, clinician or wave of the study."""
    part.save()
    audit.record(study=study, actor=actor, action=f"add {part._meta.model_name}", detail={"code": part.code}, now=now)


@transaction.atomic
def create_study(*, study: Study, actor: User, now: datetime) -> None:
    """Store a new study, in preparation, with a first wave; whoever makes it becomes its admin."""
    study.created_at = now
    study.status = Study.Status.DRAFT
    study.save()
    Wave.objects.create(study=study, code="baseline", label="Baseline", position=0)
    Member.objects.create(study=study, user_id=actor.pk, role=Member.Role.ADMIN)
    audit.record(study=study, actor=actor, action="create study", detail={"code": study.code}, now=now)


@transaction.atomic
def change_part(*, study: Study, part: Site | Clinician | Wave, actor: User, now: datetime) -> None:
    """Store a changed site, clinician or wave; the trail says what was and what is."""
    columns = [field.name for field in part._meta.fields if field.name not in ("id", "study", "user")]
    old, new = audit.stored_values(part, columns), audit.new_values(part, columns)
    part.save()
    changed = [name for name in columns if old[name] != new[name]]
    audit.record(
        study=study,
        actor=actor,
        action=f"change {part._meta.model_name}",
        detail={"code": part.code, "fields": changed},
        old={name: old[name] for name in changed},
        new={name: new[name] for name in changed},
        now=now,
    )


@transaction.atomic
def open_study(*, study: Study, actor: User, now: datetime) -> None:
    """Let a prepared study begin; the trail keeps what it was opened with."""
    study.status = Study.Status.OPEN
    study.save(update_fields=["status"])
    columns = [field.name for field in study._meta.fields if field.name not in ("id", "created_at")]
    audit.record(
        study=study,
        actor=actor,
        action="open study",
        detail={
            **audit.new_values(study, columns),
            "sites": list(study.sites.values_list("code", flat=True)),
            "waves": list(study.waves.values_list("code", flat=True)),
        },
        now=now,
    )


@transaction.atomic
def change_study(*, study: Study, changed: list[str], actor: User, now: datetime, why: str = "") -> None:
    """Store a study's changed settings. After it has opened each change is an amendment, with its number and reason."""
    columns = [field.name for field in study._meta.fields if field.name not in ("id", "created_at", "n_amendments")]
    old = audit.stored_values(study, columns)
    if old["status"] != Study.Status.DRAFT:
        study.n_amendments += 1
    study.save()
    new = audit.new_values(study, columns)
    changed_now = [name for name in columns if old[name] != new[name]]
    audit.record(
        study=study,
        actor=actor,
        action="change study",
        detail={"fields": changed, "amendment": study.n_amendments},
        why=why,
        old={name: old[name] for name in changed_now},
        new={name: new[name] for name in changed_now},
        now=now,
    )


@transaction.atomic
def add_member(
    *,
    study: Study,
    username: str,
    new_password: str,
    role: str,
    site: Site | None,
    clinician: Clinician | None,
    actor: User,
    now: datetime,
    export: str = Member.Export.NONE,
) -> Member:
    """Give a person a role; makes the account when there is none with this name.

    For the role of clinician, `clinician` is whose patients the person rates; the account is tied to it.
    """
    User = get_user_model()
    user = User.objects.filter(username=username).first()
    if user is None:
        user = User.objects.create_user(username=username, password=new_password)
    member = Member.objects.create(study=study, user=user, role=role, site=site, export=export)
    if clinician is not None:
        clinician.user = user
        clinician.save(update_fields=["user"])
    audit.record(
        study=study,
        actor=actor,
        action="add member",
        detail={"user": user.pk, "role": role, "site": site.code if site else None, "export": export},
        now=now,
    )
    return member


@transaction.atomic
def remove_member(*, member: Member, actor: User, now: datetime) -> None:
    """Take a role away again. The account stays; a clinician's account is untied from the study's clinicians."""
    if member.role == Member.Role.CLINICIAN:
        Clinician.objects.filter(site__study=member.study, user=member.user).update(user=None)
    detail = {"user": member.user_id, "role": member.role, "site": member.site.code if member.site else None}
    audit.record(study=member.study, actor=actor, action="remove member", detail=detail, now=now)
    member.delete()


@transaction.atomic
def give_identifier_right(*, member: Member, gives: bool, actor: User, now: datetime) -> None:
    """Let a member see patients' names and contact details, or no more."""
    member.sees_identifiers = gives
    member.save(update_fields=["sees_identifiers"])
    audit.record(
        study=member.study,
        actor=actor,
        action="give right to identifiers" if gives else "take right to identifiers",
        detail={"user": member.user_id, "role": member.role, "site": member.site.code if member.site else None},
        now=now,
    )
