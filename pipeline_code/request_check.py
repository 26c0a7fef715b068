"""Check a request against botocore's model of a SageMaker operation, more strictly than botocore itself does.

botocore validates types, required members and minima; here unknown members, enums, patterns and maxima count too.
"""

import functools
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

import botocore.loaders
from botocore.model import ServiceModel, Shape

_TYPES: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}


def check_request(operation: str, request: dict[str, Any], *, given: Collection[str] = ()) -> Iterator[str]:
    """What SageMaker would refuse in a request, a sentence each; members named in `given` may be missing."""
    shape = _service().operation_model(operation).input_shape
    assert shape is not None
    yield from _check(shape, request, operation, given)


def output_shape(operation: str) -> Shape:
    """What an operation returns."""
    shape = _service().operation_model(operation).output_shape
    assert shape is not None
    return shape


def enumeration(shape: str) -> list[str]:
    """The values of one of SageMaker's enumerations."""
    return list(_service().shape_for(shape).metadata["enum"])


@functools.cache
def _service() -> ServiceModel:
    return ServiceModel(botocore.loaders.Loader().load_service_model("sagemaker", "service-2"))


def _check(shape: Shape, value: Any, path: str, given: Collection[str]) -> Iterator[str]:
    expected = _TYPES.get(shape.type_name)
    if expected and (not isinstance(value, expected) or (isinstance(value, bool) and shape.type_name != "boolean")):
        yield f"{path} must be a {shape.type_name}, got {value!r}"
        return
    yield from _limits(shape, value, path)
    if shape.type_name == "structure":
        members = shape.members  # type: ignore[attr-defined]
        for name in sorted(value.keys() - members.keys()):
            yield f"{path}.{name} is not known"
        for name in shape.required_members:
            if name not in value and name not in given:
                yield f"{path}.{name} is missing"
        for name in value.keys() & members.keys():
            yield from _check(members[name], value[name], f"{path}.{name}", ())
    elif shape.type_name == "list":
        for at, item in enumerate(value):
            yield from _check(shape.member, item, f"{path}[{at}]", ())  # type: ignore[attr-defined]
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _check(shape.key, key, f"{path} key {key!r}", ())  # type: ignore[attr-defined]
            yield from _check(shape.value, item, f"{path}.{key}", ())  # type: ignore[attr-defined]


def _limits(shape: Shape, value: Any, path: str) -> Iterator[str]:
    size = value if isinstance(value, (int, float)) else len(value)
    least, most = shape.metadata.get("min", -math.inf), shape.metadata.get("max", math.inf)
    if not least <= size <= most:
        yield f"{path} is {value!r}; allowed is {least} to {most}"
    if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
        yield f"{path} is {value!r}, none of {shape.metadata['enum']}"
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield f"{path} is {value!r}, which does not match {pattern}"


def _matches(pattern: str, value: str) -> bool:
    """AWS writes Java patterns, a few of them malformed; what Python cannot read is taken to match."""
    pattern = re.sub(r"\$\{\d+,\d+\}$", "$", pattern)
    for category, close_enough in (
        (r"\p{L}", r"\w"),
        (r"\p{N}", r"\d"),
        (r"\p{Z}", r"\s"),
        (r"\p{Alnum}", "a-zA-Z0-9"),
    ):
        pattern = pattern.replace(category, close_enough)
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return True
