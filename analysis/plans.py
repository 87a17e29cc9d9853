"""What a study means to test, written down before it is looked at: versions of its analysis plan."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from analysis.models import AnalysisPlan
from studies import audit
from studies.models import Study
from studies.plain_text import normalised

MAXIMUM_LENGTH = 20_000  # characters


def newest_plan(study: Study) -> AnalysisPlan | None:
    """The version that counts; None before anybody has written one."""
    return AnalysisPlan.objects.filter(study=study).order_by("-number").first()


def plan_at(study: Study, moment: datetime) -> AnalysisPlan | None:
    """The version that counted then."""
    return AnalysisPlan.objects.filter(study=study, written_at__lte=moment).order_by("-number").first()


def plan_in_words(plan: AnalysisPlan | None) -> str:
    """One line for the codebook, in English as all of it."""
    if plan is None:
        return "none on record: all analyses are exploratory"
    models = "; ".join(plan.confirmatory) or "none"
    return (
        f"version {plan.number} of {plan.written_at:%Y-%m-%d}, SHA-256 {plan.text_hash}; "
        f"confirmatory models: {models}; all other analyses are exploratory"
    )


@transaction.atomic
def write_plan(
    *, study: Study, text: str, confirmatory: Sequence[str], why: str, actor: User | None, now: datetime
) -> AnalysisPlan | None:
    """Add a version; None, and nothing added, when the newest one says the same.

    Raises `IntegrityError` when somebody else has added a version in the same moment.
    """
    text = normalised(text)
    content = json.dumps([text, list(confirmatory)], ensure_ascii=False)
    text_hash = hashlib.sha256(content.encode()).hexdigest()
    before = newest_plan(study)
    if before is not None and before.text_hash == text_hash:
        return None
    plan = AnalysisPlan(
        study=study,
        number=before.number + 1 if before else 1,
        text=text,
        confirmatory=list(confirmatory),
        text_hash=text_hash,
        why=why,
        written_by=actor,
        written_at=now,
    )
    plan.save()
    audit.record(
        study=study,
        actor=actor,
        action="write analysis plan",
        detail={"version": plan.number},
        why=why,
        old={"text_hash": before.text_hash if before else None},
        new={"text_hash": text_hash},
        now=now,
    )
    return plan
