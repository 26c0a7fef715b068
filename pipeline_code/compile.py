"""Compile every project's `pipeline.py` into its committed `definition.json`.

Offline: the session refuses every call, the shell's AWS settings and SDK configuration files are not read, telemetry is
off. So the result is the same on every machine.
"""

import argparse
import importlib
import inspect
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import botocore.session

from dual_pipeline.definition import DEFINITION_FILE, LOCK_FILE, definition_lock
from dual_pipeline.errors import DualPipelineError, StaleDefinition
from dual_pipeline.images import IMAGES_FILE, VERSIONS
from dual_pipeline.instance_types import INSTANCE_TYPES_FILE, SHAPES
from dual_pipeline.loop_contract import (
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_REASON,
)
from dual_pipeline.model_project import ModelProject
from dual_pipeline.placeholders import PLACEHOLDERS, canonical, without_placeholders
from pipeline_code.request_check import check_request, enumeration

PACKAGE = Path(__file__).resolve().parent

_CONTRACT = (PARAMETER_SNAPSHOT_URI, PARAMETER_RUN_ID, PARAMETER_TRIGGER_REASON, PARAMETER_APPROVAL_STATUS)
_OPERATIONS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Transform": "CreateTransformJob",
    "Tuning": "CreateHyperParameterTuningJob",
    "Model": "CreateModel",
    "RegisterModel": "CreateModelPackage",
}
_GIVEN_BY_SERVICE = (
    "ProcessingJobName",
    "TrainingJobName",
    "TransformJobName",
    "HyperParameterTuningJobName",
    "ModelName",
)

# https://docs.aws.amazon.com/general/latest/gr/sagemaker.html#limits_sagemaker and botocore's CreatePipeline shape
_MOST_CHARACTERS = 1_048_576
_MOST_PARAMETERS = 200
_STEP_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9_]){0,63}")
_LEAK = re.compile(r"arn:aws|\b\d{12}\b|amazonaws|s3://\w|\b[a-z]{2}(-gov|-iso\w?)?-[a-z]+-\d\b")


class CompileError(DualPipelineError):
    """A project cannot be compiled, or compiles to what SageMaker would refuse."""


def compile_project(folder: Path) -> str:
    """The canonical definition of the project in `folder`, checked; raises CompileError naming what is wrong."""
    if not (folder / "pipeline.py").is_file():
        raise CompileError(f"{folder} has no pipeline.py; projects are {[known.name for known in project_folders()]}")
    session = _offline_session()
    try:
        pipeline = importlib.import_module(f"{folder.parent.name}.{folder.name}.pipeline").build(session)
        document = json.loads(pipeline.definition())
    except Exception as error:
        raise CompileError(f"{folder}/pipeline.py does not compile: {type(error).__name__}: {error}") from error
    if document.get("MlflowConfig", ...) is None:
        del document["MlflowConfig"]
    definition = canonical(document)
    if problems := definition_problems(document, definition):
        raise CompileError(f"{folder}/pipeline.py compiles to a definition that is not valid: " + "; ".join(problems))
    return definition


def definition_problems(document: dict[str, Any], definition: str) -> list[str]:
    """What SageMaker or the outer loop would refuse in a compiled document and its text, a sentence each."""
    return sorted(set(_problems(document, definition)))


def project_folders() -> list[Path]:
    """The folder of every model project, by name."""
    return sorted(path.parent for path in PACKAGE.glob("*/project.py"))


def project_of(folder: Path) -> ModelProject:
    """The configuration that a project's pipeline is compiled with."""
    build = importlib.import_module(f"{folder.parent.name}.{folder.name}.pipeline").build
    project: ModelProject = inspect.signature(build).parameters["project"].default
    return project


def image_table() -> str:
    """The URI of each image by region, from the SDK's own data, as images.json holds it."""
    _offline_session()
    from sagemaker.core import image_uris

    endpoints = botocore.session.Session().get_component("endpoint_resolver")
    table: dict[str, dict[str, str]] = {}
    for framework, version in VERSIONS.items():
        config = image_uris.config_for_framework(framework)
        scope = next((config[name] for name in ("training", "processing") if name in config), config)
        accounts = scope["versions"][version]["registries"]
        # The SDK takes 60 ms to resolve one URI; those of other regions have the same path.
        python = "py312" if framework == "spark" else None
        uri = image_uris.retrieve(
            framework, "us-east-1", version=version, py_version=python, instance_type="ml.m5.large"
        )
        path = uri.partition("/")[2]
        table[framework] = {}
        for region, account in accounts.items():
            domain = endpoints.get_partition_dns_suffix(endpoints.get_partition_for_region(region))
            table[framework][region] = f"{account}.dkr.ecr.{region}.{domain}/{path}"
    return canonical(table)


def instance_table() -> str:
    """The instance types of each use, from botocore's model, as instance_types.json holds them."""
    return canonical({use: sorted(enumeration(shape)) for use, shape in SHAPES.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is out of date, or with `--check` only report it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline_code.compile", description=__doc__)
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help="folders below pipeline_code (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed file is out of date")
    options = parser.parse_args(arguments)
    folders = [PACKAGE / name for name in options.projects] or project_folders()
    try:
        expected = {IMAGES_FILE: image_table(), INSTANCE_TYPES_FILE: instance_table()}
        for folder in folders:
            definition = compile_project(folder)
            expected[folder / DEFINITION_FILE] = definition
            expected[folder / LOCK_FILE] = definition_lock(
                project_of(folder), project_folder=folder, definition=definition
            )
        stale = [path for path, text in expected.items() if not path.is_file() or path.read_text("utf-8") != text]
        if options.check and stale:
            names = ", ".join(str(path) for path in stale)
            raise StaleDefinition(f"out of date: {names}; run `make compile`")
    except DualPipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        if isinstance(error.__cause__, Exception):
            sys.excepthook(type(error.__cause__), error.__cause__, error.__cause__.__traceback__)
        return 1
    for path in stale:
        path.write_text(expected[path], encoding="utf-8")
        print(f"wrote {os.path.relpath(path)}")
    print(f"{len(folders)} project(s) up to date")
    return 0


def _offline_session() -> Any:
    """A PipelineSession that can compile but not call; the SDK is imported here, after its surroundings are set."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_"))]:
        del os.environ[name]
    os.environ |= {
        "AWS_DEFAULT_REGION": "us-east-1",  # the SDK needs one on import; it reaches no definition
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAGEMAKER_VALIDATE_ROLE": "false",
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": os.devnull,
        "SAGEMAKER_USER_CONFIG_OVERRIDE": os.devnull,
    }
    warnings.filterwarnings("ignore", category=UserWarning)
    logging.disable(logging.WARNING)
    from sagemaker.core.telemetry import telemetry_logging
    from sagemaker.core.workflow.pipeline_context import PipelineSession

    # Opting out by configuration makes compiling ten times slower: the SDK validates it anew at every look-up.
    telemetry_logging._send_telemetry_request = lambda *_, **__: None

    class OfflineSession(PipelineSession):  # type: ignore[misc, unused-ignore]
        def default_bucket(self) -> str:
            return PLACEHOLDERS["artifact_bucket"]

    return OfflineSession(boto_session=_NoAws(), sagemaker_client=_NoClient("sagemaker"), sagemaker_config={})


class _NoAws:
    region_name = PLACEHOLDERS["region"]

    def client(self, service: str, *_: object, **__: object) -> "_NoClient":
        return _NoClient(service)

    resource = client


class _NoClient:
    def __init__(self, service: str) -> None:
        self.service = service

    def __getattr__(self, operation: str) -> Any:
        raise CompileError(f"compiling must not call AWS, but the pipeline calls {self.service}.{operation}")


def _problems(document: dict[str, Any], definition: str) -> Iterator[str]:
    parameters = {parameter["Name"]: parameter for parameter in document["Parameters"]}
    for name in sorted(set(_CONTRACT) - parameters.keys()):
        yield f"the outer loop passes parameter {name}, which the pipeline does not declare"
    if len(definition) > _MOST_CHARACTERS:
        yield f"{len(definition)} characters, at most {_MOST_CHARACTERS} are allowed"
    if len(parameters) > _MOST_PARAMETERS:
        yield f"{len(parameters)} parameters, at most {_MOST_PARAMETERS} are allowed"
    for leak in _LEAK.finditer(without_placeholders(definition)):
        yield f"{leak.group()!r} belongs to one account or region; use a placeholder"
    for step in _steps(document["Steps"]):
        if not _STEP_NAME.fullmatch(step["Name"]):
            yield f"step name {step['Name']!r} must match {_STEP_NAME.pattern}"
        if operation := _OPERATIONS.get(step["Type"]):
            request = _sample(step["Arguments"], parameters)
            for problem in check_request(operation, request, given=_GIVEN_BY_SERVICE):
                yield f"step {step['Name']}: {problem}"


def _steps(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from _steps(step["Arguments"]["IfSteps"])
            yield from _steps(step["Arguments"]["ElseSteps"])


def _sample(node: Any, parameters: dict[str, dict[str, Any]]) -> Any:
    """The request that a step might send: every pipeline variable replaced by a likely value."""
    if isinstance(node, list):
        return [_sample(item, parameters) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Get"}:
        kind, _, name = node["Get"].partition(".")
        if kind == "Parameters":
            return parameters[name].get("DefaultValue", "s3://sample/")
        return "s3://sample/" if kind == "Steps" else "sample"
    if node.keys() == {"Std:Join"}:
        join = node["Std:Join"]
        return join["On"].join(str(_sample(value, parameters)) for value in join["Values"])
    return {key: _sample(value, parameters) for key, value in node.items()}


if __name__ == "__main__":
    sys.exit(main())
