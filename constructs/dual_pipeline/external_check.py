"""How the inner loop asks an outside system whether a model may be registered."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class ExternalCheckQueue(sqs.Queue):
    """Requests to an outside system, which answers each by its callback token; what it drops is kept for two weeks.

    A callback step waits seven days at the most, so no request is forgotten while a step waits for its answer.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-callback
    """

    def __init__(self, scope: Construct, id_: str, *, key: kms.IKey) -> None:
        dead_letters = sqs.Queue(
            scope,
            f"{id_}DeadLetters",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        super().__init__(
            scope,
            id_,
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=5),
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
            visibility_timeout=cdk.Duration.minutes(5),
        )
