"""What all projects of an environment share."""

import math
from collections.abc import Iterator
from datetime import timedelta

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from dual_pipeline.buckets import AccessLogBucket, DataStore
from dual_pipeline.encryption_key import EncryptionKey
from dual_pipeline.environment import Environment
from dual_pipeline.ledger import Ledger
from dual_pipeline.machine_alarms import MachineAlarms
from dual_pipeline.notifications import Notifications
from dual_pipeline.operator_alarm import OperatorAlarm
from dual_pipeline.outer_loop.smoke_train import OUTPUT as SMOKE_OUTPUT
from dual_pipeline.reaper import Reaper
from dual_pipeline.resumer import Resumer
from dual_pipeline.sandbox_contract import FOLDER, MAX_LIFE
from dual_pipeline.spending_budget import SpendingBudget
from dual_pipeline.triggers import Triggers
from stacks.environment_stack import EnvironmentStack


class FoundationStack(EnvironmentStack):
    """Key, buckets, ledger, topic, budget and the three machines that serve every outer loop."""

    def __init__(self, scope: Construct, id_: str, *, environment: Environment) -> None:
        super().__init__(
            scope, id_, environment=environment, description=f"Dual pipeline {environment.name}: shared storage and key"
        )
        removal_policy = self.removal_policy
        self.key: kms.IKey = (
            kms.Key.from_key_arn(self, "Key", environment.existing_key_arn)
            if environment.existing_key_arn
            else EncryptionKey(self, "Key", removal_policy=removal_policy)
        )
        access_logs = AccessLogBucket(self, "AccessLogs", removal_policy=removal_policy)
        self.data_bucket = DataStore(
            self,
            "Data",
            key=self.key,
            access_logs=access_logs,
            removal_policy=removal_policy,
            sends_events=True,
            # What writers of snapshots put beside, and what killed ones left there.
            expirations={
                f"{project.name}/snapshots/_unfinished/": cdk.Duration.days(8) for project in environment.projects
            },
        )
        self.artifact_bucket = DataStore(
            self,
            "Artifacts",
            key=self.key,
            access_logs=access_logs,
            removal_policy=removal_policy,
            expirations=dict(_expirations(environment)),
        )
        self.ledger = Ledger(self, "Ledger", key=self.key, removal_policy=removal_policy)
        self.topic = Notifications(self, "Notifications", key=self.key, email=environment.notification_email)
        resumer = Resumer(
            self,
            "Resumer",
            name=f"{environment.name}-resumer",
            ledger=self.ledger,
            key=self.key,
            prefix=f"{environment.name}-",
        )
        reaper = Reaper(self, "Reaper", environment=environment, ledger=self.ledger, key=self.key, topic=self.topic)
        triggers = Triggers(self, "Triggers", environment=environment, ledger=self.ledger, key=self.key)
        self.alarms: tuple[OperatorAlarm, ...] = ()
        self._add_alarms(
            resumer,
            advice="a waiting run was not woken by its event and goes on up to a slice later: see why",
            runbook="Waits not resumed",
            express=True,
        )
        self._add_alarms(
            reaper,
            advice="a broken run was not cleaned up: start the reaper again with the same input, it is harmless",
            runbook="Run not cleaned up",
        )
        self._add_alarms(
            triggers,
            advice="a run that drift or new code asks for was not started: start it by hand",
            runbook="Trigger not delivered",
            express=True,
        )
        # Besides the outer loops' own: for drift and code, and for a run that trails one that was cleaned up after.
        self.starters: tuple[iam.IRole, ...] = (triggers.machine.role, reaper.machine.role)
        if environment.monthly_budget_usd is not None:
            SpendingBudget(
                self,
                "Budget",
                environment=environment.name,
                monthly_usd=environment.monthly_budget_usd,
                topic=self.topic,
            )
        for name, value in (
            ("DataBucketName", self.data_bucket.bucket_name),
            ("ArtifactBucketName", self.artifact_bucket.bucket_name),
            ("LedgerTableName", self.ledger.table_name),
            ("NotificationTopicArn", self.topic.topic_arn),
            ("KeyArn", self.key.key_arn),
        ):
            cdk.CfnOutput(self, name, value=value)

    def _add_alarms(self, of: Resumer | Reaper | Triggers, *, advice: str, runbook: str, express: bool = False) -> None:
        self.alarms += MachineAlarms(
            self,
            f"{of.node.id}Alarms",
            name=of.machine.name,
            machine_arn=of.machine.arn,
            dead_letters=of.dead_letters,
            advice=advice,
            runbook=runbook,
            topic=self.topic,
            express=express,
        ).alarms


def _expirations(environment: Environment) -> Iterator[tuple[str, cdk.Duration]]:
    """Prefixes and when their objects go; a step's output outlives its cache of 30 days, or hits would find nothing.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html
    """
    for project in environment.projects:
        if project.training.spot:
            wait = math.ceil(project.training.max_wait / timedelta(days=1))
            yield f"{project.name}/checkpoints/", cdk.Duration.days(7 + wait)
        if project.smoke_training is not None:
            yield f"{project.name}/{SMOKE_OUTPUT}/", cdk.Duration.days(7)
        if environment.sandboxes:
            yield f"{project.name}/{FOLDER}/", cdk.Duration.days(MAX_LIFE.days)
