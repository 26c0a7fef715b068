"""The inner loop with every optional step switched on, deployed from its own templates and run on census data.

One environment serves all tests; each starts executions of the deployed pipeline, as a data scientist would.
"""

import json
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from inner_loop import COMMIT, FAIR, JOBS, PROJECT, Loop, deployed, quarter
from pipeline_code.census.contract import LABEL
from pipeline_code.census.preprocess.logic import SPLITS, split_of, to_examples

pytestmark = [
    pytest.mark.local,
    pytest.mark.spark,
    pytest.mark.xdist_group("inner-loop"),
    pytest.mark.timeout(600),
]

DETAIL = 'ada: "again",\n\tplease \\ 🎉'


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """The environment `dev` with every step of the pipeline."""
    with deployed(tmp_path_factory.mktemp("inner-loop")) as loop:
        yield loop


@pytest.fixture(scope="module")
def snapshot(loop: Loop) -> str:
    """A snapshot of a quarter of the census, and rows to score beside it."""
    rows = quarter(0)
    loop.put_scoring(rows.slice(0, 50))
    return loop.put_snapshot("first", rows)


@pytest.fixture(scope="module")
def first(loop: Loop, snapshot: str) -> str:
    """The first execution, ended well."""
    execution = loop.start(snapshot, TriggerDetail=json.dumps(DETAIL)[1:-1])
    loop.succeeded(execution)
    return execution


def test_every_step_type_runs(loop: Loop, first: str) -> None:
    """Processing in three images, Training, Tuning, Condition, Callback, Lambda, Model, RegisterModel, Transform."""
    ran = {name: (next(iter(step["Metadata"])), step["StepStatus"]) for name, step in loop.steps(first).items()}
    assert {
        "CheckParameters": ("Condition", "Succeeded"),
        "Preprocess": ("ProcessingJob", "Succeeded"),
        "Profile": ("ProcessingJob", "Succeeded"),
        "Train": ("TrainingJob", "Succeeded"),
        "Tune": ("TuningJob", "Succeeded"),
        "Baseline": ("ProcessingJob", "Succeeded"),
        "Evaluate": ("ProcessingJob", "Succeeded"),
        "Gate": ("Condition", "Succeeded"),
        "ExternalCheck": ("Callback", "Succeeded"),
        "Decide": ("Lambda", "Succeeded"),
        "Register": ("RegisterModel", "Succeeded"),
        "CreateModel": ("Model", "Succeeded"),
        "Score": ("TransformJob", "Succeeded"),
    } == ran


def test_steps_run_side_by_side(loop: Loop, first: str) -> None:
    """Train, Tune and Baseline need nothing of each other and overlap in time."""
    steps = loop.steps(first)
    assert steps["Tune"]["StartTime"] < steps["Train"]["EndTime"]
    assert steps["Baseline"]["StartTime"] < steps["Train"]["EndTime"]


def test_spot_training_was_interrupted_and_resumed(loop: Loop, first: str) -> None:
    """The job went through an interruption, and all the same wrote a model."""
    name = loop.steps(first)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    job = loop.aws.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert "Interrupted" in [change["Status"] for change in job["SecondaryStatusTransitions"]]
    assert "Completed" == job["TrainingJobStatus"]


def test_the_package_remembers(loop: Loop, first: str) -> None:
    """Data, code, run, metrics, drift baseline, card and samples are all on the package, and what they name exists."""
    arn = loop.steps(first)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = loop.aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    known = package["CustomerMetadataProperties"]
    assert {"run_id", "snapshot_uri", "execution_id", "reason", "definition_hash", "image"} <= known.keys()
    assert COMMIT == known["commit"]
    artifacts = loop.deployment["ArtifactBucketName"]
    for name in ("code_preprocess", "code_train", "code_evaluate", "code_baseline", "code_profile", "code_decide"):
        assert loop.read(f"s3://{artifacts}/{PROJECT}/code/{known[name]}")
    assert loop.read(f"s3://{artifacts}/{PROJECT}/code/{known['definition_hash']}.json")
    card = json.loads(package["ModelCard"]["ModelCardContent"])
    assert DETAIL == card["additional_information"]["custom_details"]["detail"]
    assert (
        package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        == card["model_overview"]["model_artifact"][0]
    )
    for uri in (
        package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"],
        package["DriftCheckBaselines"]["ModelDataQuality"]["Statistics"]["S3Uri"],
        package["SamplePayloadUrl"],
        package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"],
    ):
        assert loop.read(uri)


def test_batch_scores_every_row(loop: Loop, first: str) -> None:
    """The transform answers each of the fifty rows."""
    name = loop.steps(first)["Score"]["Metadata"]["TransformJob"]["Arn"].rpartition("/")[2]
    job = loop.aws.client("sagemaker").describe_transform_job(TransformJobName=name)
    answer = loop.read(job["TransformOutput"]["S3OutputPath"].rstrip("/") + "/rows.csv.out")
    predictions = [value for line in answer.decode().splitlines() for value in json.loads(line)["predictions"]]
    assert 50 == len(predictions)


def test_the_same_again_is_taken_from_the_cache(loop: Loop, snapshot: str, first: str) -> None:
    """A second run on the same snapshot runs no job anew."""
    again = loop.start(snapshot)
    loop.succeeded(again)
    assert dict.fromkeys(JOBS, True) == loop.hits(again)


def test_another_champion_is_judged_anew(loop: Loop, snapshot: str, first: str) -> None:
    """Only Evaluate depends on the champion, and it says how the challenger compares."""
    again = loop.start(snapshot, ChampionUri=f"{loop.folder_of(first, 'Evaluate')}/model/model.tar.gz")
    loop.succeeded(again)
    assert {**dict.fromkeys(JOBS, True), "Evaluate": False} == loop.hits(again)
    report = json.loads(loop.read(f"{loop.folder_of(again, 'Evaluate')}/evaluation/evaluation.json"))
    assert 0 == report["champion"]["auc_difference"]
    assert report["gate"]["passed"]


def test_other_train_code_trains_anew_and_what_follows(loop: Loop, snapshot: str, first: str) -> None:
    """Preprocess, Profile and Baseline are taken from the cache; Train, Tune and Evaluate are not."""
    with loop.other_train_code("changed", {"changed.py": ""}, steps=("Train", "Tune")):
        again = loop.start(snapshot)
        loop.succeeded(again)
    assert {**dict.fromkeys(JOBS, False), "Preprocess": True, "Profile": True, "Baseline": True} == loop.hits(again)


def test_other_data_runs_everything_anew(loop: Loop, first: str) -> None:
    """Of another snapshot nothing is taken from the cache; here two hosts share its two parts, and the gate passes."""
    rows = quarter(1)
    half = len(rows) // 2
    snapshot = loop.put_snapshot("second", rows.slice(0, half), rows.slice(half))
    execution = loop.start(snapshot, ProcessingInstanceCount="2")
    steps = loop.succeeded(execution)
    assert dict.fromkeys(JOBS, False) == loop.hits(execution)
    assert "Succeeded" == steps["Register"]["StepStatus"]
    written = {name: loop.below(f"{loop.folder_of(execution, 'Preprocess')}/{name}") for name in SPLITS}
    assert [["part-algo-1.parquet", "part-algo-2.parquet"]] * len(SPLITS) == list(written.values())
    report = json.loads(loop.read(f"{loop.folder_of(execution, 'Evaluate')}/evaluation/evaluation.json"))
    assert 0.88 < report["binary_classification_metrics"]["auc"]["value"] < 0.96


@pytest.mark.long
def test_data_of_one_class_ends_at_the_first_step(loop: Loop) -> None:
    """Where every row says no, the empty class is named, and nothing is trained."""
    rows = quarter(0).slice(0, 200)
    no = pa.array(["<=50K"] * len(rows))
    execution = loop.start(
        loop.put_snapshot("one-class", rows.set_column(rows.schema.get_field_index(LABEL), LABEL, no))
    )
    steps = loop.failed(execution)
    assert "a classifier needs both" in steps["Preprocess"]["FailureReason"]
    assert "Train" not in steps


@pytest.mark.long
def test_data_that_leaves_the_train_split_empty_ends_at_its_readers(loop: Loop) -> None:
    """Of several hosts none knows what the others got, so Train and Baseline name the split; the splits are kept."""
    rows = quarter(0).slice(0, 500)
    (batch,) = rows.combine_chunks().to_batches()
    splits = [SPLITS[position] for position in split_of(to_examples(batch), seed=17)]
    outside = [number for number, split in enumerate(splits) if split != "train"][:40]
    few = rows.take(outside)
    execution = loop.start(loop.put_snapshot("no-train", few.slice(0, 20), few.slice(20)), ProcessingInstanceCount="2")
    steps = loop.failed(execution)
    assert "Succeeded" == steps["Preprocess"]["StepStatus"]
    reasons = {
        name: steps[name]["FailureReason"] for name in ("Train", "Baseline") if steps[name]["StepStatus"] == "Failed"
    }
    assert "Train" in reasons
    assert all("the train split has no rows" in reason for reason in reasons.values()), reasons
    assert "Evaluate" not in steps
    assert loop.read(f"{loop.folder_of(execution, 'Preprocess')}/holdout/part-algo-1.parquet")


@pytest.mark.parametrize(
    "left",
    [lambda report: report[: len(report) // 2], lambda _report: b'{"gate": {"passed": null}}'],
    ids=["truncated", "poisoned"],
)
def test_a_report_that_cannot_be_read_ends_at_the_gate(
    loop: Loop, snapshot: str, first: str, left: Callable[[bytes], bytes]
) -> None:
    """The execution fails at the step Gate with the file and the path; nothing is registered, and the model is kept."""
    uri = f"{loop.folder_of(first, 'Evaluate')}/evaluation/evaluation.json"
    report = loop.read(uri)
    loop.write(uri, left(report))
    try:
        again = loop.start(snapshot)
        steps = loop.failed(again)
    finally:
        loop.write(uri, report)
    assert loop.hits(again)["Evaluate"]
    reason = steps["Gate"]["FailureReason"]
    assert f"gate.passed in {uri} has no value" in reason
    assert not {"ExternalCheck", "Register"} & steps.keys()
    assert loop.read(loop.model_of(first))


def test_a_champion_that_is_no_archive_ends_at_evaluate(loop: Loop, snapshot: str, first: str) -> None:
    """Evaluate says which model cannot be read; what was trained is kept."""
    champion = f"s3://{loop.deployment['ArtifactBucketName']}/{PROJECT}/executions/x/evaluate/model/model.tar.gz"
    loop.write(champion, b"hello")
    again = loop.start(snapshot, ChampionUri=champion)
    steps = loop.failed(again)
    assert "the champion's model.tar.gz is no whole tar.gz" in steps["Evaluate"]["FailureReason"]
    assert "Gate" not in steps
    assert loop.read(loop.model_of(again))


def test_a_tuner_whose_jobs_all_fail_ends_at_tune(loop: Loop, snapshot: str, first: str) -> None:
    """Tune fails with the count of its jobs; the splits and the untuned model are kept, and nothing is evaluated."""
    with loop.other_train_code("failing", {"train.py": "raise SystemExit('error: no')\n"}, steps=("Tune",)):
        again = loop.start(snapshot)
        steps = loop.failed(again)
    assert "No training job succeeded after 2 attempts" in steps["Tune"]["FailureReason"]
    assert "Evaluate" not in steps
    assert loop.read(loop.model_of(again))
    assert loop.read(f"{loop.folder_of(again, 'Preprocess')}/train/part-algo-1.parquet")


def test_parameters_are_refused_before_a_job_starts(loop: Loop, snapshot: str) -> None:
    """A wrong type or an instance of another class at the start; a value out of range by the pipeline's first step."""
    for name, value in (("HyperMaxDepth", "deep"), ("TrainingInstanceType", "ml.p4d.24xlarge"), ("Unknown", "1")):
        with pytest.raises(ClientError, match=name):
            loop.start(snapshot, **{name: value})
    execution = loop.start(snapshot, HyperEta="7")
    described = loop.ended(execution)
    assert "Failed" == described["PipelineExecutionStatus"]
    assert "HyperEta" in described["FailureReason"]
    assert {"CheckParameters", "BadParameters"} == loop.steps(execution).keys()


def test_an_auditor_may_refuse(loop: Loop, snapshot: str, first: str) -> None:
    """The step fails with the auditor's reason, nothing is registered, and a second answer is refused."""
    client = loop.aws.client("sagemaker")
    execution = loop.start(snapshot, MinAuc="0.87")
    token = loop.question()["token"]
    client.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="the sample is not fair")
    steps = loop.failed(execution)
    assert "the sample is not fair" in steps["ExternalCheck"]["FailureReason"]
    assert "Register" not in steps
    with pytest.raises(ClientError):
        client.send_pipeline_execution_step_success(CallbackToken=token, OutputParameters=FAIR)


def test_a_refused_model_fails_where_the_project_wants_it(loop: Loop, snapshot: str, first: str) -> None:
    """With `refused="fail"` the execution fails at the step Refused; the reasons stay in the report."""
    execution = loop.start(snapshot, MinAuc="0.999")
    described = loop.ended(execution)
    assert "Failed" == described["PipelineExecutionStatus"]
    assert "Failed" == loop.steps(execution)["Refused"]["StepStatus"]
    assert "did not pass its gate" in described["FailureReason"]
    report = json.loads(loop.read(f"{loop.folder_of(execution, 'Evaluate')}/evaluation/evaluation.json"))
    assert report["gate"]["reasons"]


def test_failed_executions_are_retried_from_where_they_failed(loop: Loop, snapshot: str, first: str) -> None:
    """RetryPipelineExecution keeps what succeeded; here the auditor thinks better of it."""
    client = loop.aws.client("sagemaker")
    execution = loop.start(snapshot, MinAuc="0.86")
    token = loop.question()["token"]
    client.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="come back later")
    before = loop.failed(execution)["Evaluate"]["Metadata"]
    client.retry_pipeline_execution(PipelineExecutionArn=execution)
    assert before == loop.succeeded(execution)["Evaluate"]["Metadata"]


def test_one_step_runs_on_what_an_execution_left(loop: Loop, snapshot: str, first: str) -> None:
    """SelectiveExecution of Evaluate judges the first execution's models by another floor, and runs nothing else."""
    execution = loop.start(snapshot, only=["Evaluate"], source=first, MinAuc="0.998")
    steps = loop.succeeded(execution)
    assert {"Evaluate"} == {name for name, step in steps.items() if "SelectiveExecutionResult" not in step}
    assert {first} == {
        step["SelectiveExecutionResult"]["SourcePipelineExecutionArn"]
        for name, step in steps.items()
        if name != "Evaluate"
    }
    assert not loop.hits(execution)["Evaluate"]
    report = json.loads(loop.read(f"{loop.folder_of(execution, 'Evaluate')}/evaluation/evaluation.json"))
    assert not report["gate"]["passed"]


def test_a_stopped_execution_stops_its_jobs(loop: Loop, snapshot: str, first: str) -> None:
    """StopPipelineExecution during Train and Tune ends their jobs as Stopped and leaves no process of theirs."""
    client = loop.aws.client("sagemaker")
    execution = loop.start(snapshot, HyperNumRound="2000")
    loop.running(execution, "Train", "Tune")
    client.stop_pipeline_execution(PipelineExecutionArn=execution, ClientRequestToken="stop" * 8)
    assert "Stopped" == loop.ended(execution)["PipelineExecutionStatus"]
    steps = loop.steps(execution)
    assert ("Stopped", "Stopped") == (steps["Train"]["StepStatus"], steps["Tune"]["StepStatus"])
    name = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert "Stopped" == client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
    assert [] == loop.processes(execution)
