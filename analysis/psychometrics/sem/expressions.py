"""Arithmetic in model syntax (`ab := a * b`, `a == 2 * b`), parsed by hand so that no text is ever executed.

Expressions are evaluated on complex numbers too: a step along the imaginary axis gives derivatives without rounding
error (Squire & Trapp 1998), which is how `:=` gets its delta-method standard errors.
"""

import cmath
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray

Number = complex

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)|([^\W\d][\w.]*|\.[\w.]*)|(\*\*|[-+*/^(),]))"
)
_IMAGINARY_STEP = 1e-30


def _absolute(value: Number) -> Number:
    """|x| as a function that can be differentiated along the imaginary axis."""
    return -value if value.real < 0 else value


_FUNCTIONS: dict[str, Callable[[Number], Number]] = {
    "sqrt": cmath.sqrt,
    "exp": cmath.exp,
    "log": cmath.log,
    "abs": _absolute,
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One right-hand side: its text, the names in it, and how to evaluate it."""

    text: str
    names: tuple[str, ...]
    evaluate: Callable[[Mapping[str, Number]], Number]

    def derivatives(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return ∂expression/∂name for every name in it."""
        slopes: dict[str, float] = {}
        for name in self.names:
            moved: dict[str, Number] = {key: complex(value) for key, value in values.items()}
            moved[name] += 1j * _IMAGINARY_STEP
            slopes[name] = self.evaluate(moved).imag / _IMAGINARY_STEP
        return slopes


def parse_expression(text: str, *, who: str) -> Expression:
    """Read an expression of numbers, names, + - * / ^, brackets and sqrt, exp, log, abs, sin, cos, tan.

    Raises
    ------
    AnalysisInputError
        Anything else.
    """
    tokens = _tokens(text, who=who)
    parser = _Parser(text, tokens, who)
    evaluate = parser.sum_of_terms()
    if parser.position != len(tokens):
        parser.refuse(f"unexpected {tokens[parser.position]!r}")
    return Expression(text=text.strip(), names=tuple(dict.fromkeys(parser.names)), evaluate=evaluate)


def constant_value(text: str, *, who: str) -> float:
    """Evaluate an expression without names (`-1`, `1/3`, `sqrt(2)`, `NA`)."""
    if text.strip() == "NA":
        return math.nan
    expression = parse_expression(text, who=who)
    if expression.names:
        raise AnalysisInputError(
            f"{who} requires a number; got {text.strip()!r}. Remedy: write a number, NA, or a label in front of `*`."
        )
    return expression.evaluate({}).real


def jacobian(expressions: list[Expression], names: list[str], values: FloatArray) -> FloatArray:
    """Return the derivatives of the expressions by the named values, one row per expression."""
    table = dict(zip(names, values.tolist(), strict=True))
    place = {name: column for column, name in enumerate(names)}
    result = np.zeros((len(expressions), len(names)))
    for row, expression in enumerate(expressions):
        for name, slope in expression.derivatives(table).items():
            result[row, place[name]] = slope
    return result


def _tokens(text: str, *, who: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise AnalysisInputError(
                f"{who} cannot read {text.strip()!r} from {stripped[position:].strip()!r} on. Remedy: "
                "use numbers, labels, "
                "+ - * / ^, brackets, sqrt, exp, log or abs."
            )
        tokens.append(match.group().strip())
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens; each method returns a function of the named values."""

    def __init__(self, text: str, tokens: list[str], who: str) -> None:
        self.text, self.tokens, self.who = text, tokens, who
        self.position = 0
        self.names: list[str] = []

    def refuse(self, problem: str) -> None:
        raise AnalysisInputError(
            f"{self.who} cannot read {self.text.strip()!r}: {problem}. Remedy: check brackets and operators."
        )

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        if not token:
            self.refuse("it ends too early")
        self.position += 1
        return token

    def sum_of_terms(self) -> Callable[[Mapping[str, Number]], Number]:
        left = self.product()
        while self.peek() in ("+", "-"):
            left = _combine(self.take(), left, self.product())
        return left

    def product(self) -> Callable[[Mapping[str, Number]], Number]:
        left = self.signed()
        while self.peek() in ("*", "/"):
            left = _combine(self.take(), left, self.signed())
        return left

    def signed(self) -> Callable[[Mapping[str, Number]], Number]:
        if self.peek() == "-":
            self.take()
            inner = self.signed()
            return lambda values: -inner(values)
        if self.peek() == "+":
            self.take()
            return self.signed()
        return self.power()

    def power(self) -> Callable[[Mapping[str, Number]], Number]:
        base = self.atom()
        if self.peek() in ("^", "**"):
            self.take()
            return _combine("^", base, self.signed())
        return base

    def atom(self) -> Callable[[Mapping[str, Number]], Number]:
        token = self.take()
        if token == "(":
            inner = self.sum_of_terms()
            if self.take() != ")":
                self.refuse("a bracket is not closed")
            return inner
        if token[0].isdigit() or (token[0] == "." and len(token) > 1 and token[1].isdigit()):
            number = complex(float(token))
            return lambda _values: number
        if not (token[0].isalpha() or token[0] in "._"):
            self.refuse(f"unexpected {token!r}")
        if self.peek() == "(":
            return self._call(token)
        self.names.append(token)
        return lambda values: values[token]

    def _call(self, name: str) -> Callable[[Mapping[str, Number]], Number]:
        if name not in _FUNCTIONS:
            self.refuse(f"the function {name} is not known (known are {', '.join(sorted(_FUNCTIONS))})")
        function = _FUNCTIONS[name]
        self.take()
        inner = self.sum_of_terms()
        if self.take() != ")":
            self.refuse("a bracket is not closed")
        return lambda values: function(inner(values))


def _combine(
    operator: str, left: Callable[[Mapping[str, Number]], Number], right: Callable[[Mapping[str, Number]], Number]
) -> Callable[[Mapping[str, Number]], Number]:
    if operator == "+":
        return lambda values: left(values) + right(values)
    if operator == "-":
        return lambda values: left(values) - right(values)
    if operator == "*":
        return lambda values: left(values) * right(values)
    if operator == "/":
        return lambda values: left(values) / right(values)
    return lambda values: _power(left(values), right(values))


def _power(base: Number, exponent: Number) -> Number:
    """A whole power by multiplication (keeps the imaginary step exact for negative bases), any other by logarithms."""
    if exponent.imag == 0 and exponent.real == int(exponent.real) and abs(exponent.real) <= 64:
        result: Number = base ** int(exponent.real)
        return result
    return base**exponent
