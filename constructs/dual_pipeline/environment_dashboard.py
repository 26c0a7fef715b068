"""One page on an environment: its alarms, and of each project how runs, data, models and the endpoint do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import (
    DRIFT_MAX_PSI,
    DRIFTED_FEATURES,
    MODEL_METRIC,
    OUTCOME_SUPPRESSED,
    OUTCOMES,
    QUALITY_METRICS,
    REFUSED_MODEL_METRIC,
    RULES_FAILED,
    VERDICTS,
    outer_loop_name,
)
from dual_pipeline.machine import machine_arn
from dual_pipeline.metrics import (
    drift_metric,
    endpoint_metric,
    instance_metric,
    machine_metric,
    model_metric,
    outcome_metric,
    quality_metric,
    verdict_metric,
)
from dual_pipeline.model_project import ModelProject

_Row = list[cloudwatch.IWidget]
# A widget shows at most so many: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
_MOST_ALARMS = 100
_PER_LINE = 4
_EXECUTIONS = (
    "ExecutionsStarted",
    "ExecutionsSucceeded",
    "ExecutionsFailed",
    "ExecutionsTimedOut",
    "ExecutionsAborted",
)
# What a project's gate names, of which every evaluation has a number.
_MODEL_METRICS = ("auc", "accuracy")


class EnvironmentDashboard(Construct):
    """The dashboard `<environment>-dual-pipeline`, with the states of the alarms named `alarms`.

    Everything on it is known by its name, so that it stands on its own.
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment, alarms: Sequence[str]) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        rows: list[_Row] = [[_introduction(environment)], *self._alarm_rows(alarms)]
        for project in environment.projects:
            rows += _Page(
                environment=environment.name,
                project=project,
                machine_arn=machine_arn(stack, outer_loop_name(environment.name, project.name)),
            ).rows()
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=f"{environment.name}-dual-pipeline",
            default_interval=cdk.Duration.days(14),
            widgets=rows,
        )

    def _alarm_rows(self, names: Sequence[str]) -> Iterator[_Row]:
        stack = cdk.Stack.of(self)
        arns = [
            stack.format_arn(
                service="cloudwatch",
                resource="alarm",
                resource_name=name,
                arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
            )
            for name in names
        ]
        for start in range(0, len(arns), _MOST_ALARMS):
            shown = arns[start : start + _MOST_ALARMS]
            yield [
                cloudwatch.AlarmStatusWidget(
                    title="Alarms",
                    width=24,
                    height=2 + -(-len(shown) // _PER_LINE),
                    sort_by=cloudwatch.AlarmStatusWidgetSortBy.STATE_UPDATED_TIMESTAMP,
                    alarms=[
                        cloudwatch.Alarm.from_alarm_arn(self, f"Alarm{start + index}", arn)
                        for index, arn in enumerate(shown)
                    ],
                )
            ]


def _introduction(environment: Environment) -> cloudwatch.TextWidget:
    budget, option = environment.monthly_budget_usd, f"--env {environment.name}"
    lines = (
        f"# Dual pipeline, environment {environment.name}",
        "Every alarm's text names its section of `docs/runbook.md`;"
        f" `dual-pipeline explain latest {option}` says how the last run ended and what to do.",
        "",
        f"CloudWatch knows no cost of one environment. `dual-pipeline cost {option}` estimates it, Cost Explorer has it"
        " by the tag `dual-pipeline:environment` a day later;"
        + (f" the budget is {budget:g} USD a month." if budget else " there is no budget."),
    )
    return cloudwatch.TextWidget(width=24, height=4, markdown="\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class _Page:
    """The rows on one project; without an inner loop there are no models to compare and no endpoint."""

    environment: str
    project: ModelProject
    machine_arn: str

    def rows(self) -> Iterator[_Row]:
        yield [cloudwatch.TextWidget(width=24, height=1, markdown=f"## {self.project.name}")]
        yield [self._outcomes(), self._executions(), self._runs()]
        yield [self._verdicts(), self._data()]
        if self.project.inner_loop:
            yield [self._models(), self._drift()] if self.project.deploys_endpoint else [self._models()]
        if self.project.deploys_endpoint:
            yield [self._requests(), self._latency(), self._load()]

    @property
    def _keys(self) -> dict[str, str]:
        return {"environment": self.environment, "project": self.project.name}

    @property
    def _endpoint_name(self) -> str:
        return f"{self.environment}-{self.project.name}"

    def _outcomes(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Outcomes of runs",
            width=8,
            left=[outcome_metric(name, **self._keys) for name in OUTCOMES],
            period=cdk.Duration.days(1),
            statistic="Sum",
        )

    def _executions(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Executions of the outer loop",
            width=8,
            left=[machine_metric(name, machine_arn=self.machine_arn) for name in _EXECUTIONS],
        )

    def _runs(self) -> cloudwatch.GraphWidget:
        """What spends: of everything else, only jobs' and endpoints' prices are missing, which no metric holds."""
        day = cdk.Duration.days(1)
        working = {
            f"m{index}": outcome_metric(name, **self._keys)
            for index, name in enumerate(each for each in OUTCOMES if each != OUTCOME_SUPPRESSED)
        }
        return cloudwatch.GraphWidget(
            title="Runs a day that were not suppressed, and the cap on them",
            width=8,
            left=[
                cloudwatch.MathExpression(
                    expression=f"SUM([{', '.join(f'FILL({name}, 0)' for name in working)}])",
                    using_metrics=working,
                    label="runs",
                    period=day,
                )
            ],
            left_annotations=[
                cloudwatch.HorizontalAnnotation(value=self.project.limits.runs_per_day, label="Limits.runs_per_day")
            ],
            period=day,
            statistic="Sum",
        )

    def _verdicts(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Verdicts on data",
            width=12,
            left=[verdict_metric(name, **self._keys) for name in VERDICTS],
            period=cdk.Duration.days(1),
            statistic="Sum",
        )

    def _data(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Rows judged and set apart, and rules that failed",
            width=12,
            left=[quality_metric(name, **self._keys) for name in QUALITY_METRICS if name != RULES_FAILED],
            right=[quality_metric(RULES_FAILED, **self._keys)],
        )

    def _models(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Models on their holdouts: released, and refused below the gate",
            width=12,
            left=[
                model_metric(name, metric=metric, **self._keys).with_(label=f"{metric}, {what}")
                for name, what in ((MODEL_METRIC, "released"), (REFUSED_MODEL_METRIC, "refused"))
                for metric in _MODEL_METRICS
            ],
            left_annotations=[
                cloudwatch.HorizontalAnnotation(value=self.project.gates.min_auc, label="Gates.min_auc"),
                cloudwatch.HorizontalAnnotation(value=self.project.gates.min_accuracy, label="Gates.min_accuracy"),
            ],
        )

    def _drift(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Features that drifted, and the largest distance (PSI)",
            width=12,
            left=[drift_metric(DRIFTED_FEATURES, **self._keys)],
            right=[drift_metric(DRIFT_MAX_PSI, **self._keys)],
        )

    def _requests(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Requests, and those that ended in an error",
            width=8,
            left=[
                endpoint_metric(name, endpoint_name=self._endpoint_name, statistic="Sum")
                for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")
            ],
        )

    def _latency(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Latency of the model, and what the service adds, in microseconds",
            width=8,
            left=[
                *(
                    endpoint_metric("ModelLatency", endpoint_name=self._endpoint_name, statistic=statistic)
                    for statistic in ("p50", "p99")
                ),
                endpoint_metric("OverheadLatency", endpoint_name=self._endpoint_name, statistic="p99"),
            ],
        )

    def _load(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Processors (100 % for each) and memory of the instances",
            width=8,
            left=[
                instance_metric(name, endpoint_name=self._endpoint_name)
                for name in ("CPUUtilization", "MemoryUtilization")
            ],
        )
