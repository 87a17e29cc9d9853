"""The instrument's model as a structure that the statistics test: items in components in domains, stated paths."""

from collections.abc import Mapping, Sequence

from analysis.psychometrics.structure.model_ladder import ModelStructure
from instruments.definitions import Instrument

PROCESSES = ("valuing", "appreciating_power", "abiding")
COMPETENCE = "competence"
OUTCOME = "outcome"

#: The paths to outcomes that Scott et al. (2008) state. "Trust emerges from the processes of valuing and abiding", and
#: being known likewise; for hope there is only the general sentence that all processes lead to the outcomes.
STATED_PATHS: Mapping[str, Sequence[str]] = {
    "trust": ("valuing", "abiding"),
    "being_known": ("valuing", "abiding"),
    "hope": PROCESSES,
}


def model_structure(instrument: Instrument, *, form: str, prefix: str = "") -> ModelStructure:
    """Return the structure of one form, items in the order in which they are asked, each with the prefix before it."""
    items = instrument.form_items(form)
    return ModelStructure(
        components={
            component: tuple(prefix + item.code for item in items if item.component == component)
            for component in instrument.components
            if any(item.component == component for item in items)
        },
        domains={domain.id: domain.components for domain in instrument.domains.values()},
        parents={c.id: c.parent for c in instrument.components.values() if c.parent is not None},
        formative=tuple(c.id for c in instrument.components.values() if c.measurement == "formative_leaning"),
        reverse_keyed=tuple(prefix + item.code for item in items if item.reverse),
        processes=PROCESSES,
        competence=COMPETENCE,
        outcome=OUTCOME,
        paths=STATED_PATHS,
    )
