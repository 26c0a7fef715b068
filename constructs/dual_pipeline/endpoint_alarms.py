"""What people are told about a live endpoint, beside what sends a new model back."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.instance_types import virtual_cpus
from dual_pipeline.metrics import endpoint_metric, instance_metric
from dual_pipeline.operator_alarm import OperatorAlarm
from dual_pipeline.release_settings import QUIET_ENDPOINT_STEP, Watch


class EndpointAlarms(Construct):
    """Alarms on requests that the endpoint refuses, on the service's overhead, on load, and on requests that stop.

    They judge no rollout: callers, load and the service are not the new model's fault.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """

    def __init__(
        self, scope: Construct, id_: str, *, endpoint_name: str, instance_type: str, watch: Watch, topic: sns.ITopic
    ) -> None:
        super().__init__(scope, id_)
        self._name, self._topic = endpoint_name, topic
        cpus = virtual_cpus(instance_type)
        alarms = [
            # One 0 or 1 per request, so the average is a rate.
            self._above(
                "Refused",
                "4xx-rate",
                metric=endpoint_metric("Invocation4XXErrors", endpoint_name=endpoint_name, statistic="Average"),
                threshold=watch.max_4xx_percent / 100,
                advice=f"more than {watch.max_4xx_percent:g} % of requests are refused as wrong: ask who sends them",
                runbook="Endpoint refuses requests",
            ),
            self._above(
                "Overhead",
                "p99-overhead",
                metric=endpoint_metric("OverheadLatency", endpoint_name=endpoint_name, statistic="p99"),
                # The metric is in microseconds.
                threshold=watch.max_p99_overhead_ms * 1000,
                advice=f"SageMaker adds more than {watch.max_p99_overhead_ms:g} ms to one answer in a hundred: see why",
                runbook="Endpoint overhead",
            ),
            self._above(
                "Cpu",
                "cpu",
                metric=instance_metric("CPUUtilization", endpoint_name=endpoint_name),
                # The metric counts each processor to 100 %.
                threshold=watch.max_cpu_percent * cpus,
                advice=f"instances use more than {watch.max_cpu_percent:g} % of their {cpus} processors: add instances",
                runbook="Endpoint overloaded",
            ),
            self._above(
                "Memory",
                "memory",
                metric=instance_metric("MemoryUtilization", endpoint_name=endpoint_name),
                threshold=watch.max_memory_percent,
                advice=f"instances use more than {watch.max_memory_percent:g} % of their memory: take larger ones",
                runbook="Endpoint overloaded",
            ),
        ]
        if watch.quiet_endpoint is not None:
            periods = watch.quiet_endpoint // QUIET_ENDPOINT_STEP
            alarms.append(
                OperatorAlarm(
                    self,
                    "Quiet",
                    name=f"{endpoint_name}-no-requests",
                    metric=endpoint_metric("Invocations", endpoint_name=endpoint_name, statistic="Sum").with_(
                        period=cdk.Duration.seconds(QUIET_ENDPOINT_STEP.seconds)
                    ),
                    threshold=1,
                    falls=True,
                    recovers=True,
                    periods=periods,
                    datapoints=periods,
                    advice=f"nobody has asked the endpoint for {watch.quiet_endpoint}: see whether callers reach it",
                    runbook="Endpoint not asked",
                    topic=topic,
                )
            )
        self.alarms = tuple(alarms)

    def _above(
        self, id_: str, suffix: str, *, metric: cloudwatch.Metric, threshold: float, advice: str, runbook: str
    ) -> OperatorAlarm:
        return OperatorAlarm(
            self,
            id_,
            name=f"{self._name}-{suffix}",
            metric=metric,
            threshold=threshold,
            periods=5,
            datapoints=3,
            recovers=True,
            advice=advice,
            runbook=runbook,
            topic=self._topic,
        )
