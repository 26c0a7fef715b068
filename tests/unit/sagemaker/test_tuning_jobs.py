"""Hyperparameter tuning jobs over real, tiny training jobs."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_local.errors import ApiError
from sagemaker_bench import IMAGE, Bench

PEAK = """
import sys
x = float(sys.argv[sys.argv.index("--rate") + 1])
assert "--_tuning_objective_metric" not in sys.argv
print(f"auc={-abs(x - 7):.6f}")
"""
IMAGE_AND_INPUT = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
ANYTHING = {"Name": "auc", "Regex": "auc=(.*)"}


def test_the_best_of_all_trials_is_told(tmp_path: Path) -> None:
    """Each trial is a training job of its own, named after the tuning job; the greatest objective wins."""
    bench = Bench(tmp_path)
    job = bench.run("HyperParameterTuning", bench.tuning("tune", PEAK, jobs=4, parallel=2))
    assert "Completed" == job["HyperParameterTuningJobStatus"], job
    assert {"Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0} == job[
        "TrainingJobStatusCounters"
    ]
    assert {"Succeeded": 4, "Pending": 0, "Failed": 0} == job["ObjectiveStatusCounters"]
    trials = _trials(bench, "tune")
    assert all(
        re.fullmatch(rf"tune-00{n}-[0-9a-f]{{8}}", trial["TrainingJobName"]) for n, trial in enumerate(trials, 1)
    )
    best = job["BestTrainingJob"]
    assert best == max(trials, key=lambda trial: trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
    training = bench.call("DescribeTrainingJob", TrainingJobName=best["TrainingJobName"])
    assert job["HyperParameterTuningJobArn"] == training["TuningJobArn"]
    assert best["TunedHyperParameters"]["rate"] == training["HyperParameters"]["rate"]
    assert "auc" == training["HyperParameters"]["_tuning_objective_metric"]
    assert training["ModelArtifacts"]["S3ModelArtifacts"] in bench.objects


def test_the_least_objective_wins_when_it_is_minimized(tmp_path: Path) -> None:
    """Minimize turns the order around, in the list too."""
    objective = {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "auc"}}
    bench = Bench(tmp_path)
    job = bench.run("HyperParameterTuning", bench.tuning("low", PEAK, **objective))
    by_value = _trials(bench, "low", SortBy="FinalObjectiveMetricValue")
    assert job["BestTrainingJob"] == by_value[0]
    assert by_value[::-1] == _trials(bench, "low", SortBy="FinalObjectiveMetricValue", SortOrder="Descending")


def test_as_many_trials_run_at_once_as_allowed(tmp_path: Path) -> None:
    """Never more than MaxParallelTrainingJobs; with the same seed another job tries the same values."""
    code = "import time; print(f'auc={time.time():.3f}'); time.sleep(0.4); print('ends')"
    bench = Bench(tmp_path)
    seen = []
    for name in ("first", "second"):
        bench.run("HyperParameterTuning", bench.tuning(name, code, jobs=4, parallel=2, RandomSeed=5))
        trials = _trials(bench, name)
        spans = [(trial["TrainingStartTime"], trial["TrainingEndTime"]) for trial in trials]
        assert 2 == max(sum(start < begin < end for start, end in spans) + 1 for begin, _ in spans)
        seen.append([trial["TunedHyperParameters"] for trial in trials])
    assert seen[0] == seen[1]


def test_a_tuning_job_of_failing_trials_fails(tmp_path: Path) -> None:
    """After five failures it ends in AWS's words and with the first trial's own reason."""
    bench = Bench(tmp_path)
    job = bench.run("HyperParameterTuning", bench.tuning("broken", "raise ValueError('no rows')", jobs=9))
    assert "Failed" == job["HyperParameterTuningJobStatus"]
    assert 5 == job["TrainingJobStatusCounters"]["NonRetryableError"]
    assert 5 == job["ObjectiveStatusCounters"]["Failed"]
    assert "BestTrainingJob" not in job
    assert job["FailureReason"].startswith(
        "No training job succeeded after 5 attempts. For additional details, please take a look at the training job "
        "failures by listing training jobs for the hyperparameter tuning job. broken-001-"
    )
    assert "ValueError: no rows" in job["FailureReason"]


def test_a_few_failing_trials_do_no_harm(tmp_path: Path) -> None:
    """The tuning job completes with the best of the others."""
    code = PEAK + "if x < 5: sys.exit(1)\n"
    bench = Bench(tmp_path)
    job = bench.run("HyperParameterTuning", bench.tuning("some", code, jobs=4, RandomSeed=1))
    counters = job["TrainingJobStatusCounters"]
    assert "Completed" == job["HyperParameterTuningJobStatus"]
    assert (4, True) == (counters["Completed"] + counters["NonRetryableError"], counters["NonRetryableError"] > 0)
    assert float(job["BestTrainingJob"]["TunedHyperParameters"]["rate"]) >= 5


def test_trials_without_the_objective_fail_the_job(tmp_path: Path) -> None:
    """Training that ends well but prints no metric gives no best job."""
    bench = Bench(tmp_path)
    job = bench.run("HyperParameterTuning", bench.tuning("silent", "print('done')", jobs=2))
    assert "Failed" == job["HyperParameterTuningJobStatus"]
    assert job["FailureReason"].startswith("ClientError: No training job emitted the objective metric auc")
    assert {"Succeeded": 0, "Pending": 0, "Failed": 2} == job["ObjectiveStatusCounters"]


def test_an_objective_that_is_no_number_never_wins(tmp_path: Path) -> None:
    """NaN, infinity and words are no metric: such trials have no objective, whatever the strategy."""
    code = PEAK + "for word in ('nan', 'inf', 'none', '-'): x < 5 and print('auc=' + word)\n"
    definition = {"AlgorithmSpecification": {**IMAGE_AND_INPUT, "MetricDefinitions": [ANYTHING]}}
    bench = Bench(tmp_path)
    code = code.replace("print(f", "x >= 5 and print(f")
    for strategy in ("Random", "Bayesian"):
        request = bench.tuning(strategy, code, jobs=6, parallel=2, Strategy=strategy, definition=definition)
        job = bench.run("HyperParameterTuning", request)
        assert "Completed" == job["HyperParameterTuningJobStatus"], job
        assert 0 < job["ObjectiveStatusCounters"]["Failed"] < 6
        assert float(job["BestTrainingJob"]["TunedHyperParameters"]["rate"]) >= 5


def test_trials_that_run_out_of_time_fail_the_job(tmp_path: Path) -> None:
    """A tuning job without any training job that ended by itself has no best one."""
    limits = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    bench = Bench(tmp_path)
    job = bench.run(
        "HyperParameterTuning", bench.tuning("late", "import time; time.sleep(600)", jobs=1, definition=limits)
    )
    assert (
        "ClientError: No training job completed before the time limits of the tuning job or its own"
        == job["FailureReason"]
    )
    assert 1 == job["TrainingJobStatusCounters"]["Stopped"]


def test_stopping_ends_the_trials_too(tmp_path: Path) -> None:
    """A stopped tuning job starts no further trial and leaves none running; so does the end of the service."""
    bench = Bench(tmp_path)
    for name, stop in (
        ("asked", lambda: bench.call("StopHyperParameterTuningJob", HyperParameterTuningJobName="asked")),
        ("closed", bench.sagemaker.stop_all),
    ):
        bench.call("CreateHyperParameterTuningJob", **bench.tuning(name, "import time; time.sleep(600)", parallel=2))
        _wait_for_trials(bench, name, 2)
        stop()
        arn = f"arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/{name}"
        job = bench.sagemaker.wait(arn, timeout_s=20)
        assert "Stopped" == job["HyperParameterTuningJobStatus"]
        assert ["Stopped", "Stopped"] == [trial["TrainingJobStatus"] for trial in _trials(bench, name)]


def test_events_tell_the_beginning_and_the_end(tmp_path: Path) -> None:
    """One state change event each, under AWS's detail type."""
    bench = Bench(tmp_path)
    bench.run("HyperParameterTuning", bench.tuning("told", PEAK, jobs=1))
    kind = "SageMaker HyperParameter Tuning Job State Change"
    told = [detail for detail_type, detail in bench.cloud.events if detail_type == kind]
    assert ["InProgress", "Completed"] == [detail["HyperParameterTuningJobStatus"] for detail in told]
    assert "told" == told[-1]["HyperParameterTuningJobName"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Strategy": "Hyperband"}, "Strategy Hyperband is not modelled by the local emulator"),
        ({"TrainingJobEarlyStoppingType": "Auto"}, "TrainingJobEarlyStoppingType Auto is not modelled"),
        (
            {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 1.0}},
            "TuningJobCompletionCriteria is not mod",
        ),
        ({"Strategy": "Grid"}, "Strategy Grid takes categorical parameters only"),
        ({"parallel": 4}, "MaxParallelTrainingJobs must not exceed MaxNumberOfTrainingJobs 3, got 4"),
        (
            {"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "f1"}},
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric def",
        ),
        ({"definition": {"StaticHyperParameters": {"rate": "1"}}}, "either static or tuned, got both for rate"),
        (
            {
                "definition": {
                    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
                }
            },
            "ResourceConfig.InstanceCount other than 1 is not modelled",
        ),
        ({"definition": {"RetryStrategy": {"MaximumRetryAttempts": 99}}}, "less than or equal to 30"),
    ],
)
def test_what_no_trial_could_run_is_refused_at_once(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Faults of the request, of the search and of the training jobs to come are told to the caller."""
    bench = Bench(tmp_path)
    with pytest.raises(ApiError) as refusal:
        bench.call("CreateHyperParameterTuningJob", **bench.tuning("refused", PEAK, **change))
    assert message in refusal.value.message


def test_members_that_are_absent_are_refused_by_name(tmp_path: Path) -> None:
    """Warm start, autotune and several definitions; a name of 33 characters is refused as on AWS."""
    bench = Bench(tmp_path)
    parents = [{"HyperParameterTuningJobName": "parent"}]
    for member, value in {
        "WarmStartConfig": {"ParentHyperParameterTuningJobs": parents, "WarmStartType": "TransferLearning"},
        "Autotune": {"Mode": "Enabled"},
        "TrainingJobDefinitions": [bench.tuning("a", PEAK)["TrainingJobDefinition"]],
    }.items():
        with pytest.raises(ApiError, match=f"CreateHyperParameterTuningJob with {member} is not modelled"):
            bench.call("CreateHyperParameterTuningJob", **bench.tuning("a", PEAK), **{member: value})
    with pytest.raises(ApiError, match="length less than or equal to 32"):
        bench.call("CreateHyperParameterTuningJob", **bench.tuning("a" * 33, PEAK))
    with pytest.raises(ApiError) as missing:
        bench.call("DescribeHyperParameterTuningJob", HyperParameterTuningJobName="nobody")
    assert "ResourceNotFound" == missing.value.code


def _trials(bench: Bench, name: str, **options: str) -> list[dict[str, Any]]:
    operation = "ListTrainingJobsForHyperParameterTuningJob"
    found: list[dict[str, Any]] = bench.call(operation, HyperParameterTuningJobName=name, **options)[
        "TrainingJobSummaries"
    ]
    return found


def _wait_for_trials(bench: Bench, name: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(_trials(bench, name)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
