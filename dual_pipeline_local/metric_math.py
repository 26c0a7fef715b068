"""Metric math, the part that alarms here use: arithmetic, comparisons, IF, FILL, and SUM, MAX, MIN, AVG over a list.

A series is a list of datapoints, None where one is missing; a number stands for a series that is the same everywhere.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Point = float | None
Series = Sequence[Point]
_Node = Callable[[Mapping[str, Series], int], Series]

_TOKEN: Final = re.compile(
    r"\s*(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[A-Za-z_]\w*|<=|>=|==|!=|&&|\|\||[-+*/()\[\],<>])", re.ASCII
)
_ID: Final = re.compile(r"[a-z]\w*")
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_OVER_LISTS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "SUM": sum,
    "MAX": max,
    "MIN": min,
    "AVG": lambda values: sum(values) / len(values),
}
_FUNCTIONS: Final = (*_OVER_LISTS, "ABS", "FILL", "IF")


class ExpressionError(ValueError):
    """An expression that cannot be read or that uses what the emulator lacks; `str()` says which."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression over the ids in `names`."""

    text: str
    names: frozenset[str]
    _evaluate: _Node

    @classmethod
    def parsed(cls, text: str) -> Expression:
        """Read an expression; raises ExpressionError."""
        parser = _Parser(text)
        node = parser.whole()
        return cls(text, frozenset(parser.names), node)

    def evaluate(self, series: Mapping[str, Series], length: int) -> list[Point]:
        """The expression's datapoints, from those of the ids that it names, all of one length."""
        return list(self._evaluate(series, length))


class _Parser:
    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._text = text
        self._tokens = self._split()

    def whole(self) -> _Node:
        node = self._either()
        if self._tokens:
            raise self._error(f"unexpected {self._tokens[0]!r}")
        return node

    def _split(self) -> list[str]:
        tokens, at = [], 0
        while self._text[at:].strip():
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._error(f"cannot read {self._text[at:].strip()!r}")
            tokens.append(match[0].strip())
            at = match.end()
        return tokens

    def _either(self) -> _Node:
        node = self._both()
        while self._takes("||", "OR"):
            node = _pointwise(lambda a, b: float(bool(a or b)), node, self._both())
        return node

    def _both(self) -> _Node:
        node = self._compared()
        while self._takes("&&", "AND"):
            node = _pointwise(lambda a, b: float(bool(a and b)), node, self._compared())
        return node

    def _compared(self) -> _Node:
        node = self._sum()
        while sign := self._takes(*_COMPARISONS):
            node = _pointwise(_truth(_COMPARISONS[sign]), node, self._sum())
        return node

    def _sum(self) -> _Node:
        node = self._product()
        while sign := self._takes("+", "-"):
            node = _pointwise(operator.add if sign == "+" else operator.sub, node, self._product())
        return node

    def _product(self) -> _Node:
        node = self._signed()
        while sign := self._takes("*", "/"):
            node = _pointwise(operator.mul if sign == "*" else _quotient, node, self._signed())
        return node

    def _signed(self) -> _Node:
        if self._takes("-"):
            return _pointwise(operator.sub, _constant(0.0), self._signed())
        return self._operand()

    def _operand(self) -> _Node:
        token = self._next()
        if token == "(":  # noqa: S105
            node = self._either()
            self._expect(")")
            return node
        if token[0].isdigit():
            return _constant(float(token))
        if self._takes("("):
            return self._call(token)
        if not _ID.fullmatch(token):
            raise self._error(f"{token!r} is no id, which starts with a lowercase letter")
        self.names.add(token)
        return lambda series, _length: series[token]

    def _call(self, name: str) -> _Node:
        if name not in _FUNCTIONS:
            raise self._error(f"the function {name} is not modelled by the local emulator, see docs/emulator.md")
        if name in _OVER_LISTS:
            node = _reduced(_OVER_LISTS[name], self._list(name))
        else:
            arguments = [self._either()]
            while self._takes(","):
                arguments.append(self._either())
            node = self._apply(name, arguments)
        self._expect(")")
        return node

    def _list(self, name: str) -> list[_Node]:
        if not self._takes("["):
            raise self._error(f"{name} over the times of one series is not modelled, give it a list, {name}([m1, m2])")
        nodes = [self._either()]
        while self._takes(","):
            nodes.append(self._either())
        self._expect("]")
        return nodes

    def _apply(self, name: str, arguments: list[_Node]) -> _Node:
        wanted = {"ABS": 1, "FILL": 2, "IF": 3}[name]
        if len(arguments) != wanted:
            raise self._error(f"{name} takes {wanted} arguments, got {len(arguments)}")
        if name == "ABS":
            return _pointwise(lambda a, _b: abs(a), arguments[0], _constant(0.0))
        return _filled(*arguments) if name == "FILL" else _chosen(*arguments)

    def _takes(self, *tokens: str) -> str | None:
        return self._tokens.pop(0) if self._tokens and self._tokens[0] in tokens else None

    def _next(self) -> str:
        if not self._tokens:
            raise self._error("it ends too early")
        token = self._tokens.pop(0)
        if token[0].isalnum() or token in ("(", "_"):
            return token
        raise self._error(f"unexpected {token!r}")

    def _expect(self, token: str) -> None:
        if not self._takes(token):
            raise self._error(f"{token!r} is missing")

    def _error(self, reason: str) -> ExpressionError:
        return ExpressionError(f"expression {self._text!r}: {reason}")


def _constant(value: float) -> _Node:
    return lambda _series, length: [value] * length


def _truth(compare: Callable[[float, float], bool]) -> Callable[[float, float], Point]:
    return lambda a, b: float(compare(a, b))


def _quotient(a: float, b: float) -> Point:
    return a / b if b else None


def _pointwise(combine: Callable[[float, float], Point], left: _Node, right: _Node) -> _Node:
    """Where one side is missing so is the result."""

    def evaluate(series: Mapping[str, Series], length: int) -> Series:
        pairs = zip(left(series, length), right(series, length), strict=True)
        return [None if a is None or b is None else combine(a, b) for a, b in pairs]

    return evaluate


def _reduced(combine: Callable[[Sequence[float]], float], nodes: list[_Node]) -> _Node:
    """Over the series that have a datapoint; missing where none has."""

    def evaluate(series: Mapping[str, Series], length: int) -> Series:
        columns = zip(*(node(series, length) for node in nodes), strict=True)
        present = [[value for value in column if value is not None] for column in columns]
        return [combine(values) if values else None for values in present]

    return evaluate


def _filled(node: _Node, filler: _Node) -> _Node:
    def evaluate(series: Mapping[str, Series], length: int) -> Series:
        pairs = zip(node(series, length), filler(series, length), strict=True)
        return [b if a is None else a for a, b in pairs]

    return evaluate


def _chosen(condition: _Node, then: _Node, other: _Node) -> _Node:
    def evaluate(series: Mapping[str, Series], length: int) -> Series:
        columns = zip(condition(series, length), then(series, length), other(series, length), strict=True)
        return [None if test is None else (yes if test else no) for test, yes, no in columns]

    return evaluate
