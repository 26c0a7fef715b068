"""The topic through which an environment speaks to people."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct


class Notifications(sns.Topic):
    """An encrypted, TLS-only topic that alarms, rules and budgets of this account may publish to."""

    def __init__(self, scope: Construct, id_: str, *, key: kms.IKey, email: str | None = None) -> None:
        super().__init__(scope, id_, enforce_ssl=True, master_key=key)
        # EventBridge knows no conditions in a topic's policy, so its statement has none:
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        # https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
        own_account: dict[str, object] = {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}}
        for sid, service, conditions in (
            ("Events", "events", {}),
            ("Alarms", "cloudwatch", own_account),
            ("Budgets", "budgets", own_account),
        ):
            self.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[self.topic_arn],
                    conditions=conditions,
                )
            )
        if email is not None:
            sns.Subscription(self, "Email", topic=self, endpoint=email, protocol=sns.SubscriptionProtocol.EMAIL)
