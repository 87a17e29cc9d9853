"""How figures stand on the staff pages."""

import math

from django import template
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

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
def coefficient(value: float | None) -> str:
    """A correlation, loading or reliability: two decimals and, as is the custom, no zero before the point."""
    text = figure(value, 2)
    for zero in ("0.", "0,"):
        if text.lstrip("\N{MINUS SIGN}").startswith(zero):
            return text.replace(zero, zero[1], 1)
    return text


@register.filter
def percent(value: float | None, decimals: int = 0) -> str:
    """A share of 0 to 1 as per cent."""
    return NONE if value is None else f"{figure(100 * value, decimals)} %"


@register.filter
def p_value(value: float | None) -> str:
    """A p value to three decimals, never zero."""
    if value is not None and value < 0.001:
        return f"< {coefficient(0.01)[0]}001"
    text = figure(value, 3)
    return text[1:] if text.startswith("0") else text


@register.filter
def item(values: dict[str, object], key: str) -> object:
    """A dictionary's entry, or nothing."""
    return values.get(key, "") if values else ""


@register.simple_tag
def share_bar(value: float | None) -> SafeString:
    """A bar for a share of 0 to 1, for the eye only: the figures stand beside it."""
    width = 100 * min(1.0, max(0.0, value or 0.0))
    return format_html(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="100" height="6" rx="1" fill="#e4e7eb"/><rect width="{}" height="6" rx="1" fill="#0b6e6e"/></svg>',
        f"{width:.1f}",
    )


@register.filter
def unlocalize_number(value: int) -> str:
    """A number that is a name (an id, a seed): without thousands separators."""
    return str(value)
