"""What of a project's configuration shapes its pipeline, so that it cannot differ between environments."""

from dataclasses import asdict
from typing import Any

from dual_pipeline.instance_types import instance_class
from dual_pipeline.model_project import ModelProject


def structure(project: ModelProject) -> dict[str, Any]:
    """The structural settings by their path in the configuration, as JSON; the rest are pipeline parameters."""
    training, tuning, optional = project.training, project.tuning, project.optional_steps
    scoring = optional.batch_scoring
    return {
        "name": project.name,
        "description": project.description,
        "gates.segments": list(project.gates.segments),
        "instances.processing (class)": instance_class(project.instances.processing),
        "instances.training (class)": instance_class(project.instances.training),
        "training.device": training.device,
        "training.spot": training.spot,
        "tuning.ranges": tuning and {name: _json(limits) for name, limits in sorted(tuning.ranges.items())},
        "tuning.strategy": tuning and tuning.strategy,
        "hyperparameters": {
            name: {"kind": each.kind, "limits": _json(each.limits)}
            for name, each in sorted(project.declared_hyperparameters.items())
        },
        "optional_steps.profile": optional.profile,
        "optional_steps.external_check": _json(optional.external_check),
        "optional_steps.decide": optional.decide,
        "optional_steps.batch_scoring (class)": scoring and instance_class(scoring.instance),
        "optional_steps.refused": optional.refused,
        "experiments": project.experiments,
    }


def _json(part: Any) -> Any:
    if part is None:
        return None
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(part).items()}
    return {"is": type(part).__name__, **fields}
