"""Own workflows: what is refused, what a workflow may do, and that both fit each other."""

import copy
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline.asl import Statement
from dual_pipeline.errors import ConfigError
from dual_pipeline.workflow import Workflow
from dual_pipeline.workflow_check import NAMES, OPTIMISED, PLACEHOLDERS, checked, filled, placeholders_in
from dual_pipeline.workflow_permissions import statements_of

ROOT = Path(__file__).parents[3]
EXAMPLE = Workflow(name="train-save", file="examples/train-and-save/workflow.json", step="alone")
TEXT = (ROOT / EXAMPLE.file).read_text()
INTEGRATION = "arn:aws:states:::"
SOURCE = "https://docs.aws.amazon.com/"


def task(resource: str, parameters: object, **more: object) -> dict[str, Any]:
    """A document of one task."""
    state = {"Type": "Task", "Resource": INTEGRATION + resource, "Parameters": parameters, "End": True}
    return {"StartAt": "A", "States": {"A": state}, **more}


def tuner(**more: object) -> dict[str, Any]:
    """A tuning job within every limit."""
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxRuntimeInSeconds": 600}
    config = {"ResourceLimits": limits}
    return {
        "HyperParameterTuningJobName.$": "$.name",
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": {"StoppingCondition": {"MaxRuntimeInSeconds": 60}},
    } | more


def mapped(**more: object) -> dict[str, Any]:
    """A document of one Map over a state that ends."""
    processor = {"StartAt": "B", "States": {"B": {"Type": "Succeed"}}}
    return {"StartAt": "A", "States": {"A": {"Type": "Map", "End": True, "ItemProcessor": processor} | more}}


def problems(document: object, workflow: Workflow = EXAMPLE) -> list[str]:
    """Each thing that a document is refused for."""
    try:
        checked(json.dumps(document), workflow=workflow)
    except ConfigError as error:
        first, *rest = str(error).split("\n- ")
        assert f"workflow {workflow.name!r} in {workflow.file} cannot be deployed:" == first
        return rest
    return []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Train"}, "Workflow.name must be lower-case letters, digits and hyphens, a letter first, at most 16 characters, got 'Train'"),
        ({"name": "a-b-c-d-e-f-g-h-i-j"}, "Workflow.name must be at most 16 characters, got 'a-b-c-d-e-f-g-h-i-j'"),
        ({"name": "smoke"}, "Workflow.name must be another name than drift, ingest, invocations, model, outcome, outer-loop, p99-latency, quality, smoke, train, which the platform uses, and end in none of them, got 'smoke'"),
        ({"name": "x-outer-loop"}, "Workflow.name must be another name than drift, ingest, invocations, model, outcome, outer-loop, p99-latency, quality, smoke, train, which the platform uses, and end in none of them, got 'x-outer-loop'"),
        ({"file": "../x.json"}, "Workflow.file must be the path of a .json file below the repository's root, such as workflows/train.json, got '../x.json'"),
        ({"file": "/x.json"}, "Workflow.file must be the path of a .json file below the repository's root, such as workflows/train.json, got '/x.json'"),
        ({"timeout": timedelta(days=60)}, "Workflow.timeout must be a timedelta of whole seconds from 0:01:00 to 30 days, 0:00:00, got datetime.timedelta(days=60)"),
        ({"step": "Train"}, "Workflow.step must be the name of a step folder, such as alone, or None, got 'Train'"),
        ({"functions": "f"}, "Workflow.functions must be a tuple of names of Lambda functions, got 'f'"),
        ({"statements": ("s3:*",)}, "Workflow.statements must be a tuple of Statement, got ('s3:*',)"),
    ],
)  # fmt: skip
def test_bad_field_is_named_with_value_and_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    """A workflow's own fields are checked as it is written down."""
    with pytest.raises(ConfigError) as error:
        Workflow(**({"name": "a", "file": "a.json"} | fields))
    assert message == str(error.value)


CAP = {"StoppingCondition": {"MaxRuntimeInSeconds": 60}}
JOB = {"TrainingJobName.$": "$.name", **CAP}
TRAIN = "sagemaker:createTrainingJob.sync"
TUNE = "sagemaker:createHyperParameterTuningJob.sync"
TRANSFORM = "sagemaker:createTransformJob"
NAMED = {"TransformJobName.$": "$.name"}
COSTS = "write one there, for a job without a limit costs until somebody looks"
LIMIT = "lower it, or raise Workflow.timeout and the document's TimeoutSeconds"
DISTRIBUTED = {"StartAt": "B", "States": {"B": {"Type": "Succeed"}}, "ProcessorConfig": {"Mode": "DISTRIBUTED"}}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (task(TRAIN, JOB, TimeoutSeconds=0), "/TimeoutSeconds must be a whole number of seconds above 0, got 0: correct it or leave it out"),
        (task(TRAIN, JOB, TimeoutSeconds=90_000), "/TimeoutSeconds must be at most Workflow.timeout (86400 s), got 90000: lower it, or raise the timeout"),
        (task(TRAIN, JOB | {"RoleArn": "${Role}"}), f"/States/A/Parameters/RoleArn must use known placeholders, got ${{Role}}: there are {', '.join(PLACEHOLDERS)}"),
        (task(TRAIN, JOB | {"RoleArn": "arn:aws:iam::111122223333:role/x"}), "/States/A/Parameters/RoleArn must name no account, for each environment has its own, got 'arn:aws:iam::111122223333:role/x': use a placeholder such as ${TrainingRoleArn}, ${XgboostImage} or ${AccountId}"),
        (task(TRAIN, JOB | {"X": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/x:1"}), "/States/A/Parameters/X must name no account, for each environment has its own, got '141502667606.dkr.ecr.eu-west-1.amazonaws.com/x:1': use a placeholder such as ${TrainingRoleArn}, ${XgboostImage} or ${AccountId}"),
        (task(TRAIN, {"TrainingJobName.$": "$.name"}), f"/States/A must give StoppingCondition.MaxRuntimeInSeconds as a whole number above 0, got none: {COSTS}"),
        (task(TRAIN, JOB | {"StoppingCondition": {"MaxRuntimeInSeconds.$": "$.s"}}), f"/States/A must give StoppingCondition.MaxRuntimeInSeconds as a whole number above 0, got an expression: {COSTS}"),
        (task("sagemaker:createProcessingJob", {"ProcessingJobName.$": "$.name", "StoppingCondition.$": "$.s"}), f"/States/A must give StoppingCondition.MaxRuntimeInSeconds as a whole number above 0, got an expression: {COSTS}"),
        (task(TRAIN, JOB | {"StoppingCondition": {"MaxRuntimeInSeconds": 0}}), f"/States/A must give StoppingCondition.MaxRuntimeInSeconds as a whole number above 0, got 0: {COSTS}"),
        (task(TRAIN, JOB | {"StoppingCondition": {"MaxRuntimeInSeconds": 86_401}}), f"/States/A must give StoppingCondition.MaxRuntimeInSeconds within the workflow's own limit (86400 s), got 86401: {LIMIT}"),
        (task(TRAIN, JOB, TimeoutSeconds=59), f"/States/A must give StoppingCondition.MaxRuntimeInSeconds within the workflow's own limit (59 s), got 60: {LIMIT}"),
        (task(TRAIN, JOB | {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90_000}}), f"/States/A must give StoppingCondition.MaxWaitTimeInSeconds within the workflow's own limit (86400 s), got 90000: {LIMIT}"),
        (task(TRAIN, JOB | {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds.$": "$.s"}}), f"/States/A must give StoppingCondition.MaxWaitTimeInSeconds as a whole number above 0, got an expression: {COSTS}"),
        (task(TRAIN, CAP), "/States/A must give TrainingJobName, got none: build it on ${NamePrefix}"),
        (task(TUNE, tuner(TrainingJobDefinition={})), f"/States/A must give TrainingJobDefinition.StoppingCondition.MaxRuntimeInSeconds as a whole number above 0, got none: {COSTS}"),
        (task(TUNE, tuner(TrainingJobDefinitions=[CAP, {}])), f"/States/A must give TrainingJobDefinitions.1.StoppingCondition.MaxRuntimeInSeconds as a whole number above 0, got none: {COSTS}"),
        (task(TUNE, tuner(HyperParameterTuningJobConfig={"ResourceLimits": {"MaxRuntimeInSeconds": 600}})), f"/States/A must give HyperParameterTuningJobConfig.ResourceLimits.MaxNumberOfTrainingJobs as a whole number above 0, got none: {COSTS}"),
        (task(TUNE, tuner(HyperParameterTuningJobConfig={"ResourceLimits": {"MaxNumberOfTrainingJobs": 4}})), f"/States/A must give HyperParameterTuningJobConfig.ResourceLimits.MaxRuntimeInSeconds as a whole number above 0, got none: {COSTS}"),
        (task(TRANSFORM, NAMED), "/States/A must call sagemaker:createTransformJob.sync, got no .sync: follow the job, for SageMaker has no limit of run time for transform jobs"),
        (task(f"{TRANSFORM}.sync", NAMED), "/States/A must have TimeoutSeconds as a whole number above 0, got none: add it, for SageMaker has no limit of run time for transform jobs"),
        (mapped(ItemProcessor=DISTRIBUTED), "/States/A must have the ProcessorConfig.Mode INLINE, got 'DISTRIBUTED', for a distributed Map starts executions of its own, which the role may not and the limit does not end: use an inline Map"),
        (mapped(ItemReader={}), "/States/A must have no ItemReader, got one, for it belongs to a distributed Map, which starts executions of its own: use Items or ItemsPath"),
        (mapped(ResultWriter={}), "/States/A must have no ResultWriter, got one, for it belongs to a distributed Map, which starts executions of its own: let a task write"),
        ({"StartAt": "A", "States": {"A": task(TRAIN, JOB)["States"]["A"] | {"Credentials": {}}}}, "/States/A must have no Credentials, got one, for the task would act by another role than the one that is made for the document: delete it"),
        (task(TRAIN, JOB | {"TrainingJobName": "mine"}), "/States/A must give TrainingJobName by an expression, for a name is taken after the first execution, got 'mine': build it on ${NamePrefix} and the execution's name"),
        (task("sagemaker:createEndpoint", {"EndpointName": "mine"}), "/States/A must begin EndpointName with ${NamePrefix}- and go on, got 'mine': rename it"),
        (task("sagemaker:createEndpoint", {"EndpointName": "${NamePrefix}"}), "/States/A must begin EndpointName with ${NamePrefix}- and go on, got '${NamePrefix}': rename it"),
        (task("sagemaker:updateEndpoint", {"EndpointName": "${NamePrefix}-"}), "/States/A must begin EndpointName with ${NamePrefix}- and go on, got '${NamePrefix}-': rename it"),
        (task("sagemaker:createModel.sync", {"ModelName.$": "$.name"}), "/States/A/Resource must have a pattern that sagemaker:createModel knows (none), got 'arn:aws:states:::sagemaker:createModel.sync': change its ending"),
        (task("aws-sdk:s3:getObject.sync", {}), "/States/A/Resource must have a pattern that s3:getObject knows (none or .waitForTaskToken), got 'arn:aws:states:::aws-sdk:s3:getObject.sync': change its ending"),
        (task("sagemaker:startPipelineExecution.sync", {}), f"/States/A/Resource must be a known integration, got 'arn:aws:states:::sagemaker:startPipelineExecution.sync': there are {', '.join(OPTIMISED)}, and aws-sdk:<service>:<action>"),
        (task("aws-sdk:s3:getObject", {}), "/States/A must be allowed by Workflow.statements, for what arn:aws:states:::aws-sdk:s3:getObject takes does not follow from the document, got no action of s3: add a Statement"),
        (task("dynamodb:getItem", {}), "/States/A must be allowed by Workflow.statements, for what arn:aws:states:::dynamodb:getItem takes does not follow from the document, got no action of dynamodb: add a Statement"),
        (task("sns:publish", {"TopicArn": "x"}), "/States/A must be allowed by Workflow.statements, for what arn:aws:states:::sns:publish takes does not follow from the document, got no action of sns: add a Statement"),
        (task("lambda:invoke", {"FunctionName": "score"}), "/States/A must call a function of Workflow.functions (none), got 'score': name it there"),
        (task("lambda:invoke", {"FunctionName.$": "$.f"}), "/States/A must call a function of Workflow.functions (none), got an expression: name it there"),
        ({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:lambda:eu-west-1:1:function:f", "End": True}}}, "/States/A/Resource must be an integration, arn:aws:states:::<service>:<action> or arn:aws:states:::aws-sdk:<service>:<action>, got 'arn:aws:lambda:eu-west-1:1:function:f': call a Lambda function by arn:aws:states:::lambda:invoke"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_sentence(document: dict[str, Any], problem: str) -> None:
    """What, got, do; and where it stands."""
    assert [problem] == problems(document)


@pytest.mark.parametrize(
    "document",
    [
        task(TUNE, tuner()),
        {"StartAt": "A", "States": {"A": task(f"{TRANSFORM}.sync", NAMED)["States"]["A"] | {"TimeoutSeconds": 60}}},
        task("sagemaker:updateEndpoint", {"EndpointName": "${NamePrefix}-live"}),
        mapped(),
    ],
)
def test_what_ends_may_run(document: dict[str, Any]) -> None:
    """Jobs within the limit, an endpoint that IAM allows, an inline Map."""
    assert [] == problems(document)


@pytest.mark.parametrize("action", ["createTrainingJob", "createTransformJob"])
def test_jobs_of_the_sdk_are_capped_alike(action: str) -> None:
    """A statement that allows a call does not let it cost without end."""
    allowed = Statement(actions=(f"sagemaker:{action}",), resources=("x",), source=SOURCE)
    assert 1 == len(problems(task(f"aws-sdk:sagemaker:{action}", {}), replace(EXAMPLE, statements=(allowed,))))


def test_code_needs_a_step() -> None:
    """A document that names code without Workflow.step is refused."""
    found = problems(json.loads(TEXT), replace(EXAMPLE, step=None))
    where = "/States/Train/Parameters/InputDataConfig/0/DataSource/S3DataSource/S3Uri"
    assert f"{where} must have code to name, got ${{CodeUri}} without Workflow.step: set it to a step folder" in found


def test_all_mistakes_are_told_at_once() -> None:
    """Who exports a document corrects it once."""
    document = task(TRAIN, {"RoleArn": "arn:aws:iam::111122223333:role/x", "TrainingJobName": "mine"})
    assert 3 == len(problems(document))


def test_what_is_no_document_names_workflow_and_file() -> None:
    """A text that is no JSON says which file it is."""
    with pytest.raises(
        ConfigError, match=r"^workflow 'train-save' in examples/train-and-save/workflow\.json: the document"
    ):
        checked("", workflow=EXAMPLE)


def test_a_limit_is_put_in_where_there_is_none() -> None:
    """Workflow.timeout is the limit of a document without one, and a shorter one of its own stays."""
    document = json.loads(TEXT)
    assert 7200 == checked(TEXT, workflow=EXAMPLE)["TimeoutSeconds"]
    del document["TimeoutSeconds"]
    assert 86_400 == checked(json.dumps(document), workflow=EXAMPLE)["TimeoutSeconds"]


@pytest.mark.parametrize(
    "document",
    [
        task("lambda:invoke", {"FunctionName": "score"}),
        task("lambda:invoke", {"FunctionName": "arn:${Partition}:lambda:${Region}:${AccountId}:function:score:live"}),
    ],
)
def test_a_function_that_is_named_may_be_called(document: dict[str, Any]) -> None:
    """By its name or its ARN; the role gets this function."""
    workflow = replace(EXAMPLE, functions=("score",))
    assert [] == problems(document, workflow)
    (statement,) = statements_of(document, workflow=workflow)
    arn = "arn:${Partition}:lambda:${Region}:${AccountId}:function:score"
    assert (("lambda:InvokeFunction",), (arn, f"{arn}:*")) == (statement.actions, statement.resources)


def test_a_statement_allows_what_does_not_follow() -> None:
    """Given statements are the role's too, with their placeholders."""
    given_ = Statement(actions=("s3:GetObject",), resources=("arn:aws:s3:::${DataBucket}/x/*",), source=SOURCE)
    workflow = replace(EXAMPLE, statements=(given_,))
    document = task("aws-sdk:s3:getObject", {"Bucket": "${DataBucket}", "Key": "x/y"})
    assert [] == problems(document, workflow)
    assert (given_,) == statements_of(document, workflow=workflow)


def test_the_example_may_do_what_it_does_and_no_more() -> None:
    """Train, follow and stop; create a model; pass two roles; let SageMaker use the key."""
    statements = statements_of(json.loads(TEXT), workflow=EXAMPLE)
    sagemaker = "arn:${Partition}:sagemaker:${Region}:${AccountId}"
    rule = "arn:${Partition}:events:${Region}:${AccountId}:rule/StepFunctionsGetEventsForSageMakerTrainingJobsRule"
    assert [
        (
            ("CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob", "AddTags", "ListTags"),
            (f"{sagemaker}:training-job/${{NamePrefix}}-*",),
        ),
        (("DescribeRule", "PutRule", "PutTargets"), (rule,)),
        (("CreateModel", "AddTags"), (f"{sagemaker}:model/${{NamePrefix}}-*",)),
        (("PassRole",), ("${ModelRoleArn}", "${TrainingRoleArn}")),
        (("DescribeKey",), ("${KmsKeyArn}",)),
        (("CreateGrant",), ("${KmsKeyArn}",)),
    ] == [(tuple(a.partition(":")[2] for a in each.actions), each.resources) for each in statements]
    assert {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}} == statements[3].conditions


def test_placeholders_are_filled_everywhere() -> None:
    """In texts of any depth; nothing else changes."""
    values = {name: f"<{name}>" for name in PLACEHOLDERS}
    document = filled(json.loads(TEXT), values)
    assert set() == placeholders_in(document)
    assert "<TrainingRoleArn>" == document["States"]["Train"]["Parameters"]["RoleArn"]
    assert "s3://<ArtifactBucket>/<Project>/executions/" == document["States"]["Train"]["Parameters"]["OutputDataConfig"]["S3OutputPath"]  # fmt: skip
    plain = {"a": [1, None, {"b": "$x ${ {% $y{'z': 1} %}"}]}
    assert plain == filled(copy.deepcopy(plain), values)


@given(st.sampled_from(sorted(OPTIMISED)), st.booleans(), st.booleans())
def test_what_passes_has_its_permission(called: str, is_sync: bool, is_given: bool) -> None:
    """Whatever integration a document uses, a document that is not refused gives its role that service's action."""
    service = called.partition(":")[0]
    pattern = ".sync" if called == TRANSFORM or (is_sync and "sync" in OPTIMISED[called]) else ""
    field = NAMES.get(called, ("JobName", False))[0]
    parameters = tuner() | CAP | {f"{field}.$": "$.x", "FunctionName": "f"}
    extra = Statement(actions=(f"{service}:Something",), resources=("x",), source=SOURCE)
    workflow = replace(EXAMPLE, functions=("f",), statements=(extra,) if is_given else ())
    document = task(f"{called}{pattern}", parameters)
    document["States"]["A"]["TimeoutSeconds"] = 60
    if problems(document, workflow):
        assert not is_given
        return
    actions = {action for each in statements_of(document, workflow=workflow) for action in each.actions}
    assert any(action.startswith(f"{service}:") for action in actions)


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Resource", "Parameters", "Arguments", "StoppingCondition", "TimeoutSeconds", "FunctionName"]) | st.text(max_size=3), inner, max_size=4), max_leaves=15))  # fmt: skip
def test_no_task_breaks_the_check(state: Any) -> None:
    """Whatever a task holds, it is judged in sentences or passes."""
    body = state if isinstance(state, dict) else {"Parameters": state}
    document = {"StartAt": "A", "States": {"A": {**body, "Type": "Task", "End": True}}}
    for problem in problems(document):
        assert ", got " in problem
