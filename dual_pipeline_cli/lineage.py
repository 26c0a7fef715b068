"""`dual-pipeline lineage`: what made a model, where it all lies, and what would be different if it were made today."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dual_pipeline.loop_contract import (
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_CHAMPION_URI,
    PARAMETER_QUALITY_VERDICT_URI,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_TRIGGER_REASON,
)

from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)
from .executions import Executions, is_job, outputs_of
from .ledger import read_champion, read_item, read_runs
from .plan import parse
from .registry import Model, find_model

# Given anew by every run: no difference of the pipeline.
_OF_THE_RUN = frozenset(
    {
        PARAMETER_SNAPSHOT_URI,
        PARAMETER_CHAMPION_URI,
        PARAMETER_RUN_ID,
        PARAMETER_TRIGGER_REASON,
        PARAMETER_TRIGGER_DETAIL,
        PARAMETER_APPROVAL_STATUS,
        PARAMETER_QUALITY_VERDICT_URI,
    }
)
_CODE = "code_"
_HASHED = ("definition_hash", "commit", "image")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides how a model comes out: definition, code, image, commit, parameters, data and champion."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    snapshot_uri: str = ""
    champion_uri: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that is not as it was."""

    what: str
    then: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A model's ancestry by section, each a table of facts; `today` is what would be different now."""

    model: Model
    sections: Mapping[str, Mapping[str, Any]]
    today: tuple[Change, ...]

    def document(self) -> dict[str, Any]:
        """The lineage as plain data."""
        changes = [{"what": change.what, "then": change.then, "now": change.now} for change in self.today]
        return {name: dict(facts) for name, facts in self.sections.items()} | {"today": changes}


def trace(environment: EnvironmentClient, name: str) -> Lineage:
    """The lineage of a package (ARN, `group/version`, version) or of the model that an endpoint serves.

    Raises EnvironmentTrouble when there is no such model, or its package does not say which execution made it.
    """
    model = find_model(environment, name)
    metadata: dict[str, str] = dict(model.package.get("CustomerMetadataProperties", {}))
    arn = model.package.get("MetadataProperties", {}).get("GeneratedBy", "")
    if ":pipeline/" not in arn:
        raise EnvironmentTrouble(f"{model.arn} was not made by a pipeline: it names no execution as its origin")
    executions = Executions(environment, pipeline=arn.partition(":pipeline/")[2].partition("/")[0])
    definition = parse(executions.definition(arn))
    values = definition.values(executions.parameters(arn))
    then = Recipe(
        metadata=metadata,
        parameters=values,
        snapshot_uri=metadata.get("snapshot_uri", str(values.get(PARAMETER_SNAPSHOT_URI, ""))),
        champion_uri=metadata.get("champion_uri", str(values.get(PARAMETER_CHAMPION_URI, ""))),
    )
    sections = {
        "model": _model(model),
        "run": _run(environment, metadata, arn),
        "data": _data(environment, then.snapshot_uri),
        "code": {name: value for name, value in metadata.items() if name.startswith(_CODE) or name in _HASHED},
        "parameters": dict(values),
        "evaluation": _evaluation(environment, model),
        **_outputs(model, executions, arn),
    }
    return Lineage(model=model, sections=sections, today=tuple(changes(then, _present(environment, then))))


def released(environment: EnvironmentClient) -> str:
    """The name by which `trace` finds the released model: the endpoint, or the champion where models score in batch.

    Raises EnvironmentTrouble when there is neither.
    """
    if "ScoresUri" not in environment.outputs:
        return environment["EndpointName"]
    champion = read_champion(environment)
    if champion is None:
        raise EnvironmentTrouble(
            f"{environment.project} in {environment.environment} has no champion yet: name a package's ARN or version,"
            " or release a model"
        )
    return champion.package_arn


def changes(then: Recipe, now: Recipe) -> Iterator[Change]:
    """What differs between two recipes; metadata that only one of them has counts as well."""
    names = [*_HASHED, *sorted(name for name in {*then.metadata, *now.metadata} if name.startswith(_CODE))]
    for name in names:
        before, after = then.metadata.get(name, ""), now.metadata.get(name, "")
        if before != after:
            yield Change(what=_title(name), then=before or "none", now=after or "none")
    for name in dict.fromkeys([*then.parameters, *now.parameters]):
        old, new = then.parameters.get(name), now.parameters.get(name)
        if name not in _OF_THE_RUN and old != new:
            yield Change(what=f"parameter {name}", then=_text(old), now=_text(new))
    if now.snapshot_uri and now.snapshot_uri != then.snapshot_uri:
        yield Change(what="snapshot", then=then.snapshot_uri, now=now.snapshot_uri)
    if now.champion_uri != then.champion_uri:
        yield Change(what="champion", then=then.champion_uri or "none", now=now.champion_uri or "none")


def show_lineage(
    name: Annotated[
        str,
        typer.Argument(help="Package ARN, group/version, version, or endpoint; the environment's own by default."),
    ] = "",
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    local: LocalOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what data, code and parameters made a model, where it all lies, and what would be different today."""
    console = Console(highlight=False, soft_wrap=True)

    def action() -> int:
        client = connect(environment, project, local)
        lineage = trace(client, name or released(client))
        if as_json:
            console.print_json(json.dumps(lineage.document(), default=str))
        else:
            _show(Console(highlight=False), lineage)
        return 0

    raise typer.Exit(answer(action))


def _present(environment: EnvironmentClient, then: Recipe) -> Recipe:
    """The recipe that a run started now would have."""
    definition = parse(Executions(environment).deployed())
    registered = next((step.arguments for step in definition.steps if step.type == "RegisterModel"), {})
    metadata = registered.get("CustomerMetadataProperties", {})
    champion = read_champion(environment)
    default = definition.parameters.get(PARAMETER_CHAMPION_URI, {}).get("DefaultValue", "")
    return Recipe(
        metadata={name: value for name, value in metadata.items() if isinstance(value, str)},
        # a parameter without a default is one that each run gives
        parameters={
            name: parameter.get("DefaultValue", then.parameters.get(name))
            for name, parameter in definition.parameters.items()
        },
        snapshot_uri=_latest_snapshot(environment),
        champion_uri=champion.uri if champion else default,
    )


def _latest_snapshot(environment: EnvironmentClient) -> str:
    runs = [run for run in read_runs(environment) if run.get("snapshot_uri")]
    return str(max(runs, key=lambda run: str(run.get("finished_at", "")))["snapshot_uri"]) if runs else ""


def _model(model: Model) -> dict[str, Any]:
    package = model.package
    told = {
        "package": model.arn,
        "status": package.get("ModelApprovalStatus"),
        "approval": package.get("ApprovalDescription"),
        "created": package.get("CreationTime"),
        "endpoint": model.endpoint,
    }
    return {name: value for name, value in told.items() if value}


def _run(environment: EnvironmentClient, metadata: Mapping[str, str], execution_arn: str) -> dict[str, Any]:
    run_id = metadata.get("run_id", "")
    record = read_item(environment, f"RUN#{run_id}") if run_id else {}
    told = {
        "run id": run_id,
        "reason": metadata.get("reason"),
        "pipeline execution": execution_arn,
        "outcome": record.get("outcome"),
        "said": record.get("reason"),
        "started": record.get("started_at"),
        "finished": record.get("finished_at"),
    }
    return {name: value for name, value in told.items() if value}


def _data(environment: EnvironmentClient, snapshot_uri: str) -> dict[str, Any]:
    if not snapshot_uri:
        return {}
    uri = f"{snapshot_uri.rstrip('/')}/manifest.json"
    content = environment.read(uri)
    if content is None:
        return {"snapshot": snapshot_uri, "manifest": "gone"}
    manifest = json.loads(content)
    return {
        "snapshot": snapshot_uri,
        "manifest sha256": hashlib.sha256(content).hexdigest(),
        "rows": manifest.get("rows"),
        "sources": len(manifest.get("sources", [])),
    }


def _evaluation(environment: EnvironmentClient, model: Model) -> dict[str, Any]:
    """Metrics with the champion it beat and what tuning brought, in the report's words."""
    content = environment.read(model.evaluation_uri) if model.evaluation_uri else None
    if content is None:
        return {}
    report = json.loads(content)
    metrics = report.get("binary_classification_metrics", {})
    told = {
        name: metric["value"]
        for name, metric in metrics.items()
        if isinstance(metric, dict) and isinstance(metric.get("value"), int | float)
    }
    for name in ("champion", "tuning"):
        part = report.get(name)
        if isinstance(part, dict) and part.get("sentence"):
            told[name] = part["sentence"]
    return told


def _outputs(model: Model, executions: Executions, execution_arn: str) -> dict[str, dict[str, str]]:
    """Where the model and what every job wrote lie, and the jobs' names."""
    artifacts, jobs = {"model": model.model_uri, "evaluation": model.evaluation_uri}, {}
    for step in executions.steps(execution_arn):
        if not is_job(step):
            continue
        jobs[step.name] = f"{step.resource}{' (from the cache)' if step.cached else ''}"
        for name, uri in outputs_of(executions.job(step)):
            artifacts[f"{step.name} {name}".strip()] = uri
    return {"artifacts": {name: uri for name, uri in artifacts.items() if uri}, "jobs": jobs}


def _title(name: str) -> str:
    return f"code of {name.removeprefix(_CODE)}" if name.startswith(_CODE) else name.replace("_", " ")


def _text(value: object) -> str:
    return "none" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)


def _show(console: Console, lineage: Lineage) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, facts in lineage.sections.items():
        for number, (name, value) in enumerate(facts.items()):
            shown = f"{value:.6f}" if isinstance(value, float) and title == "evaluation" else _text(value)
            table.add_row("" if number else title, Text(name, style="dim"), Text(shown))
    console.print(table)
    if not lineage.today:
        console.print("\nif run today: nothing would be different", style="green")
        return
    table = Table(title="If run today", title_justify="left")
    for column in ("different", "then", "now"):
        table.add_column(column, overflow="fold")
    for change in lineage.today:
        table.add_row(Text(change.what), Text(change.then), Text(change.now))
    console.print(table)
