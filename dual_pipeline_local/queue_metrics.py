"""What SQS publishes of its queues.

Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

import time
from collections.abc import Callable

from . import ministack


def publish_depths(publish: Callable[[str, str, dict[str, str], float], None]) -> None:
    """Publish how many messages wait in each queue; AWS does so every minute."""
    now = time.time()
    for queue in list(ministack.load("services.sqs")._queues.values()):
        visible = sum(message["visible_at"] <= now for message in list(queue["messages"]))
        publish("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": queue["name"]}, float(visible))
