"""CloudWatch's three protocols: requests as dictionaries of the service's model, results in the caller's format.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/ and botocore's model of the service.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape

from botocore.loaders import create_loader
from botocore.model import ListShape, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from . import ministack
from .errors import ApiError

Response = tuple[int, dict[str, str], bytes]

_INDEX: Final = re.compile(r"member\.(\d+)(?:\.|$)")


@dataclass(frozen=True)
class Call:
    """One request as ministack hands it to a handler: query parameters, a decoded body, and the protocol."""

    operation: str
    parameters: Mapping[str, Any]
    body: Mapping[str, Any]
    is_cbor: bool
    is_json: bool

    def request(self) -> dict[str, Any]:
        """The request, checked against the service's model; raises ApiError."""
        shape = _shape(self.operation)
        if self.is_cbor or self.is_json:
            request = dict(self.body)
        else:
            flat = {name: value[0] if isinstance(value, list) else value for name, value in self.parameters.items()}
            request = _nested(shape, {name: str(value) for name, value in flat.items()})
        check(self.operation, request)
        return request

    def answer(self, result: Mapping[str, Any]) -> Response:
        """The result, its times given as `datetime`, in the protocol of the request."""
        service = ministack.load("services.cloudwatch")
        if self.is_cbor:
            return service._cbor_ok(_mapped(result, lambda time: service._cbor_timestamp(time.timestamp())))  # type: ignore[no-any-return]
        if self.is_json:
            return service._json_ok(_mapped(result, datetime.timestamp))  # type: ignore[no-any-return]
        inner = f"<{self.operation}Result>{_xml(result)}</{self.operation}Result>"
        return service._xml(200, f"{self.operation}Response", inner)  # type: ignore[no-any-return]

    def refusal(self, error: ApiError) -> Response:
        """An error in the protocol of the request."""
        service = ministack.load("services.cloudwatch")
        return service._error(error.code, error.message, error.status, use_json=self.is_json, use_cbor=self.is_cbor)  # type: ignore[no-any-return]


def check(operation: str, request: Mapping[str, Any]) -> None:
    """Hold a request to the service's model: members, types, lengths and ranges; raises ApiError."""
    shape = _shape(operation)
    report = ParamValidator().validate(dict(request), shape)
    found = [report.generate_report()] if report.has_errors() else [*_outside_enums(request, shape)]
    if found:
        raise ApiError("ValidationError", found[0])


def coerced(operation: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A template's properties in the types of the service's model: templates may write numbers and booleans as text."""
    found: dict[str, Any] = _coerced(values, _shape(operation))
    return found


@functools.cache
def _shape(operation: str) -> StructureShape:
    description = create_loader().load_service_model("cloudwatch", "service-2")
    shape = ServiceModel(description, service_name="cloudwatch").operation_model(operation).input_shape
    if shape is None:
        raise ValueError(f"cloudwatch:{operation} has no input")
    return shape


def _outside_enums(value: Any, shape: Shape, path: str = "") -> list[str]:
    if isinstance(shape, StructureShape):
        members = shape.members
        return [
            found
            for name, each in value.items()
            if name in members
            for found in _outside_enums(each, members[name], f"{path}.{name}" if path else name)
        ]
    if isinstance(shape, ListShape):
        return [
            found for at, each in enumerate(value, 1) for found in _outside_enums(each, shape.member, f"{path}.{at}")
        ]
    enum = getattr(shape, "enum", None)
    if enum and value not in enum:
        return [
            f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(enum)}]"
        ]
    return []


def _nested(shape: Shape, flat: Mapping[str, str]) -> Any:
    """A value in the Query protocol (`Dimensions.member.1.Name=x`), keys relative to it."""
    if isinstance(shape, StructureShape):
        found = {}
        for name, member in shape.members.items():
            below = {key[len(name) :].lstrip("."): value for key, value in flat.items() if _starts(key, name)}
            if below:
                found[name] = _nested(member, below)
        return found
    if isinstance(shape, ListShape):
        items: dict[int, dict[str, str]] = {}
        for key, value in flat.items():
            if match := _INDEX.match(key):
                items.setdefault(int(match[1]), {})[key[match.end() :]] = value
        return [_nested(shape.member, items[at]) for at in sorted(items)]
    return _coerced(flat.get("", ""), shape)


def _starts(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _coerced(value: Any, shape: Shape) -> Any:
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        members = shape.members
        return {
            name: _coerced(each, members[name]) if name in members else each
            for name, each in value.items()
            if each is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_coerced(each, shape.member) for each in value]
    try:
        if shape.type_name == "integer":
            return int(value)
        if shape.type_name in ("double", "float"):
            return float(value)
    except (TypeError, ValueError):
        return value
    if shape.type_name == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    if shape.type_name == "timestamp" and isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _mapped(value: Any, time: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _mapped(each, time) for name, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, time) for each in value]
    return time(value) if isinstance(value, datetime) else value


def _xml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(each)}</{name}>" for name, each in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(each)}</member>" for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return escape(str(value))
