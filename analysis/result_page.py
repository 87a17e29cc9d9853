"""A finished analysis as its page shows it: the stored figures into rows, with pictures and labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from analysis.pictures import DistributionLabels, ScreeLabels, distribution_bars, scree_plot
from analysis.words import MISSING, ROLES, statistics_words
from instruments.definitions import Instrument, Role
from instruments.staff_forms import in_language

#: Loadings from here on are set off; a reading aid, no test.
EMPHASISED_LOADING = 0.30


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """One item: the sentence, who answered, how."""

    code: str
    text: str
    reverse_keyed: bool
    n: int
    n_missing: int
    missing: str  # reasons with counts, in words
    mean: float | None
    sd: float | None
    floor_share: float | None
    ceiling_share: float | None
    item_rest: float | None
    bars: SafeString


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRow:
    """Reliability of one component or domain; `error` in place of the figures where there are none."""

    label: str
    is_domain: bool
    n_items: int
    alpha: Mapping[str, Any]
    omega: float | None
    inter_item: float | None
    spearman_brown: float | None
    item_rest: Sequence[tuple[str, float | None]]
    has_verdict: bool
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingRow:
    """One item's loadings, in the order of the factors; each with whether it is set off."""

    code: str
    text: str
    loadings: Sequence[tuple[float | None, bool]]
    communality: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePart:
    """Everything about one role's forms. `error` is set when nothing could be computed."""

    role: str
    label: str
    error: str
    n_forms: int = 0
    n_empty: int = 0
    n_items: int = 0
    items: Sequence[ItemRow] = ()
    items_error: str = ""
    scales: Sequence[ScaleRow] = ()
    sampling_adequacy: Mapping[str, Any] | None = None
    sphericity: Mapping[str, Any] | None = None
    retention: Mapping[str, Any] | None = None
    scree: SafeString | None = None
    factors: Mapping[str, Any] | None = None
    loadings: Sequence[LoadingRow] = ()
    factor_numbers: Sequence[int] = ()
    factor_shares: Sequence[tuple[int, float | None]] = ()
    phi: Sequence[tuple[int, Sequence[float | None]]] = ()
    notes: Sequence[str] = ()


def role_parts(result: Mapping[str, Any], instrument: Instrument) -> list[RolePart]:
    """The result's roles in order, ready for the page."""
    return [_role_part(Role(role), look, instrument) for role, look in result.items()]


def _role_part(role: Role, look: Mapping[str, Any], instrument: Instrument) -> RolePart:
    label = str(ROLES[role.value])
    if "error" in look:
        return RolePart(role=role.value, label=label, error=statistics_words(look["error"]))
    structure = {name: _worded(part) for name, part in look["structure"].items()}
    factors, retention = structure["factors"], structure["retention"]
    n_factors = factors.get("n_factors", 0)
    numbers = range(1, n_factors + 1)
    return RolePart(
        role=role.value,
        label=label,
        error="",
        n_forms=look["n_forms"],
        n_empty=look["n_empty"],
        n_items=look["n_items"],
        items=_item_rows(role, look, instrument),
        items_error=_error(look["items"]),
        scales=_scale_rows(look, instrument),
        sampling_adequacy=structure["sampling_adequacy"],
        sphericity=structure["sphericity"],
        retention=retention,
        scree=_scree(retention),
        factors=factors,
        loadings=_loading_rows(role, factors, instrument),
        factor_numbers=numbers,
        factor_shares=list(zip(numbers, factors.get("variance_share", []), strict=False)),
        phi=list(zip(numbers, factors.get("phi", []), strict=False)) if n_factors > 1 else (),
        notes=_notes(structure),
    )


def _error(part: Any) -> str:
    return statistics_words(str(part.get("error", ""))) if isinstance(part, Mapping) else ""


def _worded(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the structure; in the place of its figures its error in the reader's language."""
    return {"error": statistics_words(part["error"])} if "error" in part else part


def _item_rows(role: Role, look: Mapping[str, Any], instrument: Instrument) -> list[ItemRow]:
    if _error(look["items"]):
        return []
    item_rest = _item_rest(look["scales"])
    categories = tuple(in_language(option.label[role]) for option in instrument.scale)
    rows = []
    for one in look["items"]:
        code = one["item"]
        labels = DistributionLabels(
            title=_("Answers to %(item)s") % {"item": code}, categories=categories, no_answers=_("no answers")
        )
        missing = [f"{MISSING.get(why, why)}: {n}" for why, n in (one["missing_by_reason"] or {}).items() if n]
        rows.append(
            ItemRow(
                code=code,
                text=in_language(instrument.items[code].text[role]),
                reverse_keyed=one["reverse_keyed"],
                n=one["n"],
                n_missing=one["n_missing"],
                missing=", ".join(missing),
                mean=one["mean"],
                sd=one["sd"],
                floor_share=one["floor_share"],
                ceiling_share=one["ceiling_share"],
                item_rest=item_rest.get(code),
                bars=mark_safe(distribution_bars(one["counts"], labels)),  # noqa: S308  pictures escape every text
            )
        )
    return rows


def _item_rest(scales: Mapping[str, Any]) -> dict[str, float | None]:
    """Each item's correlation with the rest of its component."""
    found: dict[str, float | None] = {}
    for scale in scales.values():
        part = scale.get("item_rest", {})
        if "r" in part:
            found |= dict(zip(part["item_codes"], part["r"], strict=True))
    return found


def _scale_rows(look: Mapping[str, Any], instrument: Instrument) -> list[ScaleRow]:
    rows = []
    for domain in instrument.domains.values():
        rows.append(_scale_row(look["domains"][domain.id], in_language(domain.label), is_domain=True))
        for component in domain.components:
            label = in_language(instrument.components[component].label)
            rows.append(_scale_row(look["scales"][component], label, is_domain=False))
    return rows


def _scale_row(scale: Mapping[str, Any], label: str, *, is_domain: bool) -> ScaleRow:
    alpha = scale.get("alpha", {})
    rest = scale.get("item_rest", {})
    return ScaleRow(
        label=label,
        is_domain=is_domain,
        n_items=scale["n_items"],
        alpha=alpha,
        omega=scale.get("omega", {}).get("omega"),
        inter_item=scale.get("inter_item", {}).get("average"),
        spearman_brown=scale["spearman_brown"] if isinstance(scale.get("spearman_brown"), float) else None,
        item_rest=() if is_domain else list(zip(rest.get("item_codes", []), rest.get("r", []), strict=True)),
        has_verdict=scale["verdict"],
        error=statistics_words(str(scale.get("error") or alpha.get("error") or "")),
    )


def _scree(retention: Mapping[str, Any]) -> SafeString | None:
    if "error" in retention:
        return None
    labels = ScreeLabels(
        title=_("Scree plot"),
        description=_("Eigenvalues of the correlation matrix beside those of random data of the same size."),
        factor_axis=_("factor"),
        eigenvalue_axis=_("eigenvalue"),
        observed=_("these data"),
        reference_mean=_("random data, mean"),
        reference_p95=_("random data, 95th percentile"),
    )
    curves = (retention["eigenvalues"], retention["reference_mean"], retention["reference_p95"])
    return mark_safe(scree_plot(*curves, labels))  # noqa: S308  pictures escape every text


def _loading_rows(role: Role, factors: Mapping[str, Any], instrument: Instrument) -> list[LoadingRow]:
    if "error" in factors:
        return []
    rows = []
    for position in factors["display_order"]:
        code = factors["item_codes"][position]
        rows.append(
            LoadingRow(
                code=code,
                text=in_language(instrument.items[code].text[role]),
                loadings=[
                    (value, value is not None and abs(value) >= EMPHASISED_LOADING)
                    for value in factors["loadings"][position]
                ],
                communality=factors["communalities"][position],
            )
        )
    return rows


def _notes(structure: Mapping[str, Any]) -> list[str]:
    """What the parts of the structure have to say, each once."""
    notes = [note for part in structure.values() for note in part.get("notes", ())]
    return [statistics_words(note) for note in dict.fromkeys(notes)]
