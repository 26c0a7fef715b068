"""The pipeline of a checkout as it would stand in an environment, without deploying it."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline.code_bundle import write_bundle
from dual_pipeline.definition import load_definition, steps_of
from dual_pipeline.placeholders import PLACEHOLDERS, code_file, code_uri, fill, placeholders_in
from dual_pipeline_local import staging

from .environment import EnvironmentClient, EnvironmentTrouble

DEFINITION_HASH = "definition_hash"


def render_checkout(environment: EnvironmentClient, deployed: str, *, root: Path) -> str:
    """The definition of the checkout `root` with the environment's values in it.

    Those are learned by laying the deployed definition over the compiled one it was made from. Code that is not the
    deployed code gets a name of its own. A parameter's default is the checkout's, unless the environment overrides it.

    Raises EnvironmentTrouble when the checkout has no such project, StaleDefinition when it must be compiled first.
    """
    folder = root / "pipeline_code" / environment.project.replace("-", "_")
    if not folder.is_dir():
        raise EnvironmentTrouble(f"no {folder}: run it in the project's checkout")
    text = load_definition(folder)
    base = _compiled(environment, deployed) or text
    values = learn_values(json.loads(base), json.loads(deployed))
    values |= _code(environment, folder, text, values)
    values |= {name: _literal(name) for name in placeholders_in(text) if name not in values}
    return fill(text, values, parameter_defaults=_overrides(json.loads(base), json.loads(deployed), json.loads(text)))


def learn_values(compiled: Any, deployed: Any) -> dict[str, str]:
    """The values of the placeholders of a compiled definition, read off the deployed one."""
    found: dict[str, str] = {}
    strings = dict(_strings(deployed))
    for place, text in _strings(compiled):
        if place in strings and not placeholders_in(text) <= found.keys():
            match = re.fullmatch(_pattern(text), strings[place])
            found |= {name: value for name, value in match.groupdict().items() if name not in found} if match else {}
    return found


def _strings(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every string of a definition by the way to it; steps go by their name."""
    if isinstance(node, str):
        yield place, node
    elif isinstance(node, Mapping):
        for name, item in node.items():
            yield from _strings(item, (*place, str(name)))
    elif isinstance(node, list):
        for number, item in enumerate(node):
            name = item.get("Name") if isinstance(item, Mapping) else None
            yield from _strings(item, (*place, name if isinstance(name, str) else str(number)))


def _pattern(text: str) -> str:
    """A regular expression for what a string with placeholders can have become."""
    names = {re.escape(_literal(name)): name for name in placeholders_in(text)}
    pattern = re.escape(text)
    for literal, name in sorted(names.items(), key=lambda item: len(item[0]), reverse=True):
        # the same value wherever the placeholder stands
        pattern = pattern.replace(literal, rf'(?P<{name}>[^\s"]+?)', 1).replace(literal, f"(?P={name})")
    return pattern


def _literal(name: str) -> str:
    """What stands for a placeholder in a compiled definition."""
    if name in PLACEHOLDERS:
        return PLACEHOLDERS[name]
    step, _, part = name.rpartition("_code_")
    return code_uri(step) if part == "uri" else code_file(step)


def _compiled(environment: EnvironmentClient, deployed: str) -> str | None:
    """The compiled definition that the deployed one was made from, which lies under its hash beside the code."""
    digest = next((text for place, text in _strings(json.loads(deployed)) if place[-1] == DEFINITION_HASH), None)
    if digest is None:
        return None
    uri = f"s3://{environment['ArtifactBucketName']}/{environment.project}/code/{digest}.json"
    try:
        return staging.read(environment.client("s3"), uri).decode()
    except ClientError:
        return None


def _code(environment: EnvironmentClient, folder: Path, definition: str, values: Mapping[str, str]) -> dict[str, str]:
    """Where the code of each step would lie that is not the deployed one."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        for step, kind in steps_of(definition).items():
            bundle = write_bundle(folder, step=step, kind=kind, folder=Path(name))
            content = bundle.read_bytes()
            uri = values.get(f"{step}_code_uri")
            if uri and _holds(environment, uri, content):
                continue
            file = f"{hashlib.sha256(content).hexdigest()}{''.join(bundle.suffixes)}"
            found[f"{step}_code_file"] = file
            found[f"{step}_code_uri"] = f"s3://{environment['ArtifactBucketName']}/{environment.project}/code/{file}"
    return found


def _holds(environment: EnvironmentClient, uri: str, content: bytes) -> bool:
    try:
        return staging.read(environment.client("s3"), uri) == content
    except (ClientError, ValueError):
        return False


def _overrides(compiled: Any, deployed: Any, ours: Any) -> dict[str, Any]:
    """The defaults that the environment sets itself: they differ from those of what was deployed."""
    before, after, new = (
        {each["Name"]: each.get("DefaultValue") for each in document["Parameters"]}
        for document in (compiled, deployed, ours)
    )
    return {
        name: value
        for name, value in after.items()
        if name in new and value is not None and value != before.get(name) and not _filled(before.get(name))
    }


def _filled(default: object) -> bool:
    """Whether a default was made of placeholders."""
    return isinstance(default, str) and bool(placeholders_in(default))
