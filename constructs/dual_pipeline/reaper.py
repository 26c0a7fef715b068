"""Cleans up after outer loops that ended without their own tail: time-outs, aborts, and errors no Catch sees."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.environment import Environment


class Reaper(Construct):
    """One machine per environment, started when an outer loop FAILED, TIMED_OUT or was ABORTED; harmless to repeat.

    It frees the locks that the execution still owns, starts the trailing run if one is pending, and records and tells
    the outcome if the execution did not.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        ledger: dynamodb.ITable,
        key: kms.IKey,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id_)
