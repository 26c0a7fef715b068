"""The inner loop's compiled definition: whether it is fresh, and how an environment's values get into it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from dual_pipeline.errors import StaleDefinition
from dual_pipeline.model_project import ModelProject
from dual_pipeline.placeholders import PLACEHOLDERS, fill

DEFINITION_FILE = "definition.json"
LOCK_FILE = "definition.lock"


def parameter_defaults(project: ModelProject) -> dict[str, str | int | float]:
    """The pipeline parameters that follow from a project's configuration, by name; seconds, gigabytes and shares."""
    return {
        "ProcessingInstanceType": project.instances.processing,
        "TrainingInstanceType": project.instances.training,
        "VolumeSizeInGB": project.instances.volume_gib,
        "MaxRuntimeInSeconds": int(project.limits.job.total_seconds()),
        "MinAuc": project.gates.min_auc,
        "MinAccuracy": project.gates.min_accuracy,
        **{hyperparameter_name(name): value for name, value in project.hyperparameters.items()},
    }


def hyperparameter_name(hyperparameter: str) -> str:
    """The pipeline parameter of a hyperparameter: `max_depth` -> `HyperMaxDepth`."""
    return "Hyper" + "".join(word.capitalize() for word in hyperparameter.split("_"))


def render_definition(project: ModelProject, *, project_folder: Path, placeholders: Mapping[str, str]) -> str:
    """The definition that an environment deploys: fresh, with its placeholders filled and the project's defaults set.

    Raises StaleDefinition when it must be compiled again, ValueError when a placeholder has no value.
    """
    return fill(load_definition(project_folder), placeholders, parameter_defaults=parameter_defaults(project))


def load_definition(project_folder: Path) -> str:
    """The committed definition of a model project, once its lock has shown that compiling would write the same now."""
    definition, lock = project_folder / DEFINITION_FILE, project_folder / LOCK_FILE
    if not definition.is_file() or not lock.is_file():
        raise StaleDefinition(f"{project_folder} has no compiled {DEFINITION_FILE} and {LOCK_FILE}; run `make compile`")
    text = definition.read_text(encoding="utf-8")
    if lock.read_text(encoding="utf-8").strip() != definition_lock(project_folder, text):
        raise StaleDefinition(
            f"{definition} does not match {project_folder.name}'s pipeline code any more; run `make compile`"
        )
    return text


def definition_lock(project_folder: Path, definition: str) -> str:
    """A hash over a definition and everything that compiling it reads, apart from the SDK.

    The project's configuration is no part of it, for `parameter_defaults` sets it anew in every environment.
    """
    inputs = [
        *sorted(project_folder.parent.glob("*.py")),
        project_folder / "pipeline.py",
        project_folder / "contract.py",
    ]
    digest = hashlib.sha256(json.dumps(dict(PLACEHOLDERS), sort_keys=True).encode())
    for text in (*(path.read_text(encoding="utf-8") for path in inputs if path.is_file()), definition):
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()
