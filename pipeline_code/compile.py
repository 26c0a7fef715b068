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
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import botocore.session

from dual_pipeline.definition import DEFINITION_FILE, LOCK_FILE, definition_lock, steps_of
from dual_pipeline.errors import DualPipelineError, StaleDefinition
from dual_pipeline.images import IMAGES_FILE, VERSIONS
from dual_pipeline.instance_types import INSTANCE_TYPES_FILE, SHAPES
from dual_pipeline.model_project import ModelProject
from dual_pipeline.placeholders import PLACEHOLDERS, canonical
from pipeline_code.definition_check import definition_problems
from pipeline_code.definition_diff import difference
from pipeline_code.request_check import enumeration

PACKAGE = Path(__file__).resolve().parent


class CompileError(DualPipelineError):
    """A project cannot be compiled, or compiles to what SageMaker would refuse."""


def compile_project(folder: Path, *, project: ModelProject | None = None) -> str:
    """The canonical definition of the project in `folder`, checked; raises CompileError naming what is wrong.

    `project` configures it otherwise than its project.py does.
    """
    build = _builder(folder)
    session = _session()
    try:
        pipeline = build(session) if project is None else build(session, project)
        document = json.loads(pipeline.definition())
    except Exception as error:
        raise CompileError(f"{folder}/pipeline.py does not compile: {type(error).__name__}: {error}") from error
    for optional in ("MlflowConfig", "PipelineExperimentConfig"):
        if document.get(optional, ...) is None:
            del document[optional]
    definition = canonical(document)
    if problems := definition_problems(document, definition):
        raise CompileError(f"{folder}/pipeline.py compiles to a definition that is not valid: " + "; ".join(problems))
    return definition


def check_code(folder: Path, definition: str) -> None:
    """Require the code of every step that a definition runs."""
    for step, kind in steps_of(definition).items():
        wanted = folder / step / ("handler.py" if kind == "function" else "__main__.py")
        if not wanted.is_file():
            raise CompileError(f"{folder}/pipeline.py has a step {step!r}, whose code {wanted} does not exist")


def project_of(folder: Path) -> ModelProject:
    """The configuration that a project's pipeline is compiled with unless told otherwise."""
    project: ModelProject = inspect.signature(_builder(folder)).parameters["project"].default
    return project


def project_folders() -> list[Path]:
    """The folder of every model project, by name."""
    return sorted(path.parent for path in PACKAGE.glob("*/project.py"))


def image_table() -> str:
    """The URI of each image by region, from the SDK's own data, as images.json holds it."""
    _go_offline()
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
            check_code(folder, definition)
            expected[folder / DEFINITION_FILE] = definition
            expected[folder / LOCK_FILE] = definition_lock(
                project_of(folder), project_folder=folder, definition=definition
            )
        committed = {path: path.read_text("utf-8") if path.is_file() else "" for path in expected}
        stale = [path for path, text in expected.items() if committed[path] != text]
        if options.check and stale:
            for path in stale:
                print(os.path.relpath(path), *difference(committed[path], expected[path]), sep="\n  ", file=sys.stderr)
            raise StaleDefinition("these files are out of date; run `make compile` and review what it changes")
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


def _builder(folder: Path) -> Callable[..., Any]:
    if not (folder / "pipeline.py").is_file():
        raise CompileError(f"{folder} has no pipeline.py; projects are {[known.name for known in project_folders()]}")
    _go_offline()
    try:
        build: Callable[..., Any] = importlib.import_module(f"{folder.parent.name}.{folder.name}.pipeline").build
    except Exception as error:
        raise CompileError(f"{folder}/pipeline.py cannot be read: {type(error).__name__}: {error}") from error
    return build


def _go_offline() -> None:
    """Set the surroundings in which the SDK may be imported."""
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

    # Opting out by configuration makes compiling ten times slower: the SDK validates it anew at every look-up.
    telemetry_logging._send_telemetry_request = lambda *_, **__: None


def _session() -> Any:
    """A PipelineSession that can compile but not call."""
    from sagemaker.core.workflow.pipeline_context import PipelineSession

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


if __name__ == "__main__":
    sys.exit(main())
