"""The alarms that send a bad model back while it is being rolled out."""

import aws_cdk as cdk
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.metrics import endpoint_metric
from dual_pipeline.operator_alarm import OperatorAlarm


class RollbackAlarms(Construct):
    """Alarms on an endpoint's error rate and latency under constant names, there before any update needs them.

    A missing alarm, or one in ALARM already, fails an UpdateEndpoint or rolls it back at once; no traffic is no breach.
    They see the endpoint's whole traffic: a canary of 10 % whose every answer is an error shows as 10 %. So both
    thresholds lie below the first share of traffic, which Rollout checks.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        endpoint_name: str,
        max_error_percent: float,
        max_p99_latency: cdk.Duration,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id_)
        errors, latency = rollback_alarm_names(endpoint_name)
        milliseconds = max_p99_latency.to_milliseconds()
        self.alarms = (
            # One 0 or 1 per request, so the average is a rate.
            OperatorAlarm(
                self,
                "Errors",
                name=errors,
                metric=endpoint_metric("Invocation5XXErrors", endpoint_name=endpoint_name, statistic="Average"),
                threshold=max_error_percent / 100,
                periods=3,
                datapoints=2,
                recovers=True,
                advice=f"more than {max_error_percent:g} % of requests end in a server error: read the endpoint's log",
                runbook="Endpoint errors",
                topic=topic,
            ),
            OperatorAlarm(
                self,
                "Latency",
                name=latency,
                metric=endpoint_metric("ModelLatency", endpoint_name=endpoint_name, statistic="p99"),
                threshold=milliseconds * 1000,
                periods=3,
                datapoints=2,
                recovers=True,
                advice=f"one answer in a hundred takes longer than {milliseconds:g} ms: add instances or go back",
                runbook="Endpoint latency",
                topic=topic,
            ),
        )


def rollback_alarm_names(endpoint_name: str) -> tuple[str, str]:
    """The names of the alarms on errors and on latency; deployed endpoints refer to them, so they never change."""
    return f"{endpoint_name}-5xx-rate", f"{endpoint_name}-p99-latency"
