"""What an instrument is: immutable definitions, read from a released catalogue file and checked.

Pure: no Django, no database, no clock. `instruments.catalogue.reader.read_instrument(path)` turns a catalogue file
into an `Instrument` or raises `CatalogueError` naming the file, the places in it and the remedies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal


class Role(StrEnum):
    """Who answers. The two roles of a dyad are distinguishable and fixed."""

    PATIENT = "patient"
    CLINICIAN = "clinician"


class Absence(StrEnum):
    """Why an answer has no value. Stored in the answer map in place of the value; never a bare null."""

    SKIPPED = "SKIPPED"  # seen and passed over
    PREFER_NOT = "PREFER_NOT"  # "prefer not to answer" chosen
    DOES_NOT_APPLY = "DNA"  # offered only where the item allows it
    NOT_REACHED = "NOT_REACHED"  # the form was finished before the item was seen
    NOT_SHOWN = "NOT_SHOWN"  # a condition kept the question from being asked


#: An answer: a scale point (int), an option code (str, lower case), a number, a list of option codes, or an `Absence`.
Answer = int | float | str | list[str]

#: How much of a form is on one screen: at most so many entries, or a whole recall block.
PerPage = int | Literal["block"]

#: A patient reads one statement at a time, which leaves fewer gaps than a grid; a clinician at a desk sees a block.
DEFAULT_DISPLAY: Mapping[Role, PerPage] = MappingProxyType({Role.PATIENT: 1, Role.CLINICIAN: "block"})

Texts = Mapping[str, str]  # language code -> text
RoleTexts = Mapping[Role, Texts]  # role -> language code -> text


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One answer that can be chosen: the stored value and its label for each role and language."""

    value: int | str
    label: RoleTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallBlock:
    """A stretch of items that share a time window, with the sentence that introduces it."""

    id: str
    introduction: RoleTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One matched pair of statements, answered on the response scale by both roles."""

    code: str
    component: str
    recall: str
    reverse: bool
    allow_does_not_apply: bool
    text: RoleTexts
    clinician_perspective: Literal["self_report", "meta_perception"]
    paper_basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One of the twenty components of the model (Scott et al. 2008, Table 3)."""

    id: str
    code: str
    label: Texts
    domain: str
    parent: str | None
    definition: str
    measurement: Literal["reflective", "formative_leaning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A group of components with one score of its own."""

    id: str
    label: Texts
    components: tuple[str, ...]
    minimum_components: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A secondary mean of components, e.g. presence with the three facets that Table 3 nests under it."""

    id: str
    label: Texts
    components: tuple[str, ...]
    minimum_components: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A fixed, ordered selection of items."""

    id: str
    label: Texts
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Ask a question only if another was answered with one of these values."""

    question: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An unscored question beside the items: context, about the person, or about the relationship.

    `kind` says how it is answered: one option, several options, a whole number, a decimal number,
    a point of the response scale, or a span of years and months (stored in months).
    """

    code: str
    section: Literal["context", "person", "relationship"]
    kind: Literal["choice", "multiple_choice", "integer", "number", "scale", "years_months"]
    text: RoleTexts  # holds exactly the roles that are asked
    options: tuple[Option, ...]
    minimum: float | None
    maximum: float | None
    ask_if: Condition | None
    follow_up_only: bool

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringRules:
    """Every number that scoring depends on. Shares are whole per cents, so that no rule rests on a rounding."""

    version: str
    component_answered_percent: int  # 50: at least half, rounded up, of the component's items on the form
    domain_answered_percent: int  # 70: of the domain's applicable items
    straightline_items: tuple[str, ...]  # must be among the answered for the flag (VN3, VP3, AN3)
    reverse_conflict_items: tuple[str, ...]
    reverse_conflict_distance: float  # 3 scale points
    reverse_conflict_minimum: int  # 2 of the items above
    fast_median_seconds: float  # 2.0, web only
    missing_percent: int  # 30: of the applicable items, exceeded
    maximum_days_apart: int  # 14
    minimum_months_known: int  # 3, or
    minimum_visits: int  # 2
    reliable_gap_z: float  # 1.96
    profile_minimum_components: int  # 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringExample:
    """A published test vector: raw answers of one role on one form, and the scores they must give."""

    id: str
    form: str
    answers: Mapping[str, int | str]
    scores: Mapping[str, float]  # score id -> value
    unscored: Mapping[str, str]  # score id -> reason
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One released version of the questionnaire, both roles, all languages."""

    code: str
    version: str
    title: Texts
    source: str
    licence: str
    status: str  # how far the wording has been tested; shown wherever scores are shown
    languages: tuple[str, ...]
    display: Mapping[Role, PerPage]
    may_shuffle: bool  # whether a study may show the items of a recall block in an order drawn for each patient
    scale: tuple[Option, ...]
    does_not_apply: RoleTexts
    instructions: RoleTexts
    recall_blocks: Mapping[str, RecallBlock]
    items: Mapping[str, Item]
    components: Mapping[str, Component]
    domains: Mapping[str, Domain]
    composites: Mapping[str, Composite]
    forms: Mapping[str, Form]
    questions: Mapping[str, Question]  # in the order in which they are asked
    scoring: ScoringRules
    examples: tuple[ScoringExample, ...]
    content_hash: str  # SHA-256 (hex) of the canonical content

    @property
    def scale_values(self) -> tuple[int, ...]:
        return tuple(int(option.value) for option in self.scale)

    def form_items(self, form: str) -> tuple[Item, ...]:
        """The items of a form, in the order in which they are asked."""
        return tuple(self.items[code] for code in self.forms[form].order)

    def questions_for(self, role: Role, *, follow_up: bool) -> tuple[Question, ...]:
        """The unscored questions that come with each form of a role, in order; conditions not yet applied.

        A clinician fills in a form for every patient, so what concerns the clinician alone is left out here:
        `clinician_characteristics` asks it once.
        """
        return tuple(
            question
            for question in self.questions.values()
            if role in question.text
            and (follow_up or not question.follow_up_only)
            and not (role == Role.CLINICIAN and question.section == "person")
        )

    def clinician_characteristics(self) -> tuple[Question, ...]:
        """The questions about the clinician as a person, asked once per clinician and not on each form."""
        return tuple(
            question
            for question in self.questions.values()
            if Role.CLINICIAN in question.text and question.section == "person"
        )
