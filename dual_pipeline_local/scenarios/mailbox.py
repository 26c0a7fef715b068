"""A subscriber to an environment's notifications, so that a story tells what people are told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..safety import LocalAws

_QUEUE = "scenario-mailbox"


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One message as an e-mail subscriber gets it."""

    subject: str
    text: str


class Mailbox:
    """A queue that is subscribed to a topic."""

    def __init__(self, aws: LocalAws, topic_arn: str) -> None:
        self._sqs = aws.client("sqs")
        self._url = self._sqs.create_queue(QueueName=_QUEUE)["QueueUrl"]
        named = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        queue_arn = named["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": policy})
        aws.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn)
        self.read: list[Mail] = []

    def fetch(self) -> list[Mail]:
        """What has come since the last look, which `read` then holds too."""
        fetched: list[Mail] = []
        while messages := self._receive():
            for message in messages:
                told = json.loads(message["Body"])
                fetched.append(Mail(subject=told.get("Subject", ""), text=told["Message"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        self.read += fetched
        return fetched

    def _receive(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages", [])
        return found
