"""The SageMaker service of the local AWS: one table of operations over resource families."""

import copy
import os
from collections.abc import Callable
from pathlib import Path

from dual_pipeline_local.aws_time import DEFAULT_SCALE, AwsTime
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.cloud import Cloud, EmulatedCloud
from dual_pipeline_local.sagemaker.control import Control, Operations
from dual_pipeline_local.sagemaker.endpoints.configs import EndpointConfigs
from dual_pipeline_local.sagemaker.endpoints.endpoints import Endpoints
from dual_pipeline_local.sagemaker.endpoints.invocation import Invocation
from dual_pipeline_local.sagemaker.jobs.job import Jobs, wait_for
from dual_pipeline_local.sagemaker.jobs.processing import ProcessingJobs
from dual_pipeline_local.sagemaker.jobs.spot import INTERRUPTIONS
from dual_pipeline_local.sagemaker.jobs.training import TrainingJobs
from dual_pipeline_local.sagemaker.jobs.transform import TransformJobs
from dual_pipeline_local.sagemaker.jobs.tuning import TuningJobs
from dual_pipeline_local.sagemaker.models import Models
from dual_pipeline_local.sagemaker.pipelines.pipelines import Pipelines
from dual_pipeline_local.sagemaker.registry import Registry
from dual_pipeline_local.sagemaker.tags import Tags


class SageMaker:
    """Amazon SageMaker for one account and region; everything it writes lies under `work`.

    Callers are authorized before they get here; what the service does on its own account (the steps of a pipeline,
    iam:PassRole) is authorized here. Operations answer at once but for their own short calls to S3 and CloudWatch, so
    they must not run in the thread that answers these. A second of AWS lasts `time_scale` real seconds in deployments.
    """

    def __init__(
        self,
        *,
        work: Path,
        cloud: Cloud | None = None,
        time_scale: float = DEFAULT_SCALE,
        spot_interruptions: int | None = None,
    ) -> None:
        control = Control(cloud=cloud or EmulatedCloud(), work=work, call=self.call)
        models = Models(control)
        configs = EndpointConfigs(control)
        self._control = control
        self._endpoints = Endpoints(control, models=models, configs=configs, aws_time=AwsTime(time_scale))
        times = int(os.environ.get(INTERRUPTIONS, "0")) if spot_interruptions is None else spot_interruptions
        training = TrainingJobs(control, spot_interruptions=times)
        # tuning jobs first, so that stop_all ends them before the training jobs that they would replace
        self._jobs: tuple[Jobs, ...] = (
            TuningJobs(control, training=training),
            ProcessingJobs(control),
            training,
            TransformJobs(control, models=models),
        )
        self._pipelines = Pipelines(control, wait_for_job=self._wait_unless)
        families = (Tags(control), Registry(control), models, configs, self._endpoints, *self._jobs, self._pipelines)
        self._operations: Operations = {
            name: handler for family in families for name, handler in family.operations.items()
        }

    def call(self, operation: str, request: Record, caller: Caller) -> Record:
        """Carry out an operation and answer its output members, times in epoch seconds.

        Raises ApiError, named as AWS names it.
        """
        if operation not in api.operations():
            raise ApiError("UnknownOperationException", f"SageMaker has no operation {operation}", 404)
        if operation not in self._operations:
            raise api.not_modelled(f"sagemaker:{operation}")
        request = copy.deepcopy(request)
        api.complete(operation, request)
        api.check(operation, request)
        return copy.deepcopy(self._operations[operation](request, caller))

    def invoke_endpoint(self, name: str, request: Invocation, caller: Caller) -> tuple[int, bytes, dict[str, str]]:
        """HTTP status, body and headers of an endpoint's answer.

        An error of the model is answered as AWS wraps it: status 424 and a ModelError in JSON.
        """
        return self._endpoints.invoke(name, request, caller)

    def wait(self, arn: str, *, timeout_s: float | None) -> Record:
        """Wait until a job is terminal and answer its Describe response; after `timeout_s` answer it as it is."""
        return self._wait_unless(arn, lambda: False, timeout_s=timeout_s)

    def _wait_unless(self, arn: str, given_up: Callable[[], bool], *, timeout_s: float | None = None) -> Record:
        for jobs in self._jobs:
            job = jobs.find(arn)
            if job is not None:
                wait_for(self._control, lambda: jobs.is_terminal(job) or given_up(), timeout_s)  # noqa: B023
                return copy.deepcopy(jobs.describe(job))
        raise api.invalid(f"Could not find job {arn}")

    def exists(self, arn: str) -> bool:
        """Whether there is a resource of that ARN."""
        return arn in self._control.tags

    def stop_all(self) -> None:
        """Stop executions, jobs and endpoints; no process is left when this returns."""
        self._pipelines.stop_all()
        for jobs in self._jobs:
            jobs.stop_all()
        self._endpoints.stop_all()
