"""The alarms that send a bad model back while it is being rolled out."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from dual_pipeline.loop_contract import VARIANT_NAME


class RollbackAlarms(Construct):
    """Alarms on an endpoint's error rate and latency under constant names, there before any update needs them.

    An alarm that does not exist, or is in ALARM already, makes UpdateEndpoint fail or roll back at once; no traffic is
    no breach. `names` go into the deployment's AutoRollbackConfiguration.
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
    ) -> None:
        super().__init__(scope, id_)
        dimensions = {"EndpointName": endpoint_name, "VariantName": VARIANT_NAME}
        period = cdk.Duration.minutes(1)
        # https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html: one 0 or 1 per request, so the
        # average is a rate; latency comes in microseconds.
        errors = cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name="Invocation5XXErrors",
            dimensions_map=dimensions,
            statistic="Average",
            period=period,
        )
        latency = cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name="ModelLatency",
            dimensions_map=dimensions,
            statistic="p99",
            period=period,
        )
        self.alarms = [
            cloudwatch.Alarm(
                self,
                id_,
                alarm_name=f"{endpoint_name}-{name}",
                alarm_description=description,
                metric=metric,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
                threshold=threshold,
                evaluation_periods=3,
                datapoints_to_alarm=2,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            )
            for id_, name, metric, threshold, description in (
                (
                    "Errors",
                    "5xx-rate",
                    errors,
                    max_error_percent / 100,
                    f"more than {max_error_percent:g} % of requests end in a server error; runbook: Endpoint errors",
                ),
                (
                    "Latency",
                    "p99-latency",
                    latency,
                    max_p99_latency.to_milliseconds() * 1000,
                    f"one request in a hundred takes longer than {max_p99_latency.to_milliseconds():g} ms; "
                    "runbook: Endpoint latency",
                ),
            )
        ]
        self.names = tuple(f"{endpoint_name}-{name}" for name in ("5xx-rate", "p99-latency"))
