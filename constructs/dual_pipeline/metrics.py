"""The metrics that alarms and the dashboard look at."""

from collections.abc import Mapping
from datetime import timedelta

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from dual_pipeline.loop_contract import (
    METRIC_NAMESPACE,
    OUTCOME_METRIC,
    UP_TO_DATE_METRIC,
    VARIANT_NAME,
    VERDICT_METRIC,
)

DAY = timedelta(days=1)
_PERIOD = cdk.Duration.minutes(5)


def machine_metric(name: str, *, machine_arn: str) -> cloudwatch.Metric:
    """A count of a state machine's executions, such as `ExecutionsFailed`.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    """
    return cloudwatch.Metric(
        namespace="AWS/States",
        metric_name=name,
        dimensions_map={"StateMachineArn": machine_arn},
        statistic="Sum",
        period=_PERIOD,
    )


def outcome_metric(outcome: str, *, environment: str, project: str) -> cloudwatch.Metric:
    """How many runs ended with `outcome`; a machine that SUCCEEDED may still have been `blocked`."""
    return _own(OUTCOME_METRIC, environment=environment, project=project, statistic="Sum", further={"Outcome": outcome})


def up_to_date_metric(*, environment: str, project: str) -> cloudwatch.Metric:
    """How many runs a day left the newest data judged: they released a model, or found nothing new to train on."""
    return _own(
        UP_TO_DATE_METRIC, environment=environment, project=project, statistic="Sum", period=cdk.Duration.days(1)
    )


def model_metric(name: str, *, metric: str, environment: str, project: str) -> cloudwatch.Metric:
    """What the evaluation measured, such as `auc`: `name` says whether of models released or of models refused."""
    return _own(name, environment=environment, project=project, statistic="Average", further={"Metric": metric})


def quality_metric(name: str, *, environment: str, project: str) -> cloudwatch.Metric:
    """What the last data was counted as: its rows, those set apart, or the rules that failed."""
    return _own(name, environment=environment, project=project, statistic="Maximum")


def verdict_metric(verdict: str, *, environment: str, project: str) -> cloudwatch.Metric:
    """How often the data's quality got `verdict`."""
    return _own(VERDICT_METRIC, environment=environment, project=project, statistic="Sum", further={"Verdict": verdict})


def drift_metric(name: str, *, environment: str, project: str) -> cloudwatch.Metric:
    """One of what drift is published as, by the hour; a window that is too thin publishes nothing."""
    return _own(name, environment=environment, project=project, statistic="Maximum", period=cdk.Duration.hours(1))


def queue_depth(*, queue_name: str) -> cloudwatch.Metric:
    """Messages that wait in a queue.

    Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    return cloudwatch.Metric(
        namespace="AWS/SQS",
        metric_name="ApproximateNumberOfMessagesVisible",
        dimensions_map={"QueueName": queue_name},
        statistic="Maximum",
        period=_PERIOD,
    )


def endpoint_metric(name: str, *, endpoint_name: str, statistic: str) -> cloudwatch.Metric:
    """One of the endpoint's metrics of requests, minute by minute; latencies come in microseconds.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """
    return cloudwatch.Metric(
        namespace="AWS/SageMaker",
        metric_name=name,
        dimensions_map={"EndpointName": endpoint_name, "VariantName": VARIANT_NAME},
        statistic=statistic,
        period=cdk.Duration.minutes(1),
    )


def instance_metric(name: str, *, endpoint_name: str) -> cloudwatch.Metric:
    """How hard the endpoint's instances work, on average: memory from 0 to 100 %, processors to 100 % for each of them.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """
    return cloudwatch.Metric(
        namespace="/aws/sagemaker/Endpoints",
        metric_name=name,
        dimensions_map={"EndpointName": endpoint_name, "VariantName": VARIANT_NAME},
        statistic="Average",
        period=_PERIOD,
    )


def _own(
    name: str,
    *,
    environment: str,
    project: str,
    statistic: str,
    further: Mapping[str, str] | None = None,
    period: cdk.Duration = _PERIOD,
) -> cloudwatch.Metric:
    """A metric that the loops publish, by environment, project and what else it is told apart by."""
    return cloudwatch.Metric(
        namespace=METRIC_NAMESPACE,
        metric_name=name,
        dimensions_map={"Environment": environment, "Project": project, **(further or {})},
        statistic=statistic,
        period=period,
    )
