"""What a teardown takes and what it must not touch; what the next deployment takes over."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from typer.testing import CliRunner

from dual_pipeline_cli.app import app
from dual_pipeline_cli.environment import EnvironmentTrouble
from dual_pipeline_cli.kept_data import KeptResource, measure
from dual_pipeline_cli.price_table import PriceTable
from dual_pipeline_cli.runtime_resources import RuntimeResources
from dual_pipeline_cli.stacks import BUCKET, KEY, TABLE, Resource
from dual_pipeline_cli.teardown import (
    Site,
    adopt,
    await_deletions,
    check_confirmation,
    take_inventory,
    tear_down,
    what_is_left,
)
from dual_pipeline_cli.way_back import way_back
from dual_pipeline_local.assembly import Assembly, StackArtifact, read_assembly
from dual_pipeline_local.deployment import Toolbox
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.narrator import Narrator
from small_assembly import resource, write_assembly

ARN = "arn:aws:sagemaker:eu-west-1:1"
GONE = "-gone"
MACHINE = "arn:aws:states:eu-west-1:1:stateMachine:dev-census-outer-loop"


def tags(environment: str, project: str | None) -> list[dict[str, str]]:
    """The tags of what a loop made."""
    return [
        {"Key": "dual-pipeline:environment", "Value": environment},
        {"Key": "dual-pipeline:project", "Value": project or ""},
    ]


class Aws:
    """An account as lists by operation; what is deleted or stopped is kept in `done` and no longer listed."""

    def __init__(self, **listed: list[dict[str, Any]]) -> None:
        self.listed = listed
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.ledgers: dict[str, dict[str, Any]] = {}
        self.stacks: dict[str, tuple[str | None, list[Resource], Mapping[str, Any]]] = {}
        self.deleted: list[tuple[str, str, datetime, list[Resource]]] = []
        self.gone: set[str] = set()
        self.key_state = "Enabled"
        self.done: list[tuple[str, dict[str, Any]]] = []
        self.running_at_destroy: list[dict[str, Any]] = []

    def client(self, _service: str, /) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        return _Paginator(lambda **request: self._page(operation, request))

    def describe_state_machine(self, **_: str) -> dict[str, Any]:
        return {"type": "STANDARD"}

    def describe_rule(self, **request: str) -> dict[str, Any]:
        return next(each for each in self.listed["rules"] if each["Name"] == request["Name"])

    def get_schedule(self, **request: str) -> dict[str, Any]:
        return next(each for each in self.listed["list_schedules"] if each["Name"] == request["Name"])

    def update_schedule(self, **request: Any) -> None:
        self.done.append(("update_schedule", request))

    def describe_key(self, **request: str) -> dict[str, Any]:
        arn = f"arn:aws-us-gov:kms:us-gov-west-1:1:key/{request['KeyId']}"
        return {"KeyMetadata": {"KeyState": self.key_state, "Arn": arn}}

    def head_bucket(self, **request: str) -> dict[str, Any]:
        if request["Bucket"] in self.gone:
            raise refusal("404", "Not Found")
        return {}

    def describe_table(self, **request: str) -> dict[str, Any]:
        return {"Table": {"TableName": request["TableName"]}}

    def get_item(self, **request: Any) -> dict[str, Any]:
        items = self.ledgers.get(request["TableName"])
        if items is None:
            raise refusal("ResourceNotFoundException", "Requested resource not found")
        return {"Item": items[request["Key"]["sk"]["S"]]} if request["Key"]["sk"]["S"] in items else {}

    def get_template(self, **request: str) -> dict[str, Any]:
        assert "Original" == request["TemplateStage"]
        return {"TemplateBody": {"Resources": self.stacks[request["StackName"]][2]}}

    def __getattr__(self, operation: str) -> Any:
        if operation.split("_")[0] not in ("stop", "delete", "deregister", "batch", "detach", "disable"):
            raise AttributeError(operation)

        def call(**request: Any) -> dict[str, Any]:
            self.done.append((operation, request))
            names = {value for value in request.values() if isinstance(value, str)}
            for found in self.listed.values():
                found[:] = [each for each in found if not names & set(map(str, each.values()))]
            return {}

        return call

    def _page(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "list_tags":
            return {"Tags": self.tags.get(request["ResourceArn"], [])}
        if operation == "describe_stacks":
            found = [
                {
                    "StackName": name,
                    "StackStatus": "CREATE_COMPLETE",
                    "Tags": tags("dev", project)[: 2 if project else 1],
                }
                for name, (project, _, _) in self.stacks.items()
            ]
            return {"Stacks": found}
        if operation == "list_stack_resources":
            return {"StackResourceSummaries": [_summary(each) for each in self.stacks[request["StackName"]][1]]}
        if operation == "list_targets_by_rule":
            return {"Targets": [{"Arn": arn} for arn in self.describe_rule(Name=request["Rule"])["Starts"]]}
        if operation == "list_stacks":
            return {"StackSummaries": [{"StackId": id_, "StackName": name} for id_, name, _, _ in self.deleted]}
        if operation == "describe_stack_events":
            ((_, _, when, kept),) = [each for each in self.deleted if each[0] == request["StackName"]]
            over = {"ResourceStatus": "DELETE_COMPLETE", "Timestamp": when}
            skipped = [{**_summary(each), "ResourceStatus": "DELETE_SKIPPED", "Timestamp": when} for each in kept]
            return {"StackEvents": [over, *skipped]}
        return {_LISTED[operation]: list(self.listed.get(operation, []))}


class _Paginator:
    def __init__(self, page: Any) -> None:
        self._page = page

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        yield self._page(**request)


_LISTED = {
    "list_executions": "executions",
    "list_pipeline_executions": "PipelineExecutionSummaries",
    "list_pipelines": "PipelineSummaries",
    "list_training_jobs": "TrainingJobSummaries",
    "list_processing_jobs": "ProcessingJobSummaries",
    "list_transform_jobs": "TransformJobSummaries",
    "list_hyper_parameter_tuning_jobs": "HyperParameterTuningJobSummaries",
    "get_job_runs": "JobRuns",
    "list_schedules": "Schedules",
    "list_endpoints": "Endpoints",
    "list_endpoint_configs": "EndpointConfigs",
    "list_models": "Models",
    "describe_alarms": "MetricAlarms",
    "describe_scalable_targets": "ScalableTargets",
    "describe_log_groups": "logGroups",
    "list_entities_for_policy": "PolicyRoles",
    "list_object_versions": "Versions",
}


def _summary(each: Resource) -> dict[str, str]:
    return {
        "LogicalResourceId": each.logical_id,
        "ResourceType": each.type,
        "PhysicalResourceId": each.id,
        "ResourceStatus": "DELETE_COMPLETE" if each.id.endswith(GONE) else "CREATE_COMPLETE",
    }


def refusal(code: str, message: str) -> ClientError:
    """What AWS says when it refuses a call."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Call")


def narrator() -> Narrator:
    """One that nobody hears."""
    return Narrator(Console(quiet=True))


def model(name: str) -> dict[str, str]:
    """A model as it is listed."""
    return {"ModelName": name, "ModelArn": f"{ARN}:model/{name}"}


def endpoint(name: str) -> dict[str, str]:
    """An endpoint that serves, as it is listed."""
    return {"EndpointName": name, "EndpointArn": f"{ARN}:endpoint/{name}", "EndpointStatus": "InService"}


def target(endpoint: str, *, variant: str = "AllTraffic") -> dict[str, str]:
    """The scaling target of an endpoint's variant as it is described."""
    dimension = "sagemaker:variant:DesiredInstanceCount"
    resource = f"endpoint/{endpoint}/variant/{variant}"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": dimension, "RoleARN": "role"}


def runtime(aws: Aws, *resources: Resource) -> RuntimeResources:
    """What census of dev made."""
    return RuntimeResources(aws, environment="dev", project="census", resources=resources)


def names(aws: Aws, *resources: Resource) -> list[tuple[str, str]]:
    """Kind and name of all that would go."""
    return [(each.kind, each.name) for each in runtime(aws, *resources).find()]


def test_another_project_with_the_same_beginning_is_left_alone() -> None:
    """census goes; what belongs to census-2, or to nobody that the tags name, stays."""
    mine, others, strange = (model(f"dev-census-{name}") for name in ("abc", "2-abc", "by-hand"))
    aws = Aws(
        list_models=[mine, others, strange],
        list_endpoints=[endpoint("dev-census"), endpoint("dev-census-2")],
        list_pipelines=[
            {"PipelineName": name} for name in ("dev-census", "dev-census--ann", "dev-census-2", "dev-census-2--ann")
        ],
        describe_alarms=[
            {"AlarmName": "dev-census-model-auc"},
            {"AlarmName": "dev-census-2-model-auc"},
        ],
    )
    aws.tags = {mine["ModelArn"]: tags("dev", "census"), others["ModelArn"]: tags("dev", "census-2")}
    expected = [
        ("personal copy", "dev-census--ann"),
        ("endpoint", "dev-census"),
        ("alarm", "dev-census-model-auc"),
        ("model", "dev-census-abc"),
    ]
    assert expected == names(aws)


def test_endpoints_of_own_workflows_go_by_their_tags(tmp_path: Path) -> None:
    """With their scaling; one of such a name that does not say whose it is stays, and is listed as left."""
    aws = Aws(
        list_endpoints=[endpoint(f"dev-census-{name}") for name in ("mine", "2", "by-hand", "half-said")],
        describe_scalable_targets=[target("dev-census-mine", variant="A"), target("dev-census-by-hand")],
    )
    aws.tags = {
        f"{ARN}:endpoint/dev-census-{name}": tags("dev", f"census{of}") for name, of in (("mine", ""), ("2", "-2"))
    }
    aws.tags[f"{ARN}:endpoint/dev-census-half-said"] = tags("dev", None)[:1]
    assert [
        ("scaling target", "endpoint/dev-census-mine/variant/A"),
        ("endpoint", "dev-census-mine"),
    ] == names(aws)
    where = site(tmp_path, aws)
    tear_down(where, narrator())
    wanted = {key: value for key, value in target("dev-census-mine", variant="A").items() if key != "RoleARN"}
    expected = [("deregister_scalable_target", wanted), ("delete_endpoint", {"EndpointName": "dev-census-mine"})]
    assert expected == aws.done
    left, half = what_is_left(where, prices=PriceTable.load())
    assert ("dev-census-by-hand", "InService", None) == (left.resource.id, left.size, left.cost)
    assert "dev-census-half-said" == half.resource.id
    assert "aws sagemaker delete-endpoint --endpoint-name dev-census-by-hand" in left.how


def test_a_lone_endpoint_is_left_by_the_project_whose_name_is_longest(tmp_path: Path) -> None:
    """Another project whose name begins alike does not list it, so that nobody deletes it for this one's sake."""
    aws = Aws(list_endpoints=[endpoint("dev-census-eu-x"), endpoint("dev-census-x")])
    where = site(tmp_path, aws)
    (own, *_) = [stack for stack in where.assembly.stacks if stack.project == "census"]
    stacks = (*where.assembly.stacks, replace(own, name="Dev-CensusEuOuterLoop", project="census-eu"))
    both = replace(where, assembly=replace(where.assembly, stacks=stacks))
    left = {
        project: [each.resource.id for each in what_is_left(replace(both, project=project), prices=PriceTable.load())]
        for project in ("census", "census-eu")
    }
    assert {"census": ["dev-census-x"], "census-eu": ["dev-census-eu-x"]} == left


def test_alarms_of_the_stacks_are_not_the_loops() -> None:
    """Deleting one would make the stack's deletion or update stumble."""
    aws = Aws(describe_alarms=[{"AlarmName": "dev-census-model-auc"}])
    of_stack = Resource(stack="x", logical_id="A", type="AWS::CloudWatch::Alarm", id="dev-census-model-auc")
    assert [] == names(aws, of_stack)


def test_jobs_are_known_by_their_tags() -> None:
    """A pipeline names its jobs as it likes, and other people's jobs run in the same account."""
    jobs = [
        {"TrainingJobName": name, "TrainingJobArn": f"{ARN}:training-job/{name}"}
        for name in ("pipelines-x-Train", "pipelines-y-Train")
    ]
    aws = Aws(list_training_jobs=jobs)
    aws.tags = {jobs[0]["TrainingJobArn"]: tags("dev", "census"), jobs[1]["TrainingJobArn"]: tags("prod", "census")}
    assert {("training job", "pipelines-x-Train")} == set(names(aws))


def test_removing_ends_with_nothing_and_can_be_repeated() -> None:
    """Everything is asked to go once it is its turn; a second time there is nothing to do."""
    mine = model("dev-census-abc")
    aws = Aws(
        list_executions=[{"executionArn": "arn:aws:states:eu-west-1:1:execution:dev-census-outer-loop:r1"}],
        list_endpoints=[{"EndpointName": "dev-census", "EndpointStatus": "InService"}],
        list_models=[mine],
        describe_scalable_targets=[target("dev-census"), target("dev-census-2")],
    )
    aws.tags = {mine["ModelArn"]: tags("dev", "census")}
    machine = Resource(stack="x", logical_id="M", type="AWS::StepFunctions::StateMachine", id=MACHINE)
    runtime(aws, machine).remove(narrator(), poll_s=0)
    expected = ["stop_execution", "deregister_scalable_target", "delete_endpoint", "delete_model"]
    assert expected == [operation for operation, _ in aws.done]
    runtime(aws, machine).remove(narrator(), poll_s=0)
    assert 4 == len(aws.done)


def test_an_endpoint_that_moves_is_waited_for() -> None:
    """SageMaker deletes none that is being updated; what never settles is told after a while."""
    aws = Aws(list_endpoints=[{"EndpointName": "dev-census", "EndpointStatus": "Updating"}])
    sentence = (
        "still there after 0 minutes: endpoint dev-census; see why in the console, then run the same command again"
    )
    with pytest.raises(EnvironmentTrouble, match=re.escape(sentence)):
        runtime(aws).remove(narrator(), poll_s=0, timeout_s=0)
    assert [] == aws.done


class Refusing(Aws):
    """Refuses to stop the one training job, which may be over by then."""

    def __init__(self, code: str, *, ends: bool) -> None:
        job = {"TrainingJobName": "job", "TrainingJobArn": f"{ARN}:training-job/job"}
        super().__init__(list_training_jobs=[job], list_endpoints=[ENDPOINT])
        self.tags = {job["TrainingJobArn"]: tags("dev", "census")}
        self._code, self._ends = code, ends

    def stop_training_job(self, **_: str) -> None:
        if self._ends:
            self.listed["list_training_jobs"].clear()
        raise refusal(self._code, "The request was rejected because the training job is in status Completed")

    def _page(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if request.get("StatusEquals") == "Stopping":
            return {_LISTED[operation]: []}
        return super()._page(operation, request)


ENDPOINT = {"EndpointName": "dev-census", "EndpointStatus": "InService"}


def test_what_ends_by_itself_meanwhile_stops_nothing() -> None:
    """A job that is over when it is to be stopped is refused by AWS; the endpoint goes all the same."""
    aws = Refusing("ValidationException", ends=True)
    runtime(aws).remove(narrator(), poll_s=0)
    assert ["delete_endpoint"] == [operation for operation, _ in aws.done]


def test_what_aws_refuses_for_good_is_told() -> None:
    """The last refusal is the reason why something is left; without permission nobody waits for four hours."""
    sentence = "still there after 0 minutes: training job job; AWS refused Call: The request was rejected"
    with pytest.raises(EnvironmentTrouble, match=re.escape(sentence)):
        runtime(Refusing("ValidationException", ends=False)).remove(narrator(), poll_s=0, timeout_s=0)
    with pytest.raises(ClientError, match="AccessDeniedException"):
        runtime(Refusing("AccessDeniedException", ends=False)).remove(narrator(), poll_s=0)


class Halfway(Aws):
    """An account in which nothing can be listed that belonged to what is gone."""

    def describe_state_machine(self, **_: str) -> dict[str, Any]:
        raise refusal("StateMachineDoesNotExist", "State Machine Does Not Exist")

    def _page(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        absent = {
            "get_job_runs": "EntityNotFoundException",
            "list_schedules": "ResourceNotFoundException",
            "list_entities_for_policy": "NoSuchEntity",
            "list_object_versions": "NoSuchBucket",
        }
        if operation in absent:
            raise refusal(absent[operation], "is not there")
        return super()._page(operation, request)

    def describe_rule(self, **_: str) -> dict[str, Any]:
        raise refusal("ResourceNotFoundException", "Rule x does not exist.")


@pytest.mark.parametrize("deleted", ["", GONE])
def test_teardown_goes_on_after_a_deletion_that_failed_half_way(tmp_path: Path, deleted: str) -> None:
    """Such a stack still lists what is gone, as deleted or, deleted by hand, as there: the rest goes all the same."""
    aws = Halfway(list_endpoints=[ENDPOINT])
    where = site(tmp_path, aws, policy="Delete")
    kinds = (
        "AWS::StepFunctions::StateMachine",
        "AWS::Glue::Job",
        "AWS::Scheduler::ScheduleGroup",
        "AWS::Scheduler::Schedule",
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
        BUCKET,
    )
    name = "Dev-CensusOuterLoop"
    resources = [Resource(stack=name, logical_id=kind, type=kind, id=f"x{deleted}") for kind in kinds]
    aws.stacks[name] = ("census", resources, {each.logical_id: {} for each in resources})
    assert [("endpoint", "dev-census")] == [(each.kind, each.name) for each in take_inventory(where).runtime]
    tear_down(where, narrator(), agreed=take_inventory(where).deleted)
    assert [("delete_endpoint", {"EndpointName": "dev-census"})] == aws.done
    assert {} == aws.stacks


BUCKET_OF_DATA = Resource(stack="Dev-Foundation", logical_id="Data", type=BUCKET, id="dev-data-1")
KEY_OF_DATA = Resource(stack="Dev-Foundation", logical_id="Key", type=KEY, id="0000-1111")


class Cdk(Toolbox):
    """A CDK CLI that only writes down what it is asked for."""

    def destroy(self, assembly: Assembly, stacks: Any, *, env: Any) -> None:
        AWS[0].running_at_destroy = list(AWS[0].listed.get("list_executions", []))
        self.workplace.folder.mkdir(exist_ok=True)
        for stack in stacks:
            AWS[0].stacks.pop(stack.name)

    def take_over(self, assembly: Assembly, stack: StackArtifact, *, mapping: Any, env: Any) -> None:
        TAKEN.append((stack.path, mapping))


AWS: list[Aws] = []
TAKEN: list[Any] = []


def site(tmp_path: Path, aws: Aws, *, policy: str = "Retain") -> Site:
    """dev in an account, whose assembly holds a bucket and a key."""
    AWS[:], TAKEN[:] = [aws], []
    shared = {
        "Data": {**resource(BUCKET), "DeletionPolicy": policy},
        "Key": {**resource(KEY), "DeletionPolicy": policy},
    }
    folder = write_assembly(tmp_path / "cdk.out", shared=shared, own={})
    aws.stacks = {
        "Dev-Foundation": (None, [BUCKET_OF_DATA, KEY_OF_DATA], shared),
        "Dev-CensusOuterLoop": ("census", [], {}),
    }
    return Site(
        assembly=read_assembly(folder, environment="dev"),
        project=None,
        aws=aws,
        region="eu-west-1",
        where="an account",
        local=False,
        toolbox=Cdk(root=tmp_path, workplace=Workplace(folder=tmp_path)),
        shell={},
        poll_s=0,
    )


def test_inventory_tells_what_stays_from_what_goes(tmp_path: Path) -> None:
    """The template that was deployed decides about data, not the one at hand."""
    found = take_inventory(site(tmp_path, Aws()))
    assert ([BUCKET_OF_DATA, KEY_OF_DATA], []) == (list(found.kept), list(found.deleted))
    found = take_inventory(site(tmp_path, Aws(), policy="Delete"))
    assert ([], [BUCKET_OF_DATA, KEY_OF_DATA]) == (list(found.kept), list(found.deleted))


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_bucket_is_emptied_only_if_its_stack_deletes_it(tmp_path: Path, policy: str) -> None:
    """The switches that were deployed decide: with them all versions go first, without them none."""
    aws = Aws(list_object_versions=[{"Key": "a", "VersionId": "1", "Size": 3}])
    where = site(tmp_path, aws, policy=policy)
    tear_down(where, narrator(), agreed=take_inventory(where).deleted)
    objects = {"Objects": [{"Key": "a", "VersionId": "1"}], "Quiet": True}
    expected = [("delete_objects", {"Bucket": "dev-data-1", "Delete": objects})] if policy == "Delete" else []
    assert expected == aws.done


class Switched(Aws):
    """Somebody deploys both switches as soon as the endpoint goes, or a policy is detached."""

    def __init__(self, *, when: str, **listed: list[dict[str, Any]]) -> None:
        super().__init__(**listed)
        self._when = when

    def __getattr__(self, operation: str) -> Any:
        call = super().__getattr__(operation)

        def deploy_too(**request: Any) -> dict[str, Any]:
            project, resources, template = self.stacks["Dev-Foundation"]
            switched = {name: {**each, "DeletionPolicy": "Delete"} for name, each in template.items()}
            self.stacks["Dev-Foundation"] = (project, resources, switched)
            answered: dict[str, Any] = call(**request)
            return answered

        return deploy_too if operation == self._when else call


@pytest.mark.parametrize("when", ["delete_endpoint", "detach_role_policy"])
def test_data_that_was_to_stay_is_not_deleted_by_a_deployment_meanwhile(tmp_path: Path, when: str) -> None:
    """Neither a bucket is emptied nor a stack destroyed that would take what was listed as staying."""
    lists = {
        "list_entities_for_policy": [{"RoleName": "ann"}],
        "list_object_versions": [{"Key": "a", "VersionId": "1"}],
    }
    aws = Switched(when=when, list_endpoints=[dict(ENDPOINT)], **lists)
    where = site(tmp_path, aws)
    policy = Resource(stack="Dev-CensusOuterLoop", logical_id="P", type="AWS::IAM::ManagedPolicy", id="arn:policy/Deny")
    aws.stacks["Dev-CensusOuterLoop"] = ("census", [policy], {"P": {}})
    found = take_inventory(where)
    with pytest.raises(EnvironmentTrouble, match="meanwhile, and nobody agreed to delete dev-data-1, 0000-1111: run"):
        tear_down(where, narrator(), agreed=found.deleted)
    assert "delete_objects" not in [operation for operation, _ in aws.done]
    assert {"Dev-Foundation", "Dev-CensusOuterLoop"} == set(aws.stacks)


def test_policies_are_taken_from_who_holds_them(tmp_path: Path) -> None:
    """IAM deletes none that is attached, be it by an administrator or by the budget's action."""
    aws = Aws(list_entities_for_policy=[{"RoleName": "ann"}])
    where = site(tmp_path, aws)
    policy = Resource(stack="Dev-Foundation", logical_id="P", type="AWS::IAM::ManagedPolicy", id="arn:policy/Deny")
    project, resources, template = aws.stacks["Dev-Foundation"]
    aws.stacks["Dev-Foundation"] = (project, [*resources, policy], template)
    assert [("attached policy", "Deny of role ann")] == [
        (each.kind, each.name) for each in take_inventory(where).runtime
    ]
    tear_down(where, narrator())
    assert [("detach_role_policy", {"RoleName": "ann", "PolicyArn": "arn:policy/Deny"})] == aws.done


def test_the_budgets_stop_is_taken_from_the_roles_of_one_project(tmp_path: Path) -> None:
    """The shared policy stays with everybody else; IAM deletes no role that holds one."""
    holders = [{"RoleName": name} for name in ("starter", "of-another-project")]
    where = replace(site(tmp_path, Aws(list_entities_for_policy=holders)), project="census")
    policy = Resource(stack="Dev-Watch", logical_id="P", type="AWS::IAM::ManagedPolicy", id="arn:policy/Deny")
    role = Resource(stack="Dev-CensusOuterLoop", logical_id="R", type="AWS::IAM::Role", id="starter")
    AWS[0].stacks |= {"Dev-Watch": (None, [policy], {}), "Dev-CensusOuterLoop": ("census", [role], {})}
    assert ["Deny of role starter"] == [each.name for each in take_inventory(where).runtime]
    tear_down(where, narrator())
    assert [("detach_role_policy", {"RoleName": "starter", "PolicyArn": "arn:policy/Deny"})] == AWS[0].done


def test_cdk_destroys_nothing_that_was_not_named(tmp_path: Path) -> None:
    """By itself the CLI takes every stack that depends on a named one."""
    where = replace(site(tmp_path, Aws()), project="census")
    cli = tmp_path / "node_modules/aws-cdk/bin/cdk"
    cli.parent.mkdir(parents=True)
    cli.write_text("console.log(process.argv.slice(2).join(' '))")
    Toolbox(root=tmp_path, workplace=where.toolbox.workplace).destroy(where.assembly, where.artifacts, env={})
    asked = f"destroy --app {where.assembly.folder} Dev/CensusOuterLoop --force --exclusively --no-notices"
    assert asked in where.toolbox.workplace.log("cdk").read_text()


RULE = {"State": "ENABLED", "Starts": [MACHINE]}
EVERY_DAY = {"State": "ENABLED", "GroupName": "default", "Target": {"Arn": MACHINE, "RoleArn": "role"}}


def test_what_starts_runs_is_switched_off_first(tmp_path: Path) -> None:
    """Rules and schedules of machines, but neither the reaper's, which frees locks, nor what only tells people."""
    rules = [
        {**RULE, "Name": "new-data", "EventPattern": '{"source": ["aws.s3"]}'},
        {**RULE, "Name": "reaper", "EventPattern": '{"source": ["aws.states"]}'},
        {**RULE, "Name": "job-failed", "EventPattern": '{"source": ["aws.glue"]}', "Starts": ["arn:aws:sns:x"]},
        {**RULE, "Name": "off-already", "State": "DISABLED"},
    ]
    daily = {**EVERY_DAY, "Name": "daily", "ScheduleExpression": "rate(1 day)", "Arn": "arn", "CreationDate": 0}
    aws = Aws(rules=rules, list_schedules=[daily], list_executions=[execution("r1")])
    where = site(tmp_path, aws)
    own = [("AWS::Events::Rule", str(rule["Name"])) for rule in rules]
    own += [("AWS::Scheduler::Schedule", "daily"), ("AWS::StepFunctions::StateMachine", MACHINE)]
    name = "Dev-CensusOuterLoop"
    aws.stacks[name] = ("census", [Resource(stack=name, logical_id=id_, type=kind, id=id_) for kind, id_ in own], {})
    shown = [(each.kind, each.name) for each in take_inventory(where).runtime]
    assert [("rule", "new-data"), ("schedule", "daily"), ("run", "dev-census-outer-loop:r1")] == shown
    tear_down(where, narrator())
    kept = {key: value for key, value in daily.items() if key not in ("Arn", "CreationDate")}
    expected = [("disable_rule", {"Name": "new-data"}), ("update_schedule", {**kept, "State": "DISABLED"})]
    assert expected == aws.done[:2]
    assert ["stop_execution"] == [operation for operation, _ in aws.done[2:]]


def execution(name: str) -> dict[str, str]:
    """A running execution as it is listed."""
    return {"executionArn": f"arn:aws:states:eu-west-1:1:execution:dev-census-outer-loop:{name}"}


class Trailing(Aws):
    """A run begins when the budget's deny is taken from a role."""

    def detach_role_policy(self, **_: str) -> None:
        self.listed["list_entities_for_policy"].clear()
        self.listed["list_executions"].append(execution("r2"))


def test_no_run_is_left_when_the_stacks_go(tmp_path: Path) -> None:
    """A pipeline that executes makes the deletion of its stack fail: what began meanwhile is stopped just before."""
    aws = Trailing(list_entities_for_policy=[{"RoleName": "ann"}], list_executions=[execution("r1")])
    where = site(tmp_path, aws)
    name = "Dev-CensusOuterLoop"
    kinds = (("AWS::IAM::ManagedPolicy", "arn:policy/Deny"), ("AWS::StepFunctions::StateMachine", MACHINE))
    aws.stacks[name] = ("census", [Resource(stack=name, logical_id=id_, type=kind, id=id_) for kind, id_ in kinds], {})
    tear_down(where, narrator())
    assert ["stop_execution", "stop_execution"] == [operation for operation, _ in aws.done]
    assert [] == aws.running_at_destroy


def test_one_project_goes_without_what_all_share(tmp_path: Path) -> None:
    """The foundation is not of the project."""
    aws = Aws()
    where = replace(site(tmp_path, aws), project="census")
    assert ["Dev-CensusOuterLoop"] == [stack.name for stack in take_inventory(where).stacks]
    tear_down(where, narrator())
    assert ["Dev-Foundation"] == list(aws.stacks)


def test_stacks_that_the_assembly_lacks_are_named(tmp_path: Path) -> None:
    """A project that was taken out of environments.py while it was deployed."""
    aws = Aws()
    where = site(tmp_path, aws)
    aws.stacks["Dev-OldOuterLoop"] = ("old", [], {})
    with pytest.raises(EnvironmentTrouble, match=re.escape("does not hold: Dev-OldOuterLoop; delete them with")):
        tear_down(where, narrator())


class Deleting(Aws):
    """The project's stack is being deleted still, until it was looked at so often; then nothing of it can be read."""

    def __init__(self, *, looks: int) -> None:
        super().__init__(list_endpoints=[dict(ENDPOINT)])
        self._looks = looks

    def _page(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "list_stack_resources" and request["StackName"] not in self.stacks:
            raise refusal("ValidationError", f"Stack with id {request['StackName']} does not exist")
        answered = super()._page(operation, request)
        if operation == "describe_stacks":
            self._looks -= 1
            if not self._looks:
                self.stacks.pop("Dev-CensusOuterLoop")
            for each in answered["Stacks"]:
                if each["StackName"] == "Dev-CensusOuterLoop":
                    each["StackStatus"] = "DELETE_IN_PROGRESS"
        return answered

    def get_template(self, **request: str) -> dict[str, Any]:
        if request["StackName"] not in self.stacks:
            raise refusal("ValidationError", f"Stack with id {request['StackName']} does not exist")
        return super().get_template(**request)


@pytest.mark.parametrize("looks", range(1, 8))
def test_a_deletion_that_goes_on_is_waited_for(tmp_path: Path, looks: int) -> None:
    """Whenever the stack goes, it is as if it held nothing, and the rest is taken down."""
    aws = Deleting(looks=looks)
    where = site(tmp_path, aws)
    found = take_inventory(where)
    assert [("endpoint", "dev-census")] == [(each.kind, each.name) for each in found.runtime]
    tear_down(where, narrator())
    assert ["delete_endpoint"] == [operation for operation, _ in aws.done]
    assert {} == aws.stacks


def test_a_deletion_without_end_is_told(tmp_path: Path) -> None:
    """Nothing is begun beside it."""
    where = site(tmp_path, Deleting(looks=-1))
    with pytest.raises(EnvironmentTrouble, match="still deletes Dev-CensusOuterLoop after 0 minutes: see why in the"):
        await_deletions(where, narrator(), timeout_s=0)


def released(version: int) -> dict[str, Any]:
    """A ledger's items after that version was released."""
    return {"CHAMPION#dev-census": {"model_package_arn": {"S": f"{ARN}:model-package/dev-census/{version}"}}}


def with_endpoint(where: Site) -> Site:
    """The same, with a project that deploys an endpoint."""
    (template,) = [each.template for each in where.artifacts if each.project == "census"]
    template.write_text('{"Resources": {}, "Outputs": {"EndpointName": {"Value": "dev-census"}}}')
    return where


LEDGER = Resource(stack="Dev-Foundation", logical_id="Ledger", type=TABLE, id="ledger")


def test_the_way_back_names_the_version_that_served(tmp_path: Path) -> None:
    """The line can be pasted; it is the same whether the ledger's stack stands or is gone, and the latest counts."""
    line = "dual-pipeline rollback 3 --env dev --project census --because 'deployed again after a teardown'"
    aws = Aws()
    where = with_endpoint(site(tmp_path, aws))
    aws.ledgers = {"ledger": released(3), "older": released(1)}
    aws.stacks["Dev-Foundation"] = (None, [LEDGER], {})
    assert [line] == way_back(aws, where.assembly, project="census", local=False)
    aws.stacks.clear()
    for day, id_ in enumerate(("older", "ledger", "long-gone"), start=1):
        when = datetime(2026, 11, day, tzinfo=UTC)
        aws.deleted.append((f"arn:{day}", "Dev-Foundation", when, [replace(LEDGER, id=id_)]))
    assert [line.replace("census ", "census --local ")] == way_back(aws, where.assembly, project=None, local=True)


def test_without_an_endpoint_or_a_release_there_is_no_way_back(tmp_path: Path) -> None:
    """A project in batch and one that never released a model are not offered what would be refused."""
    aws = Aws()
    where = site(tmp_path, aws)
    aws.ledgers = {"ledger": released(3)}
    aws.stacks["Dev-Foundation"] = (None, [LEDGER], {})
    assert [] == way_back(aws, where.assembly, project=None, local=False)
    aws.ledgers = {"ledger": {}}
    assert [] == way_back(aws, with_endpoint(where).assembly, project=None, local=False)


def told(where: Site, command: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints that reaches this account."""
    monkeypatch.setattr("dual_pipeline_cli.teardown.find_site", lambda *_, **__: where)
    ended = CliRunner().invoke(app, [command, "dev", *arguments], env={"COLUMNS": "200"})
    assert 0 == ended.exit_code, ended.output
    return ended.output


def test_teardown_and_adopt_tell_the_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With it comes the key by the ARN that AWS gives it, which is another one in other partitions."""
    where = with_endpoint(gone(tmp_path, ("arn:1", "dev-data-1")))
    AWS[0].ledgers = {"ledger": released(3)}
    AWS[0].deleted.append(("arn:0", "Dev-CensusOuterLoop", datetime(2026, 11, 1, tzinfo=UTC), [LEDGER]))
    monkeypatch.setattr("dual_pipeline_cli.teardown.measure", lambda *_, **__: [key_that_stays(AWS[0])])
    line = "dual-pipeline rollback 3 --env dev --project census --because"
    output = told(where, "teardown", monkeypatch=monkeypatch)
    assert line in output
    assert "dev is down: no endpoint" in output
    assert 'existing_key_arn="arn:aws-us-gov:kms:us-gov-west-1:1:key/0000-1111"' in output
    assert line in told(where, "adopt", monkeypatch=monkeypatch)


def test_logs_of_all_jobs_are_listed_as_left(tmp_path: Path) -> None:
    """Glue puts the name of a security configuration into its groups: those are the project's, plain ones are shared."""
    secured = "/aws-glue/jobs/Dev-Security-0123-role/role/error"
    groups = (
        secured,
        "/aws-glue/jobs/output",
        "/aws/sagemaker/Endpoints/dev-census",
        "/aws/sagemaker/Endpoints/dev-census-2",
        "/aws/sagemaker/TrainingJobs",
        "/aws/sagemaker/TrainingJobsOfMine",
    )
    aws = Logs(describe_log_groups=[{"logGroupName": name, "storedBytes": 2**30} for name in groups])
    where = site(tmp_path, aws)
    own = {"Security": resource("AWS::Glue::SecurityConfiguration", Name="Dev-Security-0123")}
    (artifact,) = [each for each in where.artifacts if each.project == "census"]
    artifact.template.write_text(json.dumps({"Resources": own}))
    found = {each.resource.id: each.how for each in what_is_left(where, prices=PriceTable.load())}
    mine = (secured, "/aws/sagemaker/Endpoints/dev-census")
    shared = ("/aws-glue/jobs/output", "/aws/sagemaker/TrainingJobs")
    delete = "aws logs delete-log-group --log-group-name"
    assert {
        **{name: f"{delete} {name}" for name in mine},
        **{name: f"may hold logs of others: {delete} {name}" for name in shared},
    } == found


class Logs(Aws):
    """Lists log groups by how their names begin, one on a page."""

    def get_paginator(self, operation: str) -> Any:
        if operation != "describe_log_groups":
            return super().get_paginator(operation)
        return self

    def paginate(self, **request: str) -> Iterator[dict[str, Any]]:
        for each in self.listed["describe_log_groups"]:
            if each["logGroupName"].startswith(request["logGroupNamePrefix"]):
                yield {"logGroups": [each]}


def key_that_stays(aws: Aws) -> KeptResource:
    """The key as it is listed at the end of a teardown."""
    (kept,) = measure(aws, [KEY_OF_DATA], prices=PriceTable.load(), region="us-gov-west-1")
    return kept


def test_teardown_of_a_project_does_not_say_that_the_environment_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other projects go on."""
    where = replace(gone(tmp_path), project="census")
    assert "project census of dev is down" in told(where, "teardown", "--project", "census", monkeypatch=monkeypatch)


def test_a_project_that_comes_back_is_deployed_with_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the CLI skips the shared stack that names its roles, for the template is the same."""
    where = gone(tmp_path, ("arn:1", "dev-data-1"))
    deploy = f"now deploy: node_modules/.bin/cdk deploy --app {where.assembly.folder} 'Dev/*'"
    assert f"{deploy}\n" in told(where, "adopt", monkeypatch=monkeypatch)
    AWS[0].deleted = [(id_, "Dev-CensusOuterLoop", when, kept) for id_, _, when, kept in AWS[0].deleted]
    (own,) = [each for each in where.artifacts if each.project == "census"]
    own.template.write_text(json.dumps({"Resources": {"Data": resource(BUCKET)}}))
    where = replace(where, project="census")
    assert f"{deploy} --force\n" in told(where, "adopt", "--project", "census", monkeypatch=monkeypatch)


class Reviving(Aws):
    """Somebody starts an endpoint each time one is deleted, and it is seen only by who looks after all is done."""

    looks = 0

    def _page(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "list_endpoints" and not self.stacks:
            self.looks += 1
            return {"Endpoints": [] if self.looks <= 2 else [ENDPOINT]}
        return super()._page(operation, request)


def test_what_came_back_is_not_called_down(tmp_path: Path) -> None:
    """Nothing is told to be gone that was not looked for."""
    with pytest.raises(EnvironmentTrouble, match="come back meanwhile: endpoint dev-census; run the same command"):
        tear_down(site(tmp_path, Reviving()), narrator())


def gone(tmp_path: Path, *deleted: tuple[str, str]) -> Site:
    """dev after its stacks were deleted, each time with another data bucket kept."""
    aws = Aws()
    where = site(tmp_path, aws)
    aws.stacks.clear()
    for day, (id_, bucket) in enumerate(deleted, start=1):
        when = datetime(2026, 11, day, tzinfo=UTC)
        aws.deleted.append((id_, "Dev-Foundation", when, [replace(BUCKET_OF_DATA, id=bucket), KEY_OF_DATA]))
    return where


def test_next_deployment_takes_over_what_was_kept(tmp_path: Path) -> None:
    """Bucket and key come by their own identifiers, once."""
    where = gone(tmp_path, ("arn:1", "dev-data-1"), ("arn:2", "dev-data-1"))
    assert 2 == adopt(where, narrator())
    expected = {"Data": {"BucketName": "dev-data-1"}, "Key": {"KeyId": "0000-1111"}}
    assert [("Dev/Foundation", expected)] == TAKEN


def test_nothing_kept_is_nothing_to_take_over(tmp_path: Path) -> None:
    """A first deployment."""
    assert 0 == adopt(gone(tmp_path), narrator())


def test_two_sets_of_data_need_a_choice(tmp_path: Path) -> None:
    """Neither is taken silently; naming a stack decides."""
    where = gone(tmp_path, ("arn:1", "dev-data-1"), ("arn:2", "dev-data-2"))
    with pytest.raises(EnvironmentTrouble, match=re.escape("--stack-id, of arn:2 of 2026-11-02 00:00; arn:1 of")):
        adopt(where, narrator())
    assert [] == TAKEN
    adopt(where, narrator(), stack_ids=["arn:1"])
    assert "dev-data-1" == TAKEN[0][1]["Data"]["BucketName"]


def test_what_was_removed_since_is_neither_taken_over_nor_a_choice(tmp_path: Path) -> None:
    """Only what is there counts; what an older stack left too, when the latest has it, needs no choice either."""
    where = gone(tmp_path, ("arn:1", "dev-data-1"), ("arn:2", "dev-data-2"))
    AWS[0].gone = {"dev-data-1"}
    assert 2 == adopt(where, narrator())
    assert "dev-data-2" == TAKEN[0][1]["Data"]["BucketName"]


@pytest.mark.parametrize("state", ["PendingDeletion", "PendingReplicaDeletion"])
def test_a_key_that_ends_is_not_taken_over(tmp_path: Path, state: str) -> None:
    """What waits for its deletion encrypts nothing more; where nothing else is there, a deployment is a first one."""
    where = gone(tmp_path, ("arn:1", "dev-data-1"))
    AWS[0].key_state = state
    assert 1 == adopt(where, narrator())
    assert [("Dev/Foundation", {"Data": {"BucketName": "dev-data-1"}})] == TAKEN
    assert [] == list(measure(AWS[0], [KEY_OF_DATA], prices=PriceTable.load(), region="eu-west-1"))
    AWS[0].gone = {"dev-data-1"}
    assert 0 == adopt(where, narrator())


def test_a_deployment_with_new_data_is_not_mixed_with_the_old(tmp_path: Path) -> None:
    """Who deployed before adopting is told the way back; who adopted already has nothing to do."""
    where = gone(tmp_path, ("arn:1", "dev-data-1"))
    AWS[0].stacks["Dev-Foundation"] = (None, [BUCKET_OF_DATA, KEY_OF_DATA], {})
    assert 0 == adopt(where, narrator())
    AWS[0].stacks["Dev-Foundation"] = (None, [replace(BUCKET_OF_DATA, id="dev-data-9"), KEY_OF_DATA], {})
    with pytest.raises(
        EnvironmentTrouble, match=r"is deployed already, with new Data beside the old: dual-pipeline tea"
    ):
        adopt(where, narrator())


@pytest.mark.parametrize("command", ["teardown", "adopt"])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("dev", "--app", "absent"), "absent is no cloud assembly: run make synth"),
        (("prod",), "no environment named 'prod' in cdk.out: there are dev"),
        (("dev", "--project", "cencus"), "dev has no project 'cencus' in cdk.out: it has census"),
        (("dev",), "no CDK CLI in"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, command: str, arguments: tuple[str, ...], sentence: str) -> None:
    """Exit code 2 before any AWS is asked."""
    write_assembly(tmp_path / "cdk.out", shared={}, own={})
    with chdir(tmp_path):
        ended = CliRunner().invoke(app, [command, *arguments])
    assert (2, True) == (ended.exit_code, sentence in " ".join(ended.stderr.split())), ended.output


def test_confirmation_is_the_environments_name() -> None:
    """Anything else changes nothing."""
    check_confirmation("dev", " dev ")
    for typed in ("prod", "", "Dev"):
        with pytest.raises(EnvironmentTrouble, match=f"that was not dev, got '{typed}': nothing was changed"):
            check_confirmation("dev", typed)
