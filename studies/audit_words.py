"""The audit trail in words."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from studies.models import Clinician, Device, Site, Study, Wave

#: What stands in the place of a value that is not there.
NOTHING = "–"

#: What a line's `action` is called on pages. An action that is not here is shown as it stands.
ACTIONS: dict[str, str | Promise] = {
    "sign in": _("Signed in"),
    "sign out": _("Signed out"),
    "sign in failed": _("Sign-in failed"),
    "ask for sign-in link": _("Sign-in link by e-mail asked for"),
    "send sign-in link": _("Sign-in link sent"),
    "use sign-in link": _("Signed in by an e-mailed link"),
    "session ended": _("Signed out after a time without use"),
    "set up second factor": _("Second factor set up"),
    "second factor shown": _("Second factor shown"),
    "second factor failed": _("Second factor wrong"),
    "remove second factor": _("Second factor taken away"),
    "invite": _("Person invited"),
    "withdraw invitation": _("Invitation withdrawn"),
    "refused": _("Refused"),
    "change in Django's admin": _("Changed in Django's admin"),
    "create study": _("Study created"),
    "open study": _("Study opened"),
    "change study": _("Settings changed"),
    "add site": _("Site added"),
    "add clinician": _("Clinician added"),
    "add wave": _("Wave added"),
    "add member": _("Role given"),
    "remove member": _("Role taken away"),
    "give right to identifiers": _("Right to see names given"),
    "take right to identifiers": _("Right to see names taken away"),
    "add identifiers": _("Names and contact details added"),
    "change identifiers": _("Names and contact details changed"),
    "delete identifiers": _("Names and contact details deleted"),
    "look at identifiers": _("Names and contact details looked at"),
    "look up identifiers": _("Patient looked up by name or number"),
    "rotate identifier keys": _("Names and contact details sealed under a new key"),
    "change retention": _("Retention rules changed"),
    "order retention": _("Deletion by the retention rules confirmed"),
    "apply retention": _("Deleted by the retention rules"),
    "hold back retention": _("Deletion held back: more than was confirmed"),
    "withdraw": _("Withdrawal noted"),
    "erase": _("Person erased"),
    "erase again": _("Person erased again, after a restore"),
    "add visit": _("Visit added"),
    "enrol list": _("List enrolled"),
    "enter paper form": _("Paper form typed in"),
    "complete paper form": _("Paper form complete: both entries agree"),
    "decide paper form": _("Paper form complete: differences decided"),
    "discard paper entry": _("Paper entry thrown away"),
    "not taking part": _("Not taking part noted"),
    "taking part after all": _("Taking part after all"),
    "change site": _("Site changed"),
    "change clinician": _("Clinician changed"),
    "change wave": _("Wave changed"),
    "write consent text": _("Consent text written"),
    "write analysis plan": _("Analysis plan written"),
    "consent declined": _("Patient declined"),
    "new link": _("New link made"),
    "add tablet": _("Tablet added"),
    "new tablet link": _("New link for a tablet made"),
    "enrol tablet": _("Tablet enrolled"),
    "change tablet": _("Tablet changed"),
    "revoke tablet": _("Tablet revoked"),
    "wrong tablet PIN": _("Wrong PIN on a tablet"),
    "note refused answers": _("Refused answers noted"),
    "hand over": _("Questionnaire handed over to a tablet"),
    "take back hand-over": _("Hand-over taken back"),
    "open on tablet": _("Questionnaire opened on a tablet"),
    "go on after pause": _("Paused questionnaire opened by the PIN"),
    "tablet back": _("Tablet back at the front desk"),
    "cannot rate": _("Clinician cannot rate the patient"),
    "rate after all": _("Clinician rates the patient after all"),
    "remind clinician": _("Clinician reminded by e-mail"),
    "private label": _("Private label set or taken away"),
    "import responses": _("Answers imported"),
    "export dyads": _("Dyads exported"),
    "export codebook": _("Codebook exported"),
    "export audit trail": _("Audit trail exported"),
    "run analysis": _("Analysis asked for"),
}


def action_words(action: str) -> str:
    """What happened, in the page's language."""
    return str(ACTIONS.get(action, action))


#: What the parts of a line are called. A changed setting is called as its form calls it (`_setting_words`).
FACTS: dict[str, str | Promise] = {
    "account": _("account"),
    "accounts": _("accounts"),
    "amendment": _("amendment no."),
    "analysis_plan": _("analysis plan"),
    "answers": _("answers"),
    "because": _("because"),
    "by": _("by"),
    "clinician": _("clinician"),
    "code": _("code"),
    "codes_left": _("recovery codes left"),
    "confirmed": _("confirmed"),
    "deidentified": _("de-identified"),
    "due_on": _("due on"),
    "dyad": _("dyad"),
    "dyads": _("dyads"),
    "exclude_flagged": _("flagged forms left out"),
    "export": _("downloads"),
    "failed": _("failed"),
    "failures": _("failures in a row"),
    "fields": _("settings"),
    "file": _("file"),
    "form": _("form"),
    "forms": _("forms"),
    "found": _("found"),
    "id": _("number"),
    "include_incomplete": _("with one-sided visits"),
    "invitation": _("invitation no."),
    "key": _("key"),
    "label": _("label"),
    "language": _("language"),
    "link": _("link no."),
    "method": _("method"),
    "n_factors": _("factors"),
    "name": _("name"),
    "new PIN": _("new PIN"),
    "new_dyads": _("new dyads"),
    "not_taking_part": _("not taking part"),
    "notes": _("notes"),
    "outcome": _("outcome"),
    "patients": _("patients"),
    "own_left_out": _("own patients left out"),
    "page": _("page"),
    "people": _("people"),
    "purpose": _("purpose"),
    "reason": _("reason"),
    "role": _("role"),
    "rows": _("rows"),
    "rule": _("rule"),
    "run": _("analysis no."),
    "seed": _("seed"),
    "sha256": _("SHA-256"),
    "site": _("site"),
    "sites": _("sites"),
    "status": _("status"),
    "table": _("table"),
    "tablet": _("tablet"),
    "text_hash": _("text's hash"),
    "user": _("account no."),
    "version": _("version"),
    "visits": _("visits"),
    "wave": _("wave"),
    "waves": _("waves"),
    "what": _("what"),
    "with": _("with"),
}


def facts_words(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a line says beside who and when: (what, value), changes as old → new."""
    words = [(_fact(name), _text(value)) for name, value in facts["detail"].items() if name != "fields"]
    old, new = facts.get("old") or {}, facts.get("new") or {}
    words += [(_fact(name), f"{_text(old.get(name))} → {_text(new.get(name))}") for name in {**old, **new}]
    if not (old or new):
        settings = facts["detail"].get("fields", [])
        words += [(_fact("fields"), ", ".join(map(_fact, settings)) or NOTHING)] if settings else []
    return words


def _fact(name: str) -> str:
    return str(FACTS.get(name) or _setting_words().get(name) or name.replace("_", " "))


@cache
def _setting_words() -> dict[str, str | Promise]:
    """Column -> what forms call it, of everything whose changes are told with old and new."""
    fields = [field for model in (Study, Site, Clinician, Wave, Device) for field in model._meta.concrete_fields]
    return {field.attname: field.verbose_name for field in reversed(fields)}


def _text(value: object) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or NOTHING
    return str(value)
