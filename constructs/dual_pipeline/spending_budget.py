"""A monthly budget that warns people before an environment costs more than it may."""

from aws_cdk import aws_budgets as budgets
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
