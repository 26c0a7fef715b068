"""What a release that broke off made is removed once its endpoint rests, and nothing else is."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline.environment import Environment
from dual_pipeline.model_project import Rollout
from dual_pipeline.release_remains import remains_statements, remove_remains
from pipeline_code.census.project import CENSUS
from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

TIME_SCALE = 1 / 60
ENDPOINT = "dev-census"
SERVES, OTHER = f"{ENDPOINT}-aaaaaaaaaaaa-00", f"{ENDPOINT}-bbbbbbbbbbbb-00"
RUN = "cccccccccccc"
ME = "arn:aws:states:eu-west-1:123456789012:execution:dev-census-outer-loop:lost"
# The answer to a first attempt was lost, so there are two.
LEFT = [f"{ENDPOINT}-{RUN}-00", f"{ENDPOINT}-{RUN}-10"]
VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{ENDPOINT}/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
LOCK: dict[str, Any] = {"pk": {"S": "PROJECT#census"}, "sk": {"S": "LOCK#release#dev-census"}}


@pytest.fixture(scope="module")
def machine(emulator: Any) -> str:
    """The end of the reaper, for a project whose endpoint scales, under the very permissions that it ships with."""
    project = replace(CENSUS, rollout=Rollout(max_instance_count=4))
    environment = Environment(name="dev", region="eu-west-1", projects=(project,))
    keys = ("pk", "HASH"), ("sk", "RANGE")
    emulator.client("dynamodb").create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    given: dict[str, Any] = {
        "Type": "Pass",
        "Assign": {"project": "census", "id": RUN, "me": ME, "committed": "{% $states.input.committed %}"},
        "Next": "MayHaveReleased",
    }
    states: dict[str, Any] = {
        "Given": given,
        **remove_remains(environment, table_name="ledger", release_lock=LOCK, next_="Done"),
        "Done": {"Type": "Succeed"},
    }
    statements: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Action": list(statement.actions),
            "Resource": list(statement.resources),
            **({"Condition": dict(statement.conditions)} if statement.conditions else {}),
        }
        for statement in remains_statements(environment, partition="aws", account="123456789012")
    ]
    lock = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*"}
    role = emulator.role("remains", "states.amazonaws.com", *statements, lock)
    definition = {"QueryLanguage": "JSONata", "StartAt": "Given", "TimeoutSeconds": 3600, "States": states}
    arn: str = emulator.machine("remains", role, definition)
    return arn


@pytest.fixture(autouse=True)
def remains(corner: Any, machine: str) -> Iterator[None]:
    """A serving model and another's, and two that run `RUN` made."""
    for name in (SERVES, OTHER, *LEFT):
        corner.config(corner.model(name, {"factor": 2}))
    corner.emulator.client("dynamodb").delete_item(TableName="ledger", Key=LOCK)
    yield
    with suppress(ClientError):
        corner.settled(ENDPOINT)
        corner.sagemaker.delete_endpoint(EndpointName=ENDPOINT)
    for name in (SERVES, OTHER, *LEFT):
        with suppress(ClientError):
            corner.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        with suppress(ClientError):
            corner.sagemaker.delete_model(ModelName=name)


@pytest.fixture
def endpoint(corner: Any, remains: None) -> None:
    """The endpoint with the model that serves, scaling in suspended."""
    corner.sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=SERVES)
    assert "InService" == corner.settled(ENDPOINT)["EndpointStatus"]
    corner.emulator.client("application-autoscaling").register_scalable_target(
        **VARIANT, MinCapacity=1, MaxCapacity=4, SuspendedState={"DynamicScalingInSuspended": True}
    )


def start(corner: Any, machine: str, *, committed: bool = False) -> str:
    given = json.dumps({"committed": committed})
    arn: str = corner.emulator.client("stepfunctions").start_execution(stateMachineArn=machine, input=given)[
        "executionArn"
    ]
    return arn


def ended(corner: Any, execution: str) -> None:
    found = corner.emulator.ended(execution, seconds=60)
    assert "SUCCEEDED" == found["status"], found


def reap(corner: Any, machine: str, *, committed: bool = False) -> None:
    ended(corner, start(corner, machine, committed=committed))


def hold(corner: Any, owner: str, *, seconds: int) -> None:
    """Let a run have the release lock for so long."""
    lease = {"N": str(int(time.time()) + seconds)}
    corner.emulator.client("dynamodb").put_item(
        TableName="ledger", Item=LOCK | {"owner": {"S": owner}, "lease_until": lease}
    )


def waits(corner: Any, execution: str) -> bool:
    """Whether an execution has come to wait."""
    return any(event["type"] == "WaitStateEntered" for event in corner.emulator.history(execution))


def made(corner: Any) -> tuple[list[str], list[str]]:
    """Names of the configurations and of the models that there are."""
    configs = corner.sagemaker.list_endpoint_configs(NameContains=ENDPOINT)["EndpointConfigs"]
    models = corner.sagemaker.list_models(NameContains=ENDPOINT)["Models"]
    return sorted(each["EndpointConfigName"] for each in configs), sorted(each["ModelName"] for each in models)


def is_held(corner: Any) -> bool:
    """Whether the endpoint may not scale in; its bounds are as they were."""
    scaling = corner.emulator.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (1, 4) == (target["MinCapacity"], target["MaxCapacity"])
    held: bool = target["SuspendedState"]["DynamicScalingInSuspended"]
    return held


@pytest.mark.usefixtures("endpoint")
def test_what_serves_nobody_goes(corner: Any, machine: str) -> None:
    """All that the run made goes, what serves and what others made stays, and a second time changes nothing."""
    for _ in range(2):
        reap(corner, machine)
        assert ([SERVES, OTHER], [SERVES, OTHER]) == made(corner)
        assert not is_held(corner)


def test_what_a_first_release_made_goes_too(corner: Any, machine: str) -> None:
    """Where there is no endpoint yet, nothing serves."""
    reap(corner, machine)
    assert ([SERVES, OTHER], [SERVES, OTHER]) == made(corner)


@pytest.mark.usefixtures("endpoint")
def test_a_rollout_is_waited_for(corner: Any, machine: str) -> None:
    """While the endpoint moves to what the run made nothing goes, and what serves then stays."""
    policy = {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        "WaitIntervalInSeconds": 180,
    }
    corner.sagemaker.update_endpoint(
        EndpointName=ENDPOINT,
        EndpointConfigName=LEFT[1],
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": policy}},
    )
    execution = start(corner, machine)
    until(lambda: waits(corner, execution))
    assert "Updating" == corner.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"]
    assert ([SERVES, OTHER, *LEFT], [SERVES, OTHER, *LEFT]) == made(corner)
    assert is_held(corner)
    ended(corner, execution)
    assert LEFT[1] == corner.settled(ENDPOINT)["EndpointConfigName"]
    assert ([SERVES, OTHER, *LEFT], [SERVES, OTHER, *LEFT]) == made(corner)
    assert not is_held(corner)


@pytest.mark.usefixtures("endpoint")
def test_another_release_is_waited_for(corner: Any, machine: str) -> None:
    """While another run holds the release lock nothing goes, which may be its way back, and scaling stays suspended."""
    hold(corner, "another", seconds=3600)
    execution = start(corner, machine)
    until(lambda: waits(corner, execution))
    assert ([SERVES, OTHER, *LEFT], [SERVES, OTHER, *LEFT]) == made(corner)
    assert is_held(corner)
    corner.emulator.client("dynamodb").delete_item(TableName="ledger", Key=LOCK)
    ended(corner, execution)
    assert [SERVES, OTHER] == made(corner)[0]
    assert not is_held(corner)


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(("owner", "seconds"), [(ME, 3600), ("another", -1)])
def test_a_dead_owner_is_none(corner: Any, machine: str, owner: str, seconds: int) -> None:
    """Neither the run itself, whose lock could not be freed, nor one whose lease is over releases any more."""
    hold(corner, owner, seconds=seconds)
    reap(corner, machine)
    assert not is_held(corner)


@pytest.mark.usefixtures("endpoint")
def test_what_was_committed_stays(corner: Any, machine: str) -> None:
    """A run that died after its release stood is the champion, and the way back of the next release."""
    reap(corner, machine, committed=True)
    assert ([SERVES, OTHER, *LEFT], [SERVES, OTHER, *LEFT]) == made(corner)
    assert not is_held(corner)


@pytest.mark.usefixtures("endpoint")
def test_two_at_once_do_as_one(corner: Any, machine: str) -> None:
    """An event that came twice starts two, and neither fails for what the other has removed."""
    for execution in [start(corner, machine) for _ in range(4)]:
        ended(corner, execution)
    assert ([SERVES, OTHER], [SERVES, OTHER]) == made(corner)
    assert not is_held(corner)


def test_an_endpoint_that_failed_is_left_to_people(corner: Any, machine: str) -> None:
    """Whatever it may need to come back stays."""
    corner.model("dead", {}, inference="raise RuntimeError('does not load')")
    corner.config("dead")
    corner.sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="dead")
    assert "Failed" == corner.settled(ENDPOINT)["EndpointStatus"]
    reap(corner, machine)
    assert [SERVES, OTHER, *LEFT] == made(corner)[0]
