"""An alarm that speaks to people and says what to do."""

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct


class OperatorAlarm(cloudwatch.Alarm):
    """Tells `topic` when `metric` exceeds `threshold` in `datapoints` of `periods`; no data is no breach.

    `advice` says what happened and what to do, `runbook` is the heading in docs/runbook.md that says more.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        metric: cloudwatch.IMetric,
        advice: str,
        runbook: str,
        topic: sns.ITopic,
        threshold: float = 0,
        periods: int = 1,
        datapoints: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(
            scope,
            id_,
            alarm_name=name,
            alarm_description=f"{advice}; see docs/runbook.md, section {runbook!r}",
            metric=metric,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=datapoints,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        self.add_alarm_action(actions.SnsAction(topic))
