"""Events of CloudWatch alarms, which ministack does not send.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from __future__ import annotations

from typing import Any

from . import events, ministack, settings


def install() -> None:
    """Tell rules of every change of an alarm's state."""
    service = ministack.load("services.cloudwatch")
    record = service._record_history

    def record_and_tell(name: str, old_state: str, new_state: str, reason: str, *more: Any, **others: Any) -> None:
        record(name, old_state, new_state, reason, *more, **others)
        if old_state != new_state:
            _tell(name, old_state, new_state, reason)

    service._record_history = record_and_tell


def _tell(name: str, old_state: str, new_state: str, reason: str) -> None:
    now = settings.current()
    events.emit(
        source="aws.cloudwatch",
        detail_type="CloudWatch Alarm State Change",
        detail={
            "alarmName": name,
            "state": {"value": new_state, "reason": reason},
            "previousState": {"value": old_state},
        },
        resources=[f"arn:aws:cloudwatch:{now.region}:{now.account}:alarm:{name}"],
    )
