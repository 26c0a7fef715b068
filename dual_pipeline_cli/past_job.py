"""The jobs that a run's steps were: what each was asked, read and wrote, from AWS or from a local run's disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dual_pipeline_local import staging
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.run_notes import RunNotes, read_notes

from .environment import EnvironmentClient, EnvironmentTrouble
from .executions import LAST, Executions

ROOT = "/opt/ml"
_PROCESSES = ("ProcessingJob", "TrainingJob")


@dataclass(frozen=True, kw_only=True)
class PastJob:
    """One job of a run.

    `record` is what its Describe call answers. `fetch(uri, location, folder)` copies into the folder what S3 had under
    the URI, which the job saw at the location below /opt/ml; it raises staging.NothingStaged when that is nothing.
    """

    run: str
    project: str
    step: str
    kind: str
    record: Mapping[str, Any]
    origin: str
    fetch: Callable[[str, str, Path], object]


def remembered_run(workplace: Workplace, run: str, *, project: str | None) -> RunNotes | None:
    """The run of that name that `make local` or `dual-pipeline local run` left on disk, the newest for `last`."""
    for notes in read_notes(workplace):
        if run in (LAST, *notes.names) and project in (None, notes.project):
            return notes
    return None


def job_on_disk(workplace: Workplace, notes: RunNotes, step: str) -> PastJob:
    """A step of a local run, whose emulator need not run any more.

    Raises EnvironmentTrouble when the run has no such step, when it is no process, or when its folder is gone.
    """
    name = match_step(step, {name: noted.kind for name, noted in notes.steps.items()}, run=notes.execution_id)
    noted = notes.steps[name]
    folder = workplace.emulator / "jobs" / noted.kind.removesuffix("Job").lower() / noted.job
    try:
        record = json.loads((folder / "job.json").read_text())
    except (OSError, ValueError) as error:
        raise EnvironmentTrouble(
            f"what step {name} of run {notes.execution_id} left is gone ({folder}): run make local again"
        ) from error

    def fetch(_uri: str, location: str, target: Path) -> None:
        # the folders of further hosts lie in that of the first one
        hosts = [folder, *sorted(folder.glob("algo-*"))]
        sources = [host / "ml" / location.removeprefix(ROOT).lstrip("/") for host in hosts]
        if not any(source.is_dir() and any(source.iterdir()) for source in sources):
            raise staging.NothingStaged(str(sources[0]))
        for source in filter(Path.is_dir, sources):
            shutil.copytree(source, target, dirs_exist_ok=True)

    return PastJob(
        run=notes.execution_id,
        project=notes.project,
        step=name,
        kind=noted.kind,
        record=record,
        origin=f"the local run {notes.run_id}, on disk",
        fetch=fetch,
    )


def job_in_environment(environment: EnvironmentClient, run: str, step: str) -> PastJob:
    """A step of a run in an environment.

    Raises EnvironmentTrouble when there is no such run, the run has no such step, or that is no process.
    """
    executions = Executions(environment)
    arn = executions.find(run)
    steps = {record.name: record for record in executions.steps(arn)}
    name = match_step(step, {name: record.type for name, record in steps.items()}, run=arn.rpartition("/")[2])

    def fetch(uri: str, _location: str, target: Path) -> None:
        staging.download(environment.client("s3"), uri, target)

    return PastJob(
        run=arn.rpartition("/")[2],
        project=environment.project,
        step=name,
        kind=steps[name].type,
        record=executions.job(steps[name]),
        origin=f"{arn} in {environment.where}",
        fetch=fetch,
    )


def match_step(step: str, kinds: Mapping[str, str], *, run: str) -> str:
    """The pipeline's name of a step, whose case does not matter; `kinds` are those of the run's steps by name.

    Raises EnvironmentTrouble when there is none, or when it is no job that is one process.
    """
    for name, kind in kinds.items():
        if name.lower() == step.lower():
            if kind not in _PROCESSES:
                raise EnvironmentTrouble(
                    f"step {name} cannot run as one process: it is a {kind or 'step without a job'}; for a tuning job"
                    " run train with the hyperparameters of a trial"
                )
            return name
    known = ", ".join(name for name, kind in kinds.items() if kind in _PROCESSES)
    raise EnvironmentTrouble(f"run {run} has no step {step!r}: those that can run again are {known or 'none'}")
