"""The checkout that a data scientist works in: its configuration, its step code, and the definition they make."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline.code_bundle import write_bundle
from dual_pipeline.definition import in_network, load_definition, render_definition, steps_of
from dual_pipeline.model_project import ModelProject

from .environment import EnvironmentTrouble


@dataclass(frozen=True, kw_only=True)
class WorkingTree:
    """A checkout of this repository at `root`."""

    root: Path

    def project(self, name: str, *, environment: str) -> ModelProject:
        """A model project as the checkout configures it for an environment.

        Raises EnvironmentTrouble when the checkout knows no such environment or project.
        """
        module = self._environments()
        configured = [each for each in module.ENVIRONMENTS if each.name == environment]
        found = [project for each in configured for project in each.projects if project.name == name]
        if not found:
            raise EnvironmentTrouble(
                f"environments.py of {self.root} has no environment {environment!r} with a project {name!r}:"
                " call dual-pipeline in the checkout that the environment was deployed from"
            )
        project: ModelProject = found[0]
        return project

    def commit(self) -> str:
        """The git commit that is checked out, marked when files differ from it, or `unknown`."""
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        return described.stdout.strip() or "unknown"

    def render(
        self,
        project: ModelProject,
        *,
        placeholders: Mapping[str, str],
        network: Mapping[str, list[str]] | None,
        s3: Any,
    ) -> str:
        """The committed definition with a copy's values in it, its step code uploaded under its hash.

        Raises StaleDefinition when it must be compiled again, before anything is uploaded.
        """
        folder = self.root / project.folder
        kinds = steps_of(load_definition(folder))
        with TemporaryDirectory() as name:
            bundles = {
                step: write_bundle(folder, step=step, kind=kind, folder=Path(name)) for step, kind in kinds.items()
            }
            files = {
                step: (f"{_hash(path)}{''.join(path.suffixes)}", path.read_bytes()) for step, path in bundles.items()
            }
        bucket, prefix = placeholders["artifact_bucket"], f"{project.name}/code"
        code = {f"{step}_code_uri": f"s3://{bucket}/{prefix}/{file}" for step, (file, _) in files.items()}
        code |= {f"{step}_code_file": file for step, (file, _) in files.items()}
        rendered = render_definition(
            project, project_folder=folder, placeholders={"commit": self.commit(), **placeholders, **code}
        )
        for file, content in files.values():
            _add(s3, bucket, f"{prefix}/{file}", content)
        return in_network(rendered, **network) if network else rendered

    def _environments(self) -> Any:
        if not (self.root / "environments.py").is_file():
            raise EnvironmentTrouble(f"{self.root} holds no environments.py: call dual-pipeline in the checkout")
        sys.path.insert(0, str(self.root))
        try:
            return importlib.import_module("environments")
        finally:
            sys.path.remove(str(self.root))


def _add(s3: Any, bucket: str, key: str, content: bytes) -> None:
    """Write an object that nobody may write twice: what is there has the same hash."""
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
