"""One page on a project: how runs end, and how the endpoint does."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from dual_pipeline.loop_contract import OUTCOMES, QUALITY_METRICS, RULES_FAILED, VERDICTS
from dual_pipeline.metrics import endpoint_metric, machine_metric, outcome_metric, quality_metric, verdict_metric


class LoopDashboard(Construct):
    """Outcomes and executions of the outer loop, verdicts on data, and traffic, errors and latency of an endpoint."""

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
                [
                    cloudwatch.GraphWidget(
                        title="Verdicts on data",
                        width=12,
                        left=[verdict_metric(name, environment=environment, project=project) for name in VERDICTS],
                        period=cdk.Duration.days(1),
                        statistic="Sum",
                    ),
                    cloudwatch.GraphWidget(
                        title="Rows judged and set apart, and rules that failed",
                        width=12,
                        left=[
                            quality_metric(name, environment=environment, project=project)
                            for name in QUALITY_METRICS
                            if name != RULES_FAILED
                        ],
                        right=[quality_metric(RULES_FAILED, environment=environment, project=project)],
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
