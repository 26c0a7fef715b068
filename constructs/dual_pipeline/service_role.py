"""A role that one AWS service assumes for one kind of job."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct


class ServiceRole(Construct):
    """A role for `service` (such as `sagemaker`) with `statements`, or the existing role `existing_arn` untouched.

    Only this account's resources of that service in this region may assume it.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """

    role: iam.IRole

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        service: str,
        description: str,
        statements: Sequence[iam.PolicyStatement],
        existing_arn: str | None = None,
    ) -> None:
        super().__init__(scope, id_)
        if existing_arn is not None:
            self.role = iam.Role.from_role_arn(self, "Role", existing_arn, mutable=False)
            return
        stack = cdk.Stack.of(self)
        principal = iam.ServicePrincipal(
            f"{service}.amazonaws.com",
            conditions={
                "StringEquals": {"aws:SourceAccount": stack.account},
                "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:*"},
            },
        )
        role = iam.Role(self, "Role", assumed_by=principal, description=description)
        for statement in statements:
            role.add_to_policy(statement)
        self.role = role
