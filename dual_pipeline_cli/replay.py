"""`dual-pipeline replay`: a run's jobs once more, to show that they give the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from dual_pipeline.definition import compact
from dual_pipeline.sandbox_contract import output_name
from dual_pipeline_local import staging
from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.observer import StepRecord

from .artifact_comparison import REPACKED, FileComparison, Verdict, compare_folders
from .copies import Copies
from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)
from .executions import Executions, outputs_of
from .replay_definition import Roles, replay_definition

_LIFE = timedelta(days=1)
_SUCCEEDED = "Succeeded"
_HASH = 12


def replay(
    run: Annotated[
        str, typer.Argument(help="A run id, the id or ARN of a pipeline execution (of a copy: its ARN), or last.")
    ] = "last",
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    local: LocalOption = False,
) -> None:
    """Repeat a run's jobs on its snapshot, code, images and parameters; exit code 0 if every output is the same."""

    def action() -> int:
        return replay_run(connect(environment, project, local), run, narrator=Narrator())

    raise typer.Exit(answer(action))


def replay_run(environment: EnvironmentClient, run: str, *, narrator: Narrator) -> int:
    """Repeat a run in the environment's sandbox and compare what both wrote: 0 if all is the same, else 1.

    Raises EnvironmentTrouble when there is no such run or it finished no job.
    """
    copies = Copies(environment)
    copied = re.fullmatch(rf"arn:[^/]*:pipeline/({re.escape(copies.name(''))}[^/]+)/execution/.+", run)
    originals = Executions(environment, pipeline=copied[1] if copied else None)
    arn = originals.find(run)
    finished = [step for step in originals.steps(arn) if step.status == _SUCCEEDED and _is_job(step)]
    if not finished:
        raise EnvironmentTrouble(f"run {run} finished no job that could be repeated")
    owner = f"replay-{hashlib.sha256(arn.encode()).hexdigest()[:8]}"
    definition = _definition(environment, originals.definition(arn), finished, owner=owner)
    replays = Executions(environment, pipeline=copies.name(owner))
    try:
        narrator.say("repeating ", (", ".join(step.name for step in finished), "bold"), f" of {arn}")
        copies.put(
            owner,
            definition,
            expires=datetime.now(UTC) + _LIFE,
            description=f"Replay of {arn.rpartition('/')[2]}",
        )
        again = replays.start(originals.parameters(arn))
        status = replays.follow(again, narrator)
        if status != _SUCCEEDED:
            reason = replays.describe(again).get("FailureReason", "")
            narrator.say((f"the replay itself {status.lower()}: {reason}", "bold red"))
            return 1
        repeated = {step.name: step for step in replays.steps(again)}
        compared = [
            (step.name, comparison)
            for step in finished
            for comparison in _compare_step(environment, (originals, step), (replays, repeated[step.name]))
        ]
    finally:
        if copies.exists(owner):
            replays.stop_all(narrator)
            copies.remove(owner)
    return _tell(compared, narrator)


def _definition(environment: EnvironmentClient, original: str, steps: Sequence[StepRecord], *, owner: str) -> str:
    """The definition that repeats these steps of a run."""
    document = replay_definition(
        json.loads(original),
        executed={step.name for step in steps},
        winners={step.name: _winner(environment, step)["HyperParameters"] for step in steps if _is_tuning(step)},
        roles=Roles(
            processing=environment[output_name("processing_role_arn")],
            training=environment[output_name("training_role_arn")],
        ),
        name=f"{owner}-{datetime.now(UTC):%Y%m%d%H%M%S}",
    )
    return compact(json.dumps(document))


def _is_job(step: StepRecord) -> bool:
    return step.type in ("ProcessingJob", "TrainingJob", "TuningJob")


def _is_tuning(step: StepRecord) -> bool:
    return step.type == "TuningJob"


def _winner(environment: EnvironmentClient, step: StepRecord) -> dict[str, Any]:
    """The training job whose model a tuning step chose."""
    sagemaker = environment.client("sagemaker")
    tuning = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=step.resource.rpartition("/")[2])
    if "BestTrainingJob" not in tuning:
        raise EnvironmentTrouble(f"step {step.name} has no best training job that could be repeated")
    name = tuning["BestTrainingJob"]["TrainingJobName"]
    described: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    return described


def _compare_step(
    environment: EnvironmentClient, then: tuple[Executions, StepRecord], now: tuple[Executions, StepRecord]
) -> list[FileComparison]:
    s3 = environment.client("s3")
    with TemporaryDirectory() as name:
        folders = Path(name, "then"), Path(name, "now")
        for (executions, step), folder in zip((then, now), folders, strict=True):
            folder.mkdir()
            job = _winner(environment, step) if _is_tuning(step) else executions.job(step)
            for output, uri in outputs_of(job):
                try:
                    staging.download(s3, uri, folder / output)
                except staging.NothingStaged:
                    continue
        return compare_folders(*folders)


def _tell(compared: Sequence[tuple[str, FileComparison]], narrator: Narrator) -> int:
    table = Table("step", Column("file", overflow="fold"), "is", "SHA-256", Column("note", overflow="fold"))
    for step, each in compared:
        table.add_row(step, each.name, each.shown, each.sha256[:_HASH], Text(each.note))
    narrator.console.print(table)
    if any(each.note == REPACKED for _, each in compared):
        narrator.console.print(f"{REPACKED}: SageMaker packs a model with the time in it, so its files were compared")
    differing = sum(each.verdict is not Verdict.SAME for _, each in compared)
    narrator.console.print(
        f"{differing} of {len(compared)} files differ" if differing else f"all {len(compared)} files are the same"
    )
    return 1 if differing else 0
