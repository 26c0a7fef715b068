"""Whether a project's own workflow may be deployed, and what it may do: checked before anything is.

An integration is known by the patterns that it has:
https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dual_pipeline import asl_check
from dual_pipeline.asl_check import Document, Place
from dual_pipeline.errors import ConfigError
from dual_pipeline.job_caps import cap_problems, is_count, transform_problems
from dual_pipeline.workflow import Workflow

# What `${...}` in a document may name; `CodeUri` and `CodeFile` are of the step that the workflow names.
PLACEHOLDERS: Final = (
    "AccountId",
    "ArtifactBucket",
    "CodeFile",
    "CodeUri",
    "CostCenter",
    "DataBucket",
    "Environment",
    "KmsKeyArn",
    "ModelRoleArn",
    "NamePrefix",
    "Partition",
    "Project",
    "Region",
    "TopicArn",
    "TrainingRoleArn",
    "XgboostImage",
)
_CODE: Final = ("CodeFile", "CodeUri")
_PLACEHOLDER: Final = re.compile(r"\$\{(\w+)\}")
_ACCOUNT: Final = re.compile(r"arn:[^:\s]*:[^:\s]*:[^:\s]*:\d{12}:|\b\d{12}\.dkr\.ecr\.")

RESOURCE: Final = re.compile(
    r"arn:aws:states:::(?P<sdk>aws-sdk:)?(?P<service>[a-z0-9]+):(?P<action>[a-z]\w*)(?:\.(?P<pattern>[\w:]+))?"
)
_JOB: Final = ("", "sync")
_CALL: Final = ("",)
_WITH_TOKEN: Final = ("", "waitForTaskToken")
OPTIMISED: Final[Mapping[str, tuple[str, ...]]] = {
    "dynamodb:deleteItem": _CALL,
    "dynamodb:getItem": _CALL,
    "dynamodb:putItem": _CALL,
    "dynamodb:updateItem": _CALL,
    "events:putEvents": _WITH_TOKEN,
    "glue:startJobRun": _JOB,
    "lambda:invoke": _WITH_TOKEN,
    "sagemaker:createEndpoint": _CALL,
    "sagemaker:createEndpointConfig": _CALL,
    "sagemaker:createHyperParameterTuningJob": _JOB,
    "sagemaker:createLabelingJob": _JOB,
    "sagemaker:createModel": _CALL,
    "sagemaker:createProcessingJob": _JOB,
    "sagemaker:createTrainingJob": _JOB,
    "sagemaker:createTransformJob": _JOB,
    "sagemaker:updateEndpoint": _CALL,
    "sns:publish": _WITH_TOKEN,
    "sqs:sendMessage": _WITH_TOKEN,
    "states:startExecution": ("", "sync", "sync:2", "waitForTaskToken"),
}
# What carries each thing's name, and whether it can be made once only under a name.
NAMES: Final[Mapping[str, tuple[str, bool]]] = {
    "sagemaker:createEndpoint": ("EndpointName", False),
    "sagemaker:createEndpointConfig": ("EndpointConfigName", True),
    "sagemaker:createHyperParameterTuningJob": ("HyperParameterTuningJobName", True),
    "sagemaker:createModel": ("ModelName", True),
    "sagemaker:createProcessingJob": ("ProcessingJobName", True),
    "sagemaker:createTrainingJob": ("TrainingJobName", True),
    "sagemaker:createTransformJob": ("TransformJobName", True),
    "sagemaker:updateEndpoint": ("EndpointName", False),
}
# What neither the role nor the limit would hold for.
_REFUSED: Final[Mapping[str, str]] = {
    "Credentials": "the task would act by another role than the one that is made for the document: delete it",
    "ItemReader": "it belongs to a distributed Map, which starts executions of its own: use Items or ItemsPath",
    "ResultWriter": "it belongs to a distributed Map, which starts executions of its own: let a task write",
}


def checked(text: str, *, workflow: Workflow) -> Document:
    """The document of a workflow with its time limit in it; raises ConfigError with everything that is wrong."""
    try:
        document = asl_check.read(text)
    except ConfigError as error:
        raise ConfigError(f"workflow {workflow.name!r} in {workflow.file}: {error}") from None
    found = [*asl_check.problems(document), *_problems(document, workflow)]
    if found:
        said = "\n".join(f"- {each}" for each in found)
        raise ConfigError(f"workflow {workflow.name!r} in {workflow.file} cannot be deployed:\n{said}")
    return {"TimeoutSeconds": int(workflow.timeout.total_seconds())} | document


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """A document, or any part of it, with its placeholders replaced."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: values[match[1]], value)
    if isinstance(value, dict):
        return {key: filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, values) for item in value]
    return value


def placeholders_in(value: Any) -> set[str]:
    """The names of the placeholders in a document or a part of it."""
    return {name for _, text in asl_check.strings(value) for name in _PLACEHOLDER.findall(text)}


def integration(place: Place) -> str | None:
    """`service:action` of a task's resource, with `aws-sdk:` before it where it is so called; None for none."""
    match = RESOURCE.fullmatch(str(place.state.get("Resource"))) if place.state.get("Type") == "Task" else None
    return f"{match['sdk'] or ''}{match['service']}:{match['action']}" if match else None


def arguments(place: Place) -> Mapping[str, Any]:
    """What a task gives to its integration."""
    given = place.state.get("Arguments" if place.language == "JSONata" else "Parameters")
    return given if isinstance(given, dict) else {}


def literal(place: Place, name: str) -> str | None:
    """An argument that stands in the document as it is, no expression; None when there is no such."""
    value = arguments(place).get(name)
    computed = place.language == "JSONata" and isinstance(value, str) and value.startswith("{%")
    return value if isinstance(value, str) and not computed else None


def _problems(document: Document, workflow: Workflow) -> Iterator[str]:
    yield from _limit_problems(document, workflow)
    for where, text in asl_check.strings(document):
        for name in _PLACEHOLDER.findall(text):
            if name not in PLACEHOLDERS:
                yield f"{where} must use known placeholders, got ${{{name}}}: there are {', '.join(PLACEHOLDERS)}"
            elif name in _CODE and workflow.step is None:
                yield f"{where} must have code to name, got ${{{name}}} without Workflow.step: set it to a step folder"
        if _ACCOUNT.search(text):
            yield (
                f"{where} must name no account, for each environment has its own, got {text[:100]!r}: use a placeholder"
                " such as ${TrainingRoleArn}, ${XgboostImage} or ${AccountId}"
            )
    limit_s = _limit_s(document, workflow)
    for place in asl_check.places(document):
        yield from _refusals(place)
        if place.state.get("Type") == "Task" and isinstance(place.state.get("Resource"), str):
            yield from _task_problems(place, workflow, limit_s)


def _limit_s(document: Document, workflow: Workflow) -> int:
    """How long an execution may take."""
    most, limit = int(workflow.timeout.total_seconds()), document.get("TimeoutSeconds")
    return limit if is_count(limit) and limit <= most else most


def _limit_problems(document: Document, workflow: Workflow) -> Iterator[str]:
    if "TimeoutSeconds" not in document:
        return
    limit, most = document["TimeoutSeconds"], int(workflow.timeout.total_seconds())
    if not is_count(limit):
        yield f"/TimeoutSeconds must be a whole number of seconds above 0, got {limit!r}: correct it or leave it out"
    elif limit > most:
        yield (
            f"/TimeoutSeconds must be at most Workflow.timeout ({most} s), got {limit}: lower it, or raise the timeout"
        )


def _refusals(place: Place) -> Iterator[str]:
    for field, reason in _REFUSED.items():
        if field in place.state:
            yield f"{place.where} must have no {field}, got one, for {reason}"
    processor = place.state.get("ItemProcessor")
    config = processor.get("ProcessorConfig") if isinstance(processor, dict) else None
    if isinstance(config, dict) and config.get("Mode", "INLINE") != "INLINE":
        yield (
            f"{place.where} must have the ProcessorConfig.Mode INLINE, got {config['Mode']!r}, for a distributed Map"
            " starts executions of its own, which the role may not and the limit does not end: use an inline Map"
        )


def _task_problems(place: Place, workflow: Workflow, limit_s: int) -> Iterator[str]:
    where, resource = place.where, place.state["Resource"]
    match = RESOURCE.fullmatch(resource)
    if match is None:
        yield (
            f"{where}/Resource must be an integration, arn:aws:states:::<service>:<action> or"
            f" arn:aws:states:::aws-sdk:<service>:<action>, got {resource[:100]!r}: call a Lambda function by"
            " arn:aws:states:::lambda:invoke"
        )
        return
    called, pattern = f"{match['service']}:{match['action']}", match["pattern"] or ""
    patterns = _WITH_TOKEN if match["sdk"] else OPTIMISED.get(called)
    if patterns is None:
        yield (
            f"{where}/Resource must be a known integration, got {resource!r}: there are {', '.join(OPTIMISED)}, and"
            " aws-sdk:<service>:<action>"
        )
        return
    if pattern not in patterns:
        known = " or ".join(f".{each}" if each else "none" for each in patterns)
        yield f"{where}/Resource must have a pattern that {called} knows ({known}), got {resource!r}: change its ending"
        return
    yield from cap_problems(where, called=called, given=arguments(place), limit_s=limit_s)
    if called == "sagemaker:createTransformJob":
        yield from transform_problems(where, pattern=pattern, state=place.state, limit_s=limit_s)
    if match["sdk"]:
        yield from _grant_problems(place, match["service"], workflow)
        return
    if called == "lambda:invoke":
        yield from _function_problems(place, workflow)
    elif not follows(place, called):
        yield from _grant_problems(place, match["service"], workflow)
    yield from _name_problems(place, called)


def follows(place: Place, called: str) -> bool:
    """Whether what a task takes follows from the document: it names what it makes or calls."""
    if called == "sns:publish":
        return literal(place, "TopicArn") == "${TopicArn}"
    if called == "glue:startJobRun":
        return literal(place, "JobName") is not None
    return called in NAMES


# Where IAM calls a service otherwise than the AWS SDK does.
_IAM: Final = {
    "applicationautoscaling": "application-autoscaling",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sagemakerruntime": "sagemaker",
    "sfn": "states",
}


def iam_service(service: str) -> str:
    """A service's prefix in IAM actions."""
    return _IAM.get(service, service)


def _grant_problems(place: Place, service: str, workflow: Workflow) -> Iterator[str]:
    prefix = iam_service(service)
    if not any(action.startswith(f"{prefix}:") for each in workflow.statements for action in each.actions):
        yield (
            f"{place.where} must be allowed by Workflow.statements, for what {place.state['Resource']} takes does not"
            f" follow from the document, got no action of {prefix}: add a Statement"
        )


def _function_problems(place: Place, workflow: Workflow) -> Iterator[str]:
    name = literal(place, "FunctionName")
    if name is None or function_of(name) not in workflow.functions:
        got = "an expression" if name is None else repr(name)
        yield (
            f"{place.where} must call a function of Workflow.functions ({', '.join(workflow.functions) or 'none'}), got"
            f" {got}: name it there"
        )


def function_of(name: str) -> str:
    """The bare name of a Lambda function that is given by its name or its ARN."""
    return name.partition(":function:")[2].partition(":")[0] or name


def _name_problems(place: Place, called: str) -> Iterator[str]:
    if called not in NAMES:
        return
    field, once = NAMES[called]
    name = literal(place, field)
    if not {field, f"{field}.$"} & set(arguments(place)):
        yield f"{place.where} must give {field}, got none: build it on ${{NamePrefix}}"
    elif name is not None and once:
        yield (
            f"{place.where} must give {field} by an expression, for a name is taken after the first execution, got"
            f" {name!r}: build it on ${{NamePrefix}} and the execution's name"
        )
    elif name is not None and not re.match(r"\$\{NamePrefix\}-.", name):
        yield f"{place.where} must begin {field} with ${{NamePrefix}}- and go on, got {name!r}: rename it"
