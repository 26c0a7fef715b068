"""The outer loop as a construct: the machine, its role, and the rule that starts it on new data."""

import json
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import outer_loop_name
from dual_pipeline.machine import DeadLetters, Machine, Starter, machine_arn, scheduler_role
from dual_pipeline.model_project import ModelProject
from dual_pipeline.outer_loop.definition import outer_loop_definition, outer_loop_statements
from dual_pipeline.outer_loop.preflight import preflight_definition, preflight_statements
from dual_pipeline.outer_loop.setting import Setting, TrainingCode
from dual_pipeline.outer_loop.traffic import traffic_definition, traffic_statements
from dual_pipeline.permissions import repository_arn


class OuterLoop(Construct):
    """One project's continuous training, from `<project>/raw/` in the data bucket to the endpoint.

    Pipeline, package group, endpoint and Glue jobs are known by their pinned names (`<environment>-<project>...`).
    `model_role` is what the endpoint's models run as; `rollback_alarms` exist before any rollout and send it back.
    `image` is what the models run in. `training_code` is for the training jobs that the machine starts itself: the
    smoke training, and all training of a project without an inner loop.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        project: ModelProject,
        data_bucket: s3.IBucket,
        artifact_bucket: s3.IBucket,
        ledger: dynamodb.ITable,
        key: kms.IKey,
        topic: sns.ITopic,
        model_role: iam.IRole,
        image: str,
        rollback_alarms: Sequence[cloudwatch.IAlarm] = (),
        training_code: TrainingCode | None = None,
        wait_slice: cdk.Duration | None = None,
    ) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        machine_name = outer_loop_name(environment.name, project.name)
        self.dead_letters = DeadLetters(self, "DeadLetters")
        starter_role = scheduler_role(
            self,
            "StarterRole",
            machine_arn=machine_arn(stack, machine_name),
            dead_letters=self.dead_letters,
            description=f"Starts runs of {project.name} on schedule",
        )
        setting = Setting(
            environment=environment,
            project=project,
            partition=stack.partition,
            account=stack.account,
            data_bucket=data_bucket.bucket_name,
            artifact_bucket=artifact_bucket.bucket_name,
            table_name=ledger.table_name,
            key_arn=key.key_arn,
            topic_arn=topic.topic_arn,
            model_role_arn=model_role.role_arn,
            rollback_alarms=tuple(alarm.alarm_name for alarm in rollback_alarms),
            starter_role_arn=starter_role.role_arn,
            dead_letters_arn=self.dead_letters.queue_arn,
            repository_arn=repository_arn(self, image),
            training_code=training_code,
            slice_s=int((wait_slice or cdk.Duration.minutes(15)).to_seconds()),
        )
        self.machine = Machine(
            self,
            "Machine",
            name=setting.machine_name,
            definition=outer_loop_definition(setting),
            statements=outer_loop_statements(setting),
            key=key,
        )
        # The machines that a release asks, by what they do.
        self.helpers: dict[str, Machine] = {}
        if project.deploys_endpoint:
            self._add_helpers(setting, key)
        self._add_schedules(setting, starter_role)
        starter = Starter(self, "NewData", machine=self.machine, dead_letters=self.dead_letters)
        # Whoever starts runs without a person: new data, schedules, and a run that another one trails.
        self.starters: tuple[iam.IRole, ...] = (starter.role, starter_role, self.machine.role)
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
        starter.add_rule(
            "Rule",
            description=f"Trains {project.name} on new raw data",
            pattern={
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {
                    "bucket": {"name": [data_bucket.bucket_name]},
                    "object": {"key": [{"prefix": setting.raw_prefix}]},
                },
            },
            paths={
                "bucket": "$.detail.bucket.name",
                "key": "$.detail.object.key",
                "version": "$.detail.object.version-id",
                "etag": "$.detail.object.etag",
                "sequencer": "$.detail.object.sequencer",
            },
            template=(
                '{"reason": "data", "detail": "a raw file arrived", "source": {"bucket": <bucket>, "key": <key>,'
                ' "version_id": <version>, "etag": <etag>, "sequencer": <sequencer>}}'
            ),
        )

    def _add_helpers(self, setting: Setting, key: kms.IKey) -> None:
        """The machines that a release asks: the preflight, and the traffic while it bakes."""
        for id_, name, definition, statements, express in (
            ("Preflight", "preflight", preflight_definition(setting), preflight_statements(setting), True),
            ("Traffic", "traffic", traffic_definition(setting), traffic_statements(setting), False),
        ):
            helper = Machine(
                self,
                id_,
                name=f"{setting.prefix}-{name}",
                definition=definition,
                statements=statements,
                key=key,
                express=express,
            )
            self.helpers[name] = helper
            self.machine.node.add_dependency(helper)

    def _add_schedules(self, setting: Setting, role: iam.IRole) -> None:
        """The group that holds what was put off, and the project's own schedule if it has one."""
        group = scheduler.CfnScheduleGroup(self, "Schedules", name=setting.schedule_group)
        self.machine.node.add_dependency(group)
        schedule = setting.project.schedule
        if schedule is None:
            return
        scheduler.CfnSchedule(
            self,
            "Schedule",
            group_name=group.ref,
            description=f"Trains {setting.project.name}, {schedule.expression}",
            schedule_expression=schedule.expression,
            schedule_expression_timezone=schedule.timezone,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=self.machine.arn,
                role_arn=role.role_arn,
                input=json.dumps({"reason": "schedule", "detail": schedule.expression, "source": None}),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=setting.dead_letters_arn),
            ),
        )
