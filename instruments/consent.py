"""Whether a patient takes part: asked before the first question, answered once, kept for good."""

from datetime import datetime

from django.db import transaction

from instruments.definitions import Role
from instruments.models import Administration, Consent
from instruments.opening import locked_administration
from instruments.services import QuestionnaireClosed, require_open
from studies import audit
from studies.consent_texts import text_for
from studies.models import ConsentText


class ConsentTextChanged(Exception):
    """Another text counts than the one that was read; nothing was stored, and the patient has to be asked again."""


def consent_text(administration: Administration, language: str) -> ConsentText | None:
    """What this patient reads before agreeing; None where nobody has written it in this language."""
    dyad = administration.visit.dyad
    return text_for(study=dyad.study, site_id=dyad.clinician.site_id, language=language)


@transaction.atomic
def decide_consent(
    *, administration_id: int, text_id: str, language: str, is_given: bool, now: datetime
) -> Administration:
    """Keep the patient's answer: agreeing starts the questionnaire, declining ends it.

    The same answer again changes nothing. Who has agreed can still decline until the first answer is given; with the
    refusal the clinician's form about this visit is no longer asked for.

    Raises
    ------
    ConsentTextChanged
        If the text that was read (`text_id`) does not count any more.
    QuestionnaireClosed
        If the questionnaire is finished, the patient has declined before, or declines after giving answers.
    LinkExpired
        If the time for answering is over.
    """
    administration = locked_administration(administration_id)
    if administration.is_declined and not is_given:
        return administration
    require_open(administration, now=now)
    if not administration.awaits_consent:
        if is_given or not administration.consents.exists():
            return administration
        if administration.last_sequence:
            raise QuestionnaireClosed("This questionnaire holds answers; it can be stopped, but not declined any more.")
    text = consent_text(administration, language)
    if text is None or str(text.pk) != text_id:
        raise ConsentTextChanged
    Consent(
        administration=administration,
        text=text,
        text_hash=text.text_hash,
        language=language,
        is_given=is_given,
        decided_at=now,
    ).save()
    administration.language = language
    administration.status = Administration.Status.STARTED if is_given else Administration.Status.DECLINED
    administration.started_at = now if is_given else None
    administration.save(update_fields=["language", "status", "started_at"])
    if not is_given:
        _close_partner(administration, text=text, now=now)
    return administration


def _close_partner(administration: Administration, *, text: ConsentText, now: datetime) -> None:
    """Nobody rates a patient who would rather not take part. `services.reissue_link` opens it again."""
    visit = administration.visit
    partner = Administration.objects.filter(visit=visit, role=Role.CLINICIAN)
    partner.filter(status__in=Administration.UNFINISHED).update(status=Administration.Status.DECLINED, expires_at=now)
    audit.record(
        study=visit.dyad.study,
        actor=None,
        action="consent declined",
        detail={"dyad": visit.dyad.code, "language": text.language, "version": text.number},
        now=now,
    )
