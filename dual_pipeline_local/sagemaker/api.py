"""SageMaker's API as botocore models it: input shapes are enforced, outputs are cut to their shape.

Messages follow AWS's own wording ("1 validation error detected: Value 'x' at 'roleArn' failed to satisfy constraint:
..."). Stricter than AWS in one point: AWS ignores unknown members; here they are refused, being typing errors.
"""

import functools
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.loaders import create_loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from dual_pipeline_local.errors import ApiError

Record = dict[str, Any]
"""A request, a response or a stored resource: members in the API's own names, times in epoch seconds."""


@functools.cache
def _service() -> Any:
    # A session would look for the shell's profile first.
    return ServiceModel(create_loader().load_service_model("sagemaker", "service-2"), service_name="sagemaker")


@functools.cache
def _operation(name: str) -> OperationModel:
    operation: OperationModel = _service().operation_model(name)
    return operation


def operations() -> frozenset[str]:
    """Every operation that AWS has."""
    return frozenset(_service().operation_names)


def now() -> float:
    """The time as the API carries it: epoch seconds, milliseconds kept."""
    return round(time.time(), 3)


def not_modelled(what: str) -> ApiError:
    """The refusal of everything that this emulator does not do."""
    return ApiError("ValidationException", f"{what} is not modelled by the local emulator, see docs/emulator.md")


def invalid(message: str) -> ApiError:
    """A ValidationException, SageMaker's answer to most bad requests."""
    return ApiError("ValidationException", message)


def complete(operation: str, request: Record) -> None:
    """Fill in the idempotency tokens that every AWS SDK generates for its caller."""
    shape = _operation(operation).input_shape
    for name, member in shape.members.items() if shape else ():
        if member.metadata.get("idempotencyToken"):
            request.setdefault(name, str(uuid.uuid4()))


def check(operation: str, request: Record) -> None:
    """Refuse a request that does not fit the operation's input shape, naming every fault."""
    check_shape(_operation(operation).input_shape, request)


def check_shape(shape: Shape | None, request: Record) -> None:
    """The same for an input shape of any service."""
    faults = list(_faults(shape, request, "")) if shape else []
    if faults:
        noun = "error" if len(faults) == 1 else "errors"
        raise invalid(f"{len(faults)} validation {noun} detected: {'; '.join(faults)}")


def output(operation: str, record: Record) -> Record:
    """The part of a record that the operation's output shape has."""
    shape = _operation(operation).output_shape
    return {name: record[name] for name in (shape.members if shape else ()) if name in record}


def output_members(operation: str) -> frozenset[str]:
    """The members of the operation's output shape."""
    shape = _operation(operation).output_shape
    return frozenset(shape.members if shape else ())


def listed(operation: str) -> tuple[str, frozenset[str]]:
    """The member of a List operation's output that holds the items, and the members of an item."""
    shape: Any = _operation(operation).output_shape
    name, items = next((name, items) for name, items in shape.members.items() if items.type_name == "list")
    return name, frozenset(items.member.members)


def epoch(value: float | str) -> float:
    """A timestamp parameter in epoch seconds (the wire has numbers, Step Functions sends ISO 8601)."""
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return float(value)


def _faults(shape: Shape, value: Any, path: str) -> Iterator[str]:
    kind, kinds = _KINDS[shape.type_name]
    if isinstance(value, float) and value.is_integer():  # JSON has one kind of number
        value = int(value)
    if not isinstance(value, kinds) or (isinstance(value, bool) and shape.type_name != "boolean"):
        raise ApiError("SerializationException", f"{path or 'request'}: {type(value).__name__} is not {kind}")
    yield from _CHECKS.get(shape.type_name, _no_faults)(shape, value, path)


def _structure_faults(shape: StructureShape, value: Record, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, item in value.items():
        if name not in shape.members:
            yield f"Unknown member '{name}' at '{path or '/'}', allowed are: {', '.join(sorted(shape.members))}"
        elif item is not None:
            yield from _faults(shape.members[name], item, _join(path, name))


def _list_faults(shape: ListShape, value: list[Any], path: str) -> Iterator[str]:
    yield from _length_faults(shape, value, path)
    for number, item in enumerate(value, start=1):
        yield from _faults(shape.member, item, f"{path}.{number}.member")


def _map_faults(shape: MapShape, value: Record, path: str) -> Iterator[str]:
    yield from _length_faults(shape, value, path)
    for key, item in value.items():
        yield from _faults(shape.key, key, f"{path}.{key}.key")
        yield from _faults(shape.value, item, f"{path}.{key}.value")


def _string_faults(shape: Shape, value: str, path: str) -> Iterator[str]:
    yield from _length_faults(shape, value, path)
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield _fault(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not _regex(pattern).fullmatch(value):
        yield _fault(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _number_faults(shape: Shape, value: float, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield _fault(value, path, f"Member must have value greater than or equal to {low}")
    if high is not None and value > high:
        yield _fault(value, path, f"Member must have value less than or equal to {high}")


def _length_faults(shape: Shape, value: str | list[Any] | Record, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and len(value) < low:
        yield _fault(value, path, f"Member must have length greater than or equal to {low}")
    if high is not None and len(value) > high:
        yield _fault(value, path, f"Member must have length less than or equal to {high}")


def _no_faults(_shape: Shape, _value: object, _path: str) -> Iterator[str]:
    return iter(())


def _fault(value: object, path: str, constraint: str) -> str:
    shown = str(value) if len(str(value)) <= 200 else f"{str(value)[:200]}..."
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member


# Java's classes, never narrower in Python: symbols and punctuation also admit each other
_VISIBLE = r"!-/:-@\[-`{-~\u00a1-\uffff"
_FROM_JAVA = {
    r"\p{L}": r"\w",
    r"\p{M}": r"\u0300-\u036f",
    r"\p{Z}": r"\s",
    r"\p{N}": r"\d",
    r"\p{S}": _VISIBLE,
    r"\p{P}": _VISIBLE,
    r"\p{Alnum}": "a-zA-Z0-9",
    # Python wants a flag for a part of a pattern written round it.
    "(?i).*<script>.*</script>.*": "(?i:.*<script>.*</script>.*)",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010ffff",
}
_REPEATED_END = re.compile(r"\$\{\d+,\d+\}$")


@functools.cache
def _regex(pattern: str) -> re.Pattern[str]:
    for java, python in _FROM_JAVA.items():
        pattern = pattern.replace(java, python)
    return re.compile(_REPEATED_END.sub("", pattern))


_KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "structure": ("a structure", (dict,)),
    "map": ("a map", (dict,)),
    "list": ("a list", (list,)),
    "string": ("a string", (str,)),
    "boolean": ("a boolean", (bool,)),
    "integer": ("an integer", (int,)),
    "long": ("an integer", (int,)),
    "float": ("a number", (int, float)),
    "double": ("a number", (int, float)),
    "timestamp": ("a timestamp", (int, float, str)),
}
_CHECKS: Mapping[str, Callable[[Any, Any, str], Iterator[str]]] = {
    "structure": _structure_faults,
    "map": _map_faults,
    "list": _list_faults,
    "string": _string_faults,
    "integer": _number_faults,
    "long": _number_faults,
    "float": _number_faults,
    "double": _number_faults,
}
