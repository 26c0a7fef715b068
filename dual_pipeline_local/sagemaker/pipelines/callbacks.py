"""Callback tokens: each stands for one waiting step and is answered once.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SendPipelineExecutionStepSuccess.html and
API_SendPipelineExecutionStepFailure.html.
"""

import secrets
import string
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.control import Operations
from dual_pipeline_local.sagemaker.pipelines.parameters import read_outputs
from dual_pipeline_local.sagemaker.pipelines.tokens import EXECUTIONS

_LETTERS = string.ascii_letters + string.digits
_NO_REASON = "The callback step was answered with SendPipelineExecutionStepFailure without a FailureReason"


@dataclass
class Callback:
    """A step that waits for its answer: the outputs it declares, then either their values or why it failed."""

    token: str
    execution_arn: str
    declared: list[Record]
    open: bool = True
    outputs: dict[str, Any] | None = None
    failure: str | None = None
    request: tuple[str, Record] | None = None

    @property
    def answered(self) -> bool:
        """Whether the answer is there."""
        return self.request is not None


class Callbacks:
    """All callbacks of one SageMaker; `changed` guards them and is notified of answers."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._callbacks: dict[str, Callback] = {}
        self.operations: Operations = {
            "SendPipelineExecutionStepSuccess": self._succeed,
            "SendPipelineExecutionStepFailure": self._fail,
        }

    def begin(self, execution_arn: str, declared: list[Record]) -> Callback:
        """A new callback with a token of its own."""
        token = "".join(secrets.choice(_LETTERS) for _ in range(10))
        with self._changed:
            callback = self._callbacks[token] = Callback(token, execution_arn, declared)
            EXECUTIONS[token] = execution_arn
        return callback

    def wait(self, callback: Callback, given_up: Callable[[], bool], *, timeout_s: float) -> bool:
        """Wait for the answer; False when it was given up or the time is over."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not callback.answered and not given_up():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return callback.answered

    def end(self, callback: Callback) -> None:
        """Take no further answers."""
        with self._changed:
            callback.open = False

    def _succeed(self, request: Record, _caller: Caller) -> Record:
        given = [(output["Name"], output["Value"]) for output in request.get("OutputParameters", [])]

        def answer(callback: Callback) -> None:
            if len(dict(given)) != len(given):
                raise invalid("Output parameters must be given once each")
            try:
                callback.outputs = read_outputs(callback.declared, dict(given))
            except ValueError as error:
                raise invalid(f"Invalid OutputParameters of callback token {callback.token}: {error}") from None

        return self._answer("SendPipelineExecutionStepSuccess", request, answer)

    def _fail(self, request: Record, _caller: Caller) -> Record:
        def answer(callback: Callback) -> None:
            callback.failure = request.get("FailureReason") or _NO_REASON

        return self._answer("SendPipelineExecutionStepFailure", request, answer)

    def _answer(self, operation: str, request: Record, answer: Callable[[Callback], None]) -> Record:
        token = request["CallbackToken"]
        with self._changed:
            callback = self._callbacks.get(token)
            if callback is None:
                raise ApiError("ResourceNotFound", f"Callback token '{token}' does not exist.")
            if callback.request != (operation, request):  # the same ClientRequestToken makes it the same request
                if callback.answered:
                    raise ApiError("ConflictException", f"Callback token '{token}' has been answered already.")
                if not callback.open:
                    raise ApiError("ConflictException", f"The step of callback token '{token}' waits no longer.")
                answer(callback)
                callback.request = (operation, request)
                self._changed.notify_all()
        return {"PipelineExecutionArn": callback.execution_arn}
