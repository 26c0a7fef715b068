"""Values of pipeline parameters as people give them, checked before anything is started."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from dual_pipeline.loop_contract import PARAMETER_SNAPSHOT_URI

from .environment import EnvironmentClient, EnvironmentTrouble

ParameterOption = Annotated[
    list[str] | None, typer.Option("--parameter", help="Value of a pipeline parameter, Name=Value; repeatable.")
]

_VALUES = {
    "String": r"(?s).*",
    "Integer": r"[+-]?\d+",
    "Float": r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?",
    "Boolean": r"(?i)true|false",
}
_WORDS = {"String": "text", "Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def parse_values(given: Sequence[str], *, snapshot: str | None) -> dict[str, str]:
    """Values by name from `Name=Value`, with the snapshot's if that was given apart.

    Raises EnvironmentTrouble for anything else, and for a name given twice.
    """
    values = {PARAMETER_SNAPSHOT_URI: snapshot} if snapshot else {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not re.fullmatch(r"\w+", name):
            raise EnvironmentTrouble(f"--parameter must be Name=Value, got {text!r}")
        if values.get(name, value) != value:
            raise EnvironmentTrouble(f"parameter {name} is given as {values[name]!r} and as {value!r}: give it once")
        values[name] = value
    return values


def check_values(
    environment: EnvironmentClient, declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]
) -> None:
    """Require that a pipeline declares these parameters and takes these values, and that a given snapshot exists.

    `declared` are the pipeline's parameters by name. Raises EnvironmentTrouble.
    """
    for name, value in given.items():
        check_value(declared, name, value)
    snapshot = given.get(PARAMETER_SNAPSHOT_URI)
    if snapshot is not None:
        _check_snapshot(environment, snapshot)


def check_value(declared: Mapping[str, Mapping[str, Any]], name: str, value: str) -> None:
    """Require that a pipeline has a parameter that takes this value. Raises EnvironmentTrouble."""
    if name not in declared:
        raise EnvironmentTrouble(f"the pipeline has no parameter {name!r}: it has {', '.join(sorted(declared))}")
    kind, allowed = declared[name]["Type"], declared[name].get("EnumValues")
    if not re.fullmatch(_VALUES[kind], value):
        raise EnvironmentTrouble(f"parameter {name} must be {_WORDS[kind]}, got {value!r}")
    if allowed and value not in [str(each) for each in allowed]:
        raise EnvironmentTrouble(f"parameter {name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def _check_snapshot(environment: EnvironmentClient, uri: str) -> None:
    manifest = f"{uri.rstrip('/')}/manifest.json"
    if not re.fullmatch(r"s3://[^/]+/.+", uri) or environment.read(manifest) is None:
        raise EnvironmentTrouble(
            f"no snapshot lies at {uri!r}: give the s3:// folder of one, which holds a manifest.json, such as"
            " `dual-pipeline lineage` tells"
        )
