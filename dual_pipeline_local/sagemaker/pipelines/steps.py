"""How each type of step is carried out: one runner per type, all through the API and as the pipeline's role."""

import secrets
import string
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.pipelines.cache import Cache, Hit
from dual_pipeline_local.sagemaker.pipelines.conditions import holds
from dual_pipeline_local.sagemaker.pipelines.definition import Step
from dual_pipeline_local.sagemaker.pipelines.expressions import Scope

_LETTERS = string.ascii_letters + string.digits
_JOB_NAME = 63


class StepFailed(Exception):
    """A step failed; `str()` is its FailureReason. `ends` is set for a Fail step, whose message the execution takes."""

    def __init__(self, reason: str, *, ends: bool = False) -> None:
        super().__init__(reason[:1024])
        self.ends = ends


class StepStopped(Exception):
    """A step was stopped with its execution."""


@dataclass
class Run:
    """One step's run in an execution, as ListPipelineExecutionSteps answers it."""

    step: Step
    record: Record
    properties: Record = field(default_factory=dict)

    @property
    def status(self) -> str:
        """StepStatus."""
        status: str = self.record["StepStatus"]
        return status


@dataclass(frozen=True)
class Workshop:
    """What runners work with: the execution's names and role, its scope, and the wish to stop."""

    control: Control
    wait: Callable[[str, Callable[[], bool]], Record]
    caller: Caller
    execution_id: str
    execution_arn: str
    scope: Scope
    cache: Cache
    stop: threading.Event

    def call(self, operation: str, request: Record) -> Record:
        """Call the API as the pipeline's role, with the permissions AWS asks it for."""
        try:
            self.control.cloud.authorize_call(self.caller, operation, request)
            return self.control.call(operation, request, self.caller)
        except ApiError as error:
            raise StepFailed(
                f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {error.message}"
                if error.code in ("ValidationException", "AccessDeniedException")
                else f"{error.code}: Failed to invoke sagemaker:{operation}. Error Details: {error.message}"
            ) from error

    def tag(self, arn: str, step: Step) -> None:
        """The tags that SageMaker itself puts on what a step creates."""
        with self.control.changed:
            self.control.tags.setdefault(arn, {}).update(
                {"sagemaker:pipeline-execution-arn": self.execution_arn, "sagemaker:pipeline-step-name": step.name}
            )

    def name(self, step: Step) -> str:
        """A fresh name for what a step creates, as AWS makes them."""
        suffix = "".join(secrets.choice(_LETTERS) for _ in range(10))
        head = f"pipelines-{self.execution_id}-"
        return f"{head}{step.name[: _JOB_NAME - len(head) - len(suffix) - 1].replace('_', '-')}-{suffix}"


Runner = Callable[[Run, Workshop], None]
"""Carries out a step's run: sets its properties and metadata, raises StepFailed or StepStopped."""


def run_job(kind: str) -> Runner:
    """A runner of jobs of a kind: Processing or Training."""

    def run(run: Run, shop: Workshop) -> None:
        arguments: Record = shop.scope.resolve(run.step.arguments)
        hit = shop.cache.find(run.step, arguments)
        if hit is not None:
            run.properties = hit.properties
            run.record["Metadata"] = hit.metadata
            run.record["CacheHitResult"] = {"SourcePipelineExecutionArn": hit.execution_arn}
            return
        arguments[f"{kind}JobName"] = shop.name(run.step)
        arguments.setdefault("RoleArn", shop.caller.arn)
        arn: str = shop.call(f"Create{kind}Job", arguments)[f"{kind}JobArn"]
        run.record["Metadata"] = {f"{kind}Job": {"Arn": arn}}
        shop.tag(arn, run.step)
        job = shop.wait(arn, shop.stop.is_set)
        if job[f"{kind}JobStatus"] == "InProgress":
            with suppress(ApiError):  # it may have ended meanwhile
                shop.control.call(f"Stop{kind}Job", {f"{kind}JobName": arguments[f"{kind}JobName"]}, shop.caller)
            shop.wait(arn, lambda: False)
            raise StepStopped
        if job[f"{kind}JobStatus"] == "Failed":
            raise StepFailed(job["FailureReason"])
        if job[f"{kind}JobStatus"] != "Completed":
            if shop.stop.is_set():
                raise StepStopped
            raise StepFailed(f"ClientError: {kind} job {arn} ended with status {job[f'{kind}JobStatus']}")
        run.properties = _named(job)
        finished = Hit(run.properties, run.record["Metadata"], shop.execution_arn, api.now())
        shop.cache.keep(run.step, arguments, finished)

    return run


def run_model(run: Run, shop: Workshop) -> None:
    """Model: CreateModel."""
    arguments: Record = shop.scope.resolve(run.step.arguments)
    arguments["ModelName"] = shop.name(run.step)
    arguments.setdefault("ExecutionRoleArn", shop.caller.arn)
    arn = shop.call("CreateModel", arguments)["ModelArn"]
    shop.tag(arn, run.step)
    run.record["Metadata"] = {"Model": {"Arn": arn}}
    run.properties = shop.control.call("DescribeModel", {"ModelName": arguments["ModelName"]}, shop.caller)


def run_register_model(run: Run, shop: Workshop) -> None:
    """RegisterModel: CreateModelPackage."""
    arguments: Record = shop.scope.resolve(run.step.arguments)
    arguments.setdefault("MetadataProperties", {}).setdefault("GeneratedBy", shop.execution_arn)
    arn = shop.call("CreateModelPackage", arguments)["ModelPackageArn"]
    shop.tag(arn, run.step)
    run.record["Metadata"] = {"RegisterModel": {"Arn": arn}}
    run.properties = shop.control.call("DescribeModelPackage", {"ModelPackageName": arn}, shop.caller)


def run_condition(run: Run, shop: Workshop) -> None:
    """Condition: all conditions hold or not."""
    outcome = all(holds(condition, shop.scope) for condition in run.step.arguments["Conditions"])
    run.properties = {"Outcome": outcome}
    run.record["Metadata"] = {"Condition": {"Outcome": str(outcome)}}


def run_fail(run: Run, shop: Workshop) -> None:
    """Fail: ends the execution with a message."""
    message = str(shop.scope.resolve(run.step.arguments["ErrorMessage"]))
    run.record["Metadata"] = {"Fail": {"ErrorMessage": message}}
    raise StepFailed(message, ends=True)


RUNNERS: Mapping[str, Runner] = {
    "Processing": run_job("Processing"),
    "Training": run_job("Training"),
    "Model": run_model,
    "RegisterModel": run_register_model,
    "Condition": run_condition,
    "Fail": run_fail,
}


def _named(job: Record) -> Record:
    """A job's description as `Steps.<name>` shows it: inputs and outputs by name."""
    shown = dict(job)
    if "ProcessingOutputConfig" in job:
        config = job["ProcessingOutputConfig"]
        shown["ProcessingOutputConfig"] = config | {"Outputs": {o["OutputName"]: o for o in config["Outputs"]}}
    if "ProcessingInputs" in job:
        shown["ProcessingInputs"] = {entry["InputName"]: entry for entry in job["ProcessingInputs"]}
    return shown
