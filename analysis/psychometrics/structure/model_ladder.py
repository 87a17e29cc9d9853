"""The rival models of a structure (items in components in domains), written in lavaan's syntax.

A model is only as good as the rivals that it beats: a wrong one-factor model of ordinal answers passes the usual
cut-offs. So the ladder goes from one factor up to one factor per component, with the hierarchical and structural
readings between.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.psychometrics.errors import AnalysisInputError

#: Items that a factor needs to be identified by its correlations with other factors, and by itself.
_ITEMS_BESIDE_OTHERS = 2
_ITEMS_ALONE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStructure:
    """Which items measure which component, and which components make which domain.

    `processes` and `outcome` name domains by their part in the structural model: `competence → processes → outcome`.
    `paths` lists the outcome paths that the theory states, per outcome component the domains that lead to it.
    """

    components: Mapping[str, Sequence[str]]  # component -> items
    domains: Mapping[str, Sequence[str]]  # domain -> components
    parents: Mapping[str, str] = field(default_factory=dict)  # facet -> the component that it is a facet of
    formative: Sequence[str] = ()  # components whose items are causes rather than signs
    reverse_keyed: Sequence[str] = ()  # items, for the method factor
    processes: Sequence[str] = ()
    competence: str | None = None
    outcome: str | None = None
    paths: Mapping[str, Sequence[str]] = field(default_factory=dict)  # outcome component -> domains


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderModel:
    """One rung: a model, or the reason why these data have none."""

    id: str
    title: str
    syntax: str
    items: tuple[str, ...]
    simpler: tuple[str, ...] = ()  # ids of models nested in this one
    note: str = ""

    @property
    def available(self) -> bool:
        """Whether there is a model to fit."""
        return bool(self.syntax)


def build_ladder(structure: ModelStructure, *, method_factor: bool = False) -> tuple[LadderModel, ...]:
    """Write the rival models of a structure, M0 to M9.

    Parameters
    ----------
    structure : ModelStructure
        Components with the items on the form at hand.
    method_factor : bool
        Write the models of all items with an orthogonal factor of the reverse-keyed items (a sensitivity run). Their
        ids end in `r`.

    Returns
    -------
    tuple of LadderModel
        M0.* each reflective component of three items or more alone; M1 one factor; M2 the process domains (M2.1 one
        factor of their items); M3 components under the process domains; M3b the same with facets under their parent;
        M4 the competencies correlated (M4.2 under one factor, M4.1 as one factor); M5 domains; M6 domains with the
        outcomes apart; M7 components; M8 one general and the domains' own factors, orthogonal; M9 the structural model
        with the stated paths only (M9f with every path free, equivalent to M6). A model that the items do not allow has
        no syntax and says why.

    Raises
    ------
    AnalysisInputError
        Names that do not fit one another, or an item in two components.

    Examples
    --------
    >>> structure = ModelStructure(components={"a": ["a1", "a2"], "b": ["b1", "b2"]}, domains={"A": ["a"], "B": ["b"]})
    >>> {model.id: model.syntax for model in build_ladder(structure)}["M5"]
    'A =~ a1 + a2\\nB =~ b1 + b2'
    """
    _check(structure)
    ladder = [*_alone(structure), *_processes(structure), *_competencies(structure), *_all_items(structure)]
    if not method_factor:
        return tuple(ladder)
    return tuple(_with_method_factor(model, structure) for model in ladder if model.id in _ALL_ITEM_MODELS)


_ALL_ITEM_MODELS = frozenset({"M1", "M5", "M6", "M7", "M8", "M9", "M9f"})


def _check(structure: ModelStructure) -> None:
    items = [item for members in structure.components.values() for item in members]
    twice = sorted({item for item in items if items.count(item) > 1})
    if twice:
        raise AnalysisInputError(
            f"build_ladder requires each item in one component; {', '.join(twice)} stand(s) in several. "
            "Remedy: assign each item once."
        )
    components, domains = set(structure.components), set(structure.domains)
    outcomes = set(structure.domains.get(structure.outcome or "", ()))
    for what, named, known in (
        ("domains made of known components", {c for m in structure.domains.values() for c in m}, components),
        ("facets among the components", set(structure.parents), components),
        ("parents among the components", set(structure.parents.values()), components),
        ("formative components among the components", set(structure.formative), components),
        ("reverse-keyed items of a component", set(structure.reverse_keyed), set(items)),
        ("processes among the domains", set(structure.processes), domains),
        ("competence and outcome among the domains", {structure.competence, structure.outcome} - {None}, domains),
        ("paths to components of the outcome domain", set(structure.paths), outcomes),
        ("paths from domains", {d for m in structure.paths.values() for d in m}, domains),
    ):
        unknown = sorted(str(name) for name in named - known)
        if unknown:
            raise AnalysisInputError(f"build_ladder requires {what}; got {', '.join(unknown)}. Remedy: mend the names.")


def _factor(name: str, indicators: Iterable[str]) -> str:
    return f"{name} =~ {' + '.join(indicators)}"


def _items_of(structure: ModelStructure, components: Iterable[str]) -> tuple[str, ...]:
    return tuple(item for component in components for item in structure.components[component])


def _domain_items(structure: ModelStructure, domain: str) -> tuple[str, ...]:
    return _items_of(structure, structure.domains[domain])


def _thin(structure: ModelStructure, components: Iterable[str]) -> list[str]:
    """Name the components with too few items for a factor of their own beside others."""
    return [c for c in components if len(structure.components[c]) < _ITEMS_BESIDE_OTHERS]


def _too_thin(thin: Sequence[str]) -> str:
    return f"a factor needs two items or more; fewer on this form: {', '.join(thin)}"


def _alone(structure: ModelStructure) -> list[LadderModel]:
    return [
        LadderModel(
            id=f"M0.{component}",
            title=f"{component} alone",
            syntax=_factor(component, items),
            items=tuple(items),
            note="three items: no degrees of freedom, loadings only" if len(items) == _ITEMS_ALONE else "",
        )
        for component, items in structure.components.items()
        if len(items) >= _ITEMS_ALONE and component not in structure.formative
    ]


def _processes(structure: ModelStructure) -> list[LadderModel]:
    if len(structure.processes) < 2:
        return []
    components = [c for domain in structure.processes for c in structure.domains[domain]]
    items = _items_of(structure, components)
    models = [
        LadderModel(id="M2.1", title="one factor of the process items", syntax=_factor("process", items), items=items),
        LadderModel(
            id="M2",
            title=f"{len(structure.processes)} process factors",
            syntax="\n".join(_factor(d, _domain_items(structure, d)) for d in structure.processes),
            items=items,
            simpler=("M2.1",),
        ),
    ]
    thin = _thin(structure, components)
    single = [domain for domain in structure.processes if len(structure.domains[domain]) < _ITEMS_BESIDE_OTHERS]
    note = _too_thin(thin) if thin else ""
    if single and not note:
        note = f"a second-order factor needs two components or more; fewer: {', '.join(single)}"
    first_order = [_factor(c, structure.components[c]) for c in components]
    second_order = [_factor(d, structure.domains[d]) for d in structure.processes]
    title = f"{len(components)} process components under {len(structure.processes)} domains"
    models.append(
        LadderModel(
            id="M3",
            title=title,
            syntax="" if note else "\n".join([*first_order, *second_order]),
            items=items,
            simpler=("M2",),
            note=note,
        )
    )
    nested = {f: p for f, p in structure.parents.items() if f in components and p in components}
    if nested:
        models.append(
            LadderModel(
                id="M3b",
                title=f"{title}, facets under their parent",
                syntax="" if note else "\n".join([*first_order, *_nested_domains(structure, nested)]),
                items=items,
                simpler=("M3",),
                note=note,
            )
        )
    return models


def _nested_domains(structure: ModelStructure, nested: Mapping[str, str]) -> list[str]:
    """Write each process domain over its components, the facets of a parent gathered under a factor of their own."""
    parents = dict.fromkeys(nested.values())
    lines = [_factor(f"{p}_wide", [p, *(f for f, own in nested.items() if own == p)]) for p in parents]
    for domain in structure.processes:
        members = [f"{c}_wide" if c in parents else c for c in structure.domains[domain] if c not in nested]
        lines.append(_factor(domain, members))
    return lines


def _competencies(structure: ModelStructure) -> list[LadderModel]:
    if structure.competence is None or len(structure.domains[structure.competence]) < 2:
        return []
    components = structure.domains[structure.competence]
    items = _items_of(structure, components)
    thin = _thin(structure, components)
    note = _too_thin(thin) if thin else ""
    first_order = [_factor(c, structure.components[c]) for c in components]
    second_order_note = note or (
        "a second-order factor needs three first-order factors or more" if len(components) < _ITEMS_ALONE else ""
    )
    name = structure.competence
    return [
        LadderModel(id="M4.1", title=f"one factor of the {name} items", syntax=_factor(name, items), items=items),
        LadderModel(
            id="M4.2",
            title=f"{len(components)} competencies under one factor",
            syntax="" if second_order_note else "\n".join([*first_order, _factor(name, components)]),
            items=items,
            simpler=("M4.1",),
            note=second_order_note,
        ),
        LadderModel(
            id="M4",
            title=f"{len(components)} correlated competencies",
            syntax="" if thin else "\n".join(first_order),
            items=items,
            simpler=("M4.1",) if second_order_note else ("M4.2",),
            note=note,
        ),
    ]


def _all_items(structure: ModelStructure) -> list[LadderModel]:
    domains = list(structure.domains)
    items = tuple(item for domain in domains for item in _domain_items(structure, domain))
    models = [LadderModel(id="M1", title="one factor", syntax=_factor("general", items), items=items)]
    by_domain = [_factor(domain, _domain_items(structure, domain)) for domain in domains]
    if len(domains) < 2:
        return models
    thin_domains = [domain for domain in domains if len(_domain_items(structure, domain)) < _ITEMS_BESIDE_OTHERS]
    models.append(
        LadderModel(
            id="M5",
            title=f"{len(domains)} domains",
            syntax="" if thin_domains else "\n".join(by_domain),
            items=items,
            simpler=("M1",),
            note=_too_thin(thin_domains) if thin_domains else "",
        )
    )
    groups = _groups(structure)
    grouped = [_factor(name, members) for name, members in groups.items()]
    thin_groups = [name for name, members in groups.items() if len(members) < _ITEMS_BESIDE_OTHERS]
    if structure.outcome is not None:
        models.append(
            LadderModel(
                id="M6",
                title=f"{len(groups)} groups: domains, and the outcomes one by one",
                syntax="" if thin_groups else "\n".join(grouped),
                items=items,
                simpler=("M5",),
                note=_too_thin(thin_groups) if thin_groups else "",
            )
        )
    thin = _thin(structure, structure.components)
    models.append(
        LadderModel(
            id="M7",
            title=f"{len(structure.components)} correlated components",
            syntax="" if thin else "\n".join(_factor(c, m) for c, m in structure.components.items()),
            items=items,
            simpler=("M6",) if structure.outcome is not None and not thin_groups else ("M5",),
            note=_too_thin(thin) if thin else "",
        )
    )
    specific = [_factor(f"{domain}_own", _domain_items(structure, domain)) for domain in domains]
    factors = ["general", *(f"{domain}_own" for domain in domains)]
    models.append(
        LadderModel(
            id="M8",
            title=f"bifactor: a general factor and {len(domains)} domains' own",
            syntax="" if thin_domains else "\n".join([_factor("general", items), *specific, *_orthogonal(factors)]),
            items=items,
            simpler=("M1",),
            note=_too_thin(thin_domains) if thin_domains else "",
        )
    )
    return [*models, *_structural(structure, items, grouped, thin_groups)]


def _groups(structure: ModelStructure) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for domain, components in structure.domains.items():
        if domain == structure.outcome:
            groups |= {component: tuple(structure.components[component]) for component in components}
        else:
            groups[domain] = _domain_items(structure, domain)
    return groups


def _structural(
    structure: ModelStructure, items: tuple[str, ...], measurement: Sequence[str], thin: Sequence[str]
) -> list[LadderModel]:
    """Write competence → processes → outcomes with the stated paths, and with all of them."""
    if structure.outcome is None or structure.competence is None or not structure.processes:
        return []
    outcomes, processes, competence = structure.domains[structure.outcome], structure.processes, structure.competence
    # What processes and outcomes share beyond their stated causes stays free: the paths alone are at test.
    shared = [*_covaried(processes), *_covaried(outcomes)]
    first = [f"{process} ~ {competence}" for process in processes]
    stated = [f"{o} ~ {' + '.join(structure.paths.get(o, processes))}" for o in outcomes]
    free = [f"{o} ~ {' + '.join([*processes, competence])}" for o in outcomes]
    note = _too_thin(thin) if thin else ""

    def model(id_: str, title: str, paths: Sequence[str], simpler: tuple[str, ...]) -> LadderModel:
        syntax = "" if thin else "\n".join([*measurement, *first, *paths, *shared])
        return LadderModel(id=id_, title=title, syntax=syntax, items=items, simpler=simpler, note=note)

    return [
        model("M9", f"{competence} → processes → outcomes, the stated paths only", stated, ()),
        model("M9f", f"{competence} → processes → outcomes, every path free", free, ("M9",)),
    ]


def _covaried(names: Sequence[str]) -> list[str]:
    return [f"{first} ~~ {second}" for position, first in enumerate(names) for second in names[position + 1 :]]


def _orthogonal(names: Sequence[str]) -> list[str]:
    return [f"{first} ~~ 0*{second}" for position, first in enumerate(names) for second in names[position + 1 :]]


def _with_method_factor(model: LadderModel, structure: ModelStructure) -> LadderModel:
    reversed_items = [item for item in structure.reverse_keyed if item in model.items]
    note = model.note
    syntax = model.syntax
    if len(reversed_items) < _ITEMS_ALONE:
        syntax, note = (
            "",
            f"a method factor needs three reverse-keyed items or more; this form has {len(reversed_items)}",
        )
    elif syntax:
        # First-order and second-order factors alike: the method shares nothing with what the items are about.
        factors = [line.split(" =~ ")[0] for line in syntax.splitlines() if " =~ " in line]
        endogenous = {line.split(" ~ ")[0] for line in syntax.splitlines() if " ~ " in line}
        apart = [f"reverse_keyed ~~ 0*{name}" for name in factors if name not in endogenous]
        syntax = "\n".join([syntax, _factor("reverse_keyed", reversed_items), *apart])
    return LadderModel(
        id=f"{model.id}r",
        title=f"{model.title}, with a method factor of the reverse-keyed items",
        syntax=syntax,
        items=model.items,
        simpler=(model.id,),
        note=note,
    )
