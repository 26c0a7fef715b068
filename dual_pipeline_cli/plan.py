"""`dual-pipeline plan`: which steps of the next execution the cache answers, and why it does not answer the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dual_pipeline.loop_contract import PARAMETER_CHAMPION_URI, PARAMETER_SNAPSHOT_URI
from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.observer import StepRecord
from dual_pipeline_local.sagemaker.pipelines.cache import expiry_s
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.jobs import named

from .deployed_definition import as_deployed
from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)
from .executions import Executions, is_job
from .forecast import PastExecution, PastStep, StepForecast, Verdict, duration, forecast
from .ledger import read_champion
from .parameter_values import ParameterOption, check_values, parse_values
from .working_tree import WorkingTree

_MOST_EXECUTIONS = 50
_STYLES = {Verdict.HIT: "green", Verdict.MISS: "yellow", Verdict.UNCACHED: "dim"}


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The steps of the next execution, the values it was asked with, and where those that were not given come from."""

    steps: list[StepForecast]
    values: Mapping[str, Any]
    assumed: Mapping[str, str]


def plan_next(
    environment: EnvironmentClient,
    *,
    given: Mapping[str, str],
    working_tree: Path | None = None,
    now: datetime | None = None,
) -> Outlook:
    """What the next execution of an environment's pipeline would take from its cache.

    `given` are parameters as text. A snapshot that is not given is the last execution's, a champion the present one.
    `working_tree` is a checkout whose pipeline and code are asked about instead of the deployed ones.

    Raises EnvironmentTrouble for a parameter that does not exist or has another type.
    """
    executions = Executions(environment)
    moment = now or datetime.now(UTC)
    text = executions.deployed()
    if working_tree is not None:
        text = as_deployed(environment, WorkingTree(root=working_tree), text)
    definition = parse(text)
    check_values(environment, definition.parameters, given)
    assumed = dict(_assume(environment, executions, definition, given))
    values = _values(definition, {**{name: value for name, (value, _) in assumed.items()}, **given})

    def read(uri: str) -> bytes:
        return staging.read(environment.client("s3"), uri)

    history: list[PastExecution] = []
    steps = forecast(definition, values, history, now=moment, read=read)
    for past in _history(executions, not_before=moment - _longest(definition)):
        history.append(past)
        steps = forecast(definition, values, history, now=moment, read=read)
        if all(step.verdict is not Verdict.MISS for step in steps):
            break
    return Outlook(steps=steps, values=values, assumed={name: source for name, (_, source) in assumed.items()})


def show_plan(
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Snapshot URI to train on; by default the last execution's.")
    ] = None,
    parameter: ParameterOption = None,
    working_tree: Annotated[
        bool, typer.Option("--working-tree", help="Ask about the pipeline and code of this checkout, not the deployed.")
    ] = False,
    local: LocalOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell which steps of the next run would be taken from the cache, and why the others would run."""
    console = Console(highlight=False, soft_wrap=as_json)

    def action() -> int:
        given = parse_values(parameter or [], snapshot=snapshot)
        client = connect(environment, project, local)
        outlook = plan_next(client, given=given, working_tree=Path.cwd() if working_tree else None)
        if as_json:
            console.print_json(data=_document(outlook))
        else:
            _show(console, client, outlook, given)
        return 0

    raise typer.Exit(answer(action))


def parse(text: str) -> Definition:
    """A definition, checked.

    Raises EnvironmentTrouble when it cannot be read.
    """
    try:
        return Definition.parse(text)
    except ApiError as error:
        raise EnvironmentTrouble(error.message) from error


def _values(definition: Definition, given: Mapping[str, str]) -> dict[str, Any]:
    try:
        return definition.values(given)
    except ApiError as error:
        raise EnvironmentTrouble(error.message) from error


def _assume(
    environment: EnvironmentClient, executions: Executions, definition: Definition, given: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Values that the outer loop would give, each with where it comes from."""
    if PARAMETER_CHAMPION_URI in definition.parameters and PARAMETER_CHAMPION_URI not in given:
        champion = read_champion(environment)
        if champion and champion.uri:
            yield PARAMETER_CHAMPION_URI, (champion.uri, f"the champion, {champion.package_arn}")
    if PARAMETER_SNAPSHOT_URI in given:
        return
    last = next(executions.newest_first(), None)
    if last is None:
        raise EnvironmentTrouble(
            f"pipeline {executions.pipeline} has no executions yet: give a snapshot with --snapshot"
        )
    parameters = executions.parameters(last["PipelineExecutionArn"])
    if PARAMETER_SNAPSHOT_URI in parameters:
        run = last["PipelineExecutionArn"].rpartition("/")[2]
        yield PARAMETER_SNAPSHOT_URI, (parameters[PARAMETER_SNAPSHOT_URI], f"of run {run}")


def _longest(definition: Definition) -> timedelta:
    """How far back an equal run could still serve, doubled: what has expired lately is worth telling."""
    lifetimes = [expiry_s(step.caching["ExpireAfter"]) for step in definition.steps if "ExpireAfter" in step.caching]
    return timedelta(seconds=2 * max(lifetimes, default=0))


def _history(executions: Executions, *, not_before: datetime) -> Iterator[PastExecution]:
    """Earlier executions, newest first, each asked for when it is needed."""
    for number, summary in enumerate(executions.newest_first()):
        if number == _MOST_EXECUTIONS or summary["StartTime"] < not_before:
            return
        arn: str = summary["PipelineExecutionArn"]
        definition = parse(executions.definition(arn))
        records = [step for step in executions.steps(arn) if step.status == "Succeeded" and is_job(step)]
        yield PastExecution(
            arn=arn,
            run=arn.rpartition("/")[2],
            definition=definition,
            values=definition.values(executions.parameters(arn)),
            steps={step.name: _past_step(executions, step) for step in records},
            cached=frozenset(step.name for step in records if step.cached),
        )


def _past_step(executions: Executions, step: StepRecord) -> PastStep:
    described: list[dict[str, Any]] = []

    def properties() -> Mapping[str, Any]:
        if not described:
            described.append(named(executions.job(step)))
        return described[0]

    return PastStep(finished=step.ended_at or step.started_at, properties=properties)


def _show(console: Console, client: EnvironmentClient, outlook: Outlook, given: Mapping[str, str]) -> None:
    console.print(f"next execution of {client['PipelineName']} in {client.where}, with", soft_wrap=True)
    for name in [*outlook.assumed, *given]:
        source = outlook.assumed.get(name)
        told = f"  {name}={outlook.values[name]}" + (f"  ({source})" if source else "")
        console.print(told, markup=False, soft_wrap=True)
    now = datetime.now(UTC)
    table = Table("step", "cache", Column("why", overflow="fold"))
    for step in outlook.steps:
        why = "\n".join(step.reasons)
        if step.source and step.expires:
            why = f"from run {step.source.run}, expires in {duration(step.expires - now)}"
        table.add_row(step.step, Text(step.verdict.name, style=_STYLES[step.verdict]), Text(why))
    console.print(table)


def _document(outlook: Outlook) -> dict[str, Any]:
    return {
        "parameters": json.loads(json.dumps(dict(outlook.values))),
        "steps": [
            {
                "name": step.step,
                "type": step.type,
                "cache": step.verdict.value,
                "reasons": list(step.reasons),
                "run": step.source.run if step.source else None,
                "pipeline_execution_arn": step.source.arn if step.source else None,
                "expires": step.expires.isoformat() if step.expires else None,
            }
            for step in outlook.steps
        ],
    }
