"""Job steps over a fake control plane: names, properties, caching, retries."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.pipelines.cache import (
    Cache,
    Hit,
    cache_key,
    cache_key_members,
    cache_key_values,
    expiry_s,
)
from pipeline_definitions import callback, define, function, job, process

ON = {"Enabled": True, "ExpireAfter": "P30D"}
TUNED = [
    {"TrainingJobName": f"tuned-{rank}", "FinalHyperParameterTuningJobObjectiveMetric": {"Value": 0.9 - rank / 10}}
    for rank in range(2)
]


def tuning(objective: str) -> dict[str, Any]:
    """The arguments of a tuning step."""
    return {"HyperParameterTuningJobConfig": {"HyperParameterTuningJobObjective": {"Type": objective}}}


@pytest.mark.parametrize(("objective", "order"), [("Maximize", "Descending"), ("Minimize", "Ascending")])
def test_a_tuning_step_knows_its_best_jobs(plane: Any, objective: str, order: str) -> None:
    """BestTrainingJob and TrainingJobSummaries, best first, are there for the steps behind, as the SDK asks for them."""
    plane.answers["CreateHyperParameterTuningJob"] = lambda _request: {"BestTrainingJob": TUNED[0]}
    plane.answers["ListTrainingJobsForHyperParameterTuningJob"] = lambda _request: {"TrainingJobSummaries": TUNED}
    second = {"Get": "Steps.Tune_it.TrainingJobSummaries[1].TrainingJobName"}
    uri = {"Std:Join": {"On": "/", "Values": ["s3:/", "bucket", second, "output/model.tar.gz"]}}
    best = {"Get": "Steps.Tune_it.BestTrainingJob.TrainingJobName"}
    text = define(job("Tune_it", "Tuning", arguments=tuning(objective)), process("Use", best, uri))
    execution, steps = plane.run(text)
    assert "Succeeded" == execution["PipelineExecutionStatus"], steps
    name = steps["Tune_it"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    execution_id = execution["PipelineExecutionArn"].rpartition("/")[2]
    assert re.fullmatch(rf"{execution_id}-Tune-it-[A-Za-z0-9]{{10}}", name)
    assert len(name) <= 32
    [listed] = plane.requests("ListTrainingJobsForHyperParameterTuningJob")
    assert (name, order, 50) == (listed["HyperParameterTuningJobName"], listed["SortOrder"], listed["MaxResults"])
    [used] = plane.requests("CreateProcessingJob")
    expected = ["tuned-0", "s3://bucket/tuned-1/output/model.tar.gz"]
    assert expected == used["AppSpecification"]["ContainerArguments"]


def test_a_tuner_whose_jobs_all_fail_fails_its_step(plane: Any) -> None:
    """With the tuning job's reason; nothing behind it starts."""
    plane.answers["CreateHyperParameterTuningJob"] = lambda _request: {
        "HyperParameterTuningJobStatus": "Failed",
        "FailureReason": "All training jobs failed.",
    }
    text = define(job("Tune", "Tuning", arguments=tuning("Maximize")), process("Use", DependsOn=["Tune"]))
    _, steps = plane.run(text)
    assert {"Tune": "All training jobs failed."} == {name: step["FailureReason"] for name, step in steps.items()}


def test_a_transform_step_runs_as_it_is_described(plane: Any) -> None:
    """No role is passed: the model has its own."""
    plane.answers["CreateTransformJob"] = lambda _request: {"TransformOutput": {"S3OutputPath": "s3://bucket/scores"}}
    text = define(
        job("Score", "Transform", arguments={"ModelName": "m"}),
        process("Use", {"Get": "Steps.Score.TransformOutput.S3OutputPath"}),
    )
    execution, steps = plane.run(text)
    assert "Succeeded" == execution["PipelineExecutionStatus"], steps
    [request] = plane.requests("CreateTransformJob")
    assert {"ModelName", "TransformJobName"} == set(request)
    assert steps["Score"]["Metadata"]["TransformJob"]["Arn"].endswith(request["TransformJobName"])
    assert ["s3://bucket/scores"] == plane.requests("CreateProcessingJob")[0]["AppSpecification"]["ContainerArguments"]


@pytest.mark.parametrize("denied", ["DescribeTrainingJob", "CreateTrainingJob"])
def test_the_pipelines_role_creates_and_describes(plane: Any, denied: str) -> None:
    """A role that may not fails the step, naming the action."""
    plane.cloud.denied = {f"sagemaker:{denied}"}
    _, steps = plane.run(define(job("Train", "Training")))
    assert steps["Train"]["FailureReason"].startswith(
        f"ClientError: Failed to invoke sagemaker:{denied}. Error Details"
    )


@pytest.mark.parametrize(
    ("kind", "operation", "counts", "ignored"),
    [
        ("Processing", "CreateProcessingJob", "Environment", "ProcessingResources"),
        ("Training", "CreateTrainingJob", "HyperParameters", "ResourceConfig"),
        ("Tuning", "CreateHyperParameterTuningJob", "TrainingJobDefinitions", "Tags"),
        ("Transform", "CreateTransformJob", "TransformInput", "TransformOutput"),
    ],
)
def test_the_documented_members_decide_on_a_hit(
    plane: Any, kind: str, operation: str, counts: str, ignored: str
) -> None:
    """A change of what counts runs again, a change of anything else does not; a hit names who really ran."""
    plane.answers["ListTrainingJobsForHyperParameterTuningJob"] = lambda _request: {"TrainingJobSummaries": []}
    arguments = {
        counts: {"x": {"Get": "Parameters.Counts"}},
        ignored: {"x": {"Get": "Parameters.Ignored"}},
        "HyperParameterTuningJobConfig": {},
    }
    names = [{"Name": name, "Type": "String"} for name in ("Counts", "Ignored")]
    pipeline = plane.create(define(job("Work", kind, arguments=arguments, CacheConfig=ON), parameters=names))
    runs = []
    for counted, other in (("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")):
        runs.append(plane.start(pipeline, parameters={"Counts": counted, "Ignored": other}))
        plane.ended(runs[-1])
    hits = [plane.ended(arn)[1]["Work"].get("CacheHitResult") for arn in runs]
    first = {"SourcePipelineExecutionArn": runs[0]}
    assert [None, first, None, first] == hits
    assert 2 == len(plane.requests(operation))


def test_failed_runs_are_no_hits(plane: Any) -> None:
    """Only successful runs are kept."""
    ends = iter(["Failed", "Completed", "Completed"])
    plane.answers["CreateTrainingJob"] = lambda _request: {"TrainingJobStatus": next(ends), "FailureReason": "no"}
    pipeline = plane.create(define(job("Train", "Training", CacheConfig=ON)))
    statuses = [plane.ended(plane.start(pipeline))[1]["Train"] for _ in range(3)]
    assert ["Failed", "Succeeded", "Succeeded"] == [step["StepStatus"] for step in statuses]
    assert [False, False, True] == ["CacheHitResult" in step for step in statuses]


def test_answers_from_outside_are_cached_too(plane: Any) -> None:
    """Callback and Lambda steps with caching on ask once for the same arguments."""
    plane.cloud.functions.by_arn["f"] = lambda event: f'{{"twice": {event["n"] * 2}}}'
    steps = define(
        function("Call", ("twice", "Integer"), arn="f", arguments={"n": {"Get": "Parameters.N"}}, CacheConfig=ON),
        callback("Ask", url=plane.cloud.queue.url, CacheConfig=ON),
        parameters=[{"Name": "N", "Type": "Integer"}],
    )
    pipeline = plane.create(steps)
    first = plane.start(pipeline, parameters={"N": "4"})
    plane.ask("SendPipelineExecutionStepSuccess", CallbackToken=plane.message()["token"])
    plane.ended(first)
    _, again = plane.ended(plane.start(pipeline, parameters={"N": "4"}))
    source = {"SourcePipelineExecutionArn": first}
    assert [source, source] == [again[name]["CacheHitResult"] for name in ("Call", "Ask")]
    assert [{"Name": "twice", "Value": "8"}] == again["Call"]["Metadata"]["Lambda"]["OutputParameters"]
    _, other = plane.ended(plane.start(pipeline, parameters={"N": "5"}))
    assert "CacheHitResult" not in other["Call"]


def test_a_hit_expires() -> None:
    """Its age is counted from the end of the run."""
    cache, now = Cache(), time.time()
    cache.keep("k", Hit({}, {}, "arn", now - 59 * 60))
    assert cache.find("k", {"Enabled": True, "ExpireAfter": "PT1H"})
    assert cache.find("k", {"Enabled": True, "ExpireAfter": "PT58M"}) is None
    assert cache.find("k", {"Enabled": False, "ExpireAfter": "PT1H"}) is None
    assert cache.find("other", {"Enabled": True, "ExpireAfter": "PT1H"}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("P30D", 30 * 86_400),
        ("30d", 30 * 86_400),
        ("5y", 5 * 365 * 86_400),
        ("T12m", 12 * 60),
        ("6m", 6 * 30 * 86_400),
        ("1w", 7 * 86_400),
        ("30dT5h", 30 * 86_400 + 5 * 3_600),
    ],
)
def test_expiry_in_awss_units(text: str, seconds: int) -> None:
    """ISO 8601 as AWS writes it."""
    assert seconds == expiry_s(text)


@pytest.mark.parametrize("text", ["", "P", "PT", "T", "30", "1.5d", "P1H", "PT30S", "-1d", "P1DT"])
def test_other_expiries_are_refused(text: str) -> None:
    """No unit, an unknown one, a fraction."""
    with pytest.raises(ValueError, match="is no ISO 8601 duration"):
        expiry_s(text)


@given(st.sampled_from(["Processing", "Training", "Tuning", "Transform"]), st.dictionaries(st.text(), st.integers()))
def test_a_key_is_made_of_its_members_only(kind: str, others: dict[str, int]) -> None:
    """Name and type of the step count, other arguments do not."""
    members = cache_key_members(kind)
    plain = {member.partition(".")[0]: {"x": 1} for member in members}
    more = {name: value for name, value in others.items() if name not in plain} | plain
    assert cache_key("A", kind, plain) == cache_key("A", kind, more) != cache_key("B", kind, plain)
    assert set(members) == set(cache_key_values(kind, plain))


def test_retry_policies_are_followed(plane: Any, throttled: ApiError) -> None:
    """A step is tried again for the errors its policy names, and only so often."""
    refusals = [throttled, throttled]

    def create(_request: dict[str, Any]) -> dict[str, Any]:
        if refusals:
            raise refusals.pop()
        return {}

    plane.answers["CreateProcessingJob"] = create
    policy = {"ExceptionType": ["Step.THROTTLING"], "IntervalSeconds": 0, "MaxAttempts": 2}
    execution, steps = plane.run(define(process("Work", RetryPolicies=[policy])))
    assert ("Succeeded", 3) == (execution["PipelineExecutionStatus"], steps["Work"]["AttemptCount"])
    refusals += [throttled] * 3
    execution, steps = plane.run(define(process("Work", RetryPolicies=[policy])))
    assert "Failed" == execution["PipelineExecutionStatus"]
    assert steps["Work"]["FailureReason"].startswith("ThrottlingException: Failed to invoke sagemaker:CreateProcessing")


@pytest.mark.parametrize(("kind", "attempts"), [("Training", 3), ("Tuning", 1)])
def test_a_tuning_job_retries_by_itself(plane: Any, kind: str, attempts: int) -> None:
    """JOB_INTERNAL_ERROR is tried again for every job but a tuning job."""
    failed = {"TrainingJobStatus": "Failed", "HyperParameterTuningJobStatus": "Failed"}
    for operation in ("CreateTrainingJob", "CreateHyperParameterTuningJob"):
        plane.answers[operation] = lambda _request: {**failed, "FailureReason": "InternalServerError: try again"}
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 0, "MaxAttempts": 2}
    _, steps = plane.run(define(job("Work", kind, RetryPolicies=[policy])))
    assert attempts == steps["Work"]["AttemptCount"]
