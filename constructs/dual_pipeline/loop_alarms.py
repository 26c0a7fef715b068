"""What people are told about one project's outer loop."""

from datetime import timedelta

from aws_cdk import aws_events as events
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from dual_pipeline.machine_alarms import throttled_alarm
from dual_pipeline.metrics import DAY, machine_metric, outcome_metric, queue_depth, up_to_date_metric
from dual_pipeline.operator_alarm import OperatorAlarm

_MACHINE = (
    (
        "failed",
        "ExecutionsFailed",
        "a run broke off: read its last state and why, then start one by hand",
        "Run failed",
    ),
    ("timed-out", "ExecutionsTimedOut", "a run exceeded its time limit: see which state it waited in", "Run timed out"),
    (
        "aborted",
        "ExecutionsAborted",
        "a run was stopped from outside: see who did, and start one by hand",
        "Run failed",
    ),
)
_OUTCOMES = (
    ("failed", "a run ended as failed: its ledger item says in which state and why", "Run failed"),
    ("rolled-back", "a new model was sent back: the previous one serves, look at the endpoint", "Release rolled back"),
    ("blocked", "new data failed its quality rules: read verdict.json and repair the source", "Data blocked"),
)


class LoopAlarms(Construct):
    """Alarms on the machine, on outcomes (an execution that succeeded may have been blocked), on events that got lost,
    on a loop that has been quiet for `quiet`, in whole days, and a sentence for every Glue job that fails.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: str,
        project: str,
        machine_name: str,
        machine_arn: str,
        dead_letters: sqs.IQueue,
        job_names: tuple[str, ...],
        topic: sns.ITopic,
        quiet: timedelta | None = None,
    ) -> None:
        super().__init__(scope, id_)
        prefix = f"{environment}-{project}"
        machine = [
            OperatorAlarm(
                self,
                metric,
                name=f"{machine_name}-{end}",
                metric=machine_metric(metric, machine_arn=machine_arn),
                advice=advice,
                runbook=runbook,
                topic=topic,
            )
            for end, metric, advice, runbook in _MACHINE
        ]
        outcomes = [
            OperatorAlarm(
                self,
                "Outcome" + "".join(part.capitalize() for part in outcome.split("-")),
                name=f"{prefix}-outcome-{outcome}",
                metric=outcome_metric(outcome, environment=environment, project=project),
                advice=advice,
                runbook=runbook,
                topic=topic,
            )
            for outcome, advice, runbook in _OUTCOMES
        ]
        undelivered = OperatorAlarm(
            self,
            "DeadLetters",
            name=f"{prefix}-undelivered-events",
            metric=queue_depth(queue_name=dead_letters.queue_name),
            advice="new data did not start a run: start one by hand, then empty the queue",
            runbook="Undelivered events",
            topic=topic,
        )
        news = [
            OperatorAlarm(
                self,
                "NoNews",
                name=f"{prefix}-no-news",
                metric=up_to_date_metric(environment=environment, project=project),
                threshold=1,
                falls=True,
                recovers=True,
                periods=days,
                datapoints=days,
                advice=f"no run has released a model or found nothing new for {days} days: see why, then start one",
                runbook="No news",
                topic=topic,
            )
            for days in ([quiet // DAY] if quiet else [])
        ]
        throttled = throttled_alarm(self, name=machine_name, machine_arn=machine_arn, topic=topic)
        self.alarms = (*machine, throttled, *outcomes, undelivered, *news)
        # Glue publishes no metric of failed runs; its event carries the message as well.
        # https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html
        events.CfnRule(
            self,
            "JobFailed",
            description=f"Tells people when a Glue job of {project} fails",
            event_pattern={
                "source": ["aws.glue"],
                "detail-type": ["Glue Job State Change"],
                "detail": {"jobName": list(job_names), "state": ["FAILED", "TIMEOUT", "ERROR"]},
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="Notifications",
                    arn=topic.topic_arn,
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={
                            "job": "$.detail.jobName",
                            "run": "$.detail.jobRunId",
                            "state": "$.detail.state",
                            "message": "$.detail.message",
                        },
                        input_template=(
                            '"Glue job <job>, run <run>, ended as <state>: <message>.'
                            " See docs/runbook.md, section 'Data job failed'.\""
                        ),
                    ),
                )
            ],
        )
