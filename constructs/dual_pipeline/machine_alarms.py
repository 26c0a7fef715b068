"""What people are told about a machine that serves every outer loop."""

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from dual_pipeline.metrics import machine_metric, queue_depth
from dual_pipeline.operator_alarm import OperatorAlarm


class MachineAlarms(Construct):
    """Alarms on a platform's machine's failed and timed-out executions and on the events that never reached it."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        machine_arn: str,
        dead_letters: sqs.IQueue,
        advice: str,
        runbook: str,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id_)
        for alarm, metric in (
            ("Failed", machine_metric("ExecutionsFailed", machine_arn=machine_arn)),
            ("TimedOut", machine_metric("ExecutionsTimedOut", machine_arn=machine_arn)),
            ("DeadLetters", queue_depth(queue_name=dead_letters.queue_name)),
        ):
            OperatorAlarm(self, alarm, metric=metric, advice=advice, runbook=runbook, topic=topic)
