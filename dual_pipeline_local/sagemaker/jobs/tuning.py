"""Hyperparameter tuning jobs: training jobs with chosen hyperparameters, several at once, and the best of them.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateHyperParameterTuningJob.html
"""

import hashlib
import time
from collections import Counter
from dataclasses import dataclass

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.jobs.failure import JobFailed, JobStopped
from dual_pipeline_local.sagemaker.jobs.job import Job, Jobs, wait_for
from dual_pipeline_local.sagemaker.jobs.metric_definitions import check_metric_definitions, metric_definitions
from dual_pipeline_local.sagemaker.jobs.script_mode import TUNING_METRIC
from dual_pipeline_local.sagemaker.jobs.search import STRATEGIES, Search, Trial, Values, combinations, ranges
from dual_pipeline_local.sagemaker.jobs.training import TrainingJobs
from dual_pipeline_local.sagemaker.listing import Listing

_VALUE = "FinalObjectiveMetricValue"
_MOST_FAILURES = 5
_TRIALS = Listing(
    operation="ListTrainingJobsForHyperParameterTuningJob",
    name="TrainingJobName",
    status="TrainingJobStatus",
    order="Ascending",
)


@dataclass(frozen=True)
class TrialJob:
    """A training job of a tuning job, and the values that were chosen for it."""

    job: Job
    values: Values

    @property
    def status(self) -> str:
        """TrainingJobStatus."""
        return str(self.job.record["TrainingJobStatus"])

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status in ("InProgress", "Stopping")

    def objective(self, metric: str) -> float | None:
        """The objective's last value, of a job that ended well."""
        found = self.job.record.get("FinalMetricDataList", []) if self.status == "Completed" else []
        return next((float(each["Value"]) for each in found if each["MetricName"] == metric), None)


class TuningJobs(Jobs):
    """See module."""

    kind = "HyperParameterTuning"
    words = "HyperParameter Tuning"
    path = "hyper-parameter-tuning-job"

    def __init__(self, control: Control, *, training: TrainingJobs) -> None:
        super().__init__(control)
        self._training = training
        self._trials: dict[str, list[TrialJob]] = {}
        self.operations = {**self.operations, "ListTrainingJobsForHyperParameterTuningJob": self._list_trials}

    def refuse_unmodelled(self, request: Record) -> None:
        """See Jobs."""
        config: Record = request["HyperParameterTuningJobConfig"]
        definition: Record = request.get("TrainingJobDefinition", {})
        for member, given in {**dict.fromkeys(_ABSENT, request), **dict.fromkeys(_ABSENT_IN_CONFIG, config)}.items():
            if given.get(member):
                raise not_modelled(f"CreateHyperParameterTuningJob with {member}")
        if not definition:
            raise invalid("TrainingJobDefinition is required")
        for member in _ABSENT_IN_DEFINITION:
            if definition.get(member):
                raise not_modelled(f"CreateHyperParameterTuningJob with TrainingJobDefinition.{member}")
        if config["Strategy"] not in STRATEGIES:
            raise not_modelled(f"CreateHyperParameterTuningJob with Strategy {config['Strategy']}")
        if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            raise not_modelled("CreateHyperParameterTuningJob with TrainingJobEarlyStoppingType Auto")
        _check_objective(config, definition)
        space = ranges(config.get("ParameterRanges", {}))
        _check_limits(config, grid=len(combinations(space)) if config["Strategy"] == "Grid" else None)
        static = definition.get("StaticHyperParameters", {})
        if doubled := [each.name for each in space if each.name in static]:
            raise invalid(f"hyperparameters must be either static or tuned, got both for {', '.join(doubled)}")
        # each trial would be refused for the same faults, when it is too late to tell the caller
        sample = _training_request(request, 1, {each.name: each.at(0.5) for each in space})
        api.check("CreateTrainingJob", sample)
        self._training.refuse_unmodelled(sample)

    def started(self, request: Record, _caller: Caller) -> Record:
        """See Jobs."""
        config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
        static = definition.get("StaticHyperParameters", {})
        objective = {TUNING_METRIC: config["HyperParameterTuningJobObjective"]["MetricName"]}
        return {
            "TrainingJobDefinition": definition | {"StaticHyperParameters": static | objective},
            "Strategy": config["Strategy"],
            "ResourceLimits": config["ResourceLimits"],
            **self._progress(request, []),
        }

    def execute(self, job: Job) -> Record:
        """Keep as many training jobs running as allowed until all have run, none can succeed, or time is over."""
        config = job.record["HyperParameterTuningJobConfig"]
        search = STRATEGIES[config["Strategy"]](
            ranges(config["ParameterRanges"]), str(config.get("RandomSeed", job.record[self._name]))
        )
        trials = self._trials.setdefault(job.record[self._name], [])
        longest = config["ResourceLimits"].get("MaxRuntimeInSeconds")
        deadline = None if longest is None else time.monotonic() + longest
        try:
            self._run_trials(job, search, trials, deadline)
        finally:
            self._end(trials)
        self.change(job, **self._progress(job.record, trials))
        if job.stop.is_set():
            raise JobStopped
        if "BestTrainingJob" not in job.record:
            raise _failure(trials, config["HyperParameterTuningJobObjective"]["MetricName"])
        return {}

    def ended(self, job: Job, _changes: Record) -> Record:
        """See Jobs."""
        now = api.now()
        return {
            "HyperParameterTuningEndTime": now,
            "ConsumedResources": {"RuntimeInSeconds": max(1, round(now - job.record["CreationTime"]))},
        }

    def not_found(self, name: str) -> ApiError:
        """See Jobs."""
        return ApiError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job named {name}", 400)

    def _run_trials(self, job: Job, search: Search, trials: list[TrialJob], deadline: float | None) -> None:
        """Until none runs and none is left to start, or until those that run are no longer wanted."""
        while running := self._refill(job, search, trials):
            in_time = wait_for(
                self._control,
                lambda before=running: job.stop.is_set() or _running(trials) < before,  # type: ignore[misc]
                None if deadline is None else deadline - time.monotonic(),
            )
            self.change(job, **self._progress(job.record, trials))
            if job.stop.is_set() or not in_time or _is_hopeless(trials):
                return

    def _refill(self, job: Job, search: Search, trials: list[TrialJob]) -> int:
        """Start training jobs up to the limits; how many run then."""
        record = job.record
        limits, objective = record["ResourceLimits"], record["HyperParameterTuningJobConfig"]
        sign = -1.0 if objective["HyperParameterTuningJobObjective"]["Type"] == "Maximize" else 1.0
        metric = objective["HyperParameterTuningJobObjective"]["MetricName"]
        most = limits.get("MaxNumberOfTrainingJobs", float("inf"))
        while len(trials) < most and _running(trials) < limits["MaxParallelTrainingJobs"]:
            known = [(trial, trial.objective(metric)) for trial in trials]
            values = search.next([Trial(each.values, None if y is None else sign * y) for each, y in known])
            if values is None:
                break
            request = _training_request(record, len(trials) + 1, values)
            request["Tags"] = [{"Key": k, "Value": v} for k, v in self._control.tags[record[self._arn]].items()]
            started = self._training.launch(request, job.caller, TuningJobArn=record[self._arn])
            with self._control.changed:
                trials.append(TrialJob(started, values))
            self.change(job, **self._progress(record, trials))
        return _running(trials)

    def _end(self, trials: list[TrialJob]) -> None:
        """Stop the training jobs that still run and wait for their end."""
        for trial in trials:
            self._training.halt(trial.job)
        wait_for(self._control, lambda: not _running(trials), None)

    def _progress(self, record: Record, trials: list[TrialJob]) -> Record:
        """The counters, and the best training job so far."""
        objective = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        summaries = [_summary(trial, objective) for trial in trials]
        counted = Counter(_counter(trial) for trial in trials)
        judged = Counter(summary["ObjectiveStatus"] for summary in summaries)
        best = sorted(
            (summary for summary in summaries if summary["ObjectiveStatus"] == "Succeeded"),
            key=lambda summary: summary[_VALUE],
            reverse=objective["Type"] == "Maximize",
        )
        return {
            "TrainingJobStatusCounters": {name: counted[name] for name in _COUNTERS},
            "ObjectiveStatusCounters": {name: judged[name] for name in ("Succeeded", "Pending", "Failed")},
            **({"BestTrainingJob": _shown(best[0])} if best else {}),
        }

    def _list_trials(self, request: Record, _caller: Caller) -> Record:
        job = self._job(request)
        objective = job.record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        summaries = [_summary(trial, objective) for trial in self._trials.get(job.record[self._name], [])]
        if request.get("SortBy") == _VALUE:
            summaries = [summary for summary in summaries if _VALUE in summary]
        return _TRIALS.page({k: v for k, v in request.items() if k != self._name}, summaries)


def _training_request(record: Record, number: int, values: Values) -> Record:
    """The CreateTrainingJob request of one trial, named `<tuning job>-001-<8 hex>`."""
    tuning_job = record["HyperParameterTuningJobName"]
    digest = hashlib.sha256(f"{tuning_job}/{number}".encode()).hexdigest()[:8]
    definition = dict(record["TrainingJobDefinition"])
    static = definition.pop("StaticHyperParameters", {})
    metric = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    return definition | {
        "TrainingJobName": f"{tuning_job}-{number:03}-{digest}",
        "HyperParameters": {**static, **values, TUNING_METRIC: metric},
    }


def _summary(trial: TrialJob, objective: Record) -> Record:
    """A HyperParameterTrainingJobSummary, and FinalObjectiveMetricValue to sort by."""
    record = trial.job.record
    value = trial.objective(objective["MetricName"])
    summary = {name: record[name] for name in _SUMMARY if name in record}
    summary |= {"TunedHyperParameters": dict(trial.values), "ObjectiveStatus": "Pending"}
    if value is not None:
        final = {"MetricName": objective["MetricName"], "Value": value}
        return summary | {
            "ObjectiveStatus": "Succeeded",
            "FinalHyperParameterTuningJobObjectiveMetric": final,
            _VALUE: value,
        }
    return summary if trial.is_running else summary | {"ObjectiveStatus": "Failed"}


def _shown(summary: Record) -> Record:
    return {name: value for name, value in summary.items() if name != _VALUE}


def _counter(trial: TrialJob) -> str:
    if trial.is_running:
        return "InProgress"
    if trial.status != "Failed":
        return trial.status
    retryable = trial.job.record["FailureReason"].startswith("InternalServerError")
    return "RetryableError" if retryable else "NonRetryableError"


def _running(trials: list[TrialJob]) -> int:
    return sum(trial.is_running for trial in trials)


def _is_hopeless(trials: list[TrialJob]) -> bool:
    states = Counter(trial.status for trial in trials)
    return states["Failed"] >= _MOST_FAILURES and not states["Completed"]


def _failure(trials: list[TrialJob], metric: str) -> JobFailed:
    """Why there is no best training job; AWS's sentence, then the first job's reason."""
    failed = [trial.job.record for trial in trials if trial.status == "Failed"]
    if not failed and all(trial.status == "Stopped" for trial in trials):
        return JobFailed("ClientError: No training job completed before the time limits of the tuning job or its own")
    if not failed:
        return JobFailed(
            f"ClientError: No training job emitted the objective metric {metric}; its regular expression in "
            "MetricDefinitions must match in the log of a training job that completes"
        )
    return JobFailed(
        f"No training job succeeded after {len(failed)} attempts. For additional details, please take a look at the "
        "training job failures by listing training jobs for the hyperparameter tuning job. "
        f"{failed[0]['TrainingJobName']}: {failed[0]['FailureReason']}"
    )


def _check_objective(config: Record, definition: Record) -> None:
    objective = config.get("HyperParameterTuningJobObjective")
    if objective is None:
        raise invalid("HyperParameterTuningJobObjective is required")
    check_metric_definitions(definition["AlgorithmSpecification"])
    metrics = [each["Name"] for each in metric_definitions(definition["AlgorithmSpecification"])]
    if objective["MetricName"] not in metrics:
        raise invalid(
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric "
            f"definitions. ({objective['MetricName']} is none of {metrics})"
        )


def _check_limits(config: Record, *, grid: int | None) -> None:
    limits = config["ResourceLimits"]
    most, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if grid is not None and most not in (None, grid):
        raise invalid(f"MaxNumberOfTrainingJobs of Strategy Grid must be left out or {grid}, got {most}")
    if grid is None and most is None:
        raise invalid(f"MaxNumberOfTrainingJobs is required with Strategy {config['Strategy']}")
    if parallel > (most or grid or 0):
        raise invalid(f"MaxParallelTrainingJobs must not exceed MaxNumberOfTrainingJobs {most or grid}, got {parallel}")


_COUNTERS = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)
_ABSENT = ("TrainingJobDefinitions", "WarmStartConfig", "Autotune")
_ABSENT_IN_CONFIG = ("StrategyConfig", "TuningJobCompletionCriteria")
_ABSENT_IN_DEFINITION = (
    "DefinitionName",
    "TuningObjective",
    "HyperParameterRanges",
    "HyperParameterTuningResourceConfig",
)
