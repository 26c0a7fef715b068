"""Steps that run a job: Processing, Training, Tuning, Transform."""

from collections.abc import Callable
from contextlib import suppress

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.pipelines.run import Run, StepFailed, StepStopped
from dual_pipeline_local.sagemaker.pipelines.workshop import Workshop

_MOST_TUNED = 50
_BY_OBJECTIVE = "ListTrainingJobsForHyperParameterTuningJob"


def job_runner(
    kind: str,
    *,
    metadata: str,
    default_role: bool = False,
    more: Callable[[Record, Workshop], Record] = lambda _job, _shop: {},
) -> Callable[[Run, Workshop], None]:
    """A runner of jobs of a kind; `more` answers the properties that the job's description lacks."""
    name, arn_of, status = f"{kind}JobName", f"{kind}JobArn", f"{kind}JobStatus"

    def run(run: Run, shop: Workshop) -> None:
        arguments: Record = shop.scope.resolve(run.step.arguments)
        if shop.reuse(run, arguments):
            return
        request = arguments | {name: shop.name(run.step)}
        if default_role:
            request.setdefault("RoleArn", shop.caller.arn)
        arn: str = shop.call(f"Create{kind}Job", request)[arn_of]
        run.record["Metadata"] = {metadata: {"Arn": arn}}
        shop.tag(arn, run.step)
        shop.call(f"Describe{kind}Job", {name: request[name]})
        job = shop.wait(arn, shop.stop.is_set)
        if job[status] in ("InProgress", "Stopping"):
            with suppress(ApiError):  # it may have ended meanwhile
                shop.control.call(f"Stop{kind}Job", {name: request[name]}, shop.caller)
            shop.wait(arn, lambda: False)
            raise StepStopped
        if job[status] == "Failed":
            raise StepFailed(job.get("FailureReason", f"ClientError: {kind} job {arn} failed"))
        if job[status] != "Completed":
            if shop.stop.is_set():
                raise StepStopped
            raise StepFailed(f"ClientError: {kind} job {arn} ended with status {job[status]}")
        run.properties = named(job) | more(job, shop)
        shop.keep(run, arguments)

    return run


def tuned_jobs(job: Record, shop: Workshop) -> Record:
    """TrainingJobSummaries of a tuning job, the best first, as the SDK's `get_top_model_s3_uri` counts them."""
    shop.authorize(_BY_OBJECTIVE, job["HyperParameterTuningJobArn"])
    objective = job["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
    listed = shop.control.call(
        _BY_OBJECTIVE,
        {
            "HyperParameterTuningJobName": job["HyperParameterTuningJobName"],
            "SortBy": "FinalObjectiveMetricValue",
            "SortOrder": "Ascending" if objective.get("Type") == "Minimize" else "Descending",
            "StatusEquals": "Completed",
            "MaxResults": _MOST_TUNED,
        },
        shop.caller,
    )
    return {"TrainingJobSummaries": listed["TrainingJobSummaries"]}


def named(job: Record) -> Record:
    """A job's description as `Steps.<name>` shows it: inputs and outputs by name."""
    shown = dict(job)
    if "ProcessingOutputConfig" in job:
        config = job["ProcessingOutputConfig"]
        shown["ProcessingOutputConfig"] = config | {"Outputs": {o["OutputName"]: o for o in config["Outputs"]}}
    if "ProcessingInputs" in job:
        shown["ProcessingInputs"] = {entry["InputName"]: entry for entry in job["ProcessingInputs"]}
    return shown
