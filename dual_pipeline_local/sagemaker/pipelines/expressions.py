"""Expressions of a pipeline definition: Get, Std:Join, Std:JsonGet, and the references in them.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html and
https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dual_pipeline_local.sagemaker.api import Record

EXECUTION_VARIABLES = frozenset(
    {"StartDateTime", "CurrentDateTime", "PipelineName", "PipelineArn", "PipelineExecutionId", "PipelineExecutionArn"}
)
_TOKEN = re.compile(r"""\.?([A-Za-z0-9_\-]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""")


class ExpressionError(Exception):
    """An expression has no value; `str()` says why."""


@dataclass(frozen=True)
class Reference:
    """A parsed Get: `Parameters.<name>`, `Execution.<name>` or `Steps.<step>.<path>`."""

    text: str
    root: str
    name: str
    path: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: object) -> "Reference":
        """Parse the text of a Get; raises ExpressionError."""
        tokens = tuple(split_path(text)) if isinstance(text, str) else ()
        if len(tokens) < 2 or tokens[0] not in _ROOTS or not isinstance(tokens[1], str):
            raise ExpressionError(f"Get of {text!r} is no reference to Parameters, Execution or Steps")
        root, name, path = str(tokens[0]), tokens[1], tokens[2:]
        if (root == "Steps") != bool(path):
            raise ExpressionError(f"Get of {text!r} is no complete reference")
        return cls(str(text), root, name, path)


_ROOTS = ("Parameters", "Execution", "Steps")


def split_path(text: str) -> Iterator[str | int]:
    """The parts of a path such as `a.b[0]['c d']`; raises ExpressionError."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"{text!r} is no path: character {position + 1} is unexpected")
        dotted, index, *quoted = match.groups()
        yield int(index) if index is not None else next(part for part in (dotted, *quoted) if part is not None)
        position = match.end()


def follow(value: Any, path: tuple[str | int, ...], text: str) -> Any:
    """The part of a value that a path leads to; raises ExpressionError."""
    for part in path:
        try:
            value = value[part] if isinstance(value, list) == isinstance(part, int) else _MISSING[part]
        except (KeyError, IndexError, TypeError):
            raise ExpressionError(f"{text} has no value: {part!r} does not exist") from None
    return value


_MISSING: Mapping[Any, Any] = {}


def function_of(value: object) -> str | None:
    """The name of the function if a value of the definition is an expression."""
    if isinstance(value, dict) and len(value) == 1:
        name = next(iter(value))
        if name == "Get" or name.startswith("Std:"):
            return str(name)
    return None


def expressions(value: object) -> Iterator[tuple[str, Any]]:
    """All expressions in a value, innermost ones included: function and its argument."""
    name = function_of(value)
    if name is not None and isinstance(value, dict):
        yield name, value[name]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from expressions(item)


def fault(name: str, argument: Any) -> str | None:
    """What is wrong with the form of an expression, if anything."""
    check = _FORMS.get(name)
    if check is None:
        return f"function {name} is not supported"
    try:
        return check(argument)
    except ExpressionError as error:
        return str(error)


def _get_fault(argument: Any) -> str | None:
    Reference.parse(argument)
    return None


def _join_fault(argument: Any) -> str | None:
    if (
        not isinstance(argument, dict)
        or not isinstance(argument.get("Values"), list)
        or set(argument) - {"On", "Values"}
    ):
        return "Std:Join takes On and a list Values"
    return None


def _json_get_fault(argument: Any) -> str | None:
    if not isinstance(argument, dict) or not isinstance(argument.get("Path"), str):
        return "Std:JsonGet takes Path and PropertyFile or S3Uri"
    if ("PropertyFile" in argument) == ("S3Uri" in argument):
        return "Std:JsonGet takes either PropertyFile or S3Uri"
    if "PropertyFile" in argument:
        reference = argument["PropertyFile"]
        path = Reference.parse(reference["Get"]).path if function_of(reference) == "Get" else ()
        if len(path) != 2 or path[0] != "PropertyFiles":
            return "PropertyFile of Std:JsonGet must be a Get of Steps.<step>.PropertyFiles.<name>"
    return None


_FORMS: Mapping[str, Callable[[Any], str | None]] = {
    "Get": _get_fault,
    "Std:Join": _join_fault,
    "Std:JsonGet": _json_get_fault,
}


@dataclass
class Scope:
    """What expressions can see in an execution; `read` answers the bytes of an S3 object."""

    parameters: Mapping[str, Any]
    execution: Callable[[str], Any]
    read: Callable[[str], bytes]
    steps: dict[str, Record] = field(default_factory=dict)
    property_files: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def resolve(self, value: Any) -> Any:
        """The value with all its expressions replaced by what they stand for; raises ExpressionError."""
        name = function_of(value)
        if name is not None:
            return _FUNCTIONS[name](self, value[name])
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def get(self, argument: Any) -> Any:
        """Get."""
        reference = Reference.parse(argument)
        if reference.root == "Parameters":
            return self.parameters[reference.name]
        if reference.root == "Execution":
            return self.execution(reference.name)
        return follow(self.steps[reference.name], reference.path, reference.text)

    def join(self, argument: Any) -> str:
        """Std:Join."""
        return str(argument.get("On", "")).join(text_of(self.resolve(value)) for value in argument["Values"])

    def json_get(self, argument: Any) -> Any:
        """Std:JsonGet."""
        uri = self._property_file(argument["PropertyFile"]) if "PropertyFile" in argument else None
        uri = uri or str(self.resolve(argument["S3Uri"]))
        path = str(self.resolve(argument["Path"]))
        try:
            document = json.loads(self.read(uri), parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise ExpressionError(f"{path} in {uri} has no value: the file is not valid JSON: {error}") from error
        except ExpressionError as error:
            raise ExpressionError(f"{path} in {uri} has no value: {error}") from error
        found = follow(document, tuple(split_path(path.removeprefix("$"))), f"{path} in {uri}")
        if found is None:
            raise ExpressionError(f"{path} in {uri} has no value: it is null")
        return found

    def _property_file(self, argument: Any) -> str:
        reference = Reference.parse(argument["Get"])
        output, file = self.property_files[reference.name, str(reference.path[1])]
        outputs = follow(self.steps[reference.name], ("ProcessingOutputConfig", "Outputs"), reference.text)
        folder: str = follow(outputs, (output, "S3Output", "S3Uri"), reference.text)
        return f"{folder.rstrip('/')}/{file}"


_FUNCTIONS: Mapping[str, Callable[[Scope, Any], Any]] = {
    "Get": Scope.get,
    "Std:Join": Scope.join,
    "Std:JsonGet": Scope.json_get,
}


def text_of(value: object) -> str:
    """A value as text: in Std:Join, and as parameters and outputs are given; booleans as in JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too great a number")
    return value
