"""What SageMaker needs of the AWS around it: identities, credentials and the event bus."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import boto3

from dual_pipeline_local import events, iam, sessions
from dual_pipeline_local.iam import Caller

SERVICE_PRINCIPAL = "sagemaker.amazonaws.com"


class Cloud(Protocol):
    """The seam between SageMaker and the rest of the emulator."""

    def authorize(self, caller: Caller, action: str, resource: str) -> None:
        """Refuse with AccessDeniedException unless the caller may take the action."""

    def check_pass_role(self, caller: Caller, role_arn: str) -> None:
        """Refuse unless the caller may pass the role to SageMaker and the role trusts it."""

    def session(self, role_arn: str) -> boto3.Session:
        """A session with temporary credentials of the role."""

    def environment(self, role_arn: str) -> Mapping[str, str]:
        """The same credentials as a child process takes them."""

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """Put an event of source aws.sagemaker on the default bus."""


class EmulatedCloud:
    """The local AWS."""

    def authorize(self, caller: Caller, action: str, resource: str) -> None:
        """See Cloud."""
        iam.authorize(caller, action, resource)

    def check_pass_role(self, caller: Caller, role_arn: str) -> None:
        """See Cloud."""
        iam.check_pass_role(caller, role_arn, SERVICE_PRINCIPAL)

    def session(self, role_arn: str) -> boto3.Session:
        """See Cloud."""
        return sessions.session_for_role(role_arn, service=SERVICE_PRINCIPAL)

    def environment(self, role_arn: str) -> Mapping[str, str]:
        """See Cloud."""
        return sessions.environment_for_role(role_arn, service=SERVICE_PRINCIPAL)

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """See Cloud."""
        events.emit(source="aws.sagemaker", detail_type=detail_type, detail=detail, resources=resources)
