"""The outer loop's definition as a whole: what Step Functions checks, what the design promises, what IAM must allow."""

import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from dual_pipeline.asl import Statement
from dual_pipeline.outer_loop.definition import outer_loop_definition, outer_loop_statements
from dual_pipeline.outer_loop.setting import STARTING_S, Setting, seconds
from dual_pipeline.outer_loop.train_alone import own_code
from dual_pipeline.reaper import reaper_definition
from dual_pipeline.resumer import resumer_definition
from dual_pipeline_local import definitions, integrations

Definition = dict[str, Any]
EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:dev-census-outer-loop:5f3a_9b1c"
PACKAGE = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/dev-census/3"
MODEL = "s3://artifact-bucket/census/executions/abc/evaluate/model/model.tar.gz"
# Variables as they are on the way of a release.
VARIABLES: dict[str, Any] = {
    "me": EXECUTION,
    "runId": "5f3a_9b1c",
    "id": "0123456789ab",
    "startedAt": "2026-11-20T10:00:00.000Z",
    "trigger": {
        "reason": "data",
        "detail": "a file",
        "force": False,
        "source": {"bucket": "data-bucket", "key": "census/raw/a b.csv", "version_id": "v1", "etag": "e"},
    },
    "attempt": 1,
    "lock": {"owner": EXECUTION, "lease": 0, "cool": 0, "pending": True},
    "resumeAt": 1_764_200_000,
    "code": "c0de/12",
    "trained": {"snapshot": "", "code": "", "run": ""},
    "judged": True,
    "pendingForce": False,
    "pending": '{"reason": "data", "source": null}',
    "outcome": "released",
    "reason": "because",
    "trouble": "",
    "failedState": "",
    "snapshotUri": "s3://data-bucket/census/snapshots/1/",
    "verdict": {
        "problem": "",
        "uri": "s3://data-bucket/census/runs/5f3a_9b1c/verdict.json",
        "verdict": "warn",
        "engine": "deequ 2.1.0-spark-3.5",
        "rows": 1000,
        "failed": 1,
        "quarantined": 2,
        "snapshot": "s3://data-bucket/census/snapshots/2/",
        "reasons": "few rows",
    },
    "pipelineExecutionArn": "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/dev-census/execution/abc123def456",
    "packageArn": PACKAGE,
    "execution": {"status": "Succeeded", "reason": "", "version": 1},
    "champion": {"package": PACKAGE, "run": "5f3a_0000", "model": MODEL},
    "folder": "census/executions/abc/evaluate/evaluation/",
    "evaluation": {
        "metrics": {"auc": {"value": 0.9}},
        "champion": {"metrics": {"auc": 0.89}, "interval": [0.001, 0.02], "sentence": "It is better."},
        "folder": "census/executions/abc/evaluate/evaluation/",
    },
    "approval": {
        "status": "Approved",
        "by": "ada",
        "person": "Studio profile d-1/ada",
        "version": 3,
        "created": 1_795_168_800_000,
        "words": "good",
        "at": "2026-11-20T10:00:00.000Z",
        "model": MODEL,
        "definition": "0123",
    },
    "approvers": {"first": "ada", "last": "grace", "words": "good; fine"},
    "missing": "approved by ada",
    "rounds": 1,
    "advice": {"kind": "", "whose": "", "cause": "", "remedy": "nothing", "runbook": ""},
    "waiting": {"at": "AwaitRollout", "since": 0, "key": PACKAGE, "over": False},
    "previousConfig": "config-old",
    "liveCount": 3,
    "serving": {"package": PACKAGE, "run": "5f3a_0000", "model": MODEL, "config": "config-old"},
    "container": {"image": "image:1", "digest": "", "model": MODEL, "etag": "", "created": 0},
    "preflight": {"problem": "", "ringing": [], "status": "InService", "config": "config-old", "count": 3},
    "configName": "config-new",
    "modelName": "model-new",
    "golden": {"content_type": "text/csv", "accept": "application/json", "body": "1,2", "expected": [0.5]},
    "releasedAt": "2026-11-20T10:00:00.000Z",
    "wrong": "",
    "hasRecords": True,
    "scoresUri": "s3://artifact-bucket/census/scores/5f3a_9b1c/records/",
    "answersKey": "census/scores/5f3a_9b1c/golden/golden_rows.csv.out",
    "jobName": "dev-census-score-0123456789ab-0-0",
}
CONTEXT = {
    "Execution": {"Id": EXECUTION, "Name": "5f3a_9b1c", "StartTime": "2026-11-20T10:00:00.000Z", "RedriveCount": 0},
    "StateMachine": {"Id": "arn:aws:states:eu-west-1:111122223333:stateMachine:dev-census-outer-loop"},
    "Task": {"Token": "token"},
}


def tasks(definition: Definition) -> Iterator[tuple[str, Any]]:
    return ((name, state) for name, state in definition["States"].items() if state["Type"] == "Task")


def targets(state: Mapping[str, Any]) -> set[str]:
    branches = [*state.get("Choices", []), *state.get("Catch", [])]
    found = {state.get("Next"), state.get("Default"), *(branch["Next"] for branch in branches)}
    return {name for name in found if name}


@pytest.fixture(params=["least", "most", "guarded", "alone", "batch"])
def each(
    request: pytest.FixtureRequest,
    definition: Definition,
    scaled_definition: Definition,
    guarded_definition: Definition,
    alone_definition: Definition,
    batch_definition: Definition,
) -> Definition:
    found: Definition = {
        "least": definition,
        "most": scaled_definition,
        "guarded": guarded_definition,
        "alone": alone_definition,
        "batch": batch_definition,
    }[request.param]
    return found


def test_step_functions_accepts_the_definition(each: Definition, accepted: Callable[[Definition, str], object]) -> None:
    """Targets exist, fields fit the query language, integrations and their arguments are known, expressions parse."""
    assert accepted(each, "STANDARD") is None


def test_step_functions_accepts_the_helpers(accepted: Callable[[Definition, str], object], setting: Setting) -> None:
    """The reaper and the Express resumer are valid machines."""
    topic = "arn:aws:sns:eu-west-1:111122223333:t"
    reaper = reaper_definition(environment=setting.environment, table_name="t", topic_arn=topic)
    assert accepted(reaper, "STANDARD") is None
    assert accepted(resumer_definition("t"), "EXPRESS") is None


@pytest.fixture(scope="session")
def accepted(jsonata_problem: Callable[[str], object]) -> Callable[[Definition, str], object]:
    """Why Step Functions would refuse a definition, or None."""
    return lambda machine, kind: (
        definitions.problem(json.dumps(machine), kind=kind) or jsonata_problem(json.dumps(machine))
    )


@pytest.mark.parametrize("which", ["least", "most", "alone", "batch"])
def test_every_state_as_json(
    which: str,
    definition: Definition,
    scaled_definition: Definition,
    alone_definition: Definition,
    batch_definition: Definition,
    snapshot: SnapshotAssertion,
) -> None:
    """Every state, field by field: the least and the most demanding project, without an inner loop, and in batch."""
    machines = {"least": definition, "most": scaled_definition, "alone": alone_definition, "batch": batch_definition}
    found = machines[which]
    assert found == snapshot(extension_class=JSONSnapshotExtension)


def test_every_state_is_reached(each: Definition) -> None:
    """There is a way from the start to every state."""
    seen: set[str] = set()
    ahead = {each["StartAt"]}
    while ahead:
        name = ahead.pop()
        seen.add(name)
        ahead |= targets(each["States"][name]) - seen
    assert seen == set(each["States"])


def test_every_task_has_a_limit_retries_and_a_catch(each: Definition) -> None:
    """Each task ends in time, retries named errors with full jitter and a cap, and catches everything else."""
    for name, state in tasks(each):
        assert state["TimeoutSeconds"] > 0, name
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
        assert state["Retry"], name
        for retrier in state["Retry"]:
            assert (retrier["JitterStrategy"], retrier["MaxAttempts"] > 0) == ("FULL", True), name
            assert retrier["MaxDelaySeconds"] >= retrier["IntervalSeconds"], name
            assert not {"States.ALL", "States.TaskFailed"} & set(retrier["ErrorEquals"]), name


def test_every_way_ends_in_the_tail(each: Definition) -> None:
    """Whatever fails, the locks are freed: only states of the tail itself can pass FreeLocks by."""
    tail = {"Record", "CountOutcome", "IsAnybodyTold", "Notify", "NotifyFailed", "Ended", "Failed"}
    for name, state in each["States"].items():
        if name not in tail | {"FreeLocks"}:
            assert not targets(state) & tail, name
        if name in tail:
            assert targets(state) <= tail, name


def test_choices_only_read_variables_that_are_set(each: Definition) -> None:
    """A choice cannot catch an error, so each variable it reads or assigns from is set before on every way to it."""
    states = each["States"]
    before: dict[str, set[str]] = {each["StartAt"]: set()}
    ahead = [each["StartAt"]]
    while ahead:
        name = ahead.pop()
        for target, assigned in edges(states[name]):
            known = before[name] | assigned
            if target not in before or not before[target] <= known:
                before[target] = before[target] & known if target in before else known
                ahead.append(target)
    for name, state in states.items():
        fields = [text for branch in [state, *state["Choices"]] for text in texts(branch)] if "Choices" in state else []
        for field in fields:
            used = set(re.findall(r"\$([a-z]\w*)(?!\w*\()", field)) - {"states"}
            used -= set(re.findall(r"\$([a-z]\w*) *:=", field))
            parameters = re.findall(r"function\(([^)]*)\)", field)
            used -= {name for group in parameters for name in re.findall(r"\$(\w+)", group)}
            assert used <= before[name], (name, used - before[name])


def texts(branch: Mapping[str, Any]) -> Iterator[str]:
    """What a choice evaluates for a branch: its condition, and what it assigns."""
    for value in (branch.get("Condition"), *branch.get("Assign", {}).values()):
        if isinstance(value, str) and value.startswith("{%"):
            yield value


def edges(state: Mapping[str, Any]) -> Iterator[tuple[str, set[str]]]:
    if "Next" in state:
        yield state["Next"], set(state.get("Assign", ()))
    if "Default" in state:
        yield state["Default"], set(state.get("Assign", ()))
    for branch in [*state.get("Choices", []), *state.get("Catch", [])]:
        yield branch["Next"], set(branch.get("Assign", ()))


def test_arguments_fit_the_services(each: Definition, evaluate: Callable[..., Any]) -> None:
    """Every task's evaluated arguments are what the service's own model takes, nothing unknown, nothing missing."""
    loader = botocore.loaders.Loader()
    for name, state in tasks(each):
        integration = integrations.parse(state["Resource"])
        model = botocore.model.ServiceModel(loader.load_service_model(integration.service.boto, "service-2"))
        shape = model.operation_model(integration.operation).input_shape
        given = evaluate(state["Arguments"], variables=VARIABLES, context=CONTEXT)
        if integration.operation in ("StartExecution", "StartSyncExecution"):
            given = {key[0].lower() + key[1:]: value for key, value in given.items()}
            text = given["input"]
            given["input"] = text if isinstance(text, str) else json.dumps(text)
        assert shape is not None, name
        report = botocore.validate.ParamValidator().validate(given, shape)
        assert not report.has_errors(), (name, report.generate_report())
        assert unknown(given, shape) == [], name


def unknown(value: Any, shape: Any) -> list[str]:
    """Members the service does not know, at any depth."""
    if shape.type_name == "structure" and isinstance(value, dict):
        strange = [key for key in value if key not in shape.members]
        return strange + [
            bad for key in value if key in shape.members for bad in unknown(value[key], shape.members[key])
        ]
    if shape.type_name == "list" and isinstance(value, list):
        return [bad for item in value for bad in unknown(item, shape.member)]
    if shape.type_name == "map" and isinstance(value, dict):
        return [bad for item in value.values() for bad in unknown(item, shape.value)]
    return []


ACTIONS = {
    "aws-sdk:sagemakerruntime:invokeEndpoint": "sagemaker:InvokeEndpoint",
    "aws-sdk:sfn:startSyncExecution": "states:StartSyncExecution",
    "aws-sdk:s3:copyObject": "s3:PutObject",
    "aws-sdk:s3:listObjectsV2": "s3:ListBucket",
    "aws-sdk:dynamodb:transactWriteItems": "dynamodb:ConditionCheckItem",
    "aws-sdk:applicationautoscaling": "application-autoscaling",
}


@pytest.mark.parametrize("which", ["scaled", "alone", "batch"])
def test_the_role_allows_what_the_states_do(which: str, request: pytest.FixtureRequest) -> None:
    """There is a statement for the action of each task, and none for an action that nothing needs."""
    setting: Setting = request.getfixturevalue(f"{which}_setting")
    granted = {action for statement in outer_loop_statements(setting) for action in statement.actions}
    needed = set()
    for _, state in tasks(request.getfixturevalue(f"{which}_definition")):
        resource = state["Resource"].removeprefix("arn:aws:states:::").removesuffix(".sync")
        resource = resource.removesuffix(".waitForTaskToken")
        known = ACTIONS.get(resource)
        service, action = resource.removeprefix("aws-sdk:").split(":")
        service = {"applicationautoscaling": "application-autoscaling"}.get(service, service)
        needed.add(known or f"{service}:{action[0].upper()}{action[1:]}")
    beside = {
        # what the services ask for beyond the call itself; each statement names the page that says so
        "application-autoscaling:*",
        "cloudwatch:D*Alarms",
        # the ledger's one statement is the same with and without a release's transaction
        "dynamodb:ConditionCheckItem",
        "events:*Rule",
        "events:PutTargets",
        "glue:*JobRun*",
        "iam:*",
        "kms:*",
        "s3:*",
        "sagemaker:AddTags",
        "sagemaker:*TrainingJob",
        "sagemaker:*TransformJob",
        "sagemaker:DescribeEndpointConfig",
        "sagemaker:ListTags",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
    }
    assert needed - granted == set()
    assert {a for a in granted - needed if not any(fnmatch.fnmatchcase(a, pattern) for pattern in beside)} == set()


@pytest.mark.parametrize("which", ["scaled", "alone", "batch"])
def test_the_role_is_held_to_the_project(which: str, request: pytest.FixtureRequest) -> None:
    """Every resource names the project, its environment's stores or a role; `*` has its reason; roles go to SageMaker."""
    for statement in outer_loop_statements(request.getfixturevalue(f"{which}_setting")):
        assert statement.source.startswith("https://docs.aws.amazon.com/")
        for resource in statement.resources:
            assert resource != "*" or statement.reason, statement
        if "iam:PassRole" in statement.actions:
            passed = {"role/starter": "scheduler"}.get(statement.resources[0].rpartition(":")[2], "sagemaker")
            assert statement.conditions == {"StringEquals": {"iam:PassedToService": f"{passed}.amazonaws.com"}}
        assert not any(action.endswith("*") for action in statement.actions), statement


def test_autoscaling_may_read_what_it_scales(scaled_setting: Setting) -> None:
    """Application Auto Scaling reads endpoint and configuration with the rights of whoever registers the target."""
    page = "https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html"
    found = {
        (action, resource.rpartition(":")[2])
        for statement in outer_loop_statements(scaled_setting)
        if statement.source == page
        for action in statement.actions
        for resource in statement.resources
        if action.startswith("sagemaker:")
    }
    assert found == {
        ("sagemaker:DescribeEndpoint", "endpoint/dev-census"),
        ("sagemaker:UpdateEndpointWeightsAndCapacities", "endpoint/dev-census"),
        ("sagemaker:DescribeEndpointConfig", "endpoint-config/dev-census-*"),
    }


def test_a_missing_document_is_no_denial(scaled_setting: Setting) -> None:
    """S3 answers 404 for a missing object only to who may list the bucket whatever the prefix, for GetObject has none."""
    listing = [s for s in outer_loop_statements(scaled_setting) if "s3:ListBucket" in s.actions]
    assert {"arn:aws:s3:::data-bucket", "arn:aws:s3:::artifact-bucket"} == {s.resources[0] for s in listing}
    assert [{}, {}] == [s.conditions for s in listing]


def test_a_bare_star_needs_a_reason() -> None:
    """A statement on every resource cannot be written without saying why."""
    with pytest.raises(ValueError, match="needs a reason"):
        Statement(actions=("s3:GetObject",), resources=("*",), source="https://docs.aws.amazon.com/")


def test_the_lease_outlives_training(setting: Setting) -> None:
    """Nobody can take the training lock from a run that keeps to its deadlines, those of its jobs' starts included."""
    limits, smoke = setting.project.limits, setting.project.smoke_training
    assert smoke is not None
    jobs = sum(map(seconds, (limits.ingest, limits.quality, smoke.max_time, limits.training)))
    assert setting.training_lease_s > jobs + STARTING_S


def test_the_release_lease_outlives_every_wait(scaled_setting: Setting, scaled_definition: Definition) -> None:
    """Nobody can take the release lock from a run whose endpoint rests, moves and goes back as late as it may."""
    waits = [name for name in scaled_definition["States"] if name in ("AwaitRest", "AwaitRollout", "AwaitRollBack")]
    assert 3 == len(waits)
    assert scaled_setting.release_lease_s > 3 * (scaled_setting.endpoint_deadline_s + scaled_setting.slice_s)


def test_names_of_jobs_fit(definition: Definition) -> None:
    """The longest names of environment and project leave room for hash, retry and redrive in 63 characters."""
    name = definition["States"]["SmokeTrain"]["Arguments"]["TrainingJobName"]
    assert "{% 'dev-census-smoke-' & $id & '-' & $states.context.State.RetryCount" in name
    longest = "e" * 12 + "-" + "p" * 24 + "-smoke-" + VARIABLES["id"] + "-9-99"
    assert len(longest) <= 63


def test_a_project_without_smoke_training_goes_on(setting: Setting) -> None:
    """What follows checked data is the champion, and nobody needs the code of a smoke training."""
    plain = replace(setting, project=replace(setting.project, smoke_training=None), training_code=None)
    states: Any = outer_loop_definition(plain)["States"]
    assert "SmokeTrain" not in states
    assert "ReadChampion" == states["GateData"]["Default"]
    assert plain.training_lease_s < setting.training_lease_s


def test_training_code_is_needed(setting: Setting) -> None:
    """A machine that trains itself and was given no code is refused."""
    message = "dev-census-outer-loop trains itself and needs training_code, got None: give it"
    with pytest.raises(ValueError, match=message):
        outer_loop_definition(replace(setting, training_code=None))


def test_what_a_model_comes_from_is_named(alone_setting: Setting) -> None:
    """Other code, image, defaults or rules make the same data worth a training; another run of the same do not."""
    code, project = alone_setting.training_code, alone_setting.project
    assert code is not None
    settings = [
        alone_setting,
        replace(alone_setting, training_code=replace(code, file="4567.tar.gz")),
        replace(alone_setting, training_code=replace(code, image="other:2")),
        replace(alone_setting, project=replace(project, hyperparameters={"eta": 0.5}, smoke_training=None)),
        replace(
            alone_setting, project=replace(project, ruleset=replace(project.ruleset, rules=project.ruleset.rules[1:]))
        ),
    ]
    assert len(settings) == len({own_code(setting) for setting in settings})
    assert own_code(alone_setting) == own_code(replace(alone_setting, slice_s=60))


PICKS = {
    "CheckInput": ["ClaimEvent"],
    "CheckIngest": ["EvaluateDataQuality"],
    "GateData": ["SmokeTrain"],
    "HasChampion": ["StartTraining"],
    "AwaitTrainingDecide": ["AwaitTrainingSleep", "ListSteps"],
    "CheckTraining": ["ReadEvaluation"],
    "GateModel": ["FreeTrainingLock"],
    "FreeLocks": ["AskForApproval", "Record"],
    "AwaitApprovalDecide": ["AwaitApprovalSleep", "RecordApproval"],
    "IsApprovalFresh": ["Preflight"],
    "CanRelease": ["ReadGoldenRows"],
    "StartRollout": ["HoldScaling"],
    "AwaitRolloutDecide": ["AwaitRolloutSleep", "AwaitRolloutSleep", "CheckRollout"],
    "CheckRollout": ["SmokeTest"],
    "JudgeAnswers": ["CommitRelease"],
    "IsAnybodyTold": ["Notify"],
}
BATCH_PICKS = {"IsApprovalFresh": ["FindRecords"], "JudgeAnswers": ["ScoreRecords"]}


@pytest.mark.parametrize(("which", "least"), [("scaled", 60), ("batch", 45)])
def test_a_release_takes_at_most_70_transitions(which: str, least: int, request: pytest.FixtureRequest) -> None:
    """The longest release (an update with scaling that sleeps in every wait and meets an old marker) stays below; so
    does one in batch.
    """
    machine: Definition = request.getfixturevalue(f"{which}_definition")
    picks = {name: list(picked) for name, picked in (PICKS | (BATCH_PICKS if which == "batch" else {})).items()}
    name, way = machine["StartAt"], []
    first_rollout_sleep = True
    while True:
        way.append(name)
        state = machine["States"][name]
        if state["Type"] == "Succeed" or state.get("End"):
            break
        if name == "AwaitRolloutSleep" and first_rollout_sleep:
            # the marker of the release before
            first_rollout_sleep, name = False, "AwaitRolloutConsume"
        elif picks.get(name):
            name = picks[name].pop(0)
            assert name in targets(state)
        else:
            name = state.get("Next") or state["Default"]
    assert least < len(way) <= 70, len(way)
