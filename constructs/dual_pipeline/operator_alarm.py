"""An alarm that speaks to people and says what to do."""

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct


class OperatorAlarm(cloudwatch.Alarm):
    """Tells `topic` when `metric` exceeds `threshold` in `datapoints` of `periods`; no data is no breach.

    With `falls` it rings below the threshold instead, and then silence is a breach too. With `recovers` people also
    hear when it is over. `advice` says what happened and what to do, `runbook` is the heading in docs/runbook.md that
    says more. Periods of an hour and more may reach back seven days, shorter ones a day.
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        metric: cloudwatch.IMetric,
        advice: str,
        runbook: str,
        topic: sns.ITopic,
        threshold: float = 0,
        periods: int = 1,
        datapoints: int = 1,
        falls: bool = False,
        recovers: bool = False,
    ) -> None:
        super().__init__(
            scope,
            id_,
            alarm_name=name,
            alarm_description=f"{advice}; see docs/runbook.md, section {runbook!r}",
            metric=metric,
            comparison_operator=(
                cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
                if falls
                else cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
            ),
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=datapoints,
            treat_missing_data=(
                cloudwatch.TreatMissingData.BREACHING if falls else cloudwatch.TreatMissingData.NOT_BREACHING
            ),
        )
        # What an operator types, where `alarm_name` is a token.
        self.name = name
        action = actions.SnsAction(topic)
        self.add_alarm_action(action)
        if recovers:
            self.add_ok_action(action)
