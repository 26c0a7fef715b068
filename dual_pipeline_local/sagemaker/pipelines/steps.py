"""How each type of step is carried out: one runner per type, all through the API and as the pipeline's role."""

from collections.abc import Callable, Mapping

from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.pipelines.conditions import holds
from dual_pipeline_local.sagemaker.pipelines.jobs import job_runner, tuned_jobs
from dual_pipeline_local.sagemaker.pipelines.outside import run_callback, run_lambda
from dual_pipeline_local.sagemaker.pipelines.run import Run, StepFailed
from dual_pipeline_local.sagemaker.pipelines.workshop import Workshop


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


RUNNERS: Mapping[str, Callable[[Run, Workshop], None]] = {
    "Processing": job_runner("Processing", metadata="ProcessingJob", default_role=True),
    "Training": job_runner("Training", metadata="TrainingJob", default_role=True),
    "Tuning": job_runner("HyperParameterTuning", metadata="TuningJob", more=tuned_jobs),
    "Transform": job_runner("Transform", metadata="TransformJob"),
    "Callback": run_callback,
    "Lambda": run_lambda,
    "Model": run_model,
    "RegisterModel": run_register_model,
    "Condition": run_condition,
    "Fail": run_fail,
}
"""Carries out a step's run: sets its properties and metadata, raises StepFailed or StepStopped."""
