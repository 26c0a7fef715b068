"""`dual-pipeline cost`: what one run and one month come to, from the templates, past runs and a dated price table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dual_pipeline.errors import DualPipelineError
from dual_pipeline_local.assembly import Assembly, read_assembly

from .environment import EnvironmentClient, EnvironmentOption, LocalOption, ProjectOption, answer, connect, explain
from .executions import Executions, is_job
from .price_table import OLD, TABLE, Amount, PriceTable
from .workloads import DAYS_A_MONTH, Endpoint, Fixed, Job, Machine, Workload, read_budget, read_workloads

HOURS_A_MONTH = 730
_SHORTEST_S = 60
_MOST_RUNS = 10
_WINDOW = timedelta(days=30)
# https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html: one to
# scale out and one to scale in
_ALARMS_OF_SCALING = 2
_BESIDE = "without retries, the second fleet of a release and what is not priced"
NEVER_PRICED = (
    "S3 storage and requests",
    "KMS requests",
    "DynamoDB requests and storage",
    "CloudWatch logs and custom metrics",
    "Express workflows",
    "Lambda",
    "EventBridge Scheduler",
    "SNS and SQS",
    "data transfer",
    "taxes, discounts and free tiers",
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One part of an estimate: how much of what, on which assumption, and what it comes to."""

    what: str
    how_much: str
    amount: Amount


@dataclass(frozen=True, kw_only=True)
class Past:
    """What earlier runs took: seconds by job, and how many there were in the last 30 days."""

    seconds: Mapping[str, Sequence[float]]
    runs: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of one project: a run, a month as it is likely and at the daily cap, what has no price, and notes on prices."""

    project: str
    run: Sequence[Line]
    month: Sequence[Line]
    at_the_cap: Amount
    not_priced: Sequence[str]
    notes: Sequence[str]

    @property
    def a_run(self) -> Amount:
        return _total(self.run)

    @property
    def a_month(self) -> Amount:
        return _total(self.month)


class _Pricing:
    """Prices of one region, those that are missing, and what else the table says of those that are not."""

    def __init__(self, prices: PriceTable, region: str) -> None:
        self._prices = prices
        self._region = region
        self.missing: list[str] = []
        self._noted: dict[str, list[str]] = {}

    @property
    def notes(self) -> list[str]:
        return [f"{', '.join(dict.fromkeys(items))}: {note}" for note, items in self._noted.items()]

    def of(self, item: str, least: float, most: float) -> Amount | None:
        price = self._prices.find(item, self._region)
        if price is None:
            self.missing.append(f"{item} in {self._region}")
            return None
        if price.note:
            self._noted.setdefault(f"{price.note} ({price.source})", []).append(item)
        return self._prices.amount(item, self._region, least, most=most)


def estimate(workload: Workload, *, prices: PriceTable, region: str, past: Past | None = None) -> Estimate:
    """What a project's runs, its endpoint and its fixed things come to in a region."""
    pricing = _Pricing(prices, region)
    run: list[Line] = []
    month: list[Line] = []
    cap_month = Amount.nothing()
    for machine in workload.machines:
        lines = list(_run_lines(machine, pricing, past))
        each = _total(lines)
        if machine.cap is not None:
            run += lines
            low, high, why = _runs_a_month(machine, past)
            month.append(
                Line(
                    what=f"runs of {machine.name}",
                    how_much=why,
                    amount=Amount(low=each.low * low, high=each.high * high),
                )
            )
            most = _total(list(_run_lines(machine, pricing, None)))
            cap_month += Amount(low=0, high=most.high * machine.cap * DAYS_A_MONTH)
        elif machine.jobs or machine.a_month:
            scheduled = Amount(low=each.low * machine.a_month, high=each.high * machine.a_month)
            told = f"{machine.a_month:.0f} by its schedule" if machine.a_month else "when it is started: not counted"
            month.append(Line(what=f"executions of {machine.name}", how_much=told, amount=scheduled))
            cap_month += scheduled
    standing = [*_endpoint_lines(workload.endpoint, pricing), *_fixed_lines(workload.fixed, pricing)]
    return Estimate(
        project=workload.project,
        run=run,
        month=[*month, *standing],
        at_the_cap=Amount(low=0, high=cap_month.high + _total(standing).high),
        not_priced=list(dict.fromkeys(pricing.missing)),
        notes=pricing.notes,
    )


def read_past(environment: EnvironmentClient, workload: Workload, *, now: datetime) -> Past:
    """What the jobs of earlier runs took, the last ten of each."""
    seconds: dict[str, list[float]] = {}
    executions = Executions(environment)
    summaries = list(islice(executions.newest_first(), 1000))
    for summary in summaries[:_MOST_RUNS]:
        for step in executions.steps(summary["PipelineExecutionArn"]):
            if is_job(step) and not step.cached and step.status == "Succeeded":
                seconds.setdefault(step.name, []).append(step.duration_s)
    for machine in workload.machines:
        for job in machine.jobs:
            if job.glue:
                seconds[job.name] = list(_glue_seconds(environment, job.glue))
            elif job.name == "SmokeTrain":
                begin = f"{environment.environment}-{environment.project}-smoke-"
                seconds[job.name] = list(_training_seconds(environment, begin))
    recent = [each for each in summaries if each["StartTime"] >= now - _WINDOW]
    where = "on this machine, not on AWS's instances" if environment.local else f"in {environment.where}"
    return Past(
        seconds={name: found for name, found in seconds.items() if found}, runs=len(recent), source=f"measured {where}"
    )


def show_cost(
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    app: Annotated[Path, typer.Option("--app", help="Cloud assembly whose templates are estimated.")] = Path("cdk.out"),
    prices: Annotated[
        Path,
        typer.Option(
            "--prices",
            help="Price table to use instead of the one that is shipped.",
            # a path of this machine would stand in docs/cli.md
            show_default="prices.json of the package",
        ),
    ] = TABLE,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no AWS for past runs.")] = False,
    local: LocalOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate what one run and one month cost, as ranges with their assumptions; compare them with the budget."""
    console = Console(highlight=False, soft_wrap=as_json)

    def action() -> int:
        assembly = read_assembly(app, environment=environment)
        workloads = read_workloads(assembly, project=project)
        table = PriceTable.load(prices)
        now = datetime.now(UTC)
        estimates, sources = [], {}
        for workload in workloads:
            past, source = _past(workload, environment, offline=offline, local=local, now=now)
            sources[workload.project] = source
            estimates.append(estimate(workload, prices=table, region=assembly.region, past=past))
        warnings = list(_warnings(table, now.date(), estimates, read_budget(assembly)))
        if as_json:
            console.print_json(data=_document(assembly, estimates, sources, table, warnings))
        else:
            _show(console, assembly, estimates, sources, table, warnings)
        return 0

    raise typer.Exit(answer(action))


def _past(
    workload: Workload, environment: str, *, offline: bool, local: bool, now: datetime
) -> tuple[Past | None, str]:
    """Past runs, if any can be asked about, and where the durations come from."""
    limits = "from each job's own limits alone"
    if not workload.project or offline:
        return None, f"{limits}: --offline" if offline else ""
    try:
        found = read_past(connect(environment, workload.project, local), workload, now=now)
    except DualPipelineError as error:
        return None, f"{limits}: {error}"
    except (ClientError, BotoCoreError) as error:
        return None, f"{limits}: {explain(error)}"
    if not found.seconds:
        return None, f"{limits}: there are no past runs"
    return found, found.source


def _run_lines(machine: Machine, pricing: _Pricing, past: Past | None) -> Iterator[Line]:
    for job in machine.jobs:
        measured = past.seconds.get(job.name) if past else None
        if measured:
            # of a tuning job the step's duration is that of all its jobs, which run side by side
            low_s, high_s = min(measured), max(measured)
            why = f"{_duration(low_s)} .. {_duration(high_s)}, {len(measured)} past runs"
        else:
            low_s, high_s = _SHORTEST_S, job.limit_s
            why = f"{_duration(low_s)} .. {_duration(high_s)}, its limit"
        amount = _job_amount(job, pricing, low_s, high_s)
        if amount is not None:
            times = f"{job.times} jobs, each " if job.times > 1 else ""
            count = f"{job.count:g} x " if job.count != 1 else ""
            spot = ", Spot" if job.spot else ""
            yield Line(what=job.name, how_much=f"{times}{count}{job.item}{spot}: {why}", amount=amount)
    hops = pricing.of("state-transitions", machine.states / 2 / 1000, 2 * machine.states / 1000)
    if hops is not None:
        told = f"{machine.states // 2} .. {2 * machine.states} transitions: half to twice its {machine.states} states"
        yield Line(what="Step Functions", how_much=told, amount=hops)


def _job_amount(job: Job, pricing: _Pricing, low_s: float, high_s: float) -> Amount | None:
    least, most = low_s * job.count / 3600, high_s * job.count * job.times / 3600
    amount = pricing.of(job.item, least, most)
    if amount is None:
        return None
    if job.spot and (share := pricing.of("spot-share", 1, 1)) is not None:
        amount = Amount(low=amount.low * share.low, high=amount.high * share.high)
    if job.volume_gib:
        use = "processing" if job.item.startswith("processing/") else "training"
        hours = HOURS_A_MONTH / job.volume_gib
        disk = pricing.of(f"{use}/volume", least / hours, most / hours)
        amount = amount + disk if disk is not None else amount
    return amount


def _runs_a_month(machine: Machine, past: Past | None) -> tuple[float, float, str]:
    cap = (machine.cap or 0) * DAYS_A_MONTH
    if past is not None:
        likely = min(max(float(past.runs), machine.a_month), cap)
        return likely, likely, f"{likely:.0f} runs: {past.runs} in the last 30 days, {machine.a_month:.0f} by schedule"
    if machine.a_month:
        likely = min(machine.a_month, cap)
        return likely, likely, f"{likely:.0f} runs by its schedule; new data comes on top, up to {machine.cap} a day"
    return (
        0,
        cap,
        f"0 .. {cap:.0f} runs: nobody knows when data comes, at most {machine.cap} a day (limits.runs_per_day)",
    )


def _endpoint_lines(endpoint: Endpoint | None, pricing: _Pricing) -> Iterator[Line]:
    if endpoint is None:
        return
    amount = pricing.of(endpoint.item, endpoint.least * HOURS_A_MONTH, endpoint.most * HOURS_A_MONTH)
    if amount is not None:
        count = f"{endpoint.least}" if endpoint.least == endpoint.most else f"{endpoint.least} .. {endpoint.most}"
        told = f"{count} x {endpoint.item} for {HOURS_A_MONTH} h; twice as many while a release shifts traffic"
        yield Line(what="endpoint", how_much=told, amount=amount)
    yield from _counted("alarms of the model", "alarm-month", endpoint.alarms, pricing)
    scaling = _ALARMS_OF_SCALING if endpoint.most > endpoint.least else 0
    yield from _counted("alarms of target tracking", "alarm-month", scaling, pricing)


def _fixed_lines(fixed: Fixed, pricing: _Pricing) -> Iterator[Line]:
    yield from _counted("alarms", "alarm-month", fixed.alarms, pricing)
    yield from _counted("composite alarms", "composite-alarm-month", fixed.composite_alarms, pricing)
    yield from _counted("dashboards", "dashboard-month", fixed.dashboards, pricing)
    yield from _counted("keys", "kms-key-month", fixed.keys, pricing)


def _counted(what: str, item: str, count: int, pricing: _Pricing) -> Iterator[Line]:
    if count and (amount := pricing.of(item, count, count)) is not None:
        yield Line(what=what, how_much=f"{count}", amount=amount)


def _total(lines: Iterable[Line]) -> Amount:
    return sum((line.amount for line in lines), Amount.nothing())


def _glue_seconds(environment: EnvironmentClient, job: str) -> Iterator[float]:
    runs = environment.client("glue").get_job_runs(JobName=job, MaxResults=_MOST_RUNS)["JobRuns"]
    for run in runs:
        if run["JobRunState"] == "SUCCEEDED" and run.get("ExecutionTime"):
            # https://docs.aws.amazon.com/glue/latest/dg/add-job.html: a minute is the least that is billed
            yield max(float(run["ExecutionTime"]), _SHORTEST_S)


def _training_seconds(environment: EnvironmentClient, begin: str) -> Iterator[float]:
    pages = (
        environment.client("sagemaker")
        .get_paginator("list_training_jobs")
        .paginate(NameContains=begin, StatusEquals="Completed", SortBy="CreationTime", SortOrder="Descending")
    )
    jobs = (each for page in pages for each in page["TrainingJobSummaries"])
    mine = (each for each in jobs if each["TrainingJobName"].startswith(begin))
    for job in islice(mine, _MOST_RUNS):
        yield (job["TrainingEndTime"] - job["CreationTime"]).total_seconds()


def _warnings(prices: PriceTable, today: date, estimates: Sequence[Estimate], budget: float | None) -> Iterator[str]:
    if prices.age(today) > OLD:
        yield (
            f"the prices were read {prices.age(today).days} days ago, on {prices.read}: compare them with AWS's, and"
            " give newer ones with --prices"
        )
    if budget is not None:
        month, cap = _sum(each.a_month for each in estimates), _sum(each.at_the_cap for each in estimates)
        if month.high > budget:
            yield f"a month may come to {month}, more than the budget of ${budget:,.0f} (monthly_budget_usd)"
        elif cap.high > budget:
            yield (
                f"at the daily cap a month may come to ${cap.high:,.2f}, {_BESIDE}, more than the budget of"
                f" ${budget:,.0f} (monthly_budget_usd): lower limits.runs_per_day or the jobs' limits"
            )


def _sum(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, Amount.nothing())


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _show(
    console: Console,
    assembly: Assembly,
    estimates: Sequence[Estimate],
    sources: Mapping[str, str],
    prices: PriceTable,
    warnings: Sequence[str],
) -> None:
    console.print(f"{assembly.environment} in {assembly.region}, in US dollars, prices read on {prices.read}")
    for each in estimates:
        if each.run:
            console.print(f"one run of {each.project}; durations {sources[each.project]}", markup=False)
            console.print(_table([*each.run, Line(what="a run", how_much="", amount=each.a_run)]))
        title = f"a month of {each.project}" if each.project else "a month of what all projects share"
        console.print(title)
        console.print(_table([*each.month, Line(what="a month", how_much="", amount=each.a_month)]))
        if each.run:
            most = f"${each.at_the_cap.high:,.2f}"
            console.print(f"at the daily cap, every job up to its limit, a month comes to {most}, {_BESIDE}")
    console.print(f"all in all a month: {_sum(each.a_month for each in estimates)}")
    missing = [name for each in estimates for name in each.not_priced]
    console.print(f"not priced: {', '.join([*dict.fromkeys(missing), *NEVER_PRICED])}", markup=False)
    for note in dict.fromkeys(note for each in estimates for note in each.notes):
        console.print(f"note: {note}", markup=False)
    for warning in warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _table(lines: Sequence[Line]) -> Table:
    table = Table("what", Column("how much, on which assumption", overflow="fold"), Column("USD", justify="right"))
    for number, line in enumerate(lines, start=1):
        last = number == len(lines)
        if last:
            table.add_section()
        table.add_row(Text(line.what), Text(line.how_much), str(line.amount), style="bold" if last else None)
    return table


def _document(
    assembly: Assembly,
    estimates: Sequence[Estimate],
    sources: Mapping[str, str],
    prices: PriceTable,
    warnings: Sequence[str],
) -> dict[str, Any]:
    def lines(found: Sequence[Line]) -> list[dict[str, Any]]:
        return [
            {"what": each.what, "how_much": each.how_much, "low": each.amount.low, "high": each.amount.high}
            for each in found
        ]

    def amount(found: Amount) -> dict[str, float]:
        return {"low": found.low, "high": found.high}

    return {
        "environment": assembly.environment,
        "region": assembly.region,
        "currency": "USD",
        "prices_read": prices.read.isoformat(),
        "monthly_budget_usd": read_budget(assembly),
        "month": amount(_sum(each.a_month for each in estimates)),
        "projects": [
            {
                "project": each.project or None,
                "durations": sources[each.project],
                "run": {"lines": lines(each.run), **amount(each.a_run)},
                "month": {"lines": lines(each.month), **amount(each.a_month)},
                "month_at_the_cap": each.at_the_cap.high,
                "not_priced": list(each.not_priced),
                "notes": list(each.notes),
            }
            for each in estimates
        ],
        "never_priced": list(NEVER_PRICED),
        "warnings": list(warnings),
    }
