"""What S3's events lack in ministack: the version of the object.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html (detail.object.version-id)
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

from . import ministack

_version: ContextVar[str | None] = ContextVar("version", default=None)


def install() -> None:
    """Name the version in the events of versioned buckets."""
    s3, bus = ministack.load("services.s3"), ministack.load("services.eventbridge")
    fire, dispatch = s3._fire_s3_event, bus._dispatch_event

    def fire_event(*arguments: Any, version_id: str | None = None, **more: Any) -> None:
        token = _version.set(version_id)
        try:
            fire(*arguments, version_id=version_id, **more)
        finally:
            _version.reset(token)

    def dispatch_event(event: dict[str, Any], view: Any = None) -> None:
        version = _version.get()
        if version and event.get("Source") == "aws.s3":
            detail = json.loads(event["Detail"])
            event = {**event, "Detail": json.dumps(with_version(detail, version))}
        dispatch(event, view)

    s3._fire_s3_event, bus._dispatch_event = fire_event, dispatch_event


def with_version(detail: dict[str, Any], version: str) -> dict[str, Any]:
    """An event's detail with the object's version."""
    return {**detail, "object": {**detail["object"], "version-id": version}}
