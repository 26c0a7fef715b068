"""The offline proof of a definition: each thing that SageMaker, the loops or the platform would refuse has a sentence."""

import copy
import json
from typing import Any

import pytest

from compiled import compile_everything
from dual_pipeline.definition import all_steps
from dual_pipeline.placeholders import canonical
from pipeline_code.definition_check import definition_problems
from pipeline_code.request_check import check_request

pytestmark = pytest.mark.xdist_group("compile")

Json = dict[str, Any]
KMS = "with the environment's key: set"
CHANNEL = "Arguments.InputDataConfig.1.DataSource.S3DataSource.S3Uri"
INPUT = "Arguments.ProcessingInputs.1.S3Input.S3Uri"
TRAIN_OUTPUT = "Steps.Preprocess.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"


@pytest.fixture(scope="module")
def everything() -> Json:
    """A definition with every type of step, as the SDK compiles it."""
    parsed: Json = json.loads(compile_everything())
    return parsed


@pytest.fixture
def document(everything: Json) -> Json:
    """A copy of it to be spoilt."""
    return copy.deepcopy(everything)


def problems(document: Json) -> list[str]:
    """What is wrong with a document."""
    return definition_problems(document, canonical(document))


def step_of(document: Json, name: str) -> Json:
    """One step by name."""
    return next(step for step in all_steps(document["Steps"]) if step["Name"] == name)


def put(node: Any, path: str, value: Any) -> None:
    """Set, or with None delete, what stands at a dotted path; digits index lists."""
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in parents:
        node = node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value


def test_every_type_of_step_is_accepted(document: Json) -> None:
    """A definition with everything switched on has no problem, and holds every type of step."""
    assert [] == problems(document)
    assert {
        "Callback", "Condition", "Fail", "Lambda", "Model", "Processing", "RegisterModel", "Training", "Transform", "Tuning",
    } == {step["Type"] for step in all_steps(document["Steps"])}  # fmt: skip


def test_every_kind_of_condition_is_accepted(document: Json) -> None:
    """Not, Or and In as the SDK writes them (sagemaker.core.workflow.conditions)."""
    high = {"Type": "GreaterThan", "LeftValue": {"Get": "Parameters.MinAuc"}, "RightValue": 0.5}
    gate = next(step for step in all_steps(document["Steps"]) if step["Name"] == "Gate")
    gate["Arguments"]["Conditions"] += [
        {"Type": "Not", "Condition": high},
        {"Type": "Or", "Conditions": [high, high]},
        {"Type": "In", "QueryValue": {"Get": "Parameters.RunId"}, "Values": ["a", "b"]},
    ]
    assert [] == problems(document)


@pytest.mark.parametrize(
    ("name", "path", "value", "problem"),
    [
        ("Preprocess", "Arguments.RolArn", "x", "CreateProcessingJob.RolArn is not known"),
        ("Preprocess", "Arguments.RoleArn", "x", "CreateProcessingJob.RoleArn is 'x'; allowed is 20 to 2048"),
        ("Preprocess", "Arguments.ProcessingResources.ClusterConfig.InstanceCount", "1", "InstanceCount must be a integer, got '1'"),
        ("Tune", "Arguments.HyperParameterTuningJobConfig.Strategy", "Guess", "Strategy is 'Guess', none of"),
        ("Tune", "Arguments.TrainingJobDefinition.RoleArn", None, "CreateHyperParameterTuningJob.TrainingJobDefinition.RoleArn is missing"),
        ("Score", "Arguments.TransformOutput.AssembleWith", "Comma", "AssembleWith is 'Comma', none of"),
        ("Register", "Arguments.CustomerMetadataProperties.commit", "a;b", "is 'a;b', which does not match"),
        ("Train", "CacheConfig.ExpireAfter", "30 days", "CacheConfig.ExpireAfter must be an ISO 8601 duration such as P30D, got '30 days'"),
        ("Train", "RetryPolicies.0.MaxAttempts", 99, "RetryPolicies.MaxAttempts must be from 1 to 20, got 99"),
        ("Register", "RetryPolicies.0.ExceptionType", ["SageMaker.CAPACITY_ERROR"], "a RegisterModel step cannot retry ['SageMaker.CAPACITY_ERROR']"),
        ("Tune", "RetryPolicies.1.ExceptionType", ["SageMaker.JOB_INTERNAL_ERROR"], "a Tuning step cannot retry ['SageMaker.JOB_INTERNAL_ERROR']"),
        ("ExternalCheck", "SqsQueueUrl", None, "member SqsQueueUrl is missing"),
        ("Decide", "RetryPolicies", [{"ExceptionType": ["Step.THROTTLING"]}], "member RetryPolicies is not known in a Lambda step"),
        ("Decide", "Timeout", 3, "member Timeout is not known in a Lambda step"),
        ("Decide", "OutputParameters.0.OutputType", "Text", "needs an OutputName and an OutputType of"),
        ("Refused", "Arguments.Message", "x", "a Fail step has the arguments ['ErrorMessage'], got ['ErrorMessage', 'Message']"),
        ("Gate", "Arguments.Conditions.0.Type", "Is", "condition 'Is' is none of"),
        ("Gate", "Arguments.Conditions.0.Value", 1, "a condition Equals has the members ['LeftValue', 'RightValue', 'Type']"),
        ("Refused", "Type", "If", "type 'If' is none of"),
    ],
)  # fmt: skip
def test_what_sagemaker_would_refuse_is_found(document: Json, name: str, path: str, value: Any, problem: str) -> None:
    """A typo, a wrong type or value, a missing member: in requests and in what only a definition has."""
    put(step_of(document, name), path, value)
    found = problems(document)
    assert any(each.startswith(f"step {name}: ") and problem in each for each in found), found


@pytest.mark.parametrize(
    ("name", "path", "value", "problem"),
    [
        ("Train", "Arguments.ResourceConfig.VolumeKmsKeyId", None, f"its volume is not encrypted {KMS} VolumeKmsKeyId"),
        ("Tune", "Arguments.TrainingJobDefinition.ResourceConfig.VolumeKmsKeyId", None, f"its volume is not encrypted {KMS} VolumeKmsKeyId"),
        ("Score", "Arguments.TransformResources.VolumeKmsKeyId", None, f"its volume is not encrypted {KMS} VolumeKmsKeyId"),
        ("Evaluate", "Arguments.ProcessingOutputConfig.KmsKeyId", None, f"its output is not encrypted {KMS} KmsKeyId"),
        ("Tune", "Arguments.TrainingJobDefinition.OutputDataConfig.KmsKeyId", None, f"its output is not encrypted {KMS} KmsKeyId"),
        ("Score", "Arguments.TransformOutput.KmsKeyId", None, f"its output is not encrypted {KMS} KmsKeyId"),
        ("Train", "Arguments.ResourceConfig.InstanceType", "ml.g5.xlarge", "SageMaker refuses VolumeKmsKeyId on ml.g5.xlarge, whose local disks its hardware encrypts"),
        ("Profile", "Arguments.NetworkConfig.EnableNetworkIsolation", False, "it can reach the network: set EnableNetworkIsolation"),
        ("Tune", "Arguments.TrainingJobDefinition.EnableNetworkIsolation", None, "it can reach the network: set EnableNetworkIsolation"),
        ("CreateModel", "Arguments.EnableNetworkIsolation", None, "it can reach the network: set EnableNetworkIsolation"),
        ("Tune", "Arguments.Tags", None, "it lacks the tags dual-pipeline:cost-center, dual-pipeline:environment, dual-pipeline:project, dual-pipeline:run"),
        ("CreateModel", "Arguments.Tags.0.Key", "env", "it lacks the tags dual-pipeline:environment"),
        ("Train", "Arguments.StoppingCondition.MaxRuntimeInSeconds", None, "nothing ends it if it hangs: set StoppingCondition.MaxRuntimeInSeconds"),
        ("Tune", "Arguments.TrainingJobDefinition.StoppingCondition.MaxWaitTimeInSeconds", None, "it waits for Spot capacity for ever: set StoppingCondition.MaxWaitTimeInSeconds"),
        ("Train", "Arguments.CheckpointConfig", None, "an interruption of Spot capacity loses its work: set CheckpointConfig"),
        ("Tune", "Arguments.TrainingJobDefinition.AlgorithmSpecification.MetricDefinitions", [{"Name": "auc", "Regex": "auc=(.*)"}], "SageMaker refuses MetricDefinitions for its own XGBoost image: print one of the image's metrics"),
        ("Score", "CacheConfig", None, 'its results are not reused: set CacheConfig to {"Enabled": true, "ExpireAfter": "P30D"}'),
        ("Evaluate", INPUT, {"Std:Join": {"On": "/", "Values": ["s3://placeholder-artifact-bucket", {"Get": "Execution.PipelineExecutionId"}]}}, "it would never be taken from the cache: Execution.PipelineExecutionId in its inputs differs from run to run"),
        ("Train", "Arguments.HyperParameters.run", {"Get": "Parameters.RunId"}, "it would never be taken from the cache: RunId in its inputs differs from run to run"),
        ("Train", "Arguments.OutputDataConfig.S3OutputPath", "s3://placeholder-artifact-bucket/census", "two executions would write to one place: begin its outputs with jobs.output_uri"),
        ("Register", "RetryPolicies", None, "throttling would fail it: give it retry_policies"),
        ("Train", "Arguments.Environment.DB_PASSWORD", "hunter2", "DB_PASSWORD looks like a secret in clear text: let the step read it from AWS Secrets Manager"),
        ("Baseline", "Arguments.AppSpecification.ContainerArguments.0", "--api-key=1", "--api-key looks like a secret in clear text: let the step read it from AWS Secrets Manager"),
        pytest.param("Refused", "Arguments.ErrorMessage", "x" * 1301, "its message may have 1301 characters, a failure reason at most 1300", id="long"),
    ],
)  # fmt: skip
def test_the_platforms_own_rules_are_held(document: Json, name: str, path: str, value: Any, problem: str) -> None:
    """A definition broken in one place gets exactly the sentence that says what is wrong and what to set."""
    put(step_of(document, name), path, value)
    assert [f"step {name}: {problem}"] == problems(document)


@pytest.mark.parametrize(
    ("name", "path", "value", "problem"),
    [
        ("Train", CHANNEL, {"Get": TRAIN_OUTPUT.replace("Preprocess", "Prepare")}, f"step Train: {TRAIN_OUTPUT.replace('Preprocess', 'Prepare')!r} refers to step 'Prepare', which does not exist"),
        ("Train", CHANNEL, {"Get": TRAIN_OUTPUT.replace("'train'", "'trane'")}, "refers to output 'trane', which that step does not declare"),
        ("Evaluate", INPUT, {"Get": "Steps.Train.ModelArtifacts.S3Uri"}, "step Evaluate: 'Steps.Train.ModelArtifacts.S3Uri' is not in what DescribeTrainingJob returns"),
        ("Evaluate", INPUT, {"Get": "Steps.Train.ModelArtifacts"}, "step Evaluate: 'Steps.Train.ModelArtifacts' is a structure, not one value"),
        ("Train", "Arguments.HyperParameters.eta", {"Get": "Parameters.Eta"}, "step Train: parameter 'Eta' is not declared"),
        ("Train", "Arguments.Tags.0.Value", {"Get": "Execution.Id"}, "step Train: 'Execution.Id' is no variable of an execution"),
        ("Train", "Arguments.Tags.0.Value", {"Get": "Steps.BadParameters.FailureReason"}, "'Steps.BadParameters.FailureReason' refers to a Fail step, which has no properties"),
        ("Gate", "Arguments.Conditions.0.LeftValue.Std:JsonGet.PropertyFile.Get", "Steps.Evaluate.PropertyFiles.Report", "step Gate: 'Steps.Evaluate.PropertyFiles.Report' is no property file of that step, which has ['EvaluationReport']"),
        ("Evaluate", "PropertyFiles.0.OutputName", "report", "step Evaluate: its property file lies in output 'report', which it does not declare"),
        ("Decide", "Arguments.run_id", {"Get": "Steps.ExternalCheck.OutputParameters['answer']"}, "is no output of that step, which has [\"OutputParameters['note']\"]"),
        ("Refused", "Arguments.ErrorMessage", {"Get": "Steps.Register.ModelPackageArn"}, "refers to a step of the other branch, which never runs in the same execution"),
        ("Register", "DependsOn", ["Nobody"], "step Register: depends on step 'Nobody', which does not exist"),
        ("Train", "DependsOn", ["CheckParameters"], "step Train: SageMaker allows no DependsOn a Condition step, CheckParameters"),
        ("Preprocess", "DependsOn", ["Evaluate"], "steps wait for each other in a circle: Preprocess -> Evaluate -> Baseline -> Preprocess"),
        ("Baseline", "Name", "Train", "two steps are named 'Train'; names are unique"),
    ],
)  # fmt: skip
def test_references_resolve_and_steps_have_an_order(
    document: Json, name: str, path: str, value: Any, problem: str
) -> None:
    """Whatever dangles, crosses branches or goes in a circle is named."""
    put(step_of(document, name), path, value)
    found = problems(document)
    assert any(problem in each for each in found), found


def test_conditions_are_not_nested(document: Json) -> None:
    """SageMaker takes no Condition step in a branch of another."""
    gate = document["Steps"].pop()
    step_of(document, "CheckParameters")["Arguments"]["IfSteps"].append(gate)
    assert "step Gate: SageMaker allows no Condition step inside another, CheckParameters" in problems(document)


@pytest.mark.parametrize(
    ("name", "member", "value", "problem"),
    [
        ("MinAuc", "DefaultValue", "0.9", "parameter MinAuc: its default must be a Float, got '0.9'"),
        ("ProcessingInstanceCount", "DefaultValue", 1.5, "parameter ProcessingInstanceCount: its default must be a Integer, got 1.5"),
        ("CompareWithChampion", "DefaultValue", 1, "parameter CompareWithChampion: its default must be a Boolean, got 1"),
        ("TrainingInstanceType", "DefaultValue", "ml.c5.large", "parameter TrainingInstanceType: its default must be one of"),
        ("RunId", "Type", "Text", "parameter RunId: type 'Text' is none of"),
    ],
)  # fmt: skip
def test_parameters_have_their_types(document: Json, name: str, member: str, value: Any, problem: str) -> None:
    """A default of another type, or outside its enumeration, is found."""
    next(each for each in document["Parameters"] if each["Name"] == name)[member] = value
    found = problems(document)
    assert any(each.startswith(problem) for each in found), found


@pytest.mark.parametrize(
    ("value", "leak"),
    [
        ("arn:aws:iam::111122223333:role/mine-and-mine", "'arn:aws'"),
        ("s3://mine/code", "'s3://m'"),
        ("eu-west-1", "'eu-west-1'"),
    ],
)
def test_nothing_of_one_account_is_compiled_in(document: Json, value: str, leak: str) -> None:
    """Roles, buckets and regions must be placeholders."""
    put(step_of(document, "Train"), "Arguments.Environment.WHERE", value)
    assert f"{leak} belongs to one account or region; use a placeholder" in problems(document)


def test_the_contract_of_the_loops_is_held(document: Json) -> None:
    """A parameter that the outer loop passes must be declared."""
    document["Parameters"] = [each for each in document["Parameters"] if each["Name"] != "ModelApprovalStatus"]
    put(step_of(document, "Register"), "Arguments.ModelApprovalStatus", "Approved")
    wanted = "the outer loop passes parameter ModelApprovalStatus, which the pipeline does not declare"
    assert [wanted] == problems(document)


def test_limits_of_the_service_are_held(document: Json) -> None:
    """Too many parameters, a bad step name."""
    document["Parameters"] += [{"Name": f"P{at}", "Type": "String", "DefaultValue": "x"} for at in range(200)]
    put(step_of(document, "Profile"), "Name", "Pro file")
    found = problems(document)
    assert any("parameters, at most 200 are allowed" in problem for problem in found)
    assert any("step name 'Pro file' must match" in problem for problem in found)


def test_requests_are_checked_more_strictly_than_botocore_does() -> None:
    """Patterns, enums and maxima of nested members."""
    request = {"ModelPackageGroupName": "a b", "Tags": [{"Key": "k", "Value": "v"}] * 51}
    found = list(check_request("CreateModelPackageGroup", request))
    assert any("ModelPackageGroupName is 'a b', which does not match" in problem for problem in found)
    assert any(problem.endswith("allowed is 0 to 50") for problem in found)
