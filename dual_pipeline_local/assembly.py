"""What a cloud assembly (`cdk.out`) holds for one environment: its stacks, their templates, account and region."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dual_pipeline.errors import DualPipelineError
from dual_pipeline.loop_contract import TAG_ENVIRONMENT, TAG_PROJECT

_UNKNOWN_ACCOUNT = "unknown-account"


class UnknownEnvironment(DualPipelineError):
    """The assembly holds no stack of the environment asked for."""


@dataclass(frozen=True, kw_only=True)
class StackArtifact:
    """One stack of an assembly; `path` is its place in the construct tree, such as Dev/Foundation.

    `project` is None for what all projects share.
    """

    name: str
    path: str
    template: Path
    account: str | None
    region: str
    project: str | None = None

    @property
    def sha256(self) -> str:
        """Hash of the template file as it lies on disk."""
        return hashlib.sha256(self.template.read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """The stacks of one environment."""

    folder: Path
    environment: str
    stacks: tuple[StackArtifact, ...]

    @property
    def stage(self) -> str:
        """Construct id of the environment's stage, the first part of each stack's path."""
        return self.stacks[0].path.split("/")[0]

    @property
    def account(self) -> str | None:
        """The account the stacks are bound to; None when any will do."""
        return self.stacks[0].account

    @property
    def region(self) -> str:
        return self.stacks[0].region

    @property
    def sha256(self) -> str:
        """Hash over the template files one after another in the order of their names: `cat *.template.json`."""
        digest = hashlib.sha256()
        for stack in self.stacks:
            digest.update(stack.template.read_bytes())
        return digest.hexdigest()


def read_assembly(folder: Path, *, environment: str) -> Assembly:
    """The part of an assembly that belongs to an environment, found by the stacks' tags.

    Raises UnknownEnvironment, naming those there are.
    """
    found = list(_stacks(folder))
    mine = sorted((stack for name, stack in found if name == environment), key=lambda stack: stack.template.name)
    if not mine:
        known = ", ".join(sorted({name for name, _ in found})) or "none"
        raise UnknownEnvironment(f"no environment named {environment!r} in {folder}: there are {known}")
    return Assembly(folder=folder, environment=environment, stacks=tuple(mine))


def _stacks(folder: Path) -> Iterator[tuple[str, StackArtifact]]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise UnknownEnvironment(f"{folder} is no cloud assembly: run make synth") from error
    for id_, artifact in manifest.get("artifacts", {}).items():
        properties: dict[str, Any] = artifact.get("properties", {})
        if artifact["type"] == "cdk:cloud-assembly":
            yield from _stacks(folder / properties["directoryName"])
        elif artifact["type"] == "aws:cloudformation:stack":
            account, region = artifact["environment"].removeprefix("aws://").split("/")
            yield (
                properties.get("tags", {}).get(TAG_ENVIRONMENT, ""),
                StackArtifact(
                    name=properties.get("stackName", id_),
                    path=artifact.get("displayName", id_),
                    template=folder / properties["templateFile"],
                    account=None if account == _UNKNOWN_ACCOUNT else account,
                    region=region,
                    project=properties.get("tags", {}).get(TAG_PROJECT),
                ),
            )
