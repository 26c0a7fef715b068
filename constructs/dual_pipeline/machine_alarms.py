"""What people are told about a state machine that does not end as it should."""

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from dual_pipeline.metrics import machine_metric, queue_depth
from dual_pipeline.operator_alarm import OperatorAlarm

_ENDS = (("failed", "ExecutionsFailed"), ("timed-out", "ExecutionsTimedOut"), ("aborted", "ExecutionsAborted"))


class MachineAlarms(Construct):
    """Alarms on the executions of the machine `name` that broke off, its throttled states and the events it missed.

    An Express machine's executions cannot be stopped, and its states are not throttled. Alarms are named after the
    machine.
    Source: https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        machine_arn: str,
        advice: str,
        runbook: str,
        topic: sns.ITopic,
        dead_letters: sqs.IQueue | None = None,
        express: bool = False,
    ) -> None:
        super().__init__(scope, id_)
        ends = [
            OperatorAlarm(
                self,
                _id(end),
                name=f"{name}-{end}",
                metric=machine_metric(metric, machine_arn=machine_arn),
                advice=advice,
                runbook=runbook,
                topic=topic,
            )
            for end, metric in (_ENDS[:2] if express else _ENDS)
        ]
        throttled = [] if express else [throttled_alarm(self, name=name, machine_arn=machine_arn, topic=topic)]
        missed = [
            OperatorAlarm(
                self,
                "DeadLetters",
                name=f"{name}-dead-letters",
                metric=queue_depth(queue_name=queue.queue_name),
                advice=advice,
                runbook=runbook,
                topic=topic,
            )
            for queue in [dead_letters]
            if queue is not None
        ]
        self.alarms = (*ends, *throttled, *missed)


def throttled_alarm(scope: Construct, *, name: str, machine_arn: str, topic: sns.ITopic) -> OperatorAlarm:
    """The alarm on states of the machine `name` that wait because the account makes too many transitions."""
    return OperatorAlarm(
        scope,
        "Throttled",
        name=f"{name}-throttled",
        metric=machine_metric("ExecutionThrottled", machine_arn=machine_arn),
        advice="states wait for the account's quota of state transitions: see what makes so many, or raise it",
        runbook="Runs throttled",
        topic=topic,
    )


def _id(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))
