"""How figures stand on the staff pages."""

import math
from collections.abc import Mapping

from django import template
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

register = template.Library()

#: What stands in the place of a figure that does not exist.
NONE = "–"


@register.filter
def figure(value: float | None, decimals: int = 1) -> str:
    """A number with fixed decimals in the page's language; a dash where there is none.

    >>> figure(None)
    '–'
    """
    if value is None or not math.isfinite(value):
        return NONE
    # Without the addition a rounded -0.0 would keep its minus sign.
    text = number_format(round(value, decimals) + 0.0, decimal_pos=decimals)
    return text.replace("-", "\N{MINUS SIGN}")


@register.filter
def points(value: float | None) -> str:
    """A score of 0 to 100: stored unrounded, shown in whole points.

    >>> points(66.67)
    '67'
    """
    return figure(value, 0)


@register.filter
def signed(value: float | None, decimals: int = 1) -> str:
    """A difference with its sign; none before what rounds to zero.

    >>> signed(0.62), signed(-0.62), signed(0.02)
    ('+0.6', '−0.6', '0.0')
    """
    text = figure(value, decimals)
    return f"+{text}" if value is not None and round(value, decimals) > 0 else text


@register.filter
def coefficient(value: float | None) -> str:
    """A correlation, loading or reliability: two decimals and, as is the custom in English, no zero in front."""
    return _without_zero(figure(value, 2))


def _without_zero(text: str) -> str:
    # Where a comma parts the decimals the zero is kept.
    return text.replace("0.", ".", 1) if text.lstrip("\N{MINUS SIGN}").startswith("0.") else text


@register.filter
def percent(value: float | None, decimals: int = 0) -> str:
    """A share of 0 to 1 as per cent."""
    return NONE if value is None else f"{figure(100 * value, decimals)} %"


@register.filter
def p_value(value: float | None) -> str:
    """A p value to three decimals, never zero."""
    if value is not None and value < 0.001:
        return f"< {_without_zero(figure(0.001, 3))}"
    return _without_zero(figure(value, 3))


@register.filter
def item(values: dict[str, object], key: str) -> object:
    """A dictionary's entry, or nothing."""
    return values.get(key, "") if values else ""


@register.filter
def in_language(texts: Mapping[str, str]) -> str:
    """A text kept in several languages, in the page's; in the first one where it has none."""
    language = (get_language() or "en").split("-")[0]
    return texts.get(language) or next(iter(texts.values()), "") if texts else ""


@register.simple_tag
def target_bar(share: float, expected: float | None) -> SafeString:
    """A bar for a share of a target, with a mark where it should stand by now; the figures stand beside it."""
    mark = ""
    if expected is not None:
        place = 100 * min(1.0, max(0.0, expected))
        mark = format_html('<rect x="{}" y="0" width="0.5" height="6" fill="#1f2933"/>', f"{min(99.5, place):.1f}")
    return format_html(
        '<svg class="target-bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect y="1" width="100" height="4" fill="#e4e7eb"/><rect y="1" width="{}" height="4" fill="#0b6e6e"/>{}</svg>',
        f"{100 * min(1.0, max(0.0, share)):.1f}",
        mark,
    )


@register.filter
def unlocalize_number(value: int) -> str:
    """A number that is a name (an id, a seed): without thousands separators."""
    return str(value)
