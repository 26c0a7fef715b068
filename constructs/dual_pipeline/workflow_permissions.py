"""What a project's own workflow may do: what follows from its document, with placeholders in the resources."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from dual_pipeline import asl_check
from dual_pipeline.asl import Statement
from dual_pipeline.asl_check import Document, Place
from dual_pipeline.workflow import Workflow
from dual_pipeline.workflow_check import RESOURCE, function_of, integration, literal, placeholders_in

_SAGEMAKER: Final = "arn:${Partition}:sagemaker:${Region}:${AccountId}"
_PAGE: Final = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html"


class _Made(NamedTuple):
    """What a call makes: its noun in the API, its kinds of ARN, and the rule by which a job's end is heard of."""

    actions: tuple[str, ...]
    kinds: tuple[str, ...]
    rule: str = ""


def _job(noun: str, kind: str, rule: str) -> _Made:
    return _Made(
        (f"Create{noun}", f"Describe{noun}", f"Stop{noun}"), (kind,), f"StepFunctionsGetEventsForSageMaker{rule}Rule"
    )


_MADE: Final = {
    "sagemaker:createTrainingJob": _job("TrainingJob", "training-job", "TrainingJobs"),
    "sagemaker:createProcessingJob": _job("ProcessingJob", "processing-job", "ProcessingJobs"),
    "sagemaker:createTransformJob": _job("TransformJob", "transform-job", "TransformJobs"),
    "sagemaker:createHyperParameterTuningJob": _job(
        "HyperParameterTuningJob", "hyper-parameter-tuning-job", "TuningJobs"
    ),
    "sagemaker:createModel": _Made(("CreateModel",), ("model",)),
    "sagemaker:createEndpointConfig": _Made(("CreateEndpointConfig",), ("endpoint-config",)),
    "sagemaker:createEndpoint": _Made(("CreateEndpoint",), ("endpoint", "endpoint-config")),
    "sagemaker:updateEndpoint": _Made(("UpdateEndpoint",), ("endpoint", "endpoint-config")),
}
_ROLES: Final = ("ModelRoleArn", "TrainingRoleArn")


def statements_of(document: Document, *, workflow: Workflow) -> tuple[Statement, ...]:
    """All that the workflow's role may do: what its document takes, and what the workflow adds."""
    derived = (each for place in asl_check.places(document) for each in _task(place))
    found = [*derived, *_roles(document), *_key(document), *workflow.statements]
    return tuple(each for at, each in enumerate(found) if each not in found[:at])


def _task(place: Place) -> Iterator[Statement]:
    called = integration(place)
    if called in _MADE:
        yield from _sagemaker(place, _MADE[called])
    elif called == "sns:publish" and literal(place, "TopicArn") == "${TopicArn}":
        page = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-sns.html"
        yield Statement(actions=("sns:Publish",), resources=("${TopicArn}",), source=page)
        page = "https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html"
        yield Statement(actions=("kms:Decrypt", "kms:GenerateDataKey"), resources=("${KmsKeyArn}",), source=page)
    elif called == "glue:startJobRun" and (job := literal(place, "JobName")):
        yield Statement(
            actions=("glue:BatchStopJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:StartJobRun"),
            resources=(f"arn:${{Partition}}:glue:${{Region}}:${{AccountId}}:job/{job}",),
            source="https://docs.aws.amazon.com/step-functions/latest/dg/connect-glue.html",
        )
    elif called == "lambda:invoke" and (name := literal(place, "FunctionName")):
        function = f"arn:${{Partition}}:lambda:${{Region}}:${{AccountId}}:function:{function_of(name)}"
        yield Statement(
            actions=("lambda:InvokeFunction",),
            resources=(function, f"{function}:*"),
            source="https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html",
        )


def _sagemaker(place: Place, made: _Made) -> Iterator[Statement]:
    match = RESOURCE.fullmatch(place.state["Resource"])
    followed = match is not None and match["pattern"] == "sync"
    actions = (*made.actions, "AddTags", "ListTags") if followed else (made.actions[0], "AddTags")
    yield Statement(
        actions=tuple(f"sagemaker:{action}" for action in actions),
        resources=tuple(f"{_SAGEMAKER}:{kind}/${{NamePrefix}}-*" for kind in made.kinds),
        source=_PAGE,
    )
    if followed:
        yield Statement(
            actions=("events:DescribeRule", "events:PutRule", "events:PutTargets"),
            resources=(f"arn:${{Partition}}:events:${{Region}}:${{AccountId}}:rule/{made.rule}",),
            source=_PAGE,
        )


def _roles(document: Document) -> Iterator[Statement]:
    if roles := tuple(f"${{{name}}}" for name in _ROLES if name in placeholders_in(document)):
        yield Statement(
            actions=("iam:PassRole",),
            resources=roles,
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html",
        )


def _key(document: Document) -> Iterator[Statement]:
    if "KmsKeyArn" in placeholders_in(document):
        page = "https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html"
        yield Statement(actions=("kms:DescribeKey",), resources=("${KmsKeyArn}",), source=page)
        yield Statement(
            actions=("kms:CreateGrant",),
            resources=("${KmsKeyArn}",),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            source=page,
        )
