"""`dual-pipeline sandbox`: a personal copy of the inner loop, made of the working tree, that deletes itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dual_pipeline.definition import compact, in_network
from dual_pipeline.loop_contract import (
    EVALUATION_FILE,
    PARAMETER_CHAMPION_URI,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_TRIGGER_REASON,
    STEP_EVALUATE,
)
from dual_pipeline.sandbox_contract import FOLDER, MAX_LIFE, output_name
from dual_pipeline_local import staging
from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.observer import StepRecord

from .copies import Copies, owner_of
from .copy_definition import as_copy
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
    owner = owner_of(environment, name)
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
    owner = owner_of(environment, name)
    definition = copies.definition(owner)
    own = {PARAMETER_RUN_ID: f"{FOLDER}-{owner}", PARAMETER_TRIGGER_REASON: FOLDER, PARAMETER_TRIGGER_DETAIL: ""}
    values = {**_last_values(environment), **own}
    declared = {each["Name"]: each for each in definition["Parameters"]}
    check_values(environment, declared, given)
    values = {key: value for key, value in values.items() if key in declared} | dict(given)
    if PARAMETER_SNAPSHOT_URI not in values:
        raise EnvironmentTrouble(
            f"pipeline {environment['PipelineName']} has no runs yet to take the snapshot of: give one with --snapshot"
        )
    narrator.say("starting ", (copies.name(owner), "bold"), f" on {values[PARAMETER_SNAPSHOT_URI]}")
    executions = Executions(environment, pipeline=copies.name(owner))
    arn = executions.start(values)
    console = narrator.console
    try:
        status = executions.follow(arn, narrator)
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


def remove_copy(environment: EnvironmentClient, *, name: str | None, narrator: Narrator) -> None:
    """Stop what an owner's copy runs and delete it."""
    copies = Copies(environment)
    owner = owner_of(environment, name)
    copies.definition(owner)
    executions = Executions(environment, pipeline=copies.name(owner))
    executions.stop_all(narrator)
    copies.remove(owner)
    narrator.say(f"deleted {copies.name(owner)}")


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
