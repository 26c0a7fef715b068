"""What the resource families of the service share."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.cloud import Cloud

Handler = Callable[[Record, Caller], Record]
"""Carries out one operation on a validated request for a caller who may call it."""

Operations = Mapping[str, Handler]


@dataclass(frozen=True)
class Control:
    """Shared by all families: the AWS around them, the folder to work in, one lock, tags, and the service itself.

    `changed` guards every record and is notified when one changes state. `call` re-enters the service by operation.
    """

    cloud: Cloud
    work: Path
    call: Callable[[str, Record, Caller], Record]
    changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def tag(self, arn: str, request: Record) -> None:
        """Keep the tags that came with a Create request."""
        self.tags[arn] = {tag["Key"]: tag["Value"] for tag in request.pop("Tags", [])}

    def start(self, work: Callable[[], None], *, name: str) -> None:
        """Run something in the background for as long as it takes."""
        threading.Thread(target=work, name=name, daemon=True).start()


def arn(caller: Caller, resource: str) -> str:
    """The ARN of a SageMaker resource (`training-job/x`) in the caller's account and region."""
    return f"arn:aws:sagemaker:{caller.region}:{caller.account}:{resource}"
