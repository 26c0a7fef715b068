"""Estimates that can be worked out on paper: ranges, what has no price, budget and old prices."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dual_pipeline_cli.app import app
from dual_pipeline_cli.cost import Past, estimate, read_past
from dual_pipeline_cli.environment import EnvironmentClient
from dual_pipeline_cli.price_table import TABLE, Amount, BadPriceTable, PriceTable
from dual_pipeline_cli.workloads import Workload, read_budget, read_workloads
from dual_pipeline_local.assembly import read_assembly
from small_assembly import CAP, INGEST, Resources, machine, outer_loop, pipeline, resource, training, write_assembly

PARAMETER = {"Get": "Parameters.TrainingInstanceType"}
TUNE = {
    "HyperParameterTuningJobConfig": {"ResourceLimits": {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2}},
    "TrainingJobDefinition": training(PARAMETER),
}


def prices(tmp_path: Path, *items: tuple[str, float], read: str = "2026-11-27", region: str = "any") -> PriceTable:
    """A table of items and their prices."""
    return PriceTable.load(price_file(tmp_path, *items, read=read, region=region))


def price_file(tmp_path: Path, *items: tuple[str, float], read: str = "2026-11-27", region: str = "any") -> Path:
    """The same as a file."""
    path = tmp_path / "prices.json"
    entries = [{"item": item, "region": region, "unit": "1", "usd": usd, "source": "x"} for item, usd in items]
    path.write_text(json.dumps({"sources": {"x": {"url": "https://x", "read": read}}, "prices": entries}))
    return path


def census(tmp_path: Path, *steps: dict[str, Any], **more: dict[str, Any]) -> Workload:
    """The project of a small assembly whose pipeline has these steps."""
    own: Resources = {
        "Ingest": resource("AWS::Glue::Job", **INGEST),
        "Pipeline": pipeline(*steps, TrainingInstanceType="ml.m5.xlarge"),
        "Machine": outer_loop(),
        **more,
    }
    assembly = read_assembly(write_assembly(tmp_path / "cdk.out", shared={}, own=own), environment="dev")
    return read_workloads(assembly)[1]


def amounts(lines: Any) -> dict[str, tuple[float, float]]:
    """Low and high by what they are for."""
    return {line.what: (round(line.amount.low, 4), round(line.amount.high, 4)) for line in lines}


STEPS = (
    {"Name": "Train", "Type": "Training", "Arguments": training(PARAMETER)},
    {"Name": "Tune", "Type": "Tuning", "Arguments": TUNE},
    {"Name": "Spot", "Type": "Training", "Arguments": training("ml.m5.xlarge", spot=True)},
)


def test_a_run_goes_from_a_minute_to_the_limit_of_each_job(tmp_path: Path) -> None:
    """Without past runs: parameters give the instance, tuning counts its jobs, Spot is a share, DPUs their workers."""
    table = prices(
        tmp_path, ("training/ml.m5.xlarge", 0.6), ("glue-dpu-hour", 0.6), ("spot-share", 0.5), ("state-transitions", 1)
    )
    found = estimate(census(tmp_path, *STEPS), prices=table, region="eu-west-1")
    expected = {
        "IngestData": (0.02, 1.2),  # 2 DPUs
        "Train": (0.01, 0.6),
        "Tune": (0.01, 3.0),  # 5 jobs at the most
        "Spot": (0.005, 0.3),
        "Step Functions": (0.0025, 0.01),  # 5 states
    }
    assert expected == amounts(found.run)


def test_past_runs_replace_the_limits(tmp_path: Path) -> None:
    """The shortest and the longest of the past durations bound a job; the month counts the runs that were."""
    table = prices(tmp_path, ("training/ml.m5.xlarge", 3600), ("state-transitions", 0))
    past = Past(seconds={"Train": [10, 30]}, runs=3, source="measured")
    found = estimate(census(tmp_path, STEPS[0]), prices=table, region="eu-west-1", past=past)
    assert (10, 30) == amounts(found.run)["Train"]
    assert (30, 90) == amounts(found.month)["runs of dev-census-outer-loop"]


def test_a_month_without_history_reaches_to_the_cap(tmp_path: Path) -> None:
    """Nobody knows when data comes: from none to the cap of 4 runs a day, which is also the most there can be."""
    table = prices(tmp_path, ("training/ml.m5.xlarge", 0.6), ("hosting/ml.m5.large", 0.1), ("alarm-month", 0.1))
    found = estimate(census(tmp_path, STEPS[0]), prices=table, region="eu-west-1")
    expected = {
        "runs of dev-census-outer-loop": (0.0, 73.0),  # 0.6 x 4 x 365 / 12
        "endpoint": (146.0, 365.0),  # 2 .. 5 instances for 730 h
        "alarms of the model": (0.1, 0.1),
        "alarms of target tracking": (0.2, 0.2),
    }
    assert expected == amounts(found.month)
    assert 438.3 == pytest.approx(found.at_the_cap.high)


def test_alarms_are_those_that_the_loop_sets(tmp_path: Path) -> None:
    """A project whose drift nobody watches has none of its model, and one of a fixed size none of target tracking."""
    table = prices(tmp_path, ("alarm-month", 0.1))
    found = estimate(census(tmp_path, Machine=outer_loop(most=2, watched=False)), prices=table, region="eu-west-1")
    assert [] == [what for what in amounts(found.month) if "alarm" in what]


def test_a_job_ends_with_the_state_that_waits_for_it(tmp_path: Path) -> None:
    """A transform job has no limit of its own; Step Functions stops it when the state's time is over, not later.

    The time of a call that waits for no job says nothing of the job's.
    """
    states = {
        "Score": transform("arn:aws:states:::sagemaker:createTransformJob.sync", 1800),
        "Begin": transform("arn:aws:states:::sagemaker:createTransformJob", 60),
    }
    table = prices(tmp_path, ("transform/ml.m5.large", 1))
    found = estimate(census(tmp_path, Machine=machine("x", Cap={"Comment": CAP}, **states)), prices=table, region="x")
    assert {"Score": (0.0167, 0.5), "Begin": (0.0167, 120.0)} == amounts(found.run)


def task(call: str, **given: Any) -> dict[str, Any]:
    """A state of an own workflow."""
    return {"Type": "Task", "Resource": f"arn:aws:states:::{call}", "Parameters": given}


def test_own_workflows_leave_nothing_out(tmp_path: Path) -> None:
    """What they start is priced by what it is, whatever its state is called, or named as not priced."""
    states = {
        "Tidy": task("glue:startJobRun.sync", JobName=INGEST["Name"]),
        "Search": task(
            "sagemaker:createHyperParameterTuningJob.sync",
            **{**TUNE, "TrainingJobDefinition": training("ml.m5.xlarge", limit_s=600)},
        ),
        "Foreign": task("glue:startJobRun.sync", JobName="another"),
        "Several": task("sagemaker:createHyperParameterTuningJob", TrainingJobDefinitions=[training("ml.m5.xlarge")]),
        "Configure": task("sagemaker:createEndpointConfig", ProductionVariants=[]),
        "Serve": task("sagemaker:createEndpoint", EndpointName="dev-census-own"),
        "Ask": task("aws-sdk:bedrockruntime:invokeModel"),
        "Save": task("sagemaker:createModel"),
        "Register": task("aws-sdk:sagemaker:createModelPackage"),
        "Look": task("aws-sdk:glue:getJobRun"),
        "Tell": task("sns:publish"),
    }
    workload = census(tmp_path, STEPS[0], Own=machine("dev-census-own", **states))
    (own,) = [each for each in workload.machines if each.name == "dev-census-own"]
    assert {
        "Tidy": ("glue-dpu-hour", 2, 3600, 1, INGEST["Name"]),
        "Search": ("training/ml.m5.xlarge", 1, 600, 5, ""),
    } == {
        each.name: (each.item, each.count, each.limit_s, each.times, each.glue)
        for each in own.jobs
        if each.name in ("Tidy", "Search")
    }
    assert "hosting/ml.m5.large" == (workload.endpoint and workload.endpoint.item)
    items = ("training/ml.m5.xlarge", "glue-dpu-hour", "hosting/ml.m5.large", "state-transitions", "alarm-month")
    table = prices(tmp_path, *((item, 1) for item in items))
    assert [
        "glue:startJobRun (Foreign) in x",
        "sagemaker:createHyperParameterTuningJob (Several) in x",
        "sagemaker:createEndpoint (Serve) in x",
        "bedrockruntime:invokeModel (Ask) in x",
    ] == list(estimate(workload, prices=table, region="x").not_priced)


class History:
    """Past jobs of an environment, by Glue job and as SageMaker lists trainings; what is asked for is kept."""

    def __init__(self, *trainings: tuple[str, float]) -> None:
        self._trainings = trainings

    def client(self, _service: str, /) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        return type("Pages", (), {"paginate": lambda _, **request: getattr(self, f"_{operation}")(request)})()

    def get_job_runs(self, **request: Any) -> dict[str, Any]:
        assert request["JobName"] == INGEST["Name"]
        return {"JobRuns": [{"JobRunState": "SUCCEEDED", "ExecutionTime": 90}]}

    def _list_training_jobs(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        assert ("CreationTime", "Completed") == (request["SortBy"], request["StatusEquals"])
        start = datetime(2026, 11, 1, tzinfo=UTC)
        found = [
            {
                "TrainingJobName": name,
                "CreationTime": start + timedelta(days=day),
                "TrainingEndTime": start + timedelta(days=day, seconds=seconds),
            }
            for day, (name, seconds) in enumerate(self._trainings)
            if request["NameContains"] in name
        ]
        if request.get("SortOrder") == "Descending":
            found.reverse()
        return [{"TrainingJobSummaries": found[at : at + 4]} for at in range(0, len(found), 4)]

    def _list_pipeline_executions(self, _request: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"PipelineExecutionSummaries": []}]


def deployed(aws: Any) -> EnvironmentClient:
    """census of dev."""
    return EnvironmentClient(
        environment="dev",
        project="census",
        outputs={"PipelineName": "dev-census"},
        region="eu-west-1",
        local=False,
        aws=aws,
        where="an account",
    )


def test_past_glue_runs_are_found_by_the_jobs_name(tmp_path: Path) -> None:
    """A state of an own workflow may be called as it likes."""
    own = machine("own", Tidy=task("glue:startJobRun.sync", JobName=INGEST["Name"]))
    past = read_past(deployed(History()), census(tmp_path, Own=own), now=datetime(2026, 11, 27, tzinfo=UTC))
    assert {"IngestData": [90.0], "Tidy": [90.0]} == past.seconds


def test_past_smoke_trainings_are_the_last_ten(tmp_path: Path) -> None:
    """Those of another environment whose name ends alike are none of them."""
    jobs = [(f"{begin}dev-census-smoke-{at}", float(at)) for at in range(14) for begin in ("", "my-")]
    loop = machine("loop", SmokeTrain=task("sagemaker:createTrainingJob.sync", **training("ml.m5.large")))
    past = read_past(deployed(History(*jobs)), census(tmp_path, Machine=loop), now=datetime(2026, 11, 27, tzinfo=UTC))
    assert {"SmokeTrain": [float(at) for at in range(13, 3, -1)]} == past.seconds


def transform(resource: str, timeout_s: int) -> dict[str, Any]:
    """A state that starts a transform job."""
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1}
    return {"Resource": resource, "TimeoutSeconds": timeout_s, "Arguments": {"TransformResources": resources}}


@pytest.mark.parametrize(("expression", "low"), [("rate(1 day)", 365 / 12), ("cron(0 3 1 * ? *)", 1.0)])
def test_a_schedule_says_how_many_runs_are_likely(tmp_path: Path, expression: str, low: float) -> None:
    """With a schedule and no history the month is its runs, not the cap's."""
    schedule = resource(
        "AWS::Scheduler::Schedule",
        ScheduleExpression=expression,
        Target={"Arn": {"Fn::GetAtt": ["Machine", "Arn"]}},
    )
    table = prices(tmp_path, ("training/ml.m5.xlarge", 60))
    found = estimate(census(tmp_path, STEPS[0], Schedule=schedule), prices=table, region="eu-west-1")
    assert pytest.approx(low) == found.month[0].amount.low
    assert pytest.approx(low * 60) == found.month[0].amount.high


def test_what_has_no_price_is_named_and_left_out(tmp_path: Path) -> None:
    """No price of another region or instance is used instead."""
    table = prices(tmp_path, ("training/ml.m5.xlarge", 1), region="us-east-1")
    found = estimate(census(tmp_path, STEPS[0]), prices=table, region="eu-west-1")
    assert [] == list(found.run)
    assert "training/ml.m5.xlarge in eu-west-1" in found.not_priced
    assert "hosting/ml.m5.large in eu-west-1" in found.not_priced


def test_what_a_price_lacks_is_told(tmp_path: Path) -> None:
    """Each note once, with the items that it is of and its source, in the table and in the JSON."""
    file = price_file(tmp_path, ("hosting/ml.m5.large", 0.05), ("kms-key-month", 1), ("glue-dpu-hour", 1))
    document = json.loads(file.read_text())
    for price, note in zip(document["prices"], ("of a notebook", "rotated", "of a notebook"), strict=True):
        price["note"] = note
    file.write_text(json.dumps(document))
    arguments = ("--app", small(tmp_path, budget=1000), "--prices", file)
    shared, census = json.loads(command(*arguments, "--json").stdout)["projects"]
    assert ["kms-key-month: rotated (https://x)"] == shared["notes"]
    assert ["glue-dpu-hour, hosting/ml.m5.large: of a notebook (https://x)"] == census["notes"]
    told = " ".join(command(*arguments).stdout.split())
    for note in (*shared["notes"], *census["notes"]):
        assert 1 == told.count(f"note: {note}")


def small(tmp_path: Path, *, budget: float) -> Path:
    """An assembly with a budget, one key and one endpoint."""
    shared = {
        "Budget": resource("AWS::Budgets::Budget", Budget={"BudgetLimit": {"Amount": budget, "Unit": "USD"}}),
        "Key": resource("AWS::KMS::Key"),
    }
    own = {"Ingest": resource("AWS::Glue::Job", **INGEST), "Machine": outer_loop()}
    return write_assembly(tmp_path / "cdk.out", shared=shared, own=own)


def command(*arguments: str | Path) -> Any:
    """What `dual-pipeline cost --offline` ends with."""
    return CliRunner().invoke(app, ["cost", "--offline", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (80, "a month may come to $74.00 .. $183.50, more than the budget of $80"),
        (1000, ""),
    ],
)
def test_the_budget_is_compared(tmp_path: Path, budget: float, sentence: str) -> None:
    """More than the budget is a warning, less is none."""
    file = price_file(tmp_path, ("hosting/ml.m5.large", 0.05), ("kms-key-month", 1))
    app_folder = small(tmp_path, budget=budget)
    found = json.loads(command("--app", app_folder, "--prices", file, "--json").stdout)
    assert budget == found["monthly_budget_usd"] == read_budget(read_assembly(app_folder, environment="dev"))
    assert (sentence == "") == (not found["warnings"])
    assert sentence in "".join(found["warnings"])
    assert {"low": 74.0, "high": 183.5} == found["month"]


def test_the_cap_alone_may_exceed_the_budget(tmp_path: Path) -> None:
    """Then the cap and the jobs' limits are what to change."""
    file = price_file(tmp_path, ("glue-dpu-hour", 1))
    app_folder = small(tmp_path, budget=100)
    schedule = resource("AWS::Scheduler::Schedule", ScheduleExpression="cron(0 3 1 * ? *)", Target={"Arn": "Machine"})
    own = {"Ingest": resource("AWS::Glue::Job", **INGEST), "Machine": outer_loop(), "Schedule": schedule}
    shared = json.loads((app_folder / "DevFoundation.template.json").read_text())["Resources"]
    write_assembly(app_folder, shared=shared, own=own)
    (warning,) = json.loads(command("--app", app_folder, "--prices", file, "--json").stdout)["warnings"]
    assert warning.startswith("at the daily cap a month may come to $243.33, without retries, ")
    assert "more than the budget of $100 (monthly_budget_usd)" in warning


def test_old_prices_are_a_warning(tmp_path: Path) -> None:
    """A table read more than half a year ago says so; the table told the day."""
    file = price_file(tmp_path, ("kms-key-month", 1), read="2020-01-01")
    ended = command("--app", small(tmp_path, budget=1000), "--prices", file)
    assert 0 == ended.exit_code, ended.output
    assert "days ago, on 2020-01-01: compare them with AWS's" in ended.output
    assert "not priced: " in ended.output
    assert "hosting/ml.m5.large in eu-west-1" in ended.output


def test_the_figure_at_the_cap_says_what_it_lacks(tmp_path: Path) -> None:
    """It is no maximum: jobs that are retried are paid again, and a release doubles the endpoint for a while."""
    ended = command("--app", small(tmp_path, budget=1000), "--prices", price_file(tmp_path, ("glue-dpu-hour", 1)))
    beside = "without retries, the second fleet of a release and what is not priced"
    assert f"every job up to its limit, a month comes to $243.33, {beside}" in " ".join(ended.output.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--app", "absent"), "absent is no cloud assembly: run make synth"),
        (("--env", "prod"), "no environment named 'prod' in"),
        (("--project", "cencus"), "dev has no project 'cencus': it has census"),
        (("--prices", "absent.json"), "cannot read the price table absent.json: No such file or directory"),
        (("--prices", "/dev/null"), "the price table /dev/null is not of the form that docs/cost.md shows"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """Exit code 2, the sentence, no traceback."""
    ended = command("--app", small(tmp_path, budget=1), *arguments)
    assert (2, True) == (ended.exit_code, sentence in " ".join(ended.stderr.split())), ended.stderr


def test_no_price_is_negative(tmp_path: Path) -> None:
    """A table with one is refused."""
    with pytest.raises(BadPriceTable, match="must not be negative"):
        prices(tmp_path, ("x", -1))


def test_shipped_prices_say_where_and_when_they_were_read() -> None:
    """Every source has an address and a day, every price a unit; none is of the future."""
    document = json.loads(TABLE.read_text())
    assert all(source["url"].startswith("https://") and source["what"] for source in document["sources"].values())
    assert {each["source"] for each in document["prices"]} == set(document["sources"])
    assert all(each["unit"] for each in document["prices"])
    table = PriceTable.load()
    assert date(2026, 11, 1) <= table.read
    assert table.age(table.read) == timedelta(0)


def test_amounts_are_told_as_ranges() -> None:
    """Equal ends once, fractions of a cent as such."""
    told = [str(Amount(low=low, high=high)) for low, high in ((1, 1), (0.001, 2), (0, 0), (1234.5, 5000))]
    assert ["$1.00", "< $0.01 .. $2.00", "$0.00", "$1,234.50 .. $5,000.00"] == told
