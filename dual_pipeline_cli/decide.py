"""`dual-pipeline approve` and `reject`: a person's answer to a run that waits for one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from dual_pipeline.approver import person
from dual_pipeline.loop_contract import REPORT_FILE

from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)
from .ledger import read_champion, read_item
from .registry import Model, find_model, find_own_model
from .start import BecauseOption, options, words

Status = Literal["Approved", "Rejected"]
PENDING = "PendingManualApproval"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateModelPackage.html
_LONGEST = 1024

PackageArgument = Annotated[
    str, typer.Argument(help="Package ARN, group/version or version; by default the only one that waits.")
]


def approve(
    because: BecauseOption,
    package: PackageArgument = "",
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    local: LocalOption = False,
) -> None:
    """Approve a model that waits.

    Its numbers are shown first; an approval that cannot count, such as a stale one, is refused.
    """
    raise typer.Exit(answer(lambda: _decide("Approved", package, because, connect(environment, project, local))))


def reject(
    because: BecauseOption,
    package: PackageArgument = "",
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    local: LocalOption = False,
) -> None:
    """Reject a model that waits.

    Its numbers are shown first. By its name a model can be rejected whose run has ended, too.
    """
    raise typer.Exit(answer(lambda: _decide("Rejected", package, because, connect(environment, project, local))))


def find_waiting(environment: EnvironmentClient, name: str = "", *, ended: bool = False) -> Model:
    """The model of that name, or the only one for which a run waits; with `ended` no run need wait for the named one.

    Raises EnvironmentTrouble when nothing waits, several do, it was decided already, or it is of another group.
    """
    if name:
        model = find_own_model(environment, name)
        _refuse_decided(model)
        if not ended and (why := _ended(environment, model)):
            raise EnvironmentTrouble(
                f"nothing waits for {_short(model)}: {why}; reject it, or somebody approves it one day, for nothing"
            )
        return model
    waiting = [model for model in _pending(environment) if not _ended(environment, model)]
    if not waiting:
        raise EnvironmentTrouble(
            f"nothing waits for approval in {environment.project} of {environment.environment}: see dual-pipeline"
            f" explain{options(environment)}"
        )
    if len(waiting) > 1:
        listed = ", ".join(_short(model) for model in waiting)
        raise EnvironmentTrouble(f"{len(waiting)} models wait for approval: name one of {listed}")
    return waiting[0]


def staleness(environment: EnvironmentClient, model: Model) -> str:
    """Why an approval comes too late, as the outer loop will find; empty when it does not."""
    champion = read_champion(environment)
    compared = _metadata(model).get("champion_uri", "")
    if champion and compared and champion.uri != compared:
        return f"the champion became {champion.package_arn} of run {champion.run_id} since it was compared"
    turn = read_item(environment, f"LOCK#release#{environment.environment}-{environment.project}")
    overtaken = int(turn.get("package_created") or 0) > round(model.package["CreationTime"].timestamp() * 1000)
    newest = max([int(turn["package_version"]) if overtaken else 0, *_approved(environment)])
    if overtaken or newest > _version(model):
        return f"version {newest}, which is newer, was approved already"
    return ""


def decide(environment: EnvironmentClient, model: Model, status: Status, because: str) -> None:
    """Answer for a model that waits.

    Raises EnvironmentTrouble when the answer cannot count.
    """
    why = words(because, longest=_LONGEST)
    if status == "Approved":
        if stale := staleness(environment, model):
            raise EnvironmentTrouble(f"{_short(model)} is stale: {stale}; reject it and start a run again")
        first = first_approver(environment, model)
        if first and first == _me(environment):
            raise EnvironmentTrouble(f"you ({first}) have approved {_short(model)} already: another person has to")
    environment.client("sagemaker").update_model_package(
        ModelPackageArn=model.arn, ModelApprovalStatus=status, ApprovalDescription=why
    )


def first_approver(environment: EnvironmentClient, model: Model) -> str:
    """Who gave the first of two approvals; empty when nobody did."""
    return str(read_item(environment, f"APPROVAL#{model.arn}#{_run(model)}").get("first_by") or "")


def numbers(environment: EnvironmentClient, model: Model) -> tuple[dict[str, tuple[float, float | None]], str]:
    """Each metric with the champion's on the same rows, and the comparison in a sentence."""
    content = environment.read(model.evaluation_uri) if model.evaluation_uri else None
    report: Any = json.loads(content) if content else {}
    metrics = report.get("binary_classification_metrics") or {}
    champion = report.get("champion") or {}
    theirs = champion.get("metrics") or {}
    values = {
        name: (float(metric["value"]), theirs.get(name))
        for name, metric in metrics.items()
        if isinstance(metric, dict) and isinstance(metric.get("value"), int | float)
    }
    return values, str(champion.get("sentence") or "There is no champion to compare with.")


def _decide(status: Status, name: str, because: str, environment: EnvironmentClient) -> int:
    console = Console(highlight=False, soft_wrap=True)
    model = find_waiting(environment, name, ended=status == "Rejected")
    _show(console, environment, model)
    first = first_approver(environment, model)
    decide(environment, model, status, because)
    console.print(f"{status.lower()} {model.arn}", markup=False)
    if status == "Approved" and environment.outputs.get("ApprovalMode") == "two":
        console.print(f"first approved by {first}" if first else "another person has to approve it too", markup=False)
    if run := _run(model):
        console.print(f"what becomes of it: dual-pipeline explain {run}{options(environment)}", markup=False)
    return 0


def _show(console: Console, environment: EnvironmentClient, model: Model) -> None:
    values, sentence = numbers(environment, model)
    table = Table(title=_short(model), title_justify="left")
    for column in ("metric", "challenger", "champion"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, (ours, theirs) in values.items():
        table.add_row(metric, f"{ours:.4f}", "" if theirs is None else f"{theirs:.4f}")
    console.print(table)
    console.print(sentence, markup=False)
    folder = model.evaluation_uri.rpartition("/")[0]
    if folder:
        console.print(f"report and plots: {folder}/{REPORT_FILE}", markup=False)


def _pending(environment: EnvironmentClient) -> Iterator[Model]:
    for summary in _packages(environment, PENDING):
        yield find_model(environment, str(summary["ModelPackageArn"]))


def _approved(environment: EnvironmentClient) -> Iterator[int]:
    for summary in _packages(environment, "Approved"):
        yield int(summary.get("ModelPackageVersion") or 0)


def _packages(environment: EnvironmentClient, status: str) -> Iterator[dict[str, Any]]:
    pages = (
        environment.client("sagemaker")
        .get_paginator("list_model_packages")
        .paginate(ModelPackageGroupName=environment["ModelPackageGroupName"], ModelApprovalStatus=status)
    )
    for page in pages:
        yield from page["ModelPackageSummaryList"]


def _refuse_decided(model: Model) -> None:
    status = str(model.package.get("ModelApprovalStatus"))
    if status == PENDING:
        return
    by = person(model.package.get("LastModifiedBy") or {}) or "the policy, or somebody whom SageMaker does not name"
    at = model.package.get("LastModifiedTime") or "an unknown time"
    said = model.package.get("ApprovalDescription")
    raise EnvironmentTrouble(
        f"{_short(model)} is {status} already: by {by} at {at}{f', who said: {said}' if said else ''}"
    )


def _ended(environment: EnvironmentClient, model: Model) -> str:
    """Why no run waits for a model; empty when one does."""
    run_id = _run(model)
    if not run_id:
        return "it was not registered by a run of the outer loop"
    record = read_item(environment, f"RUN#{run_id}")
    if not record:
        return ""
    return f"its run {run_id} ended as {record.get('outcome')}: {record.get('reason') or 'without a reason'}"


def _me(environment: EnvironmentClient) -> str:
    identity = environment.client("sts").get_caller_identity()
    return person({"IamIdentity": {"Arn": identity["Arn"]}})


def _metadata(model: Model) -> Mapping[str, str]:
    found: Mapping[str, str] = model.package.get("CustomerMetadataProperties") or {}
    return found


def _run(model: Model) -> str:
    return _metadata(model).get("run_id", "")


def _version(model: Model) -> int:
    return int(model.package.get("ModelPackageVersion") or model.arn.rpartition("/")[2])


def _short(model: Model) -> str:
    return model.arn.rpartition(":model-package/")[2]
