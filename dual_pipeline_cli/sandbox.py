"""`dual-pipeline sandbox`: a personal copy of the inner loop, made of the working tree, that deletes itself."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dual_pipeline.definition import all_steps, compact, in_network
from dual_pipeline.loop_contract import (
    EVALUATION_FILE,
    PARAMETER_CHAMPION_URI,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_REASON,
    STEP_EVALUATE,
)
from dual_pipeline.sandbox_contract import FOLDER, MAX_LIFE, output_name
from dual_pipeline_local import staging
from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.observer import StepRecord

from .copies import Copies, clean_owner, owner_of
from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)
from .executions import Executions
from .forecast import duration
from .parameter_values import ParameterOption, check_values, parse_values
from .working_tree import WorkingTree

app = typer.Typer(help="Run a personal copy of the inner loop, made of the working tree.", no_args_is_help=True)

NameOption = Annotated[str | None, typer.Option("--name", help="Owner of the copy; who calls, by default.")]
_POLL_S = 1.0
_ENDED = ("Succeeded", "Failed", "Stopped")
_OUTSIDE = ("Callback", "Lambda")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command()
def up(
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    name: NameOption = None,
    expires_in: Annotated[str, typer.Option(help="How long the copy lives: 90m, 12h, 7d; 30d at most.")] = "7d",
    local: LocalOption = False,
) -> None:
    """Make a copy of the working tree's pipeline, or bring yours up to date; nothing is started."""

    def action() -> int:
        life = parse_life(expires_in)
        put_copy(connect(environment, project, local), name=name, life=life, root=Path.cwd(), console=Console())
        return 0

    raise typer.Exit(answer(action))


@app.command()
def start(
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    name: NameOption = None,
    snapshot: Annotated[
        str | None, typer.Option(help="Snapshot to run on; by default that of the deployed pipeline's last run.")
    ] = None,
    parameter: ParameterOption = None,
    local: LocalOption = False,
) -> None:
    """Start your copy and follow it to its end; the exit code is 0 when it succeeded."""

    def action() -> int:
        given = parse_values(parameter or [], snapshot=snapshot)
        found = connect(environment, project, local)
        return run_copy(found, name=name, given=given, narrator=Narrator())

    raise typer.Exit(answer(action))


@app.command("list")
def list_(environment: EnvironmentOption = "dev", project: ProjectOption = None, local: LocalOption = False) -> None:
    """List all copies, whose they are and when they expire."""

    def action() -> int:
        found = connect(environment, project, local)
        table = Table("owner", Column("pipeline", overflow="fold"), "updated", "expires", "last run")
        now = datetime.now(UTC)
        for copy in Copies(found).all():
            last = next(Executions(found, pipeline=copy.pipeline).newest_first(), {})
            expires = f"in {duration(copy.expires - now)}" if copy.expires else "never: no schedule deletes it"
            status = last.get("PipelineExecutionStatus", "none")
            table.add_row(copy.owner, copy.pipeline, _when(copy.modified), expires, status)
        Console(soft_wrap=True).print(table if table.row_count else "there are no copies")
        return 0

    raise typer.Exit(answer(action))


@app.command()
def down(
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    name: NameOption = None,
    local: LocalOption = False,
) -> None:
    """Stop and delete your copy; what its runs wrote stays."""

    def action() -> int:
        found = connect(environment, project, local)
        remove_copy(found, name=name, narrator=Narrator())
        return 0

    raise typer.Exit(answer(action))


def put_copy(environment: EnvironmentClient, *, name: str | None, life: timedelta, root: Path, console: Console) -> str:
    """Make or refresh a copy of the checkout at `root` and return its owner."""
    copies, tree = Copies(environment), WorkingTree(root=root)
    owner = clean_owner(name) if name else owner_of(environment)
    project = tree.project(environment.project, environment=environment.environment)
    code = tree.code(project)
    definition = tree.render(
        project, placeholders=copies.placeholders, code={step: copies.code_uri(each) for step, each in code.items()}
    )
    if copies.network:
        definition = in_network(definition, **copies.network)
    document = as_copy(json.loads(definition))
    for each in code.values():
        copies.keep(each)
    expires = datetime.now(UTC) + life
    new = copies.put(
        owner,
        compact(json.dumps(document)),
        expires=expires,
        description=f"{owner}'s copy, of commit {tree.commit()}",
    )
    verb = "made" if new else "updated"
    console.print(f"{verb} {copies.name(owner)}; it deletes itself on {_when(expires)}", soft_wrap=True)
    return owner


def run_copy(
    environment: EnvironmentClient,
    *,
    name: str | None,
    given: Mapping[str, str],
    narrator: Narrator,
) -> int:
    """Start an owner's copy, tell how it goes and what it came to: 0 when it succeeded, else 1, 130 after Ctrl-C."""
    copies = Copies(environment)
    owner = clean_owner(name) if name else owner_of(environment)
    definition = copies.definition(owner)
    values = {**_last_values(environment), PARAMETER_RUN_ID: f"{FOLDER}-{owner}", PARAMETER_TRIGGER_REASON: FOLDER}
    declared = {each["Name"]: each for each in definition["Parameters"]}
    check_values(environment, declared, given)
    values = {key: value for key, value in values.items() if key in declared} | dict(given)
    if PARAMETER_SNAPSHOT_URI not in values:
        raise EnvironmentTrouble(
            f"pipeline {environment['PipelineName']} has no runs yet to take the snapshot of: give one with --snapshot"
        )
    narrator.say("starting ", (copies.name(owner), "bold"), f" on {values[PARAMETER_SNAPSHOT_URI]}")
    executions = Executions(environment, pipeline=copies.name(owner))
    arn = start_copy(environment, executions.pipeline, values)
    console = narrator.console
    try:
        status = follow(executions, arn, narrator)
    except KeyboardInterrupt:
        console.print(f"no longer watching {arn}, which goes on: dual-pipeline sandbox down stops and deletes the copy")
        return 130
    steps = executions.steps(arn)
    console.print(_steps_table(steps))
    for line in _metrics(environment, executions, steps):
        console.print(line)
    bucket, id_ = environment[output_name("artifact_bucket")], arn.rpartition("/")[2]
    console.print(f"artifacts: s3://{bucket}/{environment.project}/{FOLDER}/{id_}/")
    console.print(f"execution: {arn}")
    if reason := executions.describe(arn).get("FailureReason"):
        console.print(f"{status}: {reason}", markup=False)
    return 0 if status == "Succeeded" else 1


def start_copy(environment: EnvironmentClient, pipeline: str, values: Mapping[str, str]) -> str:
    """Start a copy and return the ARN of its execution."""
    started = environment.client("sagemaker").start_pipeline_execution(
        PipelineName=pipeline,
        PipelineParameters=[{"Name": key, "Value": value} for key, value in sorted(values.items())],
    )
    arn: str = started["PipelineExecutionArn"]
    return arn


def follow(executions: Executions, arn: str, narrator: Narrator, *, poll_s: float = _POLL_S) -> str:
    """Tell each step as it ends until the execution has ended, and return its status."""
    told: set[str] = set()
    while True:
        status: str = executions.describe(arn)["PipelineExecutionStatus"]
        for step in executions.steps(arn):
            if step.ended_at and step.name not in told:
                told.add(step.name)
                detail = " (from the cache)" if step.cached else ""
                narrator.say(f"{step.name}: {step.status.lower()}, {step.duration_s:.0f} s{detail}")
        if status in _ENDED:
            return status
        time.sleep(poll_s)


def remove_copy(environment: EnvironmentClient, *, name: str | None, narrator: Narrator) -> None:
    """Stop what an owner's copy runs and delete it."""
    copies = Copies(environment)
    owner = clean_owner(name) if name else owner_of(environment)
    copies.definition(owner)
    executions = Executions(environment, pipeline=copies.name(owner))
    stop_all(environment, executions, narrator)
    copies.remove(owner)
    narrator.say(f"deleted {copies.name(owner)}")


def stop_all(environment: EnvironmentClient, executions: Executions, narrator: Narrator) -> None:
    """Stop every execution that still runs, and wait until it has stopped."""
    for summary in executions.newest_first():
        arn = summary["PipelineExecutionArn"]
        if summary["PipelineExecutionStatus"] in _ENDED:
            continue
        narrator.say(f"stopping {arn.rpartition('/')[2]}")
        environment.client("sagemaker").stop_pipeline_execution(
            PipelineExecutionArn=arn, ClientRequestToken=arn.rpartition("/")[2].ljust(32, "0")
        )
        while executions.describe(arn)["PipelineExecutionStatus"] not in _ENDED:
            time.sleep(_POLL_S)


def as_copy(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without the steps that reach outside, and with checkpoints where a copy's jobs may write.

    Raises EnvironmentTrouble when another step needs what such a step answers.
    """
    document: dict[str, Any] = json.loads(json.dumps(definition))
    left_out = {step["Name"] for step in all_steps(document["Steps"]) if step["Type"] in _OUTSIDE}
    for name in left_out:
        if f'"Steps.{name}.' in json.dumps(document):
            raise EnvironmentTrouble(
                f"a copy leaves out step {name}, which asks systems outside, but another step uses what it answers"
            )
    document["Steps"] = _without(document["Steps"], left_out)
    for step in all_steps(document["Steps"]):
        job = step["Arguments"].get("TrainingJobDefinition", step["Arguments"])
        if place := job.get("CheckpointConfig"):
            place["S3Uri"] = _apart(place["S3Uri"])
    return document


def _without(steps: list[dict[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    kept = [step for step in steps if step["Name"] not in names]
    for step in kept:
        if "DependsOn" in step:
            step["DependsOn"] = [each for each in step["DependsOn"] if each not in names]
        if step["Type"] == "Condition":
            for branch in ("IfSteps", "ElseSteps"):
                step["Arguments"][branch] = _without(step["Arguments"][branch], names)
    return kept


def _apart(uri: Any) -> Any:
    return re.sub(r"^(s3://[^/]+/[^/]+)/(?!sandbox/)", rf"\1/{FOLDER}/", uri) if isinstance(uri, str) else uri


def parse_life(text: str) -> timedelta:
    """How long a copy lives, from `90m`, `12h` or `7d`. Raises EnvironmentTrouble."""
    match = re.fullmatch(r"(\d{1,6})([mhd])", text.strip())
    life = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < life <= MAX_LIFE:
        raise EnvironmentTrouble(
            f"--expires-in must be minutes, hours or days up to {MAX_LIFE.days}d, such as 90m, 12h or 7d, got {text!r}"
        )
    return life


def _last_values(environment: EnvironmentClient) -> dict[str, str]:
    """Snapshot and champion of the deployed pipeline's last run, so that a copy is comparable with it."""
    executions = Executions(environment)
    last = next(executions.newest_first(), None)
    if last is None:
        return {}
    values = executions.parameters(last["PipelineExecutionArn"])
    return {key: values[key] for key in (PARAMETER_SNAPSHOT_URI, PARAMETER_CHAMPION_URI) if key in values}


def _steps_table(steps: Sequence[StepRecord]) -> Table:
    table = Table("step", "status", Column("seconds", justify="right"), Column("note", overflow="fold"))
    for step in steps:
        note = "from the cache" if step.cached else step.failure
        table.add_row(step.name, step.status, f"{step.duration_s:.0f}", Text(note))
    return table


def _metrics(environment: EnvironmentClient, executions: Executions, steps: Sequence[StepRecord]) -> list[str]:
    """The holdout's metrics and the gate's verdict, from the report that Evaluate wrote."""
    found = [step for step in steps if step.name == STEP_EVALUATE and step.resource and step.status == "Succeeded"]
    if not found:
        return []
    outputs = executions.job(found[0])["ProcessingOutputConfig"]["Outputs"]
    uri = next(each["S3Output"]["S3Uri"] for each in outputs if each["OutputName"] == "evaluation")
    content = environment.read(staging.join(uri, EVALUATION_FILE))
    if content is None:
        return []
    report = json.loads(content)
    metrics = report["binary_classification_metrics"]
    numbers = [f"{key} {each['value']:.4f}" for key, each in metrics.items() if "value" in each]
    gate = report["gate"]
    verdict = "passed" if gate["passed"] else "; ".join(gate["reasons"])
    return [f"holdout: {', '.join(numbers)}", f"gate: {verdict}"]


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M %Z")
