"""`dual-pipeline explain`: what happened to a run, why, and what to do; who holds up the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dual_pipeline.failures import classify, runbook_link
from dual_pipeline.outer_loop.messages import OUTCOMES, happened

from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)
from .ledger import read_item, read_runs
from .start import observer, options

LATEST = "latest"
Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Facts by section: the run, its failure and decision, and what the next run meets."""

    sections: Mapping[str, Facts]


def explain(environment: EnvironmentClient, run: str = LATEST) -> Explanation:
    """What the ledger and Step Functions know of a run (id or execution ARN) and of who may train.

    Raises EnvironmentTrouble when there is no such run, or its id is empty.
    """
    run_id = _newest(environment) if run == LATEST else run.rsplit(":", 1)[-1].strip()
    if not run_id and run != LATEST:
        raise EnvironmentTrouble("the run's id is empty: give one, or none for the latest")
    record = read_item(environment, f"RUN#{run_id}") if run_id else {}
    if record:
        sections = {"run": _recorded(environment, run_id, record), "failure": _failure(record)}
    else:
        sections = {"run": _running(environment, run_id) if run_id else {"outcome": "there was no run yet"}}
    package = str(record.get("model_package_arn") or "")
    return Explanation(
        sections={
            **sections,
            "decision": _decision(environment, package, run_id) if package else {},
            "training lock": _training_lock(environment),
            "release lock": _release_lock(environment),
            "today": _today(environment),
        }
    )


def show_explanation(
    run: Annotated[str, typer.Argument(help="Run id or execution ARN, or latest.")] = LATEST,
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    runs: Annotated[int, typer.Option("--runs", "-n", min=0, help="Also list so many of the last runs.")] = 0,
    local: LocalOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what happened to a run, and what to do.

    Also why a trigger was suppressed, who holds the training lock, and what waits for it.
    """
    console = Console(highlight=False, soft_wrap=True)

    def action() -> int:
        client = connect(environment, project, local)
        sections = explain(client, run).sections
        last = list(last_runs(client, runs)) if runs else []
        if as_json:
            console.print_json(json.dumps({**sections, **({"runs": last} if runs else {})}, default=str))
            return 0
        _show(Console(highlight=False), sections)
        if runs:
            _list(Console(highlight=False), last)
        elif "running" in str(sections["run"].get("outcome")):
            console.print(f"again: dual-pipeline explain {run}{options(client)}", style="dim", markup=False)
        return 0

    raise typer.Exit(answer(action))


def last_runs(environment: EnvironmentClient, count: int) -> Iterator[Facts]:
    """The last recorded runs, newest first, each as a line of a table."""
    runs = sorted(read_runs(environment), key=lambda run: str(run.get("finished_at", "")), reverse=True)
    for run in runs[:count]:
        yield {
            "run": run["run_id"],
            "finished": run.get("finished_at", ""),
            "outcome": run.get("outcome", ""),
            "failure": _failure(run).get("kind", ""),
            "trigger": _trigger(run).get("reason", ""),
            "reason": run.get("reason", ""),
        }


def _newest(environment: EnvironmentClient) -> str:
    """The run that started last; for who may not ask Step Functions, the one that was recorded last."""
    try:
        listed = environment.client("stepfunctions").list_executions(
            stateMachineArn=environment["StateMachineArn"], maxResults=1
        )
    except ClientError as error:
        if error.response["Error"].get("Code") != "AccessDeniedException":
            raise
        return next((str(run["run"]) for run in last_runs(environment, 1)), "")
    return next((str(execution["name"]) for execution in listed["executions"]), "")


def _recorded(environment: EnvironmentClient, run_id: str, record: Facts) -> Facts:
    outcome = str(record.get("outcome", ""))
    row = OUTCOMES.get(outcome)
    trigger = _trigger(record)
    return _told(
        {
            "run": run_id,
            "outcome": outcome,
            "what happened": _happened(environment, record, outcome),
            "why": record.get("reason"),
            "do": record.get("remedy") or ("" if outcome == "failed" or row is None else row.remedy),
            "runbook": record.get("runbook")
            or ("" if outcome == "failed" or row is None else runbook_link(row.runbook)),
            "trigger": trigger.get("reason"),
            "in words": trigger.get("detail"),
            "file": (trigger.get("source") or {}).get("key"),
            "started": record.get("started_at"),
            "finished": record.get("finished_at"),
            "snapshot": record.get("snapshot_uri"),
            "pipeline execution": record.get("pipeline_execution_arn"),
            "package": record.get("model_package_arn"),
        }
    )


def _happened(environment: EnvironmentClient, record: Facts, outcome: str) -> str:
    """Without an inner loop a released model has no package: it is saved only."""
    saved = outcome == "released" and not record.get("model_package_arn")
    return happened(deploys=not saved, in_batch="ScoresUri" in environment.outputs).get(outcome, "")


def _failure(record: Facts) -> Facts:
    """What the ledger says of a failure; for a run that was recorded without, what its words mean."""
    if record.get("outcome") != "failed":
        return {}
    known = record if record.get("failure") else classify(str(record.get("reason", "")))
    return _told(
        {
            "kind": known.get("failure") or known.get("kind"),
            "state": record.get("state"),
            "means": known.get("cause"),
            "for": known.get("whose"),
            "do": known.get("remedy"),
            "runbook": known.get("runbook"),
        }
    )


def _running(environment: EnvironmentClient, run_id: str) -> Facts:
    """A run that the ledger does not have: it is on, or it ended without saying so."""
    arn = environment["StateMachineArn"].replace(":stateMachine:", ":execution:") + f":{run_id}"
    watcher = observer(environment)
    try:
        view = watcher.view(arn)
    except ClientError as error:
        if error.response["Error"].get("Code") in ("ExecutionDoesNotExist", "InvalidArn"):
            raise EnvironmentTrouble(
                f"{environment.project} in {environment.environment} has no run {run_id!r}: list the last ones with"
                " dual-pipeline explain --runs 10"
            ) from error
        raise
    trigger = watcher.trigger(arn)
    current = view.states[-1] if view.states else None
    if view.ended:
        return _told({"run": run_id, "outcome": view.status, "why": f"{view.error} {view.cause}".strip()})
    return _told(
        {
            "run": run_id,
            "outcome": "running",
            "state": current.name if current else "",
            "since": current.started_at if current else "",
            "trigger": trigger.get("reason"),
            "in words": trigger.get("detail"),
            "package": view.package_arn,
            "do": _answer(environment, view.package_arn)
            if current and current.name.startswith("AwaitApproval")
            else "",
        }
    )


def _answer(environment: EnvironmentClient, package: str | None) -> str:
    return f"dual-pipeline approve (or reject) {package}{options(environment)} --because WHY"


def _decision(environment: EnvironmentClient, package: str, run_id: str) -> Facts:
    record = read_item(environment, f"DECISION#{package}#{run_id}")
    return _told(
        {
            "decision": record.get("decision"),
            "by": record.get("person") or record.get("decided_by"),
            "at": record.get("decided_at"),
            "because": record.get("why"),
            "policy": record.get("policy"),
            "metrics": ", ".join(_metrics(record)),
            "against": _parsed(record.get("comparison")).get("sentence"),
        }
    )


def _metrics(record: Facts) -> Iterator[str]:
    for name, metric in _parsed(record.get("metrics")).items():
        if isinstance(metric, dict) and isinstance(metric.get("value"), int | float):
            yield f"{name} {metric['value']:.4f}"


def _training_lock(environment: EnvironmentClient) -> Facts:
    lock = read_item(environment, "LOCK#training")
    pending = _parsed(lock.get("pending"))
    return _told(
        {
            "held by": _owner(lock) or "nobody",
            "until at the latest": _time(lock.get("lease_until")) if lock.get("owner") else "",
            "pending": f"a trigger for reason {pending.get('reason', 'unknown')}" if lock.get("pending") else "nothing",
            "pending since": _time(lock.get("pending_since")) if lock.get("pending") else "",
            "cool-down until": _time(lock.get("cool_until")) if _ahead(lock.get("cool_until")) else "",
            "trained last by": lock.get("trained_run"),
        }
    )


def _release_lock(environment: EnvironmentClient) -> Facts:
    lock = read_item(environment, f"LOCK#release#{environment.environment}-{environment.project}")
    return (
        _told({"held by": _owner(lock), "until at the latest": _time(lock.get("lease_until"))}) if _owner(lock) else {}
    )


def _today(environment: EnvironmentClient) -> Facts:
    item = read_item(environment, f"CAP#{datetime.now(UTC).date().isoformat()}")
    return {"runs admitted": int(item.get("runs") or 0)}


def _owner(lock: Facts) -> str:
    return str(lock.get("owner") or "").rsplit(":", 1)[-1]


def _trigger(record: Facts) -> Facts:
    return _parsed(record.get("trigger"))


def _parsed(text: Any) -> Facts:
    """An object that the ledger keeps as JSON; empty where there is none."""
    try:
        value = json.loads(str(text))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _time(value: Any) -> str:
    seconds = _seconds(value)
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _ahead(value: Any) -> bool:
    return (_seconds(value) or 0) > datetime.now(UTC).timestamp()


def _told(facts: Facts) -> Facts:
    return {name: value for name, value in facts.items() if value}


def _show(console: Console, sections: Mapping[str, Facts]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, facts in sections.items():
        for number, (name, value) in enumerate(facts.items()):
            table.add_row("" if number else title, Text(name, style="dim"), Text(str(value)))
    console.print(table)


def _list(console: Console, runs: list[Facts]) -> None:
    table = Table(title="Last runs", title_justify="left")
    columns = ("finished", "outcome", "failure", "trigger", "run")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("finished", "outcome"))
    for run in runs:
        # To the minute: which run it was, its own explanation tells.
        shown = run | {"finished": str(run["finished"])[:16].replace("T", " ")}
        table.add_row(*(Text(str(shown[column])) for column in columns))
    console.print(table)
