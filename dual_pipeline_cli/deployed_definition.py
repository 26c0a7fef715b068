"""The deployed definition read backwards: what the placeholders of the compiled one stand for in an environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dual_pipeline.placeholders import PLACEHOLDERS, code_file, code_uri, placeholders_in

from .environment import EnvironmentClient
from .working_tree import StepCode, WorkingTree

_DEFINITION_HASH = "definition_hash"


def as_deployed(environment: EnvironmentClient, tree: WorkingTree, deployed: str) -> str:
    """The definition that deploying a working tree would put in the place of `deployed`, but for its network.

    Code that is the deployed code keeps its name, other code gets one of its own.

    Raises EnvironmentTrouble when the checkout has no such project, StaleDefinition when it must be compiled first.
    """
    project = tree.project(environment.project, environment=environment.environment)
    compiled = tree.definition(project)
    learned = learn_values(json.loads(_compiled(environment, deployed) or compiled), json.loads(deployed))
    code = {
        step: _place(environment, code, deployed=learned.get(f"{step}_code_uri"))
        for step, code in tree.code(project).items()
    }
    # a placeholder that the deployed definition does not use yet stands for itself
    values = {name: _literal(name) for name in placeholders_in(compiled)} | learned
    values.pop(_DEFINITION_HASH, None)
    return tree.render(project, placeholders=values, code=code)


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
    digest = next((text for place, text in _strings(json.loads(deployed)) if place[-1] == _DEFINITION_HASH), None)
    content = environment.read(f"{_folder(environment)}/{digest}.json") if digest else None
    return content.decode() if content else None


def _place(environment: EnvironmentClient, code: StepCode, *, deployed: str | None) -> str:
    """Where a step's code would lie: where it is if the deployed code has the same bytes."""
    same = deployed is not None and environment.read(deployed) == code.content
    return deployed if deployed and same else f"{_folder(environment)}/{code.file}"


def _folder(environment: EnvironmentClient) -> str:
    return f"s3://{environment['ArtifactBucketName']}/{environment.project}/code"
