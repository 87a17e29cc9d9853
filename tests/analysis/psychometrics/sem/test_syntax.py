"""The model syntax and the parameter table: what is read, what is added, what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.sem.expressions import parse_expression
from analysis.psychometrics.sem.parameter_table import build_parameter_table, constraint_basis
from analysis.psychometrics.sem.syntax import parse_syntax


def rows(model: str, **options: object) -> list[tuple[str, str, str, int, float, str]]:
    """lhs, op, rhs, free, fixed value and label of every row."""
    table = build_parameter_table(parse_syntax(model), **options)  # type: ignore[arg-type]
    return [(row.lhs, row.op, row.rhs, row.free, row.fixed_value, row.label) for row in table.rows]


def test_lines_semicolons_comments_and_continuations_are_one_grammar() -> None:
    """The same model however it is laid out."""
    laid_out = parse_syntax("# a comment\nf =~ x1 +\n   x2 ! another\n  + x3; f ~~ 1*f\n\n")
    assert laid_out.terms == parse_syntax("f =~ x1 + x2 + x3\nf ~~ 1*f").terms


@pytest.mark.parametrize(
    ("text", "fixed", "start", "label"),
    [
        ("2*x", (2.0,), (), ()),
        ("-1/2*x", (-0.5,), (), ()),
        ("c(1, NA)*x", (1.0, math.nan), (), ()),
        ("a*x", (), (), ("a",)),
        ('"a b"*x', (), (), ("a b",)),
        ("c(a, b)*x", (), (), ("a", "b")),
        ('label(c("a", "b"))*x', (), (), ("a", "b")),
        ("start(0.8)*x", (), (0.8,), ()),
        ("0.8?x", (), (0.8,), ()),
        ("a*x + start(2)*x", (), (2.0,), ("a",)),
        ('equal("f=~y")*x', (), (), ("f=~y",)),
    ],
)
def test_modifiers_are_read(
    text: str, fixed: tuple[float, ...], start: tuple[float, ...], label: tuple[str, ...]
) -> None:
    """Fixed values, starting values and labels, one or one a group."""
    term = parse_syntax(f"f =~ {text}").terms[0]
    assert term.fixed == pytest.approx(fixed, nan_ok=True)
    assert (term.start, term.label) == (start, label)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("", "at least one formula"),
        ("x1 + x2", "no operator"),
        ("f =~", "ends with an operator"),
        ("=~ x1 + x2", "one side of the operator is empty"),
        ("f =~ x1 x2", "lacks an operator"),
        ("f =~ x1 +", "ends with an operator"),
        ("f =~ f", "cannot be measured by itself"),
        ("y ~ y", "regressed on itself"),
        ("f =~ x1; f =~ x1", "got f =~ x1 twice"),
        ("x ~~ y; y ~~ x", "twice"),
        ("f =~ x1:x2", "interactions"),
        ("f =~ 2x", "not the name of a variable"),
        ("f =~ foo(2)*x", "foo"),
        ("a < 2; f =~ a*x", "inequality"),
        ("level: 1\nf =~ x", "blocks by level"),
        ("x | 0.3", "not the name|not a threshold"),
        ("f =~ c(1, a)*x", "mixes labels and numbers"),
        ('efa("b")*f =~ x', "efa"),
        ("b := a +", "ends with an operator"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_formula(model: str, words: str) -> None:
    """Each message says what is wrong and what to do."""
    with pytest.raises(AnalysisInputError, match=words) as caught:
        parse_syntax(model)
    assert "Remedy" in str(caught.value)


def test_unknown_labels_and_modifier_counts_are_refused() -> None:
    """A definition of a label that is not there; two values for one group."""
    with pytest.raises(AnalysisInputError, match="got b in `d := a \\* b`"):
        build_parameter_table(parse_syntax("f =~ x + a*y + z; d := a * b"))
    with pytest.raises(AnalysisInputError, match="got 2 at f =~ x"):
        build_parameter_table(parse_syntax("f =~ c(1, 2)*x + y + z"))
    with pytest.raises(AnalysisInputError, match="group_equal requires names"):
        build_parameter_table(parse_syntax("f =~ x + y + z"), n_groups=2, group_equal=["loading"])


def test_defaults_of_cfa_are_lavaans() -> None:
    """Marker fixed, residuals and factor variances free, factors covary, in lavaan's order."""
    assert [row[:4] for row in rows("f =~ x1 + x2\ng =~ x3 + x4")] == [
        ("f", "=~", "x1", 0),
        ("f", "=~", "x2", 1),
        ("g", "=~", "x3", 0),
        ("g", "=~", "x4", 2),
        ("x1", "~~", "x1", 3),
        ("x2", "~~", "x2", 4),
        ("x3", "~~", "x3", 5),
        ("x4", "~~", "x4", 6),
        ("f", "~~", "f", 7),
        ("g", "~~", "g", 8),
        ("f", "~~", "g", 9),
    ]


def test_groups_share_what_group_equal_says() -> None:
    """Equal loadings have one label and one column of the basis; later groups' factor means become free."""
    table = build_parameter_table(
        parse_syntax("f =~ x1 + x2 + x3"), n_groups=2, meanstructure=True, group_equal=["loadings", "intercepts"]
    )
    basis = constraint_basis(table)[0]
    assert table.n_free - basis.shape[1] == 5  # two loadings, three intercepts
    means = [row for row in table.rows if row.op == "~1" and row.lhs == "f"]
    assert [bool(row.free) for row in means] == [False, True]


def test_blocks_give_each_group_its_own_model() -> None:
    """`group:` blocks; their number has to be that of the groups."""
    syntax = parse_syntax("group: a\nf =~ x1 + x2 + x3\ngroup: b\nf =~ x1 + x2 + x3\nx1 ~~ x2")
    table = build_parameter_table(syntax, n_groups=2)
    assert [row.group for row in table.rows if (row.lhs, row.rhs) == ("x1", "x2")] == [2]
    with pytest.raises(AnalysisInputError, match="2 blocks and 3 groups"):
        build_parameter_table(syntax, n_groups=3)


def test_linear_constraints_cut_the_basis_and_contradictions_are_refused() -> None:
    """θ = θ₀ + K x fulfils every linear constraint; two that contradict are refused, others are kept as nonlinear."""
    model = "f =~ x1 + a*x2 + b*x3 + c*x4\na == 2*b + 1\na*c == 1"
    table = build_parameter_table(parse_syntax(model))
    basis, origin, nonlinear = constraint_basis(table)
    theta = origin + basis @ np.random.default_rng(0).normal(size=basis.shape[1])
    assert theta[0] == pytest.approx(2 * theta[1] + 1)
    assert [item.left for item in nonlinear] == ["a*c"]
    with pytest.raises(AnalysisInputError, match="contradict"):
        constraint_basis(build_parameter_table(parse_syntax("f =~ x1 + a*x2 + x3; a == 1; a == 2")))


@given(st.floats(0.2, 3), st.floats(0.2, 3))
def test_expressions_and_their_derivatives(a: float, b: float) -> None:
    """Values as Python computes them, derivatives as mathematics has them."""
    expression = parse_expression("-a^2 * (b - 1) / sqrt(a) + exp(log(b)) * 2", who="test")
    values = {"a": a, "b": b}
    assert expression.evaluate(values).real == pytest.approx(-(a**2) * (b - 1) / math.sqrt(a) + 2 * b)
    slopes = expression.derivatives(values)
    assert slopes["a"] == pytest.approx(-1.5 * math.sqrt(a) * (b - 1))
    assert slopes["b"] == pytest.approx(-(a**1.5) + 2)


@pytest.mark.parametrize("text", ["a +* b", "(a", "a b", "system(a)", "a; b", "__import__('os')"])
def test_what_is_not_arithmetic_is_refused(text: str) -> None:
    """Nothing is ever executed."""
    with pytest.raises(AnalysisInputError):
        parse_expression(text, who="test")
