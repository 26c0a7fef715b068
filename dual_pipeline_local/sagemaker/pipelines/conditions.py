"""Conditions of a Condition step.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps.html#step-type-condition
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.pipelines.expressions import ExpressionError, Scope

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_MEMBERS: Mapping[str, frozenset[str]] = {
    **{name: frozenset({"LeftValue", "RightValue"}) for name in _COMPARISONS},
    "In": frozenset({"QueryValue", "Values"}),
    "Not": frozenset({"Condition"}),
    "Or": frozenset({"Conditions"}),
}
_LISTS = frozenset({"Conditions", "Values"})


def holds(condition: Record, scope: Scope) -> bool:
    """Whether a condition holds; raises ExpressionError for values that cannot be compared."""
    return _KINDS[condition["Type"]](condition, scope)


def fault(condition: Any) -> str | None:
    """What is wrong with the form of a condition, if anything."""
    kind = str(condition.get("Type")) if isinstance(condition, dict) else ""
    if kind not in _MEMBERS:
        return f"condition type {kind!r} is not one of {', '.join(sorted(_MEMBERS))}"
    if set(condition) != {"Type", *_MEMBERS[kind]}:
        return f"condition {kind} takes {', '.join(sorted(_MEMBERS[kind]))}"
    for member in _LISTS & _MEMBERS[kind]:
        if not isinstance(condition[member], list) or not condition[member]:
            return f"condition {kind} takes a list {member} of at least one"
    nested = {"Not": [condition.get("Condition")], "Or": condition.get("Conditions")}.get(kind, [])
    return next((found for found in map(fault, nested) if found), None)


def _compare(condition: Record, scope: Scope) -> bool:
    left, right = scope.resolve(condition["LeftValue"]), scope.resolve(condition["RightValue"])
    if _sort(left) != _sort(right) or _sort(left) is None:
        raise ExpressionError(
            f"{condition['Type']} cannot compare {left!r} ({type(left).__name__}) "
            f"with {right!r} ({type(right).__name__})"
        )
    return _COMPARISONS[condition["Type"]](left, right)


def _is_in(condition: Record, scope: Scope) -> bool:
    wanted = scope.resolve(condition["QueryValue"])
    return any(_sort(wanted) == _sort(value) and wanted == value for value in scope.resolve(condition["Values"]))


def _not(condition: Record, scope: Scope) -> bool:
    return not holds(condition["Condition"], scope)


def _or(condition: Record, scope: Scope) -> bool:
    return any(holds(inner, scope) for inner in condition["Conditions"])


def _sort(value: object) -> str | None:
    """What a value can be compared with: numbers with numbers, strings with strings, booleans with booleans."""
    return _SORTS.get(type(value))


_SORTS: Mapping[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}
_KINDS: Mapping[str, Callable[[Record, Scope], bool]] = {
    **dict.fromkeys(_COMPARISONS, _compare),
    "In": _is_in,
    "Not": _not,
    "Or": _or,
}
