"""What SageMaker needs of the AWS around it: identities, credentials and the event bus."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from botocore.config import Config

from dual_pipeline_local import cloudwatch, events, gateway, iam, resources, sessions, settings
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.api import Record

SERVICE_PRINCIPAL = "sagemaker.amazonaws.com"


class Cloud(Protocol):
    """The seam between SageMaker and the rest of the emulator."""

    def authorize(self, caller: Caller, action: str, resource: str) -> None:
        """Refuse with AccessDeniedException unless the caller may take the action."""

    def authorize_call(self, caller: Caller, operation: str, request: Record) -> None:
        """Refuse a SageMaker operation that the caller may not call, iam:PassRole included."""

    def client(self, role_arn: str, service: str, *, read_timeout_s: float | None = None) -> Any:
        """A boto3 client of another service that acts as the role; with a time-out, one for a single slow call."""

    def environment(self, role_arn: str) -> Mapping[str, str]:
        """The role's credentials as a child process takes them."""

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """Put an event of source aws.sagemaker on the default bus."""

    def publish(
        self, namespace: str, name: str, dimensions: Mapping[str, str], value: float, *, unit: str = "None"
    ) -> None:
        """Publish a value of one of the service's own metrics as of now."""


class EmulatedCloud:
    """The local AWS."""

    def authorize(self, caller: Caller, action: str, resource: str) -> None:
        """See Cloud."""
        iam.authorize(caller, action, resource)

    def authorize_call(self, caller: Caller, operation: str, request: Record) -> None:
        """See Cloud."""
        target = resources.sagemaker_resource(operation, request, region=caller.region, account=caller.account)
        iam.authorize(caller, f"sagemaker:{operation}", target)
        gateway.authorize_sagemaker(caller, operation, request)

    def client(self, role_arn: str, service: str, *, read_timeout_s: float | None = None) -> Any:
        """See Cloud."""
        if read_timeout_s is None:
            return sessions.client(role_arn, service, service=SERVICE_PRINCIPAL)
        return sessions.session_for_role(role_arn, service=SERVICE_PRINCIPAL).client(
            service,  # type: ignore[call-overload]
            endpoint_url=settings.current().endpoint_url,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout_s),
        )

    def environment(self, role_arn: str) -> Mapping[str, str]:
        """See Cloud."""
        return sessions.environment_for_role(role_arn, service=SERVICE_PRINCIPAL)

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """See Cloud."""
        events.emit(source="aws.sagemaker", detail_type=detail_type, detail=detail, resources=resources)

    def publish(
        self, namespace: str, name: str, dimensions: Mapping[str, str], value: float, *, unit: str = "None"
    ) -> None:
        """See Cloud."""
        cloudwatch.publish(namespace, name, dimensions, value, unit=unit)
