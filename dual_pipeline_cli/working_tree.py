"""The checkout that a data scientist works in: its configuration, its step code, and the definition they make."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dual_pipeline.code_bundle import write_bundle
from dual_pipeline.definition import load_definition, render_definition, steps_of
from dual_pipeline.errors import DualPipelineError
from dual_pipeline.model_project import ModelProject

from .environment import EnvironmentTrouble

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class StepCode:
    """A step's code, packed: the file name, made of its hash, and the bytes."""

    file: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class WorkingTree:
    """A checkout of this repository at `root`."""

    root: Path

    def project(self, name: str, *, environment: str) -> ModelProject:
        """A model project as the checkout configures it for an environment.

        Raises EnvironmentTrouble when the checkout knows no such environment or project.
        """
        configured = [each for each in self._environments() if each.name == environment]
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
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            described = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return _UNKNOWN
        return described.stdout.strip() or _UNKNOWN

    def definition(self, project: ModelProject) -> str:
        """The compiled definition of a project.

        Raises StaleDefinition when it must be compiled again.
        """
        return load_definition(self.root / project.folder)

    def code(self, project: ModelProject) -> dict[str, StepCode]:
        """The code of each step that the project's definition runs, packed as its kind of job wants it.

        Raises StaleDefinition, and EnvironmentTrouble when a file of a step is not there.
        """
        folder = self.root / project.folder
        found = {}
        with TemporaryDirectory() as name:
            for step, kind in steps_of(self.definition(project)).items():
                try:
                    bundle = write_bundle(folder, step=step, kind=kind, folder=Path(name))
                except FileNotFoundError as error:
                    raise EnvironmentTrouble(str(error)) from error
                content = bundle.read_bytes()
                found[step] = StepCode(f"{hashlib.sha256(content).hexdigest()}{''.join(bundle.suffixes)}", content)
        return found

    def render(self, project: ModelProject, *, placeholders: Mapping[str, str], code: Mapping[str, str]) -> str:
        """The definition with an environment's values in it; `code` is where each step's code lies, as URIs.

        Raises StaleDefinition when it must be compiled again.
        """
        files = {f"{step}_code_file": uri.rpartition("/")[2] for step, uri in code.items()}
        uris = {f"{step}_code_uri": uri for step, uri in code.items()}
        values = {**placeholders, "commit": self.commit(), **files, **uris}
        return render_definition(project, project_folder=self.root / project.folder, placeholders=values)

    def _environments(self) -> Any:
        if not (self.root / "environments.py").is_file():
            raise EnvironmentTrouble(f"{self.root} holds no environments.py: call dual-pipeline in the checkout")
        sys.path.insert(0, str(self.root))
        try:
            return importlib.import_module("environments").ENVIRONMENTS
        except DualPipelineError:
            raise
        except Exception as error:
            # whatever a person's own configuration raises
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise EnvironmentTrouble(
                f"environments.py of {self.root} cannot be imported: {type(error).__name__}: {error}"
                f" ({place.filename}, line {place.lineno})"
            ) from error
        finally:
            sys.path.remove(str(self.root))
