"""What a project's inner loop brings along: its code kept for good, and what its optional steps need."""

import hashlib
import json
import re
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Template as Synthesized

from dual_pipeline.definition import DEFINITION_FILE
from dual_pipeline.job_roles import Workspace
from dual_pipeline.sandbox import Sandbox
from stacks.stage import ROOT
from synthesis import Synthesis, Template

pytestmark = pytest.mark.xdist_group("synthesis")

EVERYTHING = "Most/CensusTwoInnerLoop"


def properties(template: Template, kind: str, *, described: str = "") -> list[dict[str, Any]]:
    """The properties of a template's resources of a kind, of those whose text holds `described`."""
    resources = [resource for resource in template["Resources"].values() if resource["Type"] == kind]
    return [resource["Properties"] for resource in resources if described in json.dumps(resource)]


def statements(template: Template, *, of: str) -> dict[str, dict[str, Any]]:
    """The statements of the role whose logical id starts with `of`, by their ids."""
    (policy,) = [
        resource["Properties"]
        for id_, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy" and id_.startswith(of)
    ]
    return {statement.get("Sid", ""): statement for statement in policy["PolicyDocument"]["Statement"]}


def test_code_is_kept_under_its_hash(synthesis: Synthesis) -> None:
    """Every file of code, the definition by its SHA-256 among them, is copied as it is and never removed."""
    template = synthesis.templates["Dev/CensusInnerLoop"]
    (copies,) = properties(template, "Custom::CDKBucketDeployment")
    assert (False, False, True) == (copies["Extract"], copies["Prune"], copies["RetainOnDelete"])
    assert "census/code/" == copies["DestinationBucketKeyPrefix"]
    definition = (ROOT / "pipeline_code" / "census" / DEFINITION_FILE).read_bytes()
    assert f"{hashlib.sha256(definition).hexdigest()}.json" in copies["SourceObjectKeys"]
    body = json.dumps(properties(template, "AWS::SageMaker::Pipeline"))
    # what the smoke training runs
    body += json.dumps(properties(synthesis.templates["Dev/CensusOuterLoop"], "AWS::StepFunctions::StateMachine"))
    code = [key for key in copies["SourceObjectKeys"] if not key.endswith(".json")]
    assert 5 == len(code)
    assert all(f"/census/code/{key}" in body for key in code)


def test_code_is_copied_with_least_privilege(synthesis: Synthesis) -> None:
    """The copying function reads exactly what it copies and writes below code/ alone; the CDK adds no grant."""
    template = synthesis.templates["Dev/CensusInnerLoop"]
    found = statements(template, of="InnerLoopCodeCopying")
    assert {"ReadAssets", "WriteCode", "ListCode", "UseKey", "WriteLogs"} == set(found)
    (copies,) = properties(template, "Custom::CDKBucketDeployment")
    read = [json.dumps(arn) for arn in found["ReadAssets"]["Resource"]]
    assert len(copies["SourceObjectKeys"]) == len(read)
    assert all(any(key in arn for arn in read) for key in copies["SourceObjectKeys"])


def test_roles_hold_what_the_steps_take(synthesis: Synthesis) -> None:
    """A step that a project does not have gives the pipeline's role nothing."""
    usual = statements(synthesis.templates["Most/CensusInnerLoop"], of="InnerLoopExecution")
    all_ = statements(synthesis.templates[EVERYTHING], of="InnerLoopExecution")
    assert {"Ask", "LetDecide", "CreateModels", "TrackExperiments"} == set(all_) - set(usual)
    transform = {f"sagemaker:{verb}TransformJob" for verb in ("Create", "Describe", "Stop")}
    assert transform == set(all_["RunJobs"]["Action"]) - set(usual["RunJobs"]["Action"])
    assert 3 == len(all_["PassJobRoles"]["Resource"])


def test_steps_side_by_side_are_bounded_on_request(synthesis: Synthesis) -> None:
    """Without `limits.parallel_steps` SageMaker's own bound holds."""
    bounds = {
        path: properties(synthesis.templates[path], "AWS::SageMaker::Pipeline")[0].get("ParallelismConfiguration")
        for path in ("Most/CensusInnerLoop", EVERYTHING)
    }
    assert {"Most/CensusInnerLoop": None, EVERYTHING: {"MaxParallelExecutionSteps": 4}} == bounds


def test_tuning_jobs_by_either_spelling(synthesis: Synthesis) -> None:
    """IAM tells upper from lower case, and SageMaker has spelled a step in the ARN of its job both ways."""
    resources = statements(synthesis.templates["Most/CensusInnerLoop"], of="InnerLoopExecution")["Tune"]["Resource"]
    assert ["*-Tune-*", "*-tune-*"] == [json.dumps(arn).rpartition("/")[2].strip('"]}') for arn in resources]


def test_copies_track_their_own_experiments() -> None:
    """An experiment has its pipeline's name, so the role of copies may make those of copies, and no others."""
    stack = cdk.Stack(cdk.App(), "Copies", env=cdk.Environment(account="111122223333", region="eu-west-1"))
    bucket = s3.Bucket.from_bucket_name(stack, "Bucket", "bucket")
    definition = {
        "PipelineExperimentConfig": {"ExperimentName": {"Get": "Execution.PipelineName"}},
        "Steps": [{"Name": "Train", "Type": "Training"}],
    }
    Sandbox(
        stack,
        "Sandbox",
        workspace=Workspace(
            environment="dev",
            cost_center="cc",
            project="census",
            data_bucket=bucket,
            artifact_bucket=bucket,
            key=kms.Key.from_key_arn(stack, "Key", "arn:aws:kms:eu-west-1:111122223333:key/1"),
        ),
        images={"xgboost_image": "683313688378.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0"},
        definition=json.dumps(definition),
        placeholders={},
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    found = statements(dict(Synthesized.from_stack(stack).to_json()), of="SandboxExecution")["TrackExperiments"]
    (experiment,) = [text for arn in found["Resource"] if ":experiment/" in (text := json.dumps(arn))]
    assert "experiment/dev-census--*" in experiment


def test_checkpoints_only_with_spot(synthesis: Synthesis) -> None:
    """Training reaches checkpoints only where it may be interrupted, and of snapshots the samples alone."""
    usual, spot = (
        json.dumps(statements(synthesis.templates[stack], of="InnerLoopTraining"))
        for stack in ("Most/CensusInnerLoop", EVERYTHING)
    )
    assert ("checkpoints" in usual, "checkpoints" in spot) == (False, True)
    assert {"snapshots/*/sample/*"} == set(re.findall(r"snapshots[^\"]*", usual))
    assert "snapshots/*/sample/*" in spot


def test_the_external_system_is_asked_safely(synthesis: Synthesis) -> None:
    """Requests are encrypted with the key, outlive the seven days a step waits, and are kept when nobody takes them."""
    queues = properties(synthesis.templates[EVERYTHING], "AWS::SQS::Queue")
    assert 2 == len(queues)
    assert all("KmsMasterKeyId" in queue and 14 * 86_400 == queue["MessageRetentionPeriod"] for queue in queues)
    assert [5] == [queue["RedrivePolicy"]["maxReceiveCount"] for queue in queues if "RedrivePolicy" in queue]
    assert "ExternalCheckQueueUrl" in synthesis.templates[EVERYTHING]["Outputs"]


def test_the_deciding_function(synthesis: Synthesis) -> None:
    """It runs the project's own code, within the time a step waits, and reads evaluations alone."""
    template = synthesis.templates[EVERYTHING]
    (function,) = properties(template, "AWS::Lambda::Function", described="Decides on models")
    assert "handler.handler" == function["Handler"]
    assert function["Timeout"] <= 600
    assert {"KmsKeyArn", "LoggingConfig"} <= set(function)
    found = statements(template, of="InnerLoopDecideDeciding")
    assert {"ReadEvaluations", "Decrypt", "WriteLogs"} == set(found)
    assert "/census-two/executions/*/evaluate/*" in json.dumps(found["ReadEvaluations"]["Resource"])


def test_nothing_expires_before_the_cache(synthesis: Synthesis) -> None:
    """Objects of the stores stay for good, but for checkpoints and copies' outputs, which outlive any cache hit,
    and smoke trainings' models, which none reads.
    """
    found: dict[str, dict[str, int]] = {}
    for path, bucket in synthesis.resources("AWS::S3::Bucket").items():
        rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        expiring = {rule.get("Prefix", ""): rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
        if expiring and "AccessLogs" not in path:
            found[path.partition("/")[0]] = expiring
    smoke = {"census/executions/smoke/": 7}
    assert {
        "Dev": {"census/sandbox/": 30, **smoke},
        "Staging": smoke,
        "Prod": smoke,
        "Least": smoke,
        "Alone": smoke,
        "Batch": smoke,
        "Most": {"census-two/checkpoints/": 8, "census-two/executions/smoke/": 7, **smoke},
    } == found
