"""Compiling in processes of their own: the SDK takes seconds to import, so each is forked from one that has done so."""

import functools
import importlib
import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from dual_pipeline.model_project import ModelProject

ROOT = Path(__file__).resolve().parents[2]


class Outcome(NamedTuple):
    """How the command ended."""

    returncode: int
    stdout: str
    stderr: str


def compile_files(*arguments: str, root: Path) -> Outcome:
    """Run `python -m pipeline_code.compile ARGS` on the pipeline_code below `root`."""
    outcome: Outcome = _with_sdk(_run_command, root, arguments)
    return outcome


def compile_census(project: ModelProject) -> str:
    """The definition of the census pipeline for a configuration."""
    definition: str = _with_sdk(compile_here, project)
    return definition


@functools.cache
def compile_everything() -> str:
    """The definition of the census pipeline with every optional step."""
    from everything import EVERYTHING

    return compile_census(EVERYTHING)


def compile_here(project: ModelProject) -> str:
    """The same, in this process, whose environment it changes."""
    from pipeline_code.compile import PACKAGE, compile_project

    return compile_project(PACKAGE / "census", project=project)


def _with_sdk(function: Callable[..., Any], *arguments: Any) -> Any:
    return _sdk_process().submit(_forked, function, *arguments).result()


@functools.cache
def _sdk_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_import_sdk)


def _import_sdk() -> None:
    """Import what pipelines import of the SDK, and nothing of pipeline_code: a fork may be given another one."""
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    for module in ("core.image_uris", "mlops.workflow.pipeline", "serve.model_builder", "train.tuner"):
        importlib.import_module(f"sagemaker.{module}")


def _forked(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as fork:
        return fork.submit(function, *arguments).result()


def _run_command(root: Path, arguments: tuple[str, ...]) -> Outcome:
    sys.path.insert(0, str(root))
    os.chdir(root)
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        returncode = importlib.import_module("pipeline_code.compile").main(arguments)
    return Outcome(returncode, stdout.getvalue(), stderr.getvalue())
