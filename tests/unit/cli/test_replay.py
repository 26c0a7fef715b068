"""Replays: what is left of a run's definition, and how its files are compared."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_cli.artifact_comparison import REPACKED, FileComparison, Verdict, compare_folders, first_difference
from dual_pipeline_cli.environment import EnvironmentTrouble
from dual_pipeline_cli.replay_definition import Roles, replay_definition

BUCKET = "s3://artifacts/census"
EXECUTION = {"Get": "Execution.PipelineExecutionId"}
ROLES = Roles(processing="arn:aws:iam::123456789012:role/p", training="arn:aws:iam::123456789012:role/t")


def place(step: str) -> dict[str, Any]:
    return {"Std:Join": {"On": "/", "Values": [f"{BUCKET}/executions", EXECUTION, step]}}


def moved(step: str) -> dict[str, Any]:
    return {"Std:Join": {"On": "/", "Values": [f"{BUCKET}/sandbox", EXECUTION, step]}}


def processing(name: str, *sources: Any, **more: Any) -> dict[str, Any]:
    """A processing step that reads these and writes one output."""
    inputs = [{"InputName": f"i{n}", "S3Input": {"S3Uri": source}} for n, source in enumerate(sources)]
    output = {"OutputName": "out", "S3Output": {"S3Uri": place(name.lower())}}
    arguments = {
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {"Outputs": [output]},
        "RoleArn": "production",
    }
    cache = {"Enabled": True, "ExpireAfter": "P30D"}
    return {"Name": name, "Type": "Processing", "Arguments": arguments, "CacheConfig": cache, **more}


TRAINING_JOB = {
    "AlgorithmSpecification": {"TrainingImage": "image"},
    "InputDataConfig": [{"DataSource": {"S3DataSource": {"S3Uri": {"Get": "Steps.Preprocess.Out"}}}}],
    "OutputDataConfig": {"S3OutputPath": place("train")},
    "CheckpointConfig": {"S3Uri": f"{BUCKET}/checkpoints/train", "LocalPath": "/opt/ml/checkpoints"},
    "EnableManagedSpotTraining": True,
    "RoleArn": "production",
}
TUNED_MODEL = {
    "Std:Join": {
        "On": "/",
        "Values": [
            {"Get": "Steps.Tune.TrainingJobDefinition.OutputDataConfig.S3OutputPath"},
            {"Get": "Steps.Tune.BestTrainingJob.TrainingJobName"},
            "output/model.tar.gz",
        ],
    }
}
DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Metadata": {},
    "Parameters": [{"Name": "SnapshotUri", "Type": "String"}],
    "PipelineExperimentConfig": {"ExperimentName": "e"},
    "Steps": [
        {
            "Name": "CheckParameters",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [],
                "IfSteps": [processing("Preprocess", {"Get": "Parameters.SnapshotUri"})],
                "ElseSteps": [{"Name": "Bad", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
            },
        },
        {
            "Name": "Train",
            "Type": "Training",
            "Arguments": {**TRAINING_JOB, "HyperParameters": {"eta": "0.1"}},
            "RetryPolicies": [{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 5}],
        },
        {
            "Name": "Tune",
            "Type": "Tuning",
            "Arguments": {
                "HyperParameterTuningJobConfig": {"Strategy": "Bayesian"},
                "TrainingJobDefinition": {**TRAINING_JOB, "StaticHyperParameters": {"num_round": "9"}},
                "Tags": [{"Key": "k", "Value": "v"}],
            },
        },
        processing(
            "Evaluate", {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}, TUNED_MODEL, DependsOn=["Train"]
        ),
        {
            "Name": "Gate",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [],
                "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": {}}],
                "ElseSteps": [],
            },
        },
    ],
}
WINNER = {"num_round": "9", "eta": "0.17", "sagemaker_program": "train.py", "_tuning_objective_metric": "auc"}


def replayed(*executed: str, definition: dict[str, Any] = DEFINITION) -> dict[str, Any]:
    document = replay_definition(
        definition,
        executed=executed or ("Preprocess", "Train", "Tune", "Evaluate", "Gate", "Register"),
        winners={"Tune": WINNER},
        roles=ROLES,
        name="replay-1",
    )
    return {**document, "Steps": {step["Name"]: step for step in document["Steps"]}}


def test_only_jobs_are_repeated() -> None:
    """Conditions, registration and everything else that others would notice is left out, jobs in branches stay."""
    assert ["Preprocess", "Train", "Tune", "Evaluate"] == list(replayed()["Steps"])
    assert "PipelineExperimentConfig" not in replayed()
    assert ["Preprocess", "Train"] == list(replayed("Preprocess", "Train")["Steps"])


def test_nothing_comes_from_the_cache_or_runs_as_production() -> None:
    """No step keeps its cache or its role; outputs lie below the sandbox, inputs where they were."""
    steps = replayed()["Steps"]
    assert not any("CacheConfig" in step for step in steps.values())
    assert [ROLES.processing, ROLES.training, ROLES.training, ROLES.processing] == [
        step["Arguments"]["RoleArn"] for step in steps.values()
    ]
    evaluate = steps["Evaluate"]["Arguments"]
    assert moved("evaluate") == evaluate["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert moved("train") == steps["Train"]["Arguments"]["OutputDataConfig"]["S3OutputPath"]
    assert [{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 5}] == steps["Train"]["RetryPolicies"]
    assert ["Train"] == steps["Evaluate"]["DependsOn"]


def test_a_tuner_becomes_the_training_of_its_winner() -> None:
    """The winner's exact hyperparameters are trained, and what read the best job reads that training."""
    steps = replayed()["Steps"]
    tune = steps["Tune"]
    assert "Training" == tune["Type"]
    assert {"num_round": "9", "eta": "0.17", "sagemaker_program": "train.py"} == tune["Arguments"]["HyperParameters"]
    assert "StaticHyperParameters" not in tune["Arguments"]
    assert [{"Key": "k", "Value": "v"}] == tune["Arguments"]["Tags"]
    tuned = steps["Evaluate"]["Arguments"]["ProcessingInputs"][1]["S3Input"]["S3Uri"]["Std:Join"]["Values"]
    assert [
        {"Get": "Steps.Tune.OutputDataConfig.S3OutputPath"},
        {"Get": "Steps.Tune.TrainingJobName"},
        "output/model.tar.gz",
    ] == tuned


def test_a_replay_resumes_nothing() -> None:
    """Spot stays on, with checkpoints of the replay's own."""
    train = replayed()["Steps"]["Train"]["Arguments"]
    assert train["EnableManagedSpotTraining"]
    assert f"{BUCKET}/sandbox/checkpoints/replay-1/train" == train["CheckpointConfig"]["S3Uri"]


def test_the_runs_own_definition_stays_as_it_is() -> None:
    """Making a replay changes nothing of what it is made of."""
    before = json.dumps(DEFINITION)
    replayed()
    assert before == json.dumps(DEFINITION)


def test_what_cannot_be_repeated_is_named() -> None:
    """A job that needs what another kind of step answered is refused by name."""
    definition = {**DEFINITION, "Steps": [processing("Score", {"Get": "Steps.Check.OutputParameters['uri']"})]}
    with pytest.raises(
        EnvironmentTrouble, match=r"step Score needs Steps\.Check\..* is no job that a replay can repeat"
    ):
        replayed("Score", definition=definition)


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}, None),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "$.a.b[1]: 2, now 3"),
        ({"a": 1}, {"a": 1, "b": 2}, "$.b: missing, now 2"),
        ([1, 2], [1], "$[1]: 2, now missing"),
        ({"a": 1}, {"a": 1.0}, "$.a: 1, now 1.0"),
        ({"a": None}, {"a": False}, "$.a: null, now false"),
    ],
)
def test_first_difference(then: Any, now: Any, expected: str | None) -> None:
    """JSON files differ at a path, whatever their spelling."""
    assert expected == first_difference(then, now)


def archive(members: dict[str, bytes], *, mtime: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=mtime) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), mtime
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def compared(tmp_path: Path, then: dict[str, bytes], now: dict[str, bytes]) -> list[FileComparison]:
    for folder, files in (("then", then), ("now", now)):
        for name, content in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return compare_folders(tmp_path / "then", tmp_path / "now")


@pytest.mark.parametrize(
    ("name", "then", "now", "same", "note"),
    [
        ("a.parquet", b"PAR1", b"PAR1", True, ""),
        ("a.parquet", b"PAR1", b"PAX1", False, "from byte 2 on"),
        ("a.parquet", b"PAR1", b"PAR", False, "from byte 3 on"),
        ("a.json", b'{"a": 1}', b'{"a": 2}', False, "$.a: 1, now 2"),
        ("a.json", b'{"a": 1}', b'{"a":1}', False, "the same values, spelled differently"),
        ("m.tar.gz", archive({"x": b"1"}, mtime=1), archive({"x": b"1"}, mtime=2), True, REPACKED),
        ("m.tar.gz", archive({"x": b"1"}, mtime=1), archive({"x": b"2"}, mtime=1), False, "its file x differs"),
    ],
)
def test_files_are_compared(tmp_path: Path, name: str, then: bytes, now: bytes, same: bool, note: str) -> None:
    """Files are the same byte for byte, archives member by member, and the first difference is told."""
    (found,) = compared(tmp_path, {name: then}, {name: now})
    assert (name, same, note) == (found.name, found.verdict is Verdict.SAME, found.note)


def test_missing_files_differ(tmp_path: Path) -> None:
    """A file that only one of the two runs wrote differs."""
    found = compared(tmp_path, {"a/old": b"1"}, {"a/new": b"1"})
    assert [("a/new", Verdict.NEW, None, 1), ("a/old", Verdict.MISSING, 1, None)] == [
        (each.name, each.verdict, each.size_then, each.size_now) for each in found
    ]


def test_a_broken_archive_differs(tmp_path: Path) -> None:
    """What is no archive is not taken for one."""
    (found,) = compared(tmp_path, {"m.tar.gz": archive({"x": b"1"}, mtime=1)}, {"m.tar.gz": b"nonsense"})
    assert Verdict.DIFFERS is found.verdict
    assert found.note.startswith("no archive: ")
