"""IAM resources of the calls that ministack does not know: SageMaker and Application Auto Scaling.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon SageMaker AI" and
"... for AWS Application Auto Scaling".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "TrainingJob": ("training-job", "TrainingJobName"),
    "ProcessingJob": ("processing-job", "ProcessingJobName"),
    "TransformJob": ("transform-job", "TransformJobName"),
    "HyperParameterTuningJob": ("hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
    "TrainingJobsForHyperParameterTuningJob": ("hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
    "Model": ("model", "ModelName"),
    "EndpointConfig": ("endpoint-config", "EndpointConfigName"),
    "Endpoint": ("endpoint", "EndpointName"),
    "EndpointWeightsAndCapacities": ("endpoint", "EndpointName"),
    "Pipeline": ("pipeline", "PipelineName"),
    "PipelineExecution": ("pipeline", "PipelineName"),
    "PipelineExecutions": ("pipeline", "PipelineName"),
    "ModelPackage": ("model-package", "ModelPackageName"),
    "ModelPackageGroup": ("model-package-group", "ModelPackageGroupName"),
}
_RESOURCE_ARNS: Final = ("PipelineExecutionArn", "ModelPackageArn", "ResourceArn", "ResourceARN", "PipelineVersionArn")

PASSED_ROLES: Final[Mapping[str, str]] = {
    "CreateTrainingJob": "RoleArn",
    "CreateProcessingJob": "RoleArn",
    "CreateHyperParameterTuningJob": "TrainingJobDefinition.RoleArn",
    "CreateModel": "ExecutionRoleArn",
    "CreatePipeline": "RoleArn",
    "UpdatePipeline": "RoleArn",
    "CreateEndpointConfig": "ExecutionRoleArn",
}


def passed_role(operation: str, request: Mapping[str, Any]) -> str | None:
    """The role that a SageMaker call hands over, if it does."""
    value: Any = request
    for member in PASSED_ROLES.get(operation, "").split("."):
        value = value.get(member) if isinstance(value, Mapping) else None
    return str(value) if value else None


def sagemaker_resource(operation: str, request: Mapping[str, Any], *, region: str, account: str) -> str:
    """The ARN that IAM checks a SageMaker call on, `*` for calls without resource (all List but pipeline ones)."""
    base = f"arn:aws:sagemaker:{region}:{account}:"
    for member in _RESOURCE_ARNS:
        if request.get(member):
            return str(request[member])
    verb = re.match(r"[A-Z][a-z]+", operation)
    noun = operation[verb.end() :] if verb else ""
    if operation == "InvokeEndpoint":
        noun = "Endpoint"
    elif operation.startswith("List") and noun != "PipelineExecutions":
        return "*"
    kind = _KINDS.get(noun)
    if kind is None:
        return "*"
    name = str(request.get(kind[1]) or "")
    if noun == "ModelPackage" and operation == "CreateModelPackage" and not name:
        name = f"{request.get('ModelPackageGroupName', '')}/new"
    return name if name.startswith("arn:") else f"{base}{kind[0]}/{name.lower() if _lower(noun) else name}"


def _lower(noun: str) -> bool:
    return noun in ("Model", "Endpoint", "EndpointConfig")


def sagemaker_extra_checks(
    operation: str, request: Mapping[str, Any], resource: str, *, region: str, account: str
) -> Iterator[tuple[str, str]]:
    """Further (action, resource) pairs a call needs beside its own: tags, and the second resource it names."""
    if request.get("Tags") and operation.startswith("Create"):
        yield "sagemaker:AddTags", resource
    if operation in ("CreateEndpoint", "UpdateEndpoint"):
        config = str(request.get("EndpointConfigName", ""))
        yield f"sagemaker:{operation}", f"arn:aws:sagemaker:{region}:{account}:endpoint-config/{config.lower()}"


_CONDITION_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "cloudwatch:PutMetricData": {"cloudwatch:namespace": "Namespace"},
    **{
        f"sagemaker:{operation}": {"sagemaker:modelapprovalstatus": "ModelApprovalStatus"}
        for operation in ("CreateModelPackage", "UpdateModelPackage")
    },
    **{
        f"application-autoscaling:{operation}": {
            "application-autoscaling:service-namespace": "ServiceNamespace",
            "application-autoscaling:scalable-dimension": "ScalableDimension",
        }
        for operation in (
            "RegisterScalableTarget",
            "DeregisterScalableTarget",
            "PutScalingPolicy",
            "DeleteScalingPolicy",
        )
    },
}


def condition_keys(action: str, request: Mapping[str, Any]) -> dict[str, str]:
    """Condition keys of single services that ministack does not fill in.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html
    """
    return {key: str(request[member]) for key, member in _CONDITION_KEYS.get(action, {}).items() if request.get(member)}


def s3_write_conditions(action: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The condition keys of a conditional write, which ministack does not fill in.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    """
    if action != "s3:PutObject":
        return {}
    return {f"s3:{name}": headers[name] for name in ("if-match", "if-none-match") if headers.get(name)}


def leading_keys(request: Mapping[str, Any], hash_key: Callable[[str, str | None], str | None]) -> list[str]:
    """The partition keys a DynamoDB call names, for `dynamodb:LeadingKeys`; `hash_key` knows a table's or an index'.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    found = [
        value
        for table, index, part in _dynamodb_parts(request)
        if (name := hash_key(table.rpartition("/")[2], index))
        for value in _partition_keys(part, name)
    ]
    return list(dict.fromkeys(found))


def _dynamodb_parts(request: Mapping[str, Any]) -> Iterator[tuple[str, str | None, Mapping[str, Any]]]:
    """(table, index, what names the key) of a single call, a transaction's items and a batch's."""
    if request.get("TableName"):
        yield str(request["TableName"]), request.get("IndexName"), request
    for item in request.get("TransactItems") or []:
        for part in item.values():
            yield str(part.get("TableName", "")), None, part
    for table, asked in (request.get("RequestItems") or {}).items():
        if isinstance(asked, Mapping):
            yield from ((table, None, {"Key": key}) for key in asked.get("Keys") or [])
        else:
            yield from ((table, None, part) for change in asked for part in change.values())


def _partition_keys(part: Mapping[str, Any], name: str) -> Iterator[str]:
    for member in ("Key", "Item"):
        if value := (part.get(member) or {}).get(name):
            yield _scalar(value)
    if condition := (part.get("KeyConditions") or {}).get(name):
        yield from (_scalar(value) for value in condition.get("AttributeValueList") or [])
    names, values = part.get("ExpressionAttributeNames") or {}, part.get("ExpressionAttributeValues") or {}
    for left, right in _EQUAL.findall(str(part.get("KeyConditionExpression") or "")):
        for attribute, placeholder in ((left, right), (right, left)):
            if names.get(attribute, attribute) == name and placeholder in values:
                yield _scalar(values[placeholder])


_EQUAL: Final = re.compile(r"([#:]?[\w.-]+)\s*=\s*([#:]?[\w.-]+)")


def _scalar(value: Mapping[str, Any]) -> str:
    return str(next(iter(value.values()), ""))


def alarm_name(request: Mapping[str, Any]) -> str:
    """The first alarm that a CloudWatch call lists in AlarmNames (JSON or Query protocol), which ministack overlooks.

    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
    """
    listed = request.get("AlarmNames") or [request.get("AlarmNames.member.1")]
    return str(listed[0] or "") if isinstance(listed, list) else ""


def alarm_resources(action: str, request: Mapping[str, Any], *, region: str, account: str) -> list[str]:
    """The alarms that a call for several of them is checked on; without names it is checked on all of them.

    Source: Service Authorization Reference, "... for Amazon CloudWatch" (DescribeAlarms and DeleteAlarms: alarm*).
    """
    if action not in ("cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"):
        return []
    given = request.get("AlarmNames")
    listed = [value for key, value in sorted(request.items()) if key.startswith("AlarmNames.member.")]
    names = given if isinstance(given, list) else listed
    return [f"arn:aws:cloudwatch:{region}:{account}:alarm:{name}" for name in names or ["*"]]


def autoscaling_resource(*, region: str, account: str) -> str:
    """Application Auto Scaling's targets have generated ids, so a policy that names one cannot be written: `*`-like."""
    return f"arn:aws:application-autoscaling:{region}:{account}:scalable-target/any"
