"""Pipelines and the model registry through plain boto3."""

import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.local

REPORT = """
import json, pathlib, sys
pathlib.Path(sys.argv[1], "report.json").write_text(json.dumps({"auc": {"value": float(sys.argv[2])}}))
"""


def get(text: str) -> dict[str, str]:
    """A Get."""
    return {"Get": text}


def json_get(step: str, path: str) -> dict[str, Any]:
    """A JsonGet of the property file Report."""
    return {"Std:JsonGet": {"PropertyFile": get(f"Steps.{step}.PropertyFiles.Report"), "Path": path}}


def evaluate(corner: Any, name: str = "Evaluate", score: Any = "0.9", **more: Any) -> dict[str, Any]:
    """A Processing step that writes a report."""
    folder = {"Std:Join": {"On": "/", "Values": ["s3://corner/runs", get("Execution.PipelineExecutionId"), name]}}
    request = corner.processing(
        name, REPORT, "/opt/ml/processing/output/report", outputs=[corner.processing_output("report", folder)]
    )
    del request["ProcessingJobName"]
    request["AppSpecification"]["ContainerArguments"].append(score)
    files = [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}]
    return {"Name": name, "Type": "Processing", "Arguments": request, "PropertyFiles": files, **more}


def gate(left: Any, kind: str, right: Any, *, then: list[Any], otherwise: list[Any]) -> dict[str, Any]:
    """A Condition step of one comparison."""
    condition = {"Type": kind, "LeftValue": left, "RightValue": right}
    arguments = {"Conditions": [condition], "IfSteps": then, "ElseSteps": otherwise}
    return {"Name": "Gate", "Type": "Condition", "Arguments": arguments}


def register(corner: Any, group: str, data: Any) -> dict[str, Any]:
    """A RegisterModel step."""
    container = {"Image": "x", "ModelDataUrl": data, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": group,
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        },
    }


def fail(message: Any, name: str = "Refuse") -> dict[str, Any]:
    """A Fail step."""
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


@pytest.fixture(scope="module")
def group(corner: Any) -> str:
    """A model package group."""
    corner.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    return "group"


@pytest.fixture(scope="module")
def gated(corner: Any, group: str) -> str:
    """A pipeline: evaluate, then register or fail, by a report really written and read."""
    data = corner.put(
        "archives/gated/model.tar.gz",
        corner.archive({"model.json": json.dumps({"factor": 2}), "code/inference.py": "x = 1"}),
    )
    steps = gate(
        json_get("Evaluate", "auc.value"),
        "GreaterThanOrEqualTo",
        get("Parameters.MinAuc"),
        then=[register(corner, group, data)],
        otherwise=[fail({"Std:Join": {"On": " ", "Values": ["AUC below", get("Parameters.MinAuc")]}})],
    )
    corner.pipeline(
        "gated",
        steps,
        evaluate(corner, score={"Std:Join": {"On": "", "Values": [get("Parameters.Score")]}}),
        parameters=[
            {"Name": "Score", "Type": "Float"},
            {"Name": "MinAuc", "Type": "Float", "DefaultValue": 0.8},
        ],
    )
    return "gated"


@pytest.fixture(scope="module")
def good(corner: Any, gated: str) -> Any:
    """An execution whose score passes the gate."""
    return corner.execute(gated, Score="0.91")


def test_a_good_score_registers_a_package(corner: Any, good: Any, group: str) -> None:
    """The branch taken runs, the other one leaves no trace; the package names the execution that made it."""
    assert "Succeeded" == good["PipelineExecutionStatus"]
    steps = corner.steps(good)
    assert ["Evaluate", "Gate", "Register"] == list(steps)
    assert {"Outcome": "True"} == steps["Gate"]["Metadata"]["Condition"]
    package = corner.sagemaker.describe_model_package(
        ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    assert (group, "PendingManualApproval") == (package["ModelPackageGroupName"], package["ModelApprovalStatus"])
    assert good["PipelineExecutionArn"] == package["MetadataProperties"]["GeneratedBy"]
    values = corner.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=good["PipelineExecutionArn"])[
        "PipelineParameters"
    ]
    assert [("Score", "0.91"), ("MinAuc", "0.8")] == [(value["Name"], value["Value"]) for value in values]


def test_a_bad_score_ends_with_the_fail_steps_message(corner: Any, gated: str) -> None:
    """A Fail step's message is the reason of step and execution."""
    execution = corner.execute(gated, Score="0.5", MinAuc="0.7")
    assert ("Failed", "AUC below 0.7") == (execution["PipelineExecutionStatus"], execution["FailureReason"])
    assert "AUC below 0.7" == corner.steps(execution)["Refuse"]["FailureReason"]


def test_only_an_approved_package_makes_a_model(corner: Any, good: Any, group: str) -> None:
    """Approval, with its reason and who gave it, opens the way to CreateModel."""
    arn = corner.steps(good)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    model = {"ExecutionRoleArn": corner.role, "PrimaryContainer": {"ModelPackageName": arn}}
    with pytest.raises(ClientError, match="it must be Approved"):
        corner.sagemaker.create_model(ModelName="early", **model)
    corner.sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="looked at it",
        CustomerMetadataProperties={"ticket": "7"},
    )
    package = corner.sagemaker.describe_model_package(ModelPackageName=arn)
    assert ("Approved", "looked at it", {"ticket": "7"}) == (
        package["ModelApprovalStatus"],
        package["ApprovalDescription"],
        package["CustomerMetadataProperties"],
    )
    assert "arn:aws:iam::123456789012:root" == package["LastModifiedBy"]["IamIdentity"]["Arn"]
    corner.sagemaker.create_model(ModelName="in-time", **model)
    approved = corner.sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    assert [arn] == [package["ModelPackageArn"] for package in approved["ModelPackageSummaryList"]]
    with pytest.raises(corner.sagemaker.exceptions.ConflictException):
        corner.sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def test_a_failing_job_fails_the_execution_and_starts_nothing_more(corner: Any) -> None:
    """The step carries the job's reason, steps that need it do not start."""
    broken = evaluate(corner, "Broken", score="no number")
    corner.pipeline("failing", broken, gate(json_get("Broken", "auc.value"), "Equals", 1, then=[], otherwise=[]))
    execution = corner.execute("failing")
    assert "Step failure: One or multiple steps failed." == execution["FailureReason"]
    steps = corner.steps(execution)
    assert ["Broken"] == list(steps)
    assert "AlgorithmError: Traceback" in steps["Broken"]["FailureReason"]
    assert "could not convert string to float: 'no number'" in steps["Broken"]["FailureReason"]


@pytest.mark.parametrize(
    ("path", "right", "reason"),
    [
        ("auc.lost", 0.5, "'lost' does not exist"),
        ("auc.value", "0.5", "cannot compare 0.9 (float) with '0.5' (str)"),
    ],
)
def test_a_condition_that_has_no_answer_fails(corner: Any, path: str, right: Any, reason: str) -> None:
    """A missing value or one of another type never passes a gate."""
    name = f"unanswered-{uuid.uuid4().hex[:8]}"
    corner.pipeline(
        name,
        evaluate(corner),
        gate(
            json_get("Evaluate", path), "GreaterThan", right, then=[fail("passed", "Pass")], otherwise=[fail("refused")]
        ),
    )
    steps = corner.steps(corner.execute(name))
    assert ["Evaluate", "Gate"] == list(steps)
    assert reason in steps["Gate"]["FailureReason"]


def test_independent_steps_run_side_by_side(corner: Any) -> None:
    """Steps without a path between them overlap, unless ParallelismConfiguration forbids it."""
    for name, parallel in (("wide", 2), ("narrow", 1)):
        corner.pipeline(name, evaluate(corner, "One"), evaluate(corner, "Two"))
        arn = corner.sagemaker.start_pipeline_execution(
            PipelineName=name, ParallelismConfiguration={"MaxParallelExecutionSteps": parallel}
        )["PipelineExecutionArn"]
        execution = corner.ended(arn)
        assert "Succeeded" == execution["PipelineExecutionStatus"]
        jobs = [
            corner.sagemaker.describe_processing_job(
                ProcessingJobName=step["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
            )
            for step in corner.steps(execution).values()
        ]
        first, second = sorted(jobs, key=lambda job: job["ProcessingStartTime"])
        overlap = second["ProcessingStartTime"] < first["ProcessingEndTime"]
        assert (parallel == 2) == overlap


def test_a_stopped_execution_stops_its_jobs(corner: Any) -> None:
    """StopPipelineExecution ends in Stopped with the running job stopped as well."""
    endless = evaluate(corner, "Endless")
    endless["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["sleep"]
    endless["Arguments"]["AppSpecification"]["ContainerArguments"] = ["5000"]
    corner.pipeline("endless", endless)
    arn = corner.sagemaker.start_pipeline_execution(PipelineName="endless")["PipelineExecutionArn"]
    corner.wait_until(
        lambda: corner.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn),
        lambda found: any("Metadata" in step for step in found["PipelineExecutionSteps"]),
    )
    with pytest.raises(corner.sagemaker.exceptions.ConflictException):
        corner.sagemaker.delete_pipeline(PipelineName="endless")
    corner.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    execution = corner.ended(arn)
    assert "Stopped" == execution["PipelineExecutionStatus"]
    step = corner.steps(execution)["Endless"]
    job = step["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert "Stopped" == step["StepStatus"]
    assert "Stopped" == corner.sagemaker.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"]


def test_equal_steps_are_answered_from_the_cache(corner: Any) -> None:
    """A step with caching on is not run again for the same code, arguments and inputs."""
    cached = evaluate(corner, score=get("Parameters.Score"), CacheConfig={"Enabled": True, "ExpireAfter": "P1D"})
    corner.pipeline("cached", cached, parameters=[{"Name": "Score", "Type": "String"}])
    first, second, other = (corner.execute("cached", Score=score) for score in ("0.5", "0.5", "0.6"))
    hits = [corner.steps(execution)["Evaluate"].get("CacheHitResult") for execution in (first, second, other)]
    assert [None, {"SourcePipelineExecutionArn": first["PipelineExecutionArn"]}, None] == hits


def test_steps_need_the_pipeline_roles_permissions(corner: Any) -> None:
    """A role that may not create jobs or pass the jobs' role fails the step, naming the action."""
    trust = "sagemaker.amazonaws.com"
    allowed = {"Effect": "Allow", "Action": "sagemaker:CreateProcessingJob", "Resource": "*"}
    for name, statements, action in (
        ("may-nothing", (), "sagemaker:CreateProcessingJob"),
        ("may-not-pass", (allowed,), "iam:PassRole"),
    ):
        role = corner.emulator.role(name, trust, *statements)
        text = json.dumps({"Version": "2020-12-01", "Steps": [evaluate(corner)]})
        corner.sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=role)
        reason = corner.steps(corner.execute(name))["Evaluate"]["FailureReason"]
        assert reason.startswith("ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: ")
        assert f"is not authorized to perform: {action}" in reason


def test_a_client_request_token_starts_once(corner: Any, gated: str) -> None:
    """The same token is the same execution; for another request it is a conflict."""
    start = corner.sagemaker.start_pipeline_execution
    token = uuid.uuid4().hex
    given = [{"Name": "Score", "Value": "0.9"}]
    first = start(PipelineName=gated, PipelineParameters=given, ClientRequestToken=token)
    again = start(PipelineName=gated, PipelineParameters=given, ClientRequestToken=token)
    assert first["PipelineExecutionArn"] == again["PipelineExecutionArn"]
    with pytest.raises(corner.sagemaker.exceptions.ConflictException):
        start(PipelineName=gated, PipelineParameters=[{"Name": "Score", "Value": "1"}], ClientRequestToken=token)
    corner.ended(first["PipelineExecutionArn"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "Pipeline parameter [Score] has no default value and none was given"),
        ({"Score": "high"}, "Pipeline parameter [Score] must be of type Float, got 'high'"),
        ({"Score": "1", "Other": "1"}, "Pipeline parameters ['Other'] are not defined in the pipeline definition"),
    ],
)
def test_bad_parameters_start_nothing(corner: Any, gated: str, parameters: dict[str, str], message: str) -> None:
    """Parameters are checked against the definition before an execution exists."""
    before = len(_executions(corner, gated))
    with pytest.raises(ClientError) as refusal:
        corner.execute(gated, **parameters)
    assert message == refusal.value.response["Error"]["Message"]
    assert before == len(_executions(corner, gated))


def test_versions_are_kept(corner: Any) -> None:
    """UpdatePipeline makes a version; an execution runs the version asked for."""
    corner.pipeline("versioned", fail("one"))
    text = json.dumps({"Version": "2020-12-01", "Steps": [fail("two")]})
    assert 2 == corner.sagemaker.update_pipeline(PipelineName="versioned", PipelineDefinition=text)["PipelineVersionId"]
    for version, message in ((1, "one"), (2, "two")):
        arn = corner.sagemaker.start_pipeline_execution(PipelineName="versioned", PipelineVersionId=version)[
            "PipelineExecutionArn"
        ]
        execution = corner.ended(arn)
        assert (message, version) == (execution["FailureReason"], execution["PipelineVersionId"])
    listed = corner.sagemaker.list_pipeline_versions(PipelineName="versioned")["PipelineVersionSummaries"]
    assert [2, 1] == [version["PipelineVersionId"] for version in listed]


def test_events_reach_the_bus(corner: Any, gated: str, group: str) -> None:
    """Executions, steps, jobs and packages tell the default bus of their changes with AWS's fields."""
    sqs, events = corner.emulator.client("sqs"), corner.emulator.client("events")
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
    execution = corner.execute(gated, Score="0.95")
    package = corner.steps(execution)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    corner.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    heard = _drain(sqs, url)
    ends = [
        event["detail"]
        for event in heard
        if event["detail-type"] == "SageMaker Model Building Pipeline Execution Status Change"
    ]
    assert ["Executing", "Succeeded"] == [detail["currentPipelineExecutionStatus"] for detail in ends]
    assert "Executing" == ends[1]["previousPipelineExecutionStatus"]
    assert execution["PipelineExecutionArn"] == ends[1]["pipelineExecutionArn"]
    steps = [
        (event["detail"]["stepName"], event["detail"]["currentStepStatus"])
        for event in heard
        if event["detail-type"].endswith("Step Status Change")
    ]
    assert ("Evaluate", "Executing") in steps
    assert ("Register", "Succeeded") in steps
    approvals = [
        event["detail"]["ModelApprovalStatus"]
        for event in heard
        if event["detail-type"] == "SageMaker Model Package State Change"
    ]
    assert ["PendingManualApproval", "Rejected"] == approvals
    jobs = [
        event["detail"]["ProcessingJobStatus"]
        for event in heard
        if event["detail-type"] == "SageMaker Processing Job State Change"
    ]
    assert ("InProgress", "Completed") == (jobs[0], jobs[-1])


def test_what_is_absent_is_refused_by_name(corner: Any) -> None:
    """Operations and step types that are not modelled say so before anything starts."""
    with pytest.raises(ClientError, match="sagemaker:CreateWorkteam is not modelled by the local emulator"):
        corner.sagemaker.create_workteam(WorkteamName="x", MemberDefinitions=[{}], Description="x")
    absent = {"Name": "Cluster", "Type": "EMR", "Arguments": {}}
    with pytest.raises(ClientError, match="step Cluster of type EMR is not modelled by the local emulator"):
        corner.pipeline("absent", absent)


def test_tags_of_a_pipeline(corner: Any, gated: str) -> None:
    """Tags are added, listed and deleted by ARN."""
    arn = corner.sagemaker.describe_pipeline(PipelineName=gated)["PipelineArn"]
    corner.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    corner.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert [{"Key": "b", "Value": "2"}] == corner.sagemaker.list_tags(ResourceArn=arn)["Tags"]


def _executions(corner: Any, pipeline: str) -> list[Any]:
    found: list[Any] = corner.sagemaker.list_pipeline_executions(PipelineName=pipeline, MaxResults=100)[
        "PipelineExecutionSummaries"
    ]
    return found


def _drain(sqs: Any, url: str) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            heard.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(heard, key=lambda event: event["time"])
