"""Properties that a template may give its resources, by the resource providers' schemas.

CloudFormation refuses a property that the type's schema does not have, and a missing required one. The schemas are the
data files of the installed cfn-lint, which is not imported: that takes seconds.
Source: https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from . import settings
from .errors import EmulatorError

_FALLBACK_REGION: Final = "us-east-1"
Schema = Mapping[str, Any]


def verify() -> None:
    """Refuse to run without the schemas."""
    if not (_folder() / "providers" / f"{_FALLBACK_REGION}.json").is_file():
        raise EmulatorError("cfn-lint has no provider schemas where they were: install requirements-dev.txt")


def check(template: Mapping[str, Any], conditions: Mapping[str, bool]) -> None:
    """Raise ValueError that names the resources with properties AWS does not know, or without required ones."""
    found = [
        f"Properties validation failed for resource {name} with message:\n" + "\n".join(f"[{fault}]" for fault in wrong)
        for name, resource in (template.get("Resources") or {}).items()
        if isinstance(resource, dict)
        and conditions.get(resource.get("Condition", ""), True)
        and (wrong := list(faults(str(resource.get("Type", "")), resource.get("Properties") or {})))
    ]
    if found:
        raise ValueError("\n".join(found))


def faults(type_: str, properties: object) -> Iterator[str]:
    """What the type's schema finds wrong with the names in `properties`, in CloudFormation's words."""
    schema = _schema(type_, settings.current().region)
    if schema is not None:
        yield from _faults(properties, schema, schema, "#")


def _faults(value: object, schema: Schema, root: Schema, path: str) -> Iterator[str]:
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("Fn::If"), list):
        for branch in value["Fn::If"][1:]:
            yield from _faults(branch, schema, root, path)
        return
    if isinstance(value, dict) and ("Ref" in value or any(key.startswith("Fn::") for key in value)):
        return
    if reference := schema.get("$ref"):
        yield from _faults(value, _resolved(str(reference), root), root, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, schema.get("items") or {}, root, f"{path}/{index}")
    elif isinstance(value, dict):
        yield from _object_faults(value, schema, root, path)


def _object_faults(value: dict[str, Any], schema: Schema, root: Schema, path: str) -> Iterator[str]:
    known = schema.get("properties") or {}
    if schema.get("additionalProperties") is False and not schema.get("patternProperties"):
        yield from (f"{path}: extraneous key [{name}] is not permitted" for name in value if name not in known)
    yield from (
        f"{path}: required key [{name}] not found" for name in schema.get("required") or [] if name not in value
    )
    for name, item in value.items():
        yield from _faults(item, known.get(name) or {}, root, f"{path}/{name}")
    alternatives = [] if known else [*(schema.get("anyOf") or []), *(schema.get("oneOf") or [])]
    tried = [list(_faults(value, alternative, root, path)) for alternative in alternatives]
    if tried and all(tried):
        yield from min(tried, key=len)


def _resolved(reference: str, root: Schema) -> Schema:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    result: Schema = found
    return result


@functools.cache
def _schema(type_: str, region: str) -> Schema | None:
    digest = _types(region).get(type_) or _types(_FALLBACK_REGION).get(type_)
    if digest is None:
        return None
    schema: Schema = json.loads((_folder() / "resources" / f"{digest}.json").read_bytes())
    return schema


@functools.cache
def _types(region: str) -> Mapping[str, str]:
    file = _folder() / "providers" / f"{region}.json"
    types: Mapping[str, str] = json.loads(file.read_bytes()) if file.is_file() else {}
    return types


@functools.cache
def _folder() -> Path:
    found = importlib.util.find_spec("cfnlint")
    if found is None or found.origin is None:
        raise EmulatorError("cfn-lint is not installed, whose provider schemas the emulator needs")
    return Path(found.origin).parent / "data" / "schemas"
