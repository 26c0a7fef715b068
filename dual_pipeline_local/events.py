"""Events that AWS services put on the account's default event bus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from . import ministack, settings


def emit(*, source: str, detail_type: str, detail: Mapping[str, object], resources: Sequence[str]) -> None:
    """Put an event of an AWS service (`aws.*`) on the default bus; rules see it before this returns."""
    now = settings.current()
    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail, default=str),
        "Resources": list(resources),
    }
    with ministack.load("core.responses").request_scope(now.account, now.region):
        ministack.load("services.eventbridge")._put_events({"Entries": [entry]}, allow_aws_source=True)
