"""What the runners of steps work with."""

import secrets
import string
import threading
from collections.abc import Callable
from dataclasses import dataclass

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.pipelines.cache import Cache, Hit, cache_key
from dual_pipeline_local.sagemaker.pipelines.callbacks import Callbacks
from dual_pipeline_local.sagemaker.pipelines.expressions import Scope
from dual_pipeline_local.sagemaker.pipelines.run import Run, StepFailed
from dual_pipeline_local.sagemaker.pipelines.step import Step

_LETTERS = string.ascii_letters + string.digits
_JOB_NAME = 63
_TUNING_NAME = 32


@dataclass(frozen=True)
class Workshop:
    """An execution's names and role, its scope and cache, the answers it waits for, and the wish to stop.

    `abandoned` is set besides `stop` when everything ends: then nothing is waited for or told any more.
    """

    control: Control
    wait: Callable[[str, Callable[[], bool]], Record]
    caller: Caller
    execution_arn: str
    scope: Scope
    cache: Cache
    callbacks: Callbacks
    stop: threading.Event
    abandoned: threading.Event
    stop_grace_s: float

    def call(self, operation: str, request: Record) -> Record:
        """Call the API as the pipeline's role, with the permissions AWS asks it for."""
        try:
            self.control.cloud.authorize_call(self.caller, operation, request)
            return self.control.call(operation, request, self.caller)
        except ApiError as error:
            raise refused(f"sagemaker:{operation}", error) from error

    def authorize(self, operation: str, resource: str) -> None:
        """Refuse what the pipeline's role may not do."""
        try:
            self.control.cloud.authorize(self.caller, f"sagemaker:{operation}", resource)
        except ApiError as error:
            raise refused(f"sagemaker:{operation}", error) from error

    def tag(self, arn: str, step: Step) -> None:
        """The tags that SageMaker itself puts on what a step creates."""
        with self.control.changed:
            self.control.tags.setdefault(arn, {}).update(
                {"sagemaker:pipeline-execution-arn": self.execution_arn, "sagemaker:pipeline-step-name": step.name}
            )

    def name(self, step: Step) -> str:
        """A fresh name for what a step creates, as AWS makes them."""
        execution_id = self.execution_arn.rpartition("/")[2]
        limit, head = (
            (_TUNING_NAME, f"{execution_id}-") if step.type == "Tuning" else (_JOB_NAME, f"pipelines-{execution_id}-")
        )
        suffix = "".join(secrets.choice(_LETTERS) for _ in range(10))
        return f"{head}{step.name[: limit - len(head) - len(suffix) - 1].replace('_', '-')}-{suffix}"

    def reuse(self, run: Run, keyed: Record) -> bool:
        """Answer a run from the cache, if an equal one is there that may be used."""
        hit = self.cache.find(cache_key(run.step.name, run.step.type, keyed), run.step.caching)
        if hit is None:
            return False
        run.properties = hit.properties
        run.record["Metadata"] = hit.metadata
        run.record["CacheHitResult"] = {"SourcePipelineExecutionArn": hit.execution_arn}
        return True

    def keep(self, run: Run, keyed: Record) -> None:
        """Remember a run that has succeeded by itself."""
        hit = Hit(run.properties, run.record["Metadata"], self.execution_arn, api.now())
        self.cache.keep(cache_key(run.step.name, run.step.type, keyed), hit)


def refused(action: str, error: ApiError) -> StepFailed:
    """The failure of a step whose call was refused; retry policies go by how it begins."""
    kind = "ClientError" if error.code in ("ValidationException", "AccessDeniedException") else error.code
    return StepFailed(f"{kind}: Failed to invoke {action}. Error Details: {error.message}")
