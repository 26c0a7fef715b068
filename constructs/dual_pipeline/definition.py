"""The inner loop's compiled definition: whether it is fresh, what it needs, and how an environment's values get in."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dual_pipeline.errors import ConfigError, StaleDefinition
from dual_pipeline.loop_contract import PARAMETER_APPROVAL_STATUS
from dual_pipeline.model_project import ModelProject
from dual_pipeline.pipeline_parameters import parameter_defaults
from dual_pipeline.placeholders import PLACEHOLDERS, canonical, fill, placeholders_in
from dual_pipeline.structure import structure

DEFINITION_FILE = "definition.json"
LOCK_FILE = "definition.lock"

StepKind: TypeAlias = Literal["processing", "spark", "training", "function"]

_SPARK_SUBMIT = "smspark-submit"
_DECIDE_FOLDER = "decide"


def render_definition(project: ModelProject, *, project_folder: Path, placeholders: Mapping[str, str]) -> str:
    """The definition that an environment deploys: fresh, with its placeholders filled and the project's defaults set.

    `definition_hash` need not be given. Raises StaleDefinition when it must be compiled again, ConfigError when the
    project's structure is not the compiled one, ValueError when a placeholder has no value.
    """
    text = load_definition(project_folder)
    check_structure(project, project_folder=project_folder)
    return fill(
        text,
        {"definition_hash": definition_hash(text), **placeholders},
        parameter_defaults=parameter_defaults(project),
    )


def load_definition(project_folder: Path) -> str:
    """The committed definition of a model project, once its lock has shown that compiling would write the same now.

    Raises StaleDefinition when it would not, ConfigError when the pipeline would approve its own model.
    """
    definition = project_folder / DEFINITION_FILE
    if not definition.is_file() or not (project_folder / LOCK_FILE).is_file():
        raise StaleDefinition(f"{project_folder} has no compiled {DEFINITION_FILE} and {LOCK_FILE}; run `make compile`")
    text = definition.read_text(encoding="utf-8")
    lock = _lock(project_folder)
    if lock.get("definition") != definition_hash(text):
        raise StaleDefinition(f"{definition} is not what was compiled; run `make compile` instead of editing it")
    if lock.get("code") != _code_hash(project_folder):
        raise StaleDefinition(
            f"{definition} does not match {project_folder.name}'s pipeline code any more; run `make compile`"
        )
    _check_registration(text, definition)
    return text


def check_structure(project: ModelProject, *, project_folder: Path) -> None:
    """Require that a project, as an environment configures it, has the structure that was compiled."""
    compiled, configured = _lock(project_folder).get("structure", {}), structure(project)
    differing = sorted(key for key in {*compiled, *configured} if compiled.get(key) != configured.get(key))
    if differing:
        key = differing[0]
        raise ConfigError(
            f"project {project.name!r} is configured with {key} = {json.dumps(configured.get(key))}, but its definition"
            f" was compiled with {json.dumps(compiled.get(key))}: what shapes the pipeline is the same in every"
            f" environment; set {', '.join(differing)} in {project.folder}/project.py and run `make compile`"
        )


def definition_lock(project: ModelProject, *, project_folder: Path, definition: str) -> str:
    """What a definition was compiled from: hashes of the code that compiling reads, and the project's structure.

    The rest of the configuration is no part of it: `parameter_defaults` sets it anew in every environment.
    """
    return canonical(
        {
            "code": _code_hash(project_folder),
            "definition": definition_hash(definition),
            "structure": structure(project),
        }
    )


def definition_hash(definition: str) -> str:
    """The name of a compiled definition: the SHA-256 of its text, in hexadecimal digits."""
    return hashlib.sha256(definition.encode()).hexdigest()


def steps_of(definition: str) -> dict[str, StepKind]:
    """The step folders whose code a definition runs, by name, and what kind of bundle each wants."""
    kinds: dict[str, StepKind] = {}
    for step in all_steps(json.loads(definition)["Steps"]):
        names = placeholders_in(
            json.dumps({**step, "Arguments": {} if step["Type"] == "Condition" else step["Arguments"]})
        )
        if step["Type"] == "Processing":
            command = step["Arguments"]["AppSpecification"].get("ContainerEntrypoint", [""])[0]
            kind: StepKind = "spark" if command == _SPARK_SUBMIT else "processing"
        elif step["Type"] in ("Training", "Tuning"):
            kind = "training"
        else:
            if "decide_function_arn" in names:
                kinds[_DECIDE_FOLDER] = "function"
            continue
        for name in names:
            if name.endswith("_code_uri"):
                kinds[name.removesuffix("_code_uri")] = kind
    return dict(sorted(kinds.items()))


def in_network(definition: str, *, subnet_ids: Sequence[str], security_group_ids: Sequence[str]) -> str:
    """The definition with every job and model in a VPC; a transform job runs where its model does.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/infrastructure-give-access.html
    """
    network = {"Subnets": list(subnet_ids), "SecurityGroupIds": list(security_group_ids)}
    document = json.loads(definition)
    for step in all_steps(document["Steps"]):
        arguments = step["Arguments"]
        match step["Type"]:
            case "Processing":
                arguments.setdefault("NetworkConfig", {})["VpcConfig"] = network
            case "Training" | "Model":
                arguments["VpcConfig"] = network
            case "Tuning":
                arguments["TrainingJobDefinition"]["VpcConfig"] = network
    return canonical(document)


def compact(definition: str) -> str:
    """The definition without the white space that people read and CloudFormation counts."""
    return json.dumps(json.loads(definition), separators=(",", ":"), ensure_ascii=False)


def all_steps(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every step of a compiled definition, those in the branches of conditions too."""
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from all_steps(step["Arguments"]["IfSteps"])
            yield from all_steps(step["Arguments"]["ElseSteps"])


def _check_registration(text: str, path: Path) -> None:
    # A package that is registered as Approved looks like one that a person approved.
    wanted = {"Get": f"Parameters.{PARAMETER_APPROVAL_STATUS}"}
    for step in all_steps(json.loads(text)["Steps"]):
        if step["Type"] == "RegisterModel" and (got := step["Arguments"].get("ModelApprovalStatus")) != wanted:
            raise ConfigError(
                f"step {step['Name']} of {path} registers models with ModelApprovalStatus {got!r}, so the pipeline"
                " itself would decide whether people are asked: give it the pipeline's parameter"
                f" {PARAMETER_APPROVAL_STATUS}, as pipeline_code/model_registration.py does, and run `make compile`"
            )


def _lock(project_folder: Path) -> dict[str, Any]:
    path = project_folder / LOCK_FILE
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        lock = None
    if not isinstance(lock, dict):
        raise StaleDefinition(f"{path} is not what `make compile` writes; run it")
    return lock


def _code_hash(project_folder: Path) -> str:
    inputs = [
        *sorted(project_folder.parent.glob("*.py")),
        project_folder / "pipeline.py",
        project_folder / "contract.py",
    ]
    digest = hashlib.sha256(json.dumps(dict(PLACEHOLDERS), sort_keys=True).encode())
    for path in inputs:
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
