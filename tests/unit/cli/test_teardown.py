"""What a teardown takes and what it must not touch; what the next deployment takes over."""

import re
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dual_pipeline_cli.app import app
from dual_pipeline_cli.environment import EnvironmentTrouble
from dual_pipeline_cli.runtime_resources import RuntimeResources
from dual_pipeline_cli.stacks import BUCKET, KEY, Resource
from dual_pipeline_cli.teardown import Site, adopt, check_confirmation, take_inventory, tear_down
from dual_pipeline_local.assembly import Assembly, StackArtifact, read_assembly
from dual_pipeline_local.deployment import Toolbox
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.narrator import Narrator
from small_assembly import resource, write_assembly

ARN = "arn:aws:sagemaker:eu-west-1:1"
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
        self.stacks: dict[str, tuple[str | None, list[Resource], Mapping[str, Any]]] = {}
        self.deleted: list[tuple[str, str, datetime, list[Resource]]] = []
        self.done: list[tuple[str, dict[str, Any]]] = []

    def client(self, _service: str, /) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        return _Paginator(lambda **request: self._page(operation, request))

    def describe_scalable_targets(self, **request: Any) -> dict[str, Any]:
        found = self.listed.get("describe_scalable_targets", [])
        return {"ScalableTargets": [each for each in found if each["ResourceId"] in request["ResourceIds"]]}

    def describe_state_machine(self, **_: str) -> dict[str, Any]:
        return {"type": "STANDARD"}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "1"}

    def get_template(self, **request: str) -> dict[str, Any]:
        assert "Original" == request["TemplateStage"]
        return {"TemplateBody": {"Resources": self.stacks[request["StackName"]][2]}}

    def __getattr__(self, operation: str) -> Any:
        if operation.split("_")[0] not in ("stop", "delete", "deregister", "batch", "detach"):
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
    "describe_log_groups": "logGroups",
    "list_entities_for_policy": "PolicyRoles",
    "list_object_versions": "Versions",
}


def _summary(each: Resource) -> dict[str, str]:
    return {"LogicalResourceId": each.logical_id, "ResourceType": each.type, "PhysicalResourceId": each.id}


def narrator() -> Narrator:
    """One that nobody hears."""
    return Narrator(Console(quiet=True))


def model(name: str) -> dict[str, str]:
    """A model as it is listed."""
    return {"ModelName": name, "ModelArn": f"{ARN}:model/{name}"}


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
        list_endpoints=[
            {"EndpointName": "dev-census", "EndpointStatus": "InService"},
            {"EndpointName": "dev-census-2", "EndpointStatus": "InService"},
        ],
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
        describe_scalable_targets=[{"ResourceId": "endpoint/dev-census/variant/AllTraffic"}],
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


BUCKET_OF_DATA = Resource(stack="Dev-Foundation", logical_id="Data", type=BUCKET, id="dev-data-1")
KEY_OF_DATA = Resource(stack="Dev-Foundation", logical_id="Key", type=KEY, id="0000-1111")


class Cdk(Toolbox):
    """A CDK CLI that only writes down what it is asked for."""

    def destroy(self, assembly: Assembly, stacks: Any, *, env: Any) -> None:
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
    tear_down(site(tmp_path, aws, policy=policy), narrator())
    objects = {"Objects": [{"Key": "a", "VersionId": "1"}], "Quiet": True}
    expected = [("delete_objects", {"Bucket": "dev-data-1", "Delete": objects})] if policy == "Delete" else []
    assert expected == aws.done


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
