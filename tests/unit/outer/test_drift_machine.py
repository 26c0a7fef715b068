"""The drift machine as JSON, its requests against SageMaker's own model, and what its construct makes."""

import json
from datetime import timedelta
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from dual_pipeline.drift_machine import DriftSetting, drift_definition, drift_statements
from dual_pipeline.environment import Environment, VpcConfig
from dual_pipeline.model_project import Drift
from pipeline_code.census.project import CENSUS

VPC = VpcConfig(
    vpc_id="vpc-0123456789abcdef0",
    subnet_ids=("subnet-0123456789abcdef0",),
    security_group_ids=("sg-0123456789abcdef0",),
)


def setting(*, name: str = "dev", project: str = "census", vpc: VpcConfig | None = None, **drift: Any) -> DriftSetting:
    return DriftSetting(
        environment=Environment(name=name, region="eu-west-1", projects=(CENSUS,), vpc=vpc),
        project=project,
        drift=Drift(**drift),
        partition="aws",
        account="123456789012",
        data_bucket="data-bucket",
        artifact_bucket="artifact-bucket",
        table_name="ledger",
        key_arn="arn:aws:kms:eu-west-1:123456789012:key/key",
        topic_arn="arn:aws:sns:eu-west-1:123456789012:people",
        image="141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0",
        role_arn="arn:aws:iam::123456789012:role/drift",
        code_uri="s3://assets/code.zip",
        code_file="code.zip",
    )


@pytest.fixture(scope="module")
def states() -> dict[str, Any]:
    found: dict[str, Any] = drift_definition(setting())["States"]  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("vpc", [None, VPC])
def test_the_job_is_one_that_sagemaker_takes(vpc: VpcConfig | None) -> None:
    """Every member by botocore's model of CreateProcessingJob."""
    states: Any = drift_definition(setting(vpc=vpc))["States"]
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateProcessingJob").input_shape
    assert shape is not None
    report = ParamValidator().validate(states["Measure"]["Arguments"], shape)
    assert not report.has_errors(), report.generate_report()
    network = states["Measure"]["Arguments"]["NetworkConfig"]
    assert (vpc is not None) == ("VpcConfig" in network)


def test_names_and_arguments_stay_within_their_limits() -> None:
    """63 characters for the longest names that projects and environments may have, 256 an argument."""
    longest: Any = drift_definition(setting(name="e" * 12, project="p" * 24))["States"]["Measure"]["Arguments"]  # type: ignore[index]
    start = longest["ProcessingJobName"].partition("'")[2].partition("'")[0]
    assert len(start) + 12 + len("-0-0") <= 63
    assert all(len(word) < 200 for word in longest["AppSpecification"]["ContainerArguments"])


def test_the_job_is_given_the_projects_settings() -> None:
    """In seconds and as they were written, and it is stopped when the setting says."""
    found: Any = drift_definition(
        setting(window=timedelta(hours=6), label_window=timedelta(days=3), max_psi=0.3, max_time=timedelta(minutes=7))
    )
    arguments = found["States"]["Measure"]["Arguments"]
    words = arguments["AppSpecification"]["ContainerArguments"]
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert ("21600", "259200", "0.3") == (given["--window-s"], given["--label-window-s"], given["--max-psi"])
    assert "s3://artifact-bucket/census/capture/dev-census/AllTraffic/" == given["--capture-uri"]
    assert "/opt/ml/output/message" == given["--output-message"]
    assert 420 == arguments["StoppingCondition"]["MaxRuntimeInSeconds"]
    assert 420 < found["States"]["Measure"]["TimeoutSeconds"] < found["TimeoutSeconds"]


def test_every_task_has_a_limit_retries_and_a_way_out(states: dict[str, Any]) -> None:
    """Whatever fails is told and fails the machine, but for the telling itself."""
    tasks = {name: state for name, state in states.items() if state["Type"] == "Task"}
    assert {
        "ReadChampion",
        "ReadChampionAgain",
        "Measure",
        "ReadSummary",
        "PublishMetrics",
        "Tell",
        "TellFailure",
    } == tasks.keys()
    for name, state in tasks.items():
        assert state["TimeoutSeconds"] > 0
        assert all(each["JitterStrategy"] == "FULL" for each in state["Retry"])
        (caught,) = state["Catch"]
        assert caught["ErrorEquals"] == ["States.ALL"]
        assert caught["Next"] == {"Tell": "Measured", "TellFailure": "NotMeasured"}.get(name, "TellFailure")


def test_live_quality_is_published_by_the_models_run_too(states: dict[str, Any], evaluate: Any) -> None:
    """By environment and project for graphs, by the run that released the model for its alarm; the rest only once."""
    keys = [{"Name": "Environment", "Value": "dev"}, {"Name": "Project", "Value": "census"}]
    own = [*keys, {"Name": "Run", "Value": "run-7"}]
    values = {"DriftFindings": 0.0, "DriftRows": 300.0, "LiveAuc": 0.8, "LiveAccuracy": 0.9}
    published = [*((name, keys) for name in values), ("LiveAuc", own), ("LiveAccuracy", own)]
    found = {"metrics": [{"name": name, "value": value} for name, value in values.items()]}
    request = evaluate(states["PublishMetrics"]["Arguments"], variables={"found": found, "champion": {"run": "run-7"}})
    assert [
        {"MetricName": name, "Value": values[name], "Unit": "None", "Dimensions": dimensions}
        for name, dimensions in published
    ] == request["MetricData"]
    found["metrics"] = found["metrics"][:2]
    request = evaluate(states["PublishMetrics"]["Arguments"], variables={"found": found, "champion": {"run": "run-7"}})
    assert ["DriftFindings", "DriftRows"] == [each["MetricName"] for each in request["MetricData"]]


@pytest.mark.parametrize(
    ("released", "follows"), [("2026-11-27T08:00:00Z", True), ("2026-11-27T09:00:00Z", False), ("", False)]
)
def test_nothing_is_said_of_a_model_that_serves_no_more(
    states: dict[str, Any], evaluate: Any, released: str, follows: bool
) -> None:
    """A release while the job ran, or a champion that is gone, ends the measurement before anybody is told."""
    (branch,) = states["StillServes"]["Choices"]
    known = {"released": released, "champion": {"released": "2026-11-27T08:00:00Z"}}
    assert ("ChooseStatus", "Superseded") == (branch["Next"], states["StillServes"]["Default"])
    assert follows == evaluate(branch["Condition"], variables=known)
    assert "Succeed" == states["Superseded"]["Type"]


def test_the_machine_has_no_loop(states: dict[str, Any]) -> None:
    """Every way leads on."""
    leads = {name: set(_next(state)) for name, state in states.items()}
    order: list[str] = []
    while rest := set(leads) - set(order):
        ends = sorted(name for name in rest if not leads[name] - set(order))
        assert ends, f"a loop among {rest}"
        order += ends


def _next(state: Any) -> list[str]:
    return [value for key, value in _members(state) if key in ("Next", "Default")]


def _members(node: Any) -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return [each for key, value in node.items() for each in ((key, value), *_members(value))]
    return [each for value in node for each in _members(value)] if isinstance(node, list) else []


def test_statements_name_what_they_are_for() -> None:
    """No wildcard but where the API has no resource, and the item that is read is the project's own."""
    statements = drift_statements(setting())
    open_ones = [each.actions for each in statements if "*" in each.resources]
    assert [("cloudwatch:PutMetricData",)] == open_ones
    (item,) = (each for each in statements if each.actions == ("dynamodb:GetItem",))
    assert {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["PROJECT#census"]}} == item.conditions
    (jobs,) = (each for each in statements if "sagemaker:CreateProcessingJob" in each.actions)
    assert ("arn:aws:sagemaker:eu-west-1:123456789012:processing-job/dev-census-drift-*",) == jobs.resources


def test_the_definition_is_plain_json() -> None:
    """It is the same whoever writes it."""
    definition = drift_definition(setting())
    assert definition == json.loads(json.dumps(definition))
