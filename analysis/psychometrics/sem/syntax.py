"""lavaan's model syntax, read into terms (`f =~ a*x1 + x2`), constraints (`a == b`) and definitions (`ab := a*b`).

The grammar is that of R's lavaan 0.6 (`?model.syntax`): one formula a line or separated by `;`, comments after `#` or
`!`, a formula may go on over several lines, modifiers in front of `*`.
"""

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem.expressions import Expression, constant_value, parse_expression

_WHO = "the model syntax"
#: Longest first, so that `=~` is not read as `~`.
_OPERATORS = ("=~", "<~", "~*~", "~~", "~", "==", ":=", "<", ">", ":", "|", "%")
_OPERATOR = re.compile("|".join(re.escape(operator) for operator in _OPERATORS))
_NAME = re.compile(r"^[^\W\d][\w.]*$|^\.[^\W\d][\w.]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One parameter that the model names: `lhs op rhs` with its modifiers (one value a group, or one for all)."""

    lhs: str
    op: str
    rhs: str
    block: int
    fixed: tuple[float, ...] = ()  # NaN: NA, free
    start: tuple[float, ...] = ()
    label: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """`left == right`, kept as the expression left − right that has to be zero."""

    left: str
    right: str
    difference: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """`name := expression`."""

    name: str
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSyntax:
    """A model as written: terms in their order, constraints, definitions, and the labels of `group:` blocks."""

    terms: tuple[Term, ...]
    constraints: tuple[Constraint, ...]
    definitions: tuple[Definition, ...]
    blocks: tuple[str, ...]


def parse_syntax(text: str) -> ModelSyntax:
    """Read a model.

    Parameters
    ----------
    text : str
        Model in lavaan's syntax.

    Returns
    -------
    ModelSyntax

    Raises
    ------
    AnalysisInputError
        Empty, or a formula that cannot be read, with the formula.

    Examples
    --------
    >>> model = parse_syntax("f =~ x1 + a*x2 + 0.5*x3  # three indicators")
    >>> [(term.lhs, term.op, term.rhs, term.label, term.fixed) for term in model.terms]
    [('f', '=~', 'x1', (), ()), ('f', '=~', 'x2', ('a',), ()), ('f', '=~', 'x3', (), (0.5,))]
    """
    formulas = _formulas(text)
    if not formulas:
        raise AnalysisInputError(
            f"{_WHO} requires at least one formula such as `f =~ x1 + x2 + x3`; got none. Remedy: write the model."
        )
    terms: list[Term] = []
    constraints: list[Constraint] = []
    definitions: list[Definition] = []
    blocks: list[str] = []
    for formula in formulas:
        op, lhs, rhs = _split_operator(formula)
        if op == ":=":
            definitions.append(Definition(name=_as_name(lhs, formula), expression=parse_expression(rhs, who=_WHO)))
        elif op == "==":
            difference = parse_expression(f"({lhs})-({rhs})", who=_WHO)
            constraints.append(Constraint(left=lhs.strip(), right=rhs.strip(), difference=difference))
        elif op in ("<", ">"):
            _refuse(
                formula, "inequality constraints are not supported", "leave it out and read the estimate's interval"
            )
        elif op == "%":
            _refuse(formula, "group weights are not supported", "leave it out")
        elif op == ":":
            blocks.append(_block_label(lhs, rhs, formula))
        else:
            terms.extend(_terms(op, lhs, rhs, max(1, len(blocks)), formula))
    _check_duplicates(terms)
    return ModelSyntax(
        terms=tuple(_ordered_covariances(terms)),
        constraints=tuple(constraints),
        definitions=tuple(definitions),
        blocks=tuple(blocks),
    )


def _formulas(text: str) -> list[str]:
    """Split into formulas: comments off, `;` is a new line, a line without operator continues the one before."""
    lines = [re.sub(r"[#!].*$", "", line) for line in text.replace("˜", "~").splitlines()]
    pieces = [piece.strip() for line in lines for piece in line.split(";")]
    formulas: list[str] = []
    for piece in pieces:
        if not piece:
            continue
        bare = re.sub(r'"[^"]*"', "LABEL", piece)
        if _OPERATOR.search(bare) is None:
            if not formulas:
                _refuse(piece, "no operator (=~ ~ ~~ ~1 | := ==)", "write `factor =~ item + item`")
            formulas[-1] = f"{formulas[-1]} {piece}"
        elif formulas and formulas[-1].rstrip()[-1:] in "+*=~|,(":
            # `f =~ x1 +` on one line and an operator on the next: the plus sign dangles
            _refuse(formulas[-1], "the formula ends with an operator", "finish it or remove the last sign")
        else:
            formulas.append(piece)
    for formula in formulas:
        if formula[-1] in "+*=~|,(":
            _refuse(formula, "the formula ends with an operator", "finish it or remove the last sign")
        bare = re.sub(r'"[^"]*"', "LABEL", formula)
        together = re.search(r"([\w.]+)\s+([^\W\d.][\w.]*)", bare)
        if together is not None and not re.match(r"^\s*(group|level|block)\s*:", bare):
            _refuse(formula, f"`{together.group(1)} {together.group(2)}` lacks an operator between", "put a + between")
    return formulas


def _split_operator(formula: str) -> tuple[str, str, str]:
    """Find the formula's operator as lavaan does: the first in its order of precedence that occurs outside quotes."""
    bare = re.sub(r'"[^"]*"', lambda quoted: "L" * len(quoted.group()), formula)
    for operator in _OPERATORS:
        position = bare.find(operator)
        if position >= 0:
            lhs, rhs = formula[:position].strip(), formula[position + len(operator) :].strip()
            if not lhs or not rhs:
                _refuse(formula, "one side of the operator is empty", "write both sides")
            return operator, lhs, rhs
    raise _refusal(formula, "no operator", "write `factor =~ item + item`")


def _block_label(lhs: str, rhs: str, formula: str) -> str:
    if lhs.strip().lower() != "group":
        _refuse(formula, f"blocks by {lhs.strip()} are not supported", "only `group: label` blocks are")
    return rhs.strip().strip('"')


def _terms(op: str, lhs: str, rhs: str, block: int, formula: str) -> list[Term]:
    left_names = [_as_name(name, formula) for name in _split_outside(lhs, "+")]
    merged: dict[str, Term] = {}
    for piece in _split_outside(rhs, "+"):
        name, fixed, start, label = _modified(piece, op, formula)
        real_op = "~1" if op == "~" and name == "" else op
        earlier = merged.get(name)
        if earlier is not None:
            fixed, start, label = fixed or earlier.fixed, start or earlier.start, label or earlier.label
        merged[name] = Term(lhs="", op=real_op, rhs=name, block=block, fixed=fixed, start=start, label=label)
    result = []
    for left in left_names:
        for term in merged.values():
            if op == "=~" and left == term.rhs:
                _refuse(
                    formula, f"the latent variable {left} cannot be measured by itself", "remove it from the right side"
                )
            if op == "~" and left == term.rhs:
                _refuse(formula, f"{left} cannot be regressed on itself", "remove it from the right side")
            result.append(
                Term(
                    lhs=left,
                    op=term.op,
                    rhs=term.rhs,
                    block=block,
                    fixed=term.fixed,
                    start=term.start,
                    label=term.label,
                )
            )
    return result


def _modified(piece: str, op: str, formula: str) -> tuple[str, tuple[float, ...], tuple[float, ...], tuple[str, ...]]:
    """Read `modifier*name` into the name and its fixed values, starting values and labels."""
    piece = re.sub(r"^\s*\(?(-?[0-9]*\.?[0-9]+)\)?\s*\?", r"start(\1)*", piece)
    parts = _split_outside(piece, "*")
    name = parts[-1].strip()
    fixed: tuple[float, ...] = ()
    start: tuple[float, ...] = ()
    label: tuple[str, ...] = ()
    for modifier in parts[:-1]:
        kind, values = _modifier(modifier.strip(), formula)
        if kind == "fixed":
            fixed = tuple(float(value) for value in values)
        elif kind == "start":
            start = tuple(float(value) for value in values)
        else:
            label = tuple(str(value) for value in values)
    if re.fullmatch(r"-?\d+\.?\d*", name):
        if op != "~":
            _refuse(formula, f"{name} is not the name of a variable", "write a variable's name")
        if name != "1":
            return "", (0.0,), start, label
        return "", fixed, start, label
    if ":" in name:
        _refuse(formula, "interactions with `:` are not supported", "make the product a column of the data")
    if op == "|":
        if not re.fullmatch(r"t\d+", name):
            _refuse(formula, f"{name} is not a threshold", "thresholds are called t1, t2, …")
        return name, fixed, start, label
    return _as_name(name, formula), fixed, start, label


def _modifier(text: str, formula: str) -> tuple[str, tuple[float | str, ...]]:
    call = re.fullmatch(r"(\w+)\s*\((.*)\)", text, flags=re.DOTALL)
    if call is not None and call.group(1) in ("start", "c", "label", "equal", "lower", "upper", "efa", "rv", "prior"):
        function, inner = call.group(1), call.group(2)
        pieces = [piece.strip() for piece in _split_outside(inner, ",")]
        if function == "c":
            return _vector(pieces, formula)
        if function == "start":
            return "start", tuple(constant_value(piece, who=_WHO) for piece in pieces)
        if function in ("label", "equal"):
            if len(pieces) == 1 and pieces[0].startswith("c("):
                pieces = [piece.strip() for piece in _split_outside(pieces[0][2:-1], ",")]
            return "label", tuple(re.sub(r"\s+", "", piece.strip('"')) for piece in pieces)
        _refuse(formula, f"the modifier {function}() is not supported", "leave it out")
    if text.startswith('"') and text.endswith('"'):
        return "label", (text.strip('"'),)
    if text == "NA":
        return "fixed", (math.nan,)
    if _NAME.match(text):
        return "label", (text,)
    return "fixed", (constant_value(text, who=_WHO),)


def _vector(pieces: list[str], formula: str) -> tuple[str, tuple[float | str, ...]]:
    """`c(1, NA)` fixes or frees by group, `c(a, b)` or `c("a", NA)` labels by group."""
    texts = [piece for piece in pieces if piece != "NA"]
    labels = [bool(_NAME.match(piece)) or piece.startswith('"') for piece in texts]
    if texts and all(labels):
        return "label", tuple("" if piece == "NA" else piece.strip('"') for piece in pieces)
    if any(labels):
        _refuse(formula, f"c({', '.join(pieces)}) mixes labels and numbers", "use labels only, or numbers and NA only")
    return "fixed", tuple(constant_value(piece, who=_WHO) for piece in pieces)


def _split_outside(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside brackets and quotes."""
    pieces, depth, quoted, current = [], 0, False, ""
    for character in text:
        if character == '"':
            quoted = not quoted
        if not quoted:
            depth += {"(": 1, ")": -1}.get(character, 0)
        if character == separator and depth == 0 and not quoted:
            pieces.append(current)
            current = ""
        else:
            current += character
    pieces.append(current)
    if len(pieces) > 1 and separator == "+" and not pieces[0].strip():
        pieces = pieces[1:]
    return pieces


def _as_name(text: str, formula: str) -> str:
    name = text.strip()
    if not _NAME.match(name):
        if name.startswith("efa("):
            _refuse(formula, "efa() blocks are not supported", "use the exploratory factor analysis")
        _refuse(formula, f"{name!r} is not the name of a variable", "use letters, digits, dots and underscores")
    return name


def _check_duplicates(terms: list[Term]) -> None:
    seen: set[tuple[int, str, str, str]] = set()
    for term in terms:
        key = (term.block, term.lhs, term.op, term.rhs)
        if key in seen or (term.op == "~~" and (term.block, term.rhs, term.op, term.lhs) in seen):
            raise AnalysisInputError(
                f"{_WHO} requires each parameter once; got {term.lhs} {term.op} {term.rhs} twice. "
                "Remedy: remove one of them."
            )
        seen.add(key)


def _ordered_covariances(terms: list[Term]) -> list[Term]:
    """Turn `y ~~ x` round where x comes first in the model, as lavaan lists covariances."""
    order: dict[str, int] = {}
    latent = dict.fromkeys(term.lhs for term in terms if term.op in ("=~", "<~"))
    observed = dict.fromkeys(term.rhs for term in terms if term.op == "=~" and term.rhs not in latent)
    dependent = dict.fromkeys(term.lhs for term in terms if term.op == "~" and term.lhs not in latent)
    predictors = dict.fromkeys(term.rhs for term in terms if term.op in ("~", "<~") and term.rhs not in latent)
    for name in (*latent, *observed, *dependent, *predictors):
        order.setdefault(name, len(order))
    for term in terms:
        for name in (term.lhs, term.rhs):
            if name:
                order.setdefault(name, len(order))
    return [
        Term(
            lhs=term.rhs,
            op=term.op,
            rhs=term.lhs,
            block=term.block,
            fixed=term.fixed,
            start=term.start,
            label=term.label,
        )
        if term.op == "~~" and order[term.lhs] > order[term.rhs]
        else term
        for term in terms
    ]


def _refusal(formula: str, problem: str, remedy: str) -> AnalysisInputError:
    return AnalysisInputError(f"{_WHO} cannot be read at `{formula.strip()}`: {problem}. Remedy: {remedy}.")


def _refuse(formula: str, problem: str, remedy: str) -> NoReturn:
    raise _refusal(formula, problem, remedy)
