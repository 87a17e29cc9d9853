"""The policy: who may open which URL. One table for the whole site; what is not in it is refused.

Each row names a URL of the resolver, and who gets past it: everybody, who holds a questionnaire's link, who is signed
in, or who holds one of some roles in the study that the address names. Which rows of the study they then reach, by
site, is `studies.scope`'s part; the views cut finer where one's own patients count.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.urls import ResolverMatch
from django.utils.translation import gettext as _

from studies.access import (
    MANAGES_STUDY,
    MANAGES_VISITS,
    MAY_SEE_IDENTIFIERS,
    RATES_PATIENTS,
    SEES_AUDIT,
    SEES_RECRUITMENT,
    SEES_SCORES,
    study_for,
)
from studies.scope import Scope, streamed, within
from studies.sessions import is_beyond_sign_in

logger = logging.getLogger(__name__)


class Gate(Enum):
    """What a URL asks for before its view runs."""

    ANYBODY = "anybody"  # shows no study's rows
    LINK = "link"  # a secret is the right: of one questionnaire in the address, of one tablet in its cookie
    SIGNED_IN = "signed in"
    SUPERUSER = "superuser"
    ROLE = "role"  # in the study that `code` names


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table. `permission` is asked for by the view, on top of the gate."""

    gate: Gate
    roles: tuple[str, ...] = ()
    permission: str = ""
    identifiers: bool = False  # the role must have been given the right to see patients' names


ANYBODY, LINK = Rule(gate=Gate.ANYBODY), Rule(gate=Gate.LINK)


def role(*roles: str) -> Rule:
    """A page of a study, for whoever holds one of these roles in it."""
    return Rule(gate=Gate.ROLE, roles=roles)


IDENTIFIERS = Rule(gate=Gate.ROLE, roles=MAY_SEE_IDENTIFIERS, identifiers=True)

POLICY: dict[str, Rule] = {
    # the platform
    "health_live": ANYBODY,
    "health_ready": ANYBODY,
    "metrics": ANYBODY,  # by its own token, and counts only
    "set_language": ANYBODY,
    "home": ANYBODY,
    "login": ANYBODY,
    "logout": ANYBODY,
    "email_sign_in": ANYBODY,
    "email_sign_in_use": ANYBODY,
    "message_put_away": Rule(gate=Gate.SIGNED_IN),
    "second_factor": Rule(gate=Gate.SIGNED_IN),
    "second_factor_setup": Rule(gate=Gate.SIGNED_IN),
    "invitation_take_up": LINK,
    "admin_login": ANYBODY,
    "admin:*": Rule(gate=Gate.SUPERUSER),
    # a questionnaire, by its link
    "questionnaire": LINK,
    "questionnaire_consent": LINK,
    "questionnaire_page": LINK,
    "questionnaire_language": LINK,
    "questionnaire_review": LINK,
    "questionnaire_finish": LINK,
    "questionnaire_cannot": LINK,
    "questionnaire_again": LINK,
    "questionnaire_answers": LINK,
    "questionnaire_state": LINK,
    "questionnaire_deliver": LINK,
    "questionnaire_display": LINK,
    "questionnaire_shell": ANYBODY,
    "questionnaire_locked": ANYBODY,
    "questionnaire_code": LINK,
    "service_worker": ANYBODY,
    # a site's tablet, by its cookie; it reaches its own row and the questionnaire that was handed over to it
    "tablet": LINK,
    "tablet_short": ANYBODY,
    "tablet_unlock": LINK,
    "tablet_next": LINK,
    "tablet_report": LINK,
    "tablet_open": LINK,
    "tablet_enrol": LINK,
    "tablet_enrol_with_code": LINK,
    "form_texts": ANYBODY,
    # a study's figures
    "study_overview": role(*SEES_RECRUITMENT),
    "dyads": role(*SEES_SCORES),
    "dyads_download": role(*SEES_SCORES),
    "codebook_download": role(*SEES_SCORES),
    "dyad": role(*SEES_SCORES),
    "analyses": role(*SEES_SCORES),
    "analysis_plan": role(*SEES_SCORES),
    "analysis_plan_edit": role(*MANAGES_STUDY),
    "analysis_new": role(*SEES_SCORES),
    "analysis": role(*SEES_SCORES),
    "analysis_progress": role(*SEES_SCORES),
    # visits and ratings
    "day": role(*MANAGES_VISITS),
    "visit_decline": role(*MANAGES_VISITS),
    "visit_take_part": role(*MANAGES_VISITS),
    "visits": role(*MANAGES_VISITS),
    "visit_new": role(*MANAGES_VISITS),
    "link_reissue": role(*MANAGES_VISITS),
    "day_list": role(*MANAGES_VISITS),
    "day_list_confirm": role(*MANAGES_VISITS),
    "paper_forms": role(*MANAGES_VISITS),
    "paper_blank": role(*MANAGES_VISITS),
    "paper_print": role(*MANAGES_VISITS),
    "paper_entry": role(*MANAGES_VISITS),
    "paper_compare": role(*MANAGES_VISITS),
    "paper_discard": role(*MANAGES_VISITS),
    "participation": role(*SEES_RECRUITMENT),
    "non_participation_new": role(*MANAGES_VISITS),
    "hand_over": role(*MANAGES_VISITS),
    "devices": role(*MANAGES_VISITS),
    "device_new": role(*MANAGES_VISITS),
    "device_edit": role(*MANAGES_VISITS),
    "device_link": role(*MANAGES_VISITS),
    "device_revoke": role(*MANAGES_VISITS),
    "device_noted": role(*MANAGES_VISITS),
    "hand_over_take_back": role(*MANAGES_VISITS),
    "retention": role(*MANAGES_STUDY),
    "retention_confirm": role(*MANAGES_STUDY),
    "withdrawals": role(*MANAGES_VISITS),
    "withdrawal_new": role(*MANAGES_VISITS),
    "patient_erase": role(*MANAGES_STUDY),
    "clinician_erase": role(*MANAGES_STUDY),
    # who patients are
    "identifiers": IDENTIFIERS,
    "identifiers_show": IDENTIFIERS,
    "identifiers_edit": IDENTIFIERS,
    "identifiers_delete": IDENTIFIERS,
    # ratings
    "patients_to_rate": role(*RATES_PATIENTS),
    "rate_patient": role(*RATES_PATIENTS),
    "rating_label": role(*RATES_PATIENTS),
    # setting up
    "study_new": Rule(gate=Gate.SIGNED_IN, permission="studies.add_study"),
    "study_settings": role(*MANAGES_STUDY),
    "import_responses": role(*MANAGES_STUDY),
    "site_new": role(*MANAGES_STUDY),
    "study_open": role(*MANAGES_STUDY),
    "consent_texts": role(*MANAGES_STUDY),
    "consent_text": role(*MANAGES_STUDY),
    "consent_text_of_site": role(*MANAGES_STUDY),
    "site_edit": role(*MANAGES_STUDY),
    "wave_edit": role(*MANAGES_STUDY),
    "clinician_edit": role(*MANAGES_STUDY),
    "clinician_new": role(*MANAGES_STUDY),
    "wave_new": role(*MANAGES_STUDY),
    "member_new": role(*MANAGES_STUDY),
    "member_identifiers": role(*MANAGES_STUDY),
    "member_remove": role(*MANAGES_STUDY),
    "second_factor_remove": role(*MANAGES_STUDY),
    "member_invite": role(*MANAGES_STUDY),
    "invitation_withdraw": role(*MANAGES_STUDY),
    # the trail
    "audit_trail": role(*SEES_AUDIT),
    "audit_download": role(*SEES_AUDIT),
}


def rule_for(match: ResolverMatch) -> Rule | None:
    """The table's row for a resolved address; None when nobody has said who may open it."""
    if match.namespaces:
        return POLICY.get(f"{match.namespaces[0]}:*")
    return POLICY.get(match.url_name or "")


class EnforcePolicy:
    """Asks the table before every view, and keeps a request's rows to what its right covers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with within(Scope()) as scope:
            request.scope = scope  # type: ignore[attr-defined]
            response: HttpResponseBase = self.get_response(request)
        if response.streaming:
            # It is made while it is sent, when this request's scope is over.
            stream = cast(StreamingHttpResponse, response)
            stream.streaming_content = streamed(iter(stream), scope)
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Refuses by `PermissionDenied` or `Http404`; otherwise says what the view's queries can reach."""
        match = request.resolver_match
        rule = None if match is None else rule_for(match)
        if rule is None:
            logger.error("No row of healing_survey/policy.py names the URL %s: refused", match and match.view_name)
            raise PermissionDenied
        scope: Scope = request.scope  # type: ignore[attr-defined]
        user = request.user
        if user.is_authenticated and is_beyond_sign_in(request, match.view_name if match else ""):
            raise PermissionDenied(
                _("The link by e-mail opens your patients. Sign in with your password for the rest.")
            )
        match rule.gate:
            case Gate.LINK:
                scope.is_lifted = True
            case Gate.SUPERUSER:
                scope.is_lifted = bool(user.is_active and user.is_superuser)
            case Gate.ROLE if isinstance(user, User):
                study_for(user, str(kwargs.get("code", "")), *rule.roles, identifiers=rule.identifiers)
