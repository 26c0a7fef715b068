"""A release to batch inference: its jobs, what they must leave, and what becomes of those that fail."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dual_pipeline.model_project import BatchInference
from dual_pipeline.outer_loop.definition import outer_loop_definition, outer_loop_statements
from dual_pipeline.outer_loop.setting import STARTING_S, Setting

Definition = dict[str, Any]
VARIABLES = {
    "id": "0123456789ab",
    "runId": "5f3a_9b1c",
    "modelName": "model-new",
    "packageArn": "arn:package/3",
    "approval": {"by": "ada", "words": "good"},
    "evaluation": {"folder": "census/executions/abc/evaluate/evaluation/"},
    "golden": {"content_type": "text/csv", "accept": "application/json", "expected": [0.25, 0.75], "tolerance": 1e-6},
    "scoresUri": "s3://artifact-bucket/census/scores/5f3a_9b1c/records/",
}
TAGS = [
    {"Key": "dual-pipeline:environment", "Value": "dev"},
    {"Key": "dual-pipeline:project", "Value": "census"},
    {"Key": "dual-pipeline:run", "Value": "5f3a_9b1c"},
    {"Key": "dual-pipeline:cost-center", "Value": "machine-learning"},
]
KEY = "arn:aws:kms:eu-west-1:111122223333:key/key"


def test_the_job_scores_line_by_line(batch_definition: Definition, evaluate: Any) -> None:
    """Every line below the prefix on the project's instances, in order, under the key, in the run's own folder."""
    assert {
        "TransformJobName": "dev-census-score-0123456789ab-0-0",
        "ModelName": "model-new",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data-bucket/census/batch/"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": "s3://artifact-bucket/census/scores/5f3a_9b1c/records/",
            "Accept": "text/csv",
            "AssembleWith": "Line",
            "KmsKeyId": KEY,
        },
        "TransformResources": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 2},
        "Tags": TAGS,
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 1,
        "MaxConcurrentTransforms": 1,
    } == evaluate(batch_definition["States"]["ScoreRecords"]["Arguments"], variables=VARIABLES)


def test_the_golden_rows_are_one_request(batch_definition: Definition, evaluate: Any) -> None:
    """The check is the evaluation's request as a whole, on one instance, its answer beside the run's scores."""
    asked = evaluate(batch_definition["States"]["SmokeScore"]["Arguments"], variables=VARIABLES)
    folder = "s3://artifact-bucket/census/executions/abc/evaluate/evaluation/"
    assert {"S3DataType": "S3Prefix", "S3Uri": f"{folder}golden_rows.csv"} == asked["TransformInput"]["DataSource"][
        "S3DataSource"
    ]
    assert ("None", "None") == (asked["TransformInput"]["SplitType"], asked["TransformOutput"]["AssembleWith"])
    assert "s3://artifact-bucket/census/scores/5f3a_9b1c/golden/" == asked["TransformOutput"]["S3OutputPath"]
    assert {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1} == asked["TransformResources"]


def test_what_is_not_completed_does_not_pass(batch_definition: Definition, evaluate: Any) -> None:
    """Whatever `.sync` thinks of a stopped job, its output counts only if the job's own status is Completed."""
    states = batch_definition["States"]
    for name, variable, value in (
        ("SmokeScore", "answersKey", "census/scores/5f3a_9b1c/golden/golden_rows.csv.out"),
        ("ScoreRecords", "scoresUri", "s3://artifact-bucket/census/scores/5f3a_9b1c/records/"),
    ):
        field = states[name]["Assign"][variable]
        assert value == evaluate(field, result={"TransformJobStatus": "Completed"}, variables=VARIABLES)
        with pytest.raises(Exception, match=r"the transform job was stopped before its end \(Stopped\)"):
            evaluate(field, result={"TransformJobStatus": "Stopped"}, variables=VARIABLES)


def test_the_time_is_capped_and_the_job_stopped(batch_setting: Setting, evaluate: Any) -> None:
    """A transform job has no cap of its own, so that the task's is the cost's, and what goes on after it is stopped."""
    batch = BatchInference(max_time=timedelta(minutes=5))
    machine: Any = outer_loop_definition(replace(batch_setting, project=replace(batch_setting.project, batch=batch)))
    for name, seconds, kind in (("ScoreRecords", 300, "score"), ("SmokeScore", 900, "smoke")):
        state = machine["States"][name]
        assert seconds + STARTING_S == state["TimeoutSeconds"]
        late, other = state["Catch"]
        assert (["States.Timeout"], "StopScoring") == (late["ErrorEquals"], late["Next"])
        assert (["States.ALL"], "RejectPackage") == (other["ErrorEquals"], other["Next"])
        told = evaluate(late["Assign"], variables=VARIABLES, context={"State": {"Name": name, "RetryCount": 2}})
        assert ("failed", name, f"dev-census-{kind}-0123456789ab-2-0") == (
            told["outcome"],
            told["failedState"],
            told["jobName"],
        )
        assert f"{name}: the transform job was stopped, for it took longer than {seconds} s" in told["reason"]
    stop = machine["States"]["StopScoring"]
    assert {"TransformJobName": "{% $jobName %}"} == stop["Arguments"]
    assert {"RejectPackage"} == {stop["Next"], *(each["Next"] for each in stop["Catch"])}


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        (None, False),
        ([{"Key": "census/batch/", "Size": 0}], False),
        ([{"Key": "census/batch/", "Size": 0}, {"Key": "census/batch/a.csv", "Size": 9}], True),
        ([{"Key": "census/batch/a.csv", "Size": 9}, {"Key": "census/batch/b.csv", "Size": 9}], True),
    ],
)
def test_empty_folders_are_nothing_to_score(
    batch_definition: Definition, evaluate: Any, contents: list[Any] | None, found: bool
) -> None:
    """The console's empty folders are no records."""
    result = {"KeyCount": len(contents or []), **({"Contents": contents} if contents else {})}
    assigned = evaluate(batch_definition["States"]["FindRecords"]["Assign"], result=result)
    assert found == assigned["hasRecords"]


@pytest.mark.parametrize(("truncated", "found"), [(True, True), (False, False)])
def test_records_behind_many_empty_folders_are_not_missed(
    batch_definition: Definition, evaluate: Any, truncated: bool, found: bool
) -> None:
    """Nothing but empty objects is nothing to score only if S3 has listed all there are."""
    folders = [{"Key": f"census/batch/{number}/", "Size": 0} for number in range(100)]
    result = {"KeyCount": 100, "Contents": folders, "IsTruncated": truncated}
    assigned = evaluate(batch_definition["States"]["FindRecords"]["Assign"], result=result)
    assert found == assigned["hasRecords"]


@pytest.mark.parametrize(
    ("answer", "expected", "wrong"),
    [
        ({"predictions": [0.25, 0.75]}, [0.25, 0.75], ""),
        ({"predictions": [0.25, 0.9]}, [0.25, 0.75], "1 of 2 golden rows are answered wrongly, the first with 0.9"),
        ({"predictions": [0.25]}, [0.25, 0.75], "the model gave 1 answers to 2 golden rows"),
        ({"predictions": [0.25, None]}, [0.25, 0.75], "golden rows"),
        ({"error": "x"}, [0.25], "the model gave 0 answers to 1 golden rows"),
        ({"predictions": []}, [], "there are no golden rows"),
    ],
)
def test_golden_answers(
    batch_definition: Definition, evaluate: Any, answer: object, expected: list[float], wrong: str
) -> None:
    """The model is right only if every golden row is answered by a number within the tolerance."""
    found = evaluate(
        batch_definition["States"]["ReadAnswers"]["Assign"]["wrong"],
        result={"Body": json.dumps(answer)},
        variables={"golden": {"expected": expected, "tolerance": 1e-6}},
    )
    assert (found == "") == (wrong == "")
    assert wrong in found


@pytest.mark.parametrize(
    ("has_records", "told"),
    [
        (
            True,
            "scored the records below s3://data-bucket/census/batch/; the scores lie in"
            " s3://artifact-bucket/census/scores/5f3a_9b1c/records/",
        ),
        (False, "found nothing to score below s3://data-bucket/census/batch/"),
    ],
)
def test_a_release_says_what_it_scored(
    batch_definition: Definition, evaluate: Any, has_records: bool, told: str
) -> None:
    """Where the scores lie, or that there was nothing to score, and who approved."""
    assigned = evaluate(
        batch_definition["States"]["CommitRelease"]["Assign"], variables=VARIABLES | {"hasRecords": has_records}
    )
    assert "released" == assigned["outcome"]
    assert (
        f"the model answers its golden rows in batch and {told}; package arn:package/3, approved by ada: good"
        == assigned["reason"]
    )


def test_nothing_of_an_endpoint_is_made(batch_definition: Definition, batch_setting: Setting) -> None:
    """Neither states nor permissions of such a machine know an endpoint, an alarm of one or its scaling."""
    states = batch_definition["States"]
    assert not [name for name, state in states.items() if "ndpoint" in name + state.get("Resource", "")]
    statements = outer_loop_statements(batch_setting)
    assert not {action for each in statements for action in each.actions if "Endpoint" in action or "Alarm" in action}
    assert not any("endpoint" in resource for each in statements for resource in each.resources)


def test_the_lease_outlives_both_jobs(batch_setting: Setting) -> None:
    """Nobody can take the release lock from a run whose jobs take all of their time, those of their starts included."""
    states: Any = outer_loop_definition(batch_setting)["States"]
    jobs = sum(states[name]["TimeoutSeconds"] for name in ("SmokeScore", "ScoreRecords"))
    assert batch_setting.release_lease_s > jobs
