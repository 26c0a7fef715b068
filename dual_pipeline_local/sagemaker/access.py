"""Which permissions an operation asks of its caller.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from collections.abc import Iterator, Mapping

from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.cloud import Cloud
from dual_pipeline_local.sagemaker.control import arn

# request member -> type in the ARN of the resource that it names; the first member found decides
_NAMES: Mapping[str, str] = {
    "PipelineExecutionArn": "",
    "ResourceArn": "",
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "ModelPackageArn": "",
    "ModelPackageName": "model-package",
    "ModelPackageGroupName": "model-package-group",
    "PipelineName": "pipeline",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
}


def resource(operation: str, request: Record, caller: Caller) -> str:
    """The ARN an operation is authorized on, `*` for those that take no resource."""
    if operation.startswith("List") and operation not in _LISTS_OF_ONE:
        return "*"
    for member, kind in _NAMES.items():
        name = request.get(member)
        if name:
            return str(name) if str(name).startswith("arn:") else arn(caller, f"{kind}/{name}")
    return "*"


def required(operation: str, request: Record, caller: Caller) -> Iterator[tuple[str, str]]:
    """Actions and resources that an operation is authorized for; one with tags needs sagemaker:AddTags as well."""
    target = resource(operation, request, caller)
    yield f"sagemaker:{operation}", target
    if operation.startswith("Create") and request.get("Tags"):
        yield "sagemaker:AddTags", target
    if operation in ("CreateEndpoint", "UpdateEndpoint"):
        yield f"sagemaker:{operation}", arn(caller, f"endpoint-config/{request.get('EndpointConfigName')}")


def authorize(cloud: Cloud, operation: str, request: Record, caller: Caller) -> None:
    """Refuse with AccessDeniedException unless the caller has every permission."""
    for action, target in required(operation, request, caller):
        cloud.authorize(caller, action, target)


_LISTS_OF_ONE = frozenset(
    {"ListPipelineExecutions", "ListPipelineExecutionSteps", "ListPipelineParametersForExecution", "ListTags"}
)
