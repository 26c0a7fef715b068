"""One page on a project: how runs end, and how the endpoint does."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from dual_pipeline.loop_contract import OUTCOMES
from dual_pipeline.metrics import endpoint_metric, machine_metric, outcome_metric


class LoopDashboard(Construct):
    """Outcomes and executions of the outer loop above the endpoint's traffic, errors and latency, if it has one."""

    def __init__(
        self, scope: Construct, id_: str, *, environment: str, project: str, machine_arn: str, endpoint_name: str | None
    ) -> None:
        super().__init__(scope, id_)
        executions = ("ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut")
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            default_interval=cdk.Duration.days(14),
            widgets=[
                [
                    cloudwatch.GraphWidget(
                        title="Outcomes of runs",
                        width=12,
                        left=[outcome_metric(name, environment=environment, project=project) for name in OUTCOMES],
                        period=cdk.Duration.days(1),
                        statistic="Sum",
                    ),
                    cloudwatch.GraphWidget(
                        title="Executions of the outer loop",
                        width=12,
                        left=[machine_metric(name, machine_arn=machine_arn) for name in executions],
                    ),
                ],
                *([_endpoint_row(endpoint_name)] if endpoint_name else []),
            ],
        )


def _endpoint_row(name: str) -> list[cloudwatch.IWidget]:
    return [
        cloudwatch.GraphWidget(
            title="Requests and server errors",
            width=12,
            left=[
                endpoint_metric(each, endpoint_name=name, statistic="Sum")
                for each in ("Invocations", "Invocation5XXErrors")
            ],
        ),
        cloudwatch.GraphWidget(
            title="Latency of the model in microseconds",
            width=12,
            left=[
                endpoint_metric("ModelLatency", endpoint_name=name, statistic=statistic) for statistic in ("p50", "p99")
            ],
        ),
    ]
