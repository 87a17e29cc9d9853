"""Addresses that open a questionnaire, and their QR codes."""

from dataclasses import dataclass

import segno
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from instruments.definitions import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetLink:
    """One questionnaire's address for a printed sheet."""

    role: Role
    url: str

    @property
    def qr_code(self) -> SafeString:
        """Inline SVG without a size of its own; the page's style sets it."""
        return mark_safe(segno.make(self.url, error="m").svg_inline(omitsize=True, border=2))  # noqa: S308  only paths


def questionnaire_link(request: HttpRequest, role: Role, token: str) -> SheetLink:
    """The full address behind this secret."""
    return SheetLink(role=role, url=request.build_absolute_uri(reverse("questionnaire", args=[token])))
