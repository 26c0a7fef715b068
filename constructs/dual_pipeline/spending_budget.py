"""A monthly budget that warns people before an environment costs more than it may, and that can stop new runs."""

from collections.abc import Sequence
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.loop_contract import TAG_ENVIRONMENT


class SpendingBudget(Construct):
    """Tells the topic when a month's costs reach 80 % of `monthly_usd`, and when they are forecast to exceed it.

    It sees what carries the environment's tag, once the tag is activated for cost allocation; its figures are hours
    old, so the daily cap on runs stays the real limit.
    Source: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html
    """

    def __init__(self, scope: Construct, id_: str, *, environment: str, monthly_usd: float, topic: sns.ITopic) -> None:
        super().__init__(scope, id_)
        subscriber = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=topic.topic_arn)
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=budget_name(environment),
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=monthly_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:{TAG_ENVIRONMENT}${environment}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        ).node.add_dependency(topic)


class SpendingStop(Construct):
    """Denies `roles` to start the machines `machine_arns` once the budget is spent: by itself, or when a person agrees.

    Runs that are under way end as they would. Nothing is lost: what asks for a run waits in a dead-letter queue or as
    pending, and people may start runs themselves. The deny stays until somebody lifts it.
    Source: https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-controls.html
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: str,
        roles: Sequence[iam.IRole],
        machine_arns: Sequence[str],
        approval: Literal["AUTOMATIC", "MANUAL"],
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        deny = iam.ManagedPolicy(
            self,
            "Deny",
            description="Attached when the budget is spent; see docs/runbook.md, section 'Budget spent'",
            statements=[
                iam.PolicyStatement(
                    effect=iam.Effect.DENY, actions=["states:StartExecution"], resources=list(machine_arns)
                )
            ],
        )
        # https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-action-role.html
        executor = iam.Role(
            self,
            "Role",
            description=f"Stops new runs of {environment} when its budget is spent",
            assumed_by=iam.ServicePrincipal(
                "budgets.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:budgets::{stack.account}:budget/*"},
                },
            ),
        )
        executor.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
                resources=[role.role_arn for role in roles],
                conditions={"ArnEquals": {"iam:PolicyARN": deny.managed_policy_arn}},
            )
        )
        # Roles by their names, a hundred at most:
        # https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_IamActionDefinition.html
        budgets.CfnBudgetsAction(
            self,
            "Action",
            budget_name=budget_name(environment),
            action_type="APPLY_IAM_POLICY",
            action_threshold=budgets.CfnBudgetsAction.ActionThresholdProperty(type="PERCENTAGE", value=100),
            notification_type="ACTUAL",
            approval_model=approval,
            execution_role_arn=executor.role_arn,
            definition=budgets.CfnBudgetsAction.DefinitionProperty(
                iam_action_definition=budgets.CfnBudgetsAction.IamActionDefinitionProperty(
                    policy_arn=deny.managed_policy_arn, roles=[role.role_name for role in roles]
                )
            ),
            subscribers=[budgets.CfnBudgetsAction.SubscriberProperty(type="SNS", address=topic.topic_arn)],
        ).node.add_dependency(executor)


def budget_name(environment: str) -> str:
    """The name of an environment's budget, by which its action finds it."""
    return f"{environment}-dual-pipeline"
