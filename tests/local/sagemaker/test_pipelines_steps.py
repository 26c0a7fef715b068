"""Steps that ask SQS, Lambda, a tuner and a transform job, in a running emulator and as the pipeline's role."""

import io
import json
import time
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipeline_definitions import callback, define, fail, function, job

pytestmark = pytest.mark.local

PEAK = """
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
rate = parser.parse_args().rate
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text('{"factor": 3}')
print(f"auc={-abs(rate - 3):.6f}")
"""
HANDLER = """
def handler(event, context):
    if event["score"] < 0.5:
        raise ValueError("the champion is better")
    return {"note": "good by " + str(round(event["score"] - 0.5, 3))}
"""


@pytest.fixture(scope="module")
def queue(corner: Any) -> str:
    """The URL of a queue."""
    url: str = corner.emulator.client("sqs").create_queue(QueueName="checks")["QueueUrl"]
    return url


@pytest.fixture(scope="module")
def decide(corner: Any) -> str:
    """The ARN of a function that decides by a score."""
    role = corner.emulator.role("decide", "lambda.amazonaws.com")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", HANDLER)
    arn: str = corner.emulator.client("lambda").create_function(
        FunctionName="decide",
        Runtime="python3.11",
        Role=role,
        Handler="index.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=30,
    )["FunctionArn"]
    return arn


@pytest.fixture(scope="module")
def asker(corner: Any, queue: str, decide: str) -> str:
    """A pipeline's role that may send to the queue and invoke the function."""
    attributes = corner.emulator.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    role: str = corner.emulator.role(
        "asker",
        "sagemaker.amazonaws.com",
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": attributes["Attributes"]["QueueArn"]},
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": decide},
    )
    return role


def start(corner: Any, role: str, name: str, text: str, **parameters: str) -> str:
    """Create a pipeline and start it: the execution's ARN."""
    corner.sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=role)
    given = [{"Name": key, "Value": value} for key, value in parameters.items()]
    arn: str = corner.sagemaker.start_pipeline_execution(PipelineName=name, PipelineParameters=given)[
        "PipelineExecutionArn"
    ]
    return arn


def receive(corner: Any, queue: str) -> dict[str, Any]:
    """Take the next message from the queue."""
    sqs = corner.emulator.client("sqs")
    found = corner.wait_until(lambda: sqs.receive_message(QueueUrl=queue), lambda found: bool(found.get("Messages")))
    message = found["Messages"][0]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    body: dict[str, Any] = json.loads(message["Body"])
    return body


def test_an_outside_system_answers_through_sqs(corner: Any, queue: str, asker: str) -> None:
    """It takes the message from the queue and answers with the token, once, as a role that may do no more."""
    text = define(
        callback("Check", ("grade", "Integer"), url=queue, arguments={"run": {"Get": "Execution.PipelineExecutionId"}}),
        fail("End", {"Std:Join": {"On": " ", "Values": ["grade", {"Get": "Steps.Check.OutputParameters['grade']"}]}}),
    )
    arn = start(corner, asker, "checked", text)
    message = receive(corner, queue)
    assert (arn, {"run": arn.rpartition("/")[2]}, "Executing") == (
        message["pipelineExecutionArn"],
        message["arguments"],
        message["status"],
    )
    sagemaker = corner.sagemaker
    with pytest.raises(ClientError, match="output parameter grade must be of type Integer"):
        sagemaker.send_pipeline_execution_step_success(
            CallbackToken=message["token"], OutputParameters=[{"Name": "grade", "Value": "A"}]
        )
    sagemaker.send_pipeline_execution_step_success(
        CallbackToken=message["token"], OutputParameters=[{"Name": "grade", "Value": "2"}]
    )
    with pytest.raises(sagemaker.exceptions.ConflictException):
        sagemaker.send_pipeline_execution_step_failure(CallbackToken=message["token"])
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.send_pipeline_execution_step_failure(CallbackToken="A" * 10)
    assert "grade 2" == corner.ended(arn)["FailureReason"]


def test_answers_are_authorized_on_the_execution(corner: Any, queue: str, asker: str) -> None:
    """A principal that may answer for one pipeline cannot answer for another."""
    sagemaker_arn = f"arn:aws:sagemaker:eu-west-1:{corner.emulator.settings.account}:pipeline"
    iam = corner.emulator.client("iam")
    iam.create_user(UserName="checker")
    allow = {
        "Effect": "Allow",
        "Action": "sagemaker:SendPipelineExecutionStep*",
        "Resource": f"{sagemaker_arn}/mine/execution/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName="checker", PolicyName="Answer", PolicyDocument=policy)
    key = iam.create_access_key(UserName="checker")["AccessKey"]
    checker = corner.emulator.client(
        "sagemaker", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )
    text = define(callback("Check", url=queue))
    for name, allowed in (("mine", True), ("theirs", False)):
        arn = start(corner, asker, name, text)
        token = receive(corner, queue)["token"]
        if not allowed:
            with pytest.raises(ClientError, match="not authorized to perform"):
                checker.send_pipeline_execution_step_success(CallbackToken=token)
            corner.sagemaker.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="not yours")
        else:
            checker.send_pipeline_execution_step_success(CallbackToken=token)
        execution = corner.ended(arn)
        assert ("Succeeded" if allowed else "Failed") == execution["PipelineExecutionStatus"]
    assert "not yours" == corner.steps(execution)["Check"]["FailureReason"]


def test_a_stopped_callback_is_told_to_the_queue(corner: Any, queue: str, asker: str) -> None:
    """StopPipelineExecution sends the token again, status Stopping, and ends the execution."""
    arn = start(corner, asker, "stopped-check", define(callback("Check", url=queue)))
    token = receive(corner, queue)["token"]
    corner.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    message = receive(corner, queue)
    assert (token, "Stopping") == (message["token"], message["status"])
    corner.sagemaker.send_pipeline_execution_step_success(CallbackToken=token)
    assert "Stopped" == corner.ended(arn)["PipelineExecutionStatus"]


def test_the_pipelines_role_needs_queue_and_function(corner: Any, queue: str, decide: str) -> None:
    """A role without permission fails each step, naming the action."""
    role = corner.emulator.role("mute", "sagemaker.amazonaws.com")
    for name, step, action in (
        ("mute-check", callback("Ask", url=queue), "sqs:SendMessage"),
        ("mute-decide", function("Ask", arn=decide), "lambda:InvokeFunction"),
    ):
        steps = corner.steps(corner.ended(start(corner, role, name, define(step))))
        reason = steps["Ask"]["FailureReason"]
        assert reason.startswith(f"ClientError: Failed to invoke {action}. Error Details: ")
        assert f"not authorized to perform: {action}" in reason


def test_a_function_decides(corner: Any, decide: str, asker: str) -> None:
    """Really invoked: its output goes on, its exception is the step's reason."""
    text = define(
        function("Decide", ("note", "String"), arn=decide, arguments={"score": {"Get": "Parameters.Score"}}),
        fail("End", {"Get": "Steps.Decide.OutputParameters['note']"}),
        parameters=[{"Name": "Score", "Type": "Float", "DefaultValue": 0.75}],
    )
    assert "good by 0.25" == corner.ended(start(corner, asker, "decided", text))["FailureReason"]
    refused = corner.steps(corner.execute("decided", Score="0.25"))
    assert ["Decide"] == list(refused)
    assert refused["Decide"]["FailureReason"].endswith(": the champion is better")


def test_the_best_model_of_a_tuner_scores(corner: Any) -> None:
    """Tuning, then a model of its best job (as the SDK's get_top_model_s3_uri says it), then a transform job."""
    request = corner.training("peak", PEAK, {})
    del request["TrainingJobName"]
    algorithm = request["AlgorithmSpecification"] | {"MetricDefinitions": [{"Name": "auc", "Regex": "auc=([-0-9.]+)"}]}
    tuning = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 3},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "9"}]},
            "RandomSeed": 17,
        },
        "TrainingJobDefinition": {
            **{name: value for name, value in request.items() if name != "HyperParameters"},
            "AlgorithmSpecification": algorithm,
            "StaticHyperParameters": request["HyperParameters"],
        },
    }
    name = {"Get": "Steps.Tune.TrainingJobSummaries[0].TrainingJobName"}
    model = {
        "ExecutionRoleArn": corner.role,
        "PrimaryContainer": {
            "Image": algorithm["TrainingImage"],
            "ModelDataUrl": {"Std:Join": {"On": "/", "Values": ["s3:/", "corner/models", name, "output/model.tar.gz"]}},
        },
    }
    corner.put("to-score/a.csv", "1\n2\n")
    transform = {
        "ModelName": {"Get": "Steps.Create.ModelName"},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://corner/to-score/"}},
            "ContentType": "text/csv",
        },
        "TransformOutput": {"S3OutputPath": "s3://corner/scored"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    on = {"Enabled": True, "ExpireAfter": "P30D"}
    corner.sagemaker.create_pipeline(
        PipelineName="tuned",
        RoleArn=corner.role,
        PipelineDefinition=define(
            job("Tune", "Tuning", arguments=tuning, CacheConfig=on),
            job("Create", "Model", arguments=model),
            job("Score", "Transform", arguments=transform, CacheConfig=on),
        ),
    )
    execution = corner.execute("tuned")
    steps = corner.steps(execution)
    assert {"Tune", "Create"} <= set(steps), steps
    tuned = corner.sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=steps["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    )
    described = corner.sagemaker.describe_model(
        ModelName=steps["Create"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    )
    assert tuned["BestTrainingJob"]["TrainingJobName"] in described["PrimaryContainer"]["ModelDataUrl"]
    score = corner.sagemaker.describe_transform_job(
        TransformJobName=steps["Score"]["Metadata"]["TransformJob"]["Arn"].rpartition("/")[2]
    )
    assert described["ModelName"] == score["ModelName"]
    again = corner.steps(corner.execute("tuned"))
    source = {"SourcePipelineExecutionArn": execution["PipelineExecutionArn"]}
    assert source == again["Tune"]["CacheHitResult"]


def test_what_was_answered_is_reused(corner: Any, decide: str, asker: str) -> None:
    """A failed step is retried in its execution; a selected one runs on what an earlier execution has."""
    text = define(
        function("Decide", ("note", "String"), arn=decide, arguments={"score": 0.75}),
        fail("End", {"Get": "Steps.Decide.OutputParameters['note']"}),
    )
    arn = start(corner, asker, "reused", text)
    corner.ended(arn)
    first = corner.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    corner.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert "good by 0.25" == corner.ended(arn)["FailureReason"]
    again = corner.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    assert first["PipelineExecutionSteps"][0] == again["PipelineExecutionSteps"][0]
    config = {"SelectedSteps": [{"StepName": "End"}]}
    with pytest.raises(ClientError, match=r"null\. The selected steps \[End\] have dependencies on \[Decide\]"):
        corner.sagemaker.start_pipeline_execution(PipelineName="reused", SelectiveExecutionConfig=config)
    selected = corner.sagemaker.start_pipeline_execution(
        PipelineName="reused", SelectiveExecutionConfig={**config, "SourcePipelineExecutionArn": arn}
    )["PipelineExecutionArn"]
    execution = corner.ended(selected)
    assert ("good by 0.25", arn) == (
        execution["FailureReason"],
        execution["SelectiveExecutionConfig"]["SourcePipelineExecutionArn"],
    )
    assert {"SourcePipelineExecutionArn": arn} == corner.steps(execution)["Decide"]["SelectiveExecutionResult"]


def test_a_step_costs_little_beyond_its_script(corner: Any) -> None:
    """At most 0.3 s: what lies between the ends of job and step, and between one step and the next."""
    request = corner.processing("nothing", "")
    del request["ProcessingJobName"]
    names = [f"S{number}" for number in range(4)]
    steps = [
        job(name, "Processing", arguments=request, DependsOn=[before] if before else [])
        for name, before in zip(names, ["", *names], strict=False)
    ]
    corner.pipeline("overhead", *steps)
    started = time.time()
    execution = corner.execute("overhead")
    ran = corner.steps(execution).values()
    jobs = [
        corner.sagemaker.describe_processing_job(
            ProcessingJobName=step["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
        )
        for step in ran
    ]
    busy = sum((found["ProcessingEndTime"] - found["ProcessingStartTime"]).total_seconds() for found in jobs)
    whole = max(step["EndTime"] for step in ran).timestamp() - started
    print(f"interpreter overhead: {(whole - busy) / len(names):.3f} s a step")
    assert (whole - busy) / len(names) <= 0.3


def test_the_emulator_does_not_wait_for_answers(corner: Any, queue: str, asker: str) -> None:
    """It stops while a callback waits."""
    start(corner, asker, "waits", define(callback("Check", url=queue)))
    receive(corner, queue)
    started = time.monotonic()
    corner.emulator.stop()
    assert time.monotonic() - started < 5
