"""Retry policies of steps.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
"""

import threading
import time
from collections.abc import Callable, Mapping

from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.pipelines.run import Run, StepFailed, StepStopped

_INTERNAL = "SageMaker.JOB_INTERNAL_ERROR"
# how a failure of each kind begins
SIGNS: Mapping[str, tuple[str, ...]] = {
    "Step.SERVICE_FAULT": ("InternalFailure", "ServiceUnavailable"),
    "Step.THROTTLING": ("ThrottlingException",),
    _INTERNAL: ("InternalServerError",),
    "SageMaker.CAPACITY_ERROR": ("CapacityError",),
    "SageMaker.RESOURCE_LIMIT": ("ResourceLimitExceeded",),
}
_DEFAULT_ATTEMPTS = 5


def run_with_retries(attempt: Callable[[], None], run: Run, stop: threading.Event) -> None:
    """Attempt until success, until no policy allows one more attempt (StepFailed), or stopped (StepStopped)."""
    started = time.monotonic()
    while True:
        try:
            return attempt()
        except StepFailed as failure:
            number = run.record["AttemptCount"]
            policy = _policy(run, str(failure), number, time.monotonic() - started)
            if policy is None:
                raise
            pause = policy.get("IntervalSeconds", 1) * policy.get("BackoffRate", 2.0) ** (number - 1)
        if stop.wait(pause):
            raise StepStopped
        run.record["AttemptCount"] += 1


def _policy(run: Run, reason: str, attempts: int, elapsed_s: float) -> Record | None:
    policies: list[Record] = run.step.source.get("RetryPolicies", [])
    for policy in policies:
        # the jobs of a tuning step are tried again by the tuning job itself
        kinds = [kind for kind in policy["ExceptionType"] if (run.step.type, kind) != ("Tuning", _INTERNAL)]
        matches = any(reason.startswith(sign) for kind in kinds for sign in SIGNS[kind])
        in_time = elapsed_s < policy.get("ExpireAfterMin", float("inf")) * 60
        most = policy.get("MaxAttempts", float("inf") if "ExpireAfterMin" in policy else _DEFAULT_ATTEMPTS)
        if matches and in_time and attempts <= most:
            return policy
    return None
