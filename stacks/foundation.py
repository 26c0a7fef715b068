"""What all projects of an environment share."""

import math
from collections.abc import Iterator
from datetime import timedelta

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from constructs import Construct

from dual_pipeline.buckets import AccessLogBucket, DataStore
from dual_pipeline.encryption_key import EncryptionKey
from dual_pipeline.environment import Environment
from dual_pipeline.ledger import Ledger
from dual_pipeline.machine_alarms import MachineAlarms
from dual_pipeline.notifications import Notifications
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
        machines: tuple[tuple[Resumer | Reaper | Triggers, str, str], ...] = (
            (
                resumer,
                "a waiting run was not woken by its event and goes on up to a slice later: see why",
                "Waits not resumed",
            ),
            (
                reaper,
                "a broken run was not cleaned up: start the reaper again with the same input, it is harmless",
                "Run not cleaned up",
            ),
            (
                triggers,
                "a run that drift or new code asks for was not started: start it by hand",
                "Trigger not delivered",
            ),
        )
        for each, advice, runbook in machines:
            MachineAlarms(
                self,
                f"{each.node.id}Alarms",
                machine_arn=each.machine.arn,
                dead_letters=each.dead_letters,
                advice=advice,
                runbook=runbook,
                topic=self.topic,
            )
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
