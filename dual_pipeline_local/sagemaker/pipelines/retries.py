"""Retry policies of steps.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
"""

import threading
import time
from collections.abc import Callable, Sequence

from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.pipelines.steps import Run, StepFailed, StepStopped

# how a failure of each kind begins
_SIGNS = {
    "Step.SERVICE_FAULT": ("InternalFailure", "ServiceUnavailable"),
    "Step.THROTTLING": ("ThrottlingException",),
    "SageMaker.JOB_INTERNAL_ERROR": ("InternalServerError",),
    "SageMaker.CAPACITY_ERROR": ("CapacityError",),
    "SageMaker.RESOURCE_LIMIT": ("ResourceLimitExceeded",),
}


class Retries:
    """Runs a step again as its policies say."""

    def __init__(self, policies: Sequence[Record]) -> None:
        self._policies = policies

    def run(self, attempt: Callable[[], None], run: Run, stop: threading.Event) -> None:
        """Attempt until success, until no policy allows one more attempt (StepFailed), or stopped (StepStopped)."""
        started = time.monotonic()
        while True:
            try:
                return attempt()
            except StepFailed as failure:
                number = run.record["AttemptCount"]
                policy = self._policy(str(failure), number, time.monotonic() - started)
                if policy is None:
                    raise
                pause = policy.get("IntervalSeconds", 1) * policy.get("BackoffRate", 2.0) ** (number - 1)
            if stop.wait(pause):
                raise StepStopped
            run.record["AttemptCount"] += 1

    def _policy(self, reason: str, attempts: int, elapsed_s: float) -> Record | None:
        for policy in self._policies:
            matches = any(reason.startswith(sign) for kind in policy["ExceptionType"] for sign in _SIGNS.get(kind, ()))
            in_time = elapsed_s < policy.get("ExpireAfterMin", float("inf")) * 60
            if matches and in_time and attempts <= policy.get("MaxAttempts", float("inf")):
                return policy
        return None
