"""A step runs again on a run's own inputs, from what a local run left on disk."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from dual_pipeline_cli.environment import EnvironmentTrouble
from dual_pipeline_cli.step import StepCommand, run_again, step_command
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.run_notes import NotedStep, RunNotes

PREPARE = """
import argparse, json
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("input-numbers", "output-sum", "resource-config"):
    parser.add_argument("--" + name, type=Path, required=True)
parser.add_argument("--times", type=int, required=True)
options = parser.parse_args()
assert json.loads(options.resource_config.read_text())["hosts"] == ["algo-1"]
total = sum(map(int, (options.input_numbers / "numbers.txt").read_text().split())) * options.times
report = {"binary_classification_metrics": {"auc": {"value": total / 100}}}
(options.output_sum / "evaluation.json").write_text(json.dumps(report))
"""
TRAIN = """
import os, sys
from pathlib import Path

numbers = (Path(os.environ["SM_CHANNEL_NUMBERS"]) / "numbers.txt").read_text()
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(" ".join([numbers, *sys.argv[1:], os.environ["SM_HP_ETA"]]))
"""
PROCESSING: dict[str, Any] = {
    "ProcessingJobName": "prepare-1",
    "AppSpecification": {
        "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/prepare.zip"],
        "ContainerArguments": [
            "--input-numbers=/opt/ml/processing/input/numbers",
            "--output-sum=/opt/ml/processing/output/sum",
            "--resource-config=/opt/ml/config/resourceconfig.json",
            "--times=2",
        ],
    },
    "ProcessingInputs": [
        {"InputName": name, "S3Input": {"S3Uri": f"s3://b/{name}", "LocalPath": f"/opt/ml/processing/input/{name}"}}
        for name in ("code", "numbers")
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {"OutputName": "sum", "S3Output": {"S3Uri": "s3://b/sum", "LocalPath": "/opt/ml/processing/output/sum"}}
        ]
    },
}
TRAINING = {
    "TrainingJobName": "train-1",
    "HyperParameters": {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code/train.tar.gz",
        "eta": "0.1",
    },
    "InputDataConfig": [
        {"ChannelName": name, "DataSource": {"S3DataSource": {"S3Uri": f"s3://b/{name}"}}}
        for name in ("code", "numbers")
    ],
    "ResourceConfig": {"InstanceType": "ml.m5.large"},
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A working tree with a project of two steps, and a local run of them on disk."""
    for package in ("pipeline_code", "pipeline_code/demo_project"):
        _write(tmp_path / package / "__init__.py", "")
    for step, code in (("prepare", PREPARE), ("train", TRAIN)):
        _write(tmp_path / "pipeline_code" / "demo_project" / step / "__main__.py", code)
    emulator = tmp_path / "build" / "local" / "emulator" / "jobs"
    job = emulator / "processing" / "prepare-1"
    _write(job / "job.json", json.dumps(PROCESSING))
    _write(job / "ml/processing/input/numbers/numbers.txt", "10 20")
    _write(
        job / "ml/processing/output/sum/evaluation.json", '{"binary_classification_metrics": {"auc": {"value": 0.6}}}'
    )
    job = emulator / "training" / "train-1"
    _write(job / "job.json", json.dumps(TRAINING))
    _write(job / "ml/input/data/numbers/numbers.txt", "7")
    _write(job / "ml/model/model.txt", "7 --eta 0.1 0.1")
    notes = RunNotes(
        run_id="run_1",
        environment="dev",
        project="demo-project",
        outcome="released",
        pipeline_execution_arn="arn:aws:sagemaker:eu-west-1:0:pipeline/dev-demo/execution/abc",
        parameters={},
        steps={
            "Prepare": NotedStep(kind="ProcessingJob", job="prepare-1", status="Succeeded", cached=False),
            "Train": NotedStep(kind="TrainingJob", job="train-1", status="Succeeded", cached=False),
            "Tune": NotedStep(kind="TuningJob", job="tune-1", status="Succeeded", cached=False),
        },
    )
    notes.write(Workplace(folder=tmp_path / "build" / "local"))
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _auc(command: StepCommand) -> Any:
    report = json.loads((command.output / "sum" / "evaluation.json").read_text())
    return report["binary_classification_metrics"]["auc"]["value"]


@pytest.mark.parametrize(
    "run", ["last", "run_1", "abc", "arn:aws:sagemaker:eu-west-1:0:pipeline/dev-demo/execution/abc"]
)
def test_step_runs_on_the_runs_inputs(checkout: Path, run: str) -> None:
    """A processing step gets its arguments with this machine's paths, whatever the run is called."""
    command = step_command("prepare", from_run=run, root=checkout)
    assert (0, 0.6) == (command.run(), _auc(command))
    assert [sys.executable, "-m", "pipeline_code.demo_project.prepare"] == command.argv[:3]
    assert checkout / "build" / "steps" / "abc" / "prepare" == command.folder


def test_further_arguments_come_last(checkout: Path) -> None:
    """An argument given on top wins, and outputs start empty each time."""
    command = step_command("PREPARE", root=checkout)
    _write(command.output / "sum" / "left-over", "")
    assert (0, 0.9) == (command.run("--times=3"), _auc(command))
    assert ["evaluation.json"] == [path.name for path in (command.output / "sum").iterdir()]


def test_inputs_are_fetched_once(checkout: Path) -> None:
    """A second command uses what the first one fetched, though the run's folder is gone by then."""
    step_command("prepare", root=checkout)
    (checkout / "build/local/emulator/jobs/processing/prepare-1/ml/processing/input/numbers/numbers.txt").unlink()
    assert 0 == step_command("prepare", root=checkout).run()


def test_inputs_of_several_hosts_come_together(checkout: Path) -> None:
    """A job that shared its input among hosts runs again as one process on all of it."""
    job = checkout / "build/local/emulator/jobs/processing/prepare-1"
    _write(job / "algo-2/ml/processing/input/numbers/more.txt", "30")
    command = step_command("prepare", root=checkout)
    assert {"numbers.txt", "more.txt"} == {
        path.name for path in (command.folder / "ml/processing/input/numbers").iterdir()
    }


def test_spark_step_brings_java(checkout: Path) -> None:
    """A step of Spark's image gets Java and the same small local Spark as in the local AWS."""
    job = checkout / "build/local/emulator/jobs/processing/prepare-1/job.json"
    entrypoint = ["smspark-submit", "/opt/ml/processing/input/code/prepare.py"]
    application = {**PROCESSING["AppSpecification"], "ContainerEntrypoint": entrypoint}
    job.write_text(json.dumps({**PROCESSING, "AppSpecification": application}))
    command = step_command("prepare", root=checkout)
    assert {"JAVA_HOME", "SPARK_LOCAL_IP", "PYSPARK_SUBMIT_ARGS"} <= command.environment.keys()
    assert 0 == command.run()


def test_training_gets_variables_and_hyperparameters(checkout: Path) -> None:
    """A training step has SM_* variables and its hyperparameters as arguments."""
    command = step_command("train", root=checkout)
    assert 0 == command.run("--eta", "0.2")
    assert "PASSIVE" == command.environment["OMP_WAIT_POLICY"]
    assert "7 --eta 0.1 --eta 0.2 0.1" == (command.output / "model" / "model.txt").read_text()
    assert not (command.folder / "ml" / "input" / "data" / "code").exists()


def test_keep_gives_a_folder_of_its_own(checkout: Path) -> None:
    """With `keep` the outputs of earlier tries stay."""
    first = step_command("prepare", root=checkout)
    first.run()
    second = step_command("prepare", root=checkout, keep=True)
    second.run("--times=1")
    assert (0.6, 0.3) == (_auc(first), _auc(second))


def test_call_runs_in_this_process(checkout: Path) -> None:
    """For a debugger the step runs in the caller's process, edits included, which is as before afterwards."""
    command, before = step_command("prepare", root=checkout), (list(sys.argv), Path.cwd(), set(sys.modules))
    command.call()
    assert 0.6 == _auc(command)
    main = checkout / "pipeline_code" / "demo_project" / "prepare" / "__main__.py"
    main.write_text(main.read_text().replace("/ 100", "/ 50"))
    command.call()
    assert 1.2 == _auc(command)
    assert before[:2] == (sys.argv, Path.cwd())
    assert not [name for name in set(sys.modules) - before[2] if name.startswith("pipeline_code")]


@pytest.mark.parametrize(
    ("step", "run", "sentence"),
    [
        ("evaluate", "last", "run abc has no step 'evaluate': those that can run again are Prepare, Train$"),
        ("tune", "last", "step Tune cannot run as one process: it is a TuningJob; .* run train with the"),
    ],
)
def test_what_cannot_run_is_told(checkout: Path, step: str, run: str, sentence: str) -> None:
    """An unknown step and one that is no script of its own are one sentence."""
    with pytest.raises(EnvironmentTrouble, match=sentence):
        step_command(step, from_run=run, root=checkout)


def test_lost_job_folder_asks_for_another_run(checkout: Path) -> None:
    """Notes whose job folder is gone say what to do."""
    (checkout / "build/local/emulator/jobs/training/train-1/job.json").unlink()
    with pytest.raises(EnvironmentTrouble, match=r"what step Train of run abc left is gone .*: run make local again"):
        step_command("train", root=checkout)


def test_command_compares_with_the_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command tells per file whether it is the same, and the metrics' differences; its exit code is the step's."""
    monkeypatch.chdir(checkout)
    assert 0 == _exit_code("prepare", "--times=3")
    told = capfd.readouterr().out
    assert all(part in told for part in ("sum/evaluation.json", "differs", "0.600000", "0.900000", "+0.300000"))
    assert "0.6, now 0.9" in told
    assert 2 == _exit_code("prepare", "--times=many")
    assert 2 == _exit_code("absent")
    assert "error: run abc has no step 'absent'" in capfd.readouterr().err


def test_print_runs_nothing(checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """--print shows a line for a shell and a debugger's configuration, and leaves the outputs empty."""
    monkeypatch.chdir(checkout)
    assert 0 == _exit_code("train", only_print=True)
    told = capfd.readouterr().out
    assert "-m pipeline_code.demo_project.train --eta 0.1" in told
    assert '"module": "pipeline_code.demo_project.train"' in told
    assert [] == list((checkout / "build/steps/abc/train/output/model").iterdir())


def _exit_code(step: str, *extra: str, only_print: bool = False) -> int:
    with pytest.raises(typer.Exit) as ended:
        run_again(step, list(extra), only_print=only_print)
    return ended.value.exit_code
