"""Watches one endpoint for drift: the job's code and role, the machine, its schedule, and the alarms.

SageMaker Model Monitor takes no new customers, so that nothing of it is used:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor.html
"""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.code_bundle import write_platform_bundle
from dual_pipeline.drift_machine import KIND, DriftSetting, drift_definition, drift_statements
from dual_pipeline.environment import Environment
from dual_pipeline.job_roles import DriftRole, Workspace
from dual_pipeline.loop_contract import DRIFT_ALARM_SUFFIX, DRIFT_FINDINGS
from dual_pipeline.machine import DeadLetters, Machine, scheduler_role
from dual_pipeline.machine_alarms import MachineAlarms
from dual_pipeline.metrics import drift_metric
from dual_pipeline.model_project import Drift, ModelProject
from dual_pipeline.operator_alarm import OperatorAlarm


class DriftWatch(Construct):
    """The machine `<environment>-<project>-drift`, started every `drift.every`, with the job in `package_folder`.

    The alarm of that name rings while the last measurement found something; the environment's triggers start a run
    then, and once a day as long as it rings.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        project: ModelProject,
        drift: Drift,
        package_folder: Path,
        workspace: Workspace,
        image: str,
        ledger: dynamodb.ITable,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        with TemporaryDirectory() as name:
            path = write_platform_bundle(package_folder, job="drift", folder=Path(name))
            code = s3_assets.Asset(self, "Code", path=str(path))
        role = DriftRole(self, "Job", workspace=workspace, image=image, code=[code])
        setting = DriftSetting(
            environment=environment,
            project=project.name,
            drift=drift,
            partition=stack.partition,
            account=stack.account,
            data_bucket=workspace.data_bucket.bucket_name,
            artifact_bucket=workspace.artifact_bucket.bucket_name,
            table_name=ledger.table_name,
            key_arn=workspace.key.key_arn,
            topic_arn=topic.topic_arn,
            image=image,
            role_arn=role.role.role_arn,
            code_uri=code.s3_object_url,
            code_file=code.s3_object_key,
        )
        self.machine = Machine(
            self,
            "Machine",
            name=f"{workspace.name}-{KIND}",
            definition=drift_definition(setting),
            statements=drift_statements(setting),
            key=workspace.key,
        )
        # Started, it needs a job that may read what it is to read.
        self.machine.node.add_dependency(role)
        dead_letters = DeadLetters(self, "DeadLetters")
        starter = scheduler_role(
            self,
            "StarterRole",
            machine_arn=self.machine.arn,
            dead_letters=dead_letters,
            description=f"Starts the measurement of drift of {project.name}",
        )
        hours = drift.every // timedelta(hours=1)
        scheduler.CfnSchedule(
            self,
            "Schedule",
            description=f"Measures drift of {project.name}",
            schedule_expression=f"rate({hours} hour{'s' if hours > 1 else ''})",
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=self.machine.arn,
                role_arn=starter.role_arn,
                input="{}",
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters.queue_arn),
            ),
        )
        self.alarm = OperatorAlarm(
            self,
            "Found",
            name=f"{workspace.name}{DRIFT_ALARM_SUFFIX}",
            metric=drift_metric(DRIFT_FINDINGS, environment=environment.name, project=project.name),
            # One hour longer than from one measurement to the next, so that it does not flicker in between.
            periods=hours + 1,
            advice="what the endpoint is asked or answers has drifted, and a run was started: read the message that"
            " names the features and proposes what to do",
            runbook="Drift found",
            topic=topic,
        )
        machine_alarms = MachineAlarms(
            self,
            "Alarms",
            name=self.machine.name,
            machine_arn=self.machine.arn,
            dead_letters=dead_letters,
            advice="drift was not measured: read why, and start the machine by hand after the repair",
            runbook="Drift not measured",
            topic=topic,
        )
        self.alarms = (self.alarm, *machine_alarms.alarms)
