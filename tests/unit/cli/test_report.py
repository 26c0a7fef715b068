"""What a run leaves to read."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

from rich.console import Console

from dual_pipeline_local.diagnosis import diagnose
from dual_pipeline_local.findings import Findings, Trial
from dual_pipeline_local.observer import RunView, StateRecord, StepRecord
from dual_pipeline_local.report import Failure, Report

START = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = RunView(
    execution_arn="arn:aws:states:eu-west-1:000000000000:execution:dev-census-outer-loop:run-1",
    status="SUCCEEDED",
    states=(
        StateRecord(name="IngestData", status="succeeded", started_at=START, ended_at=START + timedelta(seconds=4)),
        StateRecord(
            name="AwaitTraining",
            status="succeeded",
            started_at=START + timedelta(seconds=4),
            ended_at=START + timedelta(seconds=10),
        ),
    ),
    steps=(
        StepRecord(
            name="Train",
            type="TrainingJob",
            status="Succeeded",
            started_at=START + timedelta(seconds=5),
            ended_at=START + timedelta(seconds=8),
            resource="arn:aws:sagemaker:eu-west-1:000000000000:training-job/train-1",
        ),
        StepRecord(
            name="Register",
            type="RegisterModel",
            status="Succeeded",
            started_at=START + timedelta(seconds=8),
            ended_at=START + timedelta(seconds=9),
            resource="arn:aws:sagemaker:eu-west-1:000000000000:model-package/dev-census/1",
        ),
    ),
    transitions=40,
    record={"outcome": "released", "reason": "the <model> answers"},
)
REPORT = Report(
    environment="dev",
    project="census",
    view=VIEW,
    templates={"Dev-Foundation": "ab"},
    template_sha256="cd",
    duration_s=61.25,
    peak_memory_mb=900,
    endpoint_name="dev-census",
    findings=Findings(
        quality_engine="deequ 2.1.0-spark-3.5",
        metrics={"auc": 0.92},
        baseline={"auc": 0.5, "description": "the prior"},
        champion="better than the <champion>",
        tuning="Tuning beat the default",
        trials=(Trial(name="t-1", status="Completed", objective=0.93, hyperparameters={"eta": "0.0512345"}),),
        warnings=("AUC fell for some", "Tuning beat the default"),
        has_page=True,
        prediction={"input": "39,Private", "output": {"predictions": [0.1]}},
    ),
)


def test_summary_holds_the_whole_run() -> None:
    """summary.json has exactly these fields for a released run."""
    assert {
        "outcome": "released",
        "reason": "the <model> answers",
        "environment": "dev",
        "project": "census",
        "template_sha256": "cd",
        "templates": {"Dev-Foundation": "ab"},
        "execution_arn": VIEW.execution_arn,
        "duration_s": 61.25,
        "state_transitions": 40,
        "states": [
            {"name": "IngestData", "status": "succeeded", "duration_s": 4.0},
            {"name": "AwaitTraining", "status": "succeeded", "duration_s": 6.0},
        ],
        "steps": [
            {"name": "Train", "type": "TrainingJob", "status": "Succeeded", "duration_s": 3.0},
            {"name": "Register", "type": "RegisterModel", "status": "Succeeded", "duration_s": 1.0},
        ],
        "quality_engine": "deequ 2.1.0-spark-3.5",
        "metrics": {"auc": 0.92},
        "baseline": {"auc": 0.5, "description": "the prior"},
        "champion": "better than the <champion>",
        "tuning": {
            "sentence": "Tuning beat the default",
            "trials": [{"status": "Completed", "objective": 0.93, "eta": "0.0512345"}],
        },
        "warnings": ["AUC fell for some", "Tuning beat the default"],
        "model_package_arn": "arn:aws:sagemaker:eu-west-1:000000000000:model-package/dev-census/1",
        "endpoint_name": "dev-census",
        "prediction": {"input": "39,Private", "output": {"predictions": [0.1]}},
        "peak_memory_mb": 900,
    } == REPORT.summary()


def test_page_stands_alone(tmp_path: Path) -> None:
    """report.html names every state and step, escapes what it is told, and links only the evaluation beside it."""
    REPORT.write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    outside: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            outside.extend(value for name, value in attrs if name in ("src", "href") and value)

    Reader().feed(page)
    assert ["evaluation.html"] == outside
    assert "url(" not in page
    assert all(
        name in page for name in ("IngestData", "AwaitTraining", "Train", "Register", "the &lt;model&gt; answers")
    )
    assert REPORT.summary() == json.loads((tmp_path / "summary.json").read_text())


def test_failure_is_told_on_the_terminal(tmp_path: Path) -> None:
    """A failed run names state, step, exception, what that means, what to do, and the log's last lines."""
    failure = Failure(
        state="AwaitTraining",
        step="Train",
        exception="ValueError: no",
        log="x.log",
        log_tail=("a", "b"),
        kind="code",
        means="the step's own code ended with an error",
        remedy="repair it",
    )
    console = Console(record=True, width=120)
    view = replace(VIEW, record={"outcome": "failed", "reason": "step Train: broke"})
    replace(REPORT, view=view, failure=failure).show(console, tmp_path)
    text = console.export_text()
    assert "FAILED  step Train: broke" in text
    assert all(part in text for part in ("AwaitTraining", "Train", "ValueError: no", "x.log", "    a\n    b"))
    assert "means       the step's own code ended with an error (code)\ndo          repair it\n" in text


def test_terminal_tells_comparisons_and_trials(tmp_path: Path) -> None:
    """Champion and tuning are a sentence each, a warning is told once, trials stand with their hyperparameters."""
    console = Console(record=True, width=120)
    REPORT.show(console, tmp_path)
    text = console.export_text()
    assert all(
        part in text for part in ("champion    better than the <champion>", "0.930000", "0.05123", "evaluation.html")
    )
    assert ("warning     AUC fell for some" in text, 1) == (True, text.count("Tuning beat the default"))


def test_diagnosis_finds_the_failed_step_and_its_log(tmp_path: Path) -> None:
    """The log of the failed step's own job is read, and the exception is its last one."""
    log = tmp_path / "TrainingJobs" / "train-1.log"
    log.parent.mkdir()
    log.write_text("Traceback (most recent call last):\n  File x\nKeyError: 'first'\nValueError: label is missing\n")
    step = replace(VIEW.steps[0], status="Failed", failure="AlgorithmError: ExecuteUserScriptError")
    state = replace(VIEW.states[1], status="caught", cause="the pipeline failed")
    record = {"failure": "code", "cause": "an error", "remedy": "repair it"}
    view = replace(VIEW, steps=(step,), states=(VIEW.states[0], state), record=record)
    failure = diagnose(view, logs=tmp_path)
    assert ("code", "an error", "repair it") == (failure.kind, failure.means, failure.remedy)
    assert ("AwaitTraining", "Train", "ValueError: label is missing", str(log)) == (
        failure.state,
        failure.step,
        failure.exception,
        failure.log,
    )


def test_the_log_of_a_job_that_the_machine_started_is_found(tmp_path: Path) -> None:
    """The cause of a failed smoke training names its job, whose log is read like that of a step."""
    log = tmp_path / "TrainingJobs" / "dev-census-smoke-0123-0-0.log"
    log.parent.mkdir()
    log.write_text("reading\nValueError: no column age\n")
    caught = StateRecord(
        name="SmokeTrain",
        status="caught",
        started_at=START,
        error="States.TaskFailed",
        cause='{"TrainingJobName": "dev-census-smoke-0123-0-0", "FailureReason": "AlgorithmError: ..."}',
    )
    record = {"outcome": "failed", "state": "SmokeTrain", "reason": "SmokeTrain failed with States.TaskFailed"}
    failure = diagnose(replace(VIEW, states=(caught,), steps=(), record=record), logs=tmp_path)
    assert ("SmokeTrain", "ValueError: no column age", str(log)) == (failure.state, failure.exception, failure.log)
