"""The table that remembers: locks, duplicate events, runs, champions and the waits of AwaitStatus."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct


class Ledger(dynamodb.Table):
    """One on-demand table with keys `pk` and `sk` (strings); an item with `expires_at` (epoch seconds) leaves then."""

    def __init__(self, scope: Construct, id_: str, *, key: kms.IKey, removal_policy: cdk.RemovalPolicy) -> None:
        super().__init__(
            scope,
            id_,
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            deletion_protection=removal_policy == cdk.RemovalPolicy.RETAIN,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=removal_policy,
            time_to_live_attribute="expires_at",
        )
