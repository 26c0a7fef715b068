"""Starts runs of a deployed outer loop as the world does, and follows one while playing the people whom it asks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from .deployment import Deployment
from .lifecycle import EmulatorTrouble
from .narrator import Narrator
from .observer import Observer, RunView
from .safety import LocalAws

_START_OF_RUN_S = 60.0

# Answers a model package that waits for people; what was done, in words, or nothing.
Answer: TypeAlias = Callable[[str], str]


class LoopDriver:
    """One project's outer loop in a local AWS."""

    def __init__(self, aws: LocalAws, deployment: Deployment, *, narrator: Narrator) -> None:
        self.observer = Observer(aws, deployment)
        self._aws = aws
        self._deployment = deployment
        self._narrator = narrator

    def upload(self, data: Path) -> str:
        """Upload new data and wait for the run that it starts; the run's ARN."""
        s3 = self._aws.client("s3")
        bucket, prefix = self._deployment.raw_data
        key = prefix + data.name
        with self._narrator.phase(f"upload {data.name} to s3://{bucket}/{key}"):
            s3.upload_file(str(data), bucket, key)
            version = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
            return self.started(
                lambda trigger: (trigger.get("source") or {}).get("version_id") == version,
                by="the upload",
                otherwise="is the rule on new data enabled?",
            )

    def insist(self) -> str:
        """Start a run of the data that is there, whether or not it was trained on before; the run's ARN."""
        given = {"reason": "person", "detail": "a local run that is forced", "force": True, "source": None}
        started = self._aws.client("stepfunctions").start_execution(
            stateMachineArn=self._deployment["StateMachineArn"], input=json.dumps(given)
        )
        arn: str = started["executionArn"]
        return arn

    def started(self, matches: Callable[[dict[str, Any]], bool], *, by: str, otherwise: str) -> str:
        """The newest run whose input matches, as soon as there is one.

        Raises EmulatorTrouble with the question `otherwise` when `by` has started none within a minute.
        """
        deadline = time.monotonic() + _START_OF_RUN_S
        while time.monotonic() < deadline:
            for execution in self.observer.executions()[:10]:
                if matches(self.observer.trigger(execution)):
                    return execution
            time.sleep(0.2)
        raise EmulatorTrouble(f"{by} started no run within {_START_OF_RUN_S:.0f} s: {otherwise}")

    def follow(self, execution: str, *, answer: Answer) -> RunView:
        """Tell a run to its end and answer when it waits for people; its last view."""
        with self._narrator.run(f"run {execution.rsplit(':', 1)[1]}") as teller:
            for view in self.observer.watch(execution):
                teller.show(view)
                waits = view.package_arn if self.observer.awaits_approval(view) else None
                if waits and (done := answer(waits)):
                    self._narrator.say(("approver  ", "dim"), done)
        return view
