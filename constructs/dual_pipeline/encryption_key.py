"""The customer-managed key that encrypts everything an environment stores."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct


class EncryptionKey(kms.Key):
    """A rotating KMS key; its policy admits the services that write on their own behalf, from this account only.

    Everybody else uses it through IAM: the default statement hands the key to the account.
    """

    def __init__(self, scope: Construct, id_: str, *, removal_policy: cdk.RemovalPolicy) -> None:
        super().__init__(
            scope,
            id_,
            description="Encrypts the data, messages and logs of the dual pipeline",
            enable_key_rotation=True,
            removal_policy=removal_policy,
        )
        stack = cdk.Stack.of(self)
        # Alarms and budgets reach an encrypted topic only if their service may use the key:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        # https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
        own_account: dict[str, object] = {"StringEquals": {"aws:SourceAccount": stack.account}}
        # What EventBridge publishes to an encrypted topic carries no source account (same page); the topic it carries.
        own_topics: dict[str, object] = {
            "ArnLike": {
                "kms:EncryptionContext:aws:sns:topicArn": stack.format_arn(
                    service="sns", resource="*", arn_format=cdk.ArnFormat.NO_RESOURCE_NAME
                )
            }
        }
        for sid, service, conditions in (
            ("Events", "events", own_topics),
            ("Alarms", "cloudwatch", own_account),
            ("Budgets", "budgets", own_account),
        ):
            self.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    actions=["kms:Decrypt", "kms:GenerateDataKey"],
                    resources=["*"],
                    conditions=conditions,
                )
            )
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        self.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Logs",
                principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
                actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                resources=["*"],
                conditions={
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": stack.format_arn(
                            service="logs",
                            resource="log-group",
                            resource_name="*",
                            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                        )
                    }
                },
            )
        )
