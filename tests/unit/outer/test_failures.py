"""Failures in AWS's words become a kind, a cause, a remedy and a section of the runbook, alike in JSONata and Python."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_pipeline.asl import jsonata
from dual_pipeline.failures import PATTERNS, UNKNOWN, classification, classify
from dual_pipeline.outer_loop.messages import OUTCOMES, advice

ROOT = Path(__file__).parents[3]
Evaluate = Callable[..., Any]
NEEDLES = [needle for row in PATTERNS for needle in row.needles]
TEXTS = st.lists(
    st.one_of(st.text(max_size=40), st.sampled_from(NEEDLES), st.sampled_from(["exit code: 1", "ValueError: no"]))
).map("".join)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the input is not valid: reason must be one of data, person", "input"),
        ("ReadChampion: the ledger names no champion although arn:x is Approved", "lost-champion"),
        ("Preflight: no rollback alarm errors exists, so nothing would send a bad model back: deploy", "preflight"),
        ("Preflight: the image x is a now and was b when the model was registered", "preflight"),
        ("Preflight: the endpoint dev-census is Updating and takes no new model; bring it", "endpoint-stuck"),
        ("AwaitRollout: the endpoint x is Failed after at most 5400 s; it needs a person, see the runbook", "endpoint-stuck"),
        ("GateModel: the evaluation passed its gate but no step registered a model", "gate"),
        ("SmokeScore: the model gave 1 answers to 2 golden rows; nothing was scored", "answers"),
        ("the execution ended as FAILED: States.DataLimitExceeded too large", "machine"),
        ("step Train: AlgorithmError: , exit code: 137", "memory"),
        ("IngestData failed with States.TaskFailed: java.lang.OutOfMemoryError: Java heap space", "memory"),
        ("step Train: AlgorithmError: OSError: [Errno 28] No space left on device, exit code: 1", "disk"),
        ("step Train: ClientError: Failed to invoke sagemaker: KMSAccessDeniedException", "key"),
        ("step Train: ClientError: Cannot pull algorithm container. Either the image does not exist", "image"),
        ("SetAlarms failed with CloudWatch.CloudWatchException: User: arn:x is not authorized to perform: y", "permission"),
        ("step Tune: ClientError: Data download failed: S3 responded with 403 Forbidden (AccessDenied)", "permission"),
        ("CreateEndpoint failed with SageMaker.ResourceLimitExceededException: 0 instances", "quota"),
        ("step Train: CapacityError: Unable to provision requested ML compute capacity.", "capacity"),
        ("IngestData failed with States.TaskFailed: Resource unavailable", "capacity"),
        ("AdmitRun failed with DynamoDb.ThrottlingException: Rate exceeded", "throttled"),
        ("ReadVerdict failed with S3.NoSuchKeyException: The specified key does not exist.", "missing-object"),
        ("step Evaluate: ClientError: Data download failed for channel champion", "download"),
        ("AwaitRollout: x is Failed: the container did not pass the ping health check", "health"),
        ("EvaluateDataQuality failed with States.Timeout", "timeout"),
        ("AwaitTraining: the pipeline execution was stopped, for it took longer than 60 s", "timeout"),
        ("AwaitTraining: the pipeline execution stopped", "stopped"),
        ("the execution ended as ABORTED:  ", "stopped"),
        ("step Train: InternalServerError: We encountered an internal error. Please try again.", "service"),
        ("step ExternalCheck: the sample is not fair", "decision"),
        ("UpdateEndpoint failed with SageMaker.SageMakerException: the variants do not fit", "request"),
        ("step Evaluate: ValueError: no rows", "code"),
        ("step Tune: No training job succeeded after 4 attempts.", "code"),
        ("something new", "unknown"),
    ],
)  # fmt: skip
def test_kinds(evaluate: Evaluate, text: str, kind: str) -> None:
    """What AWS and the loop say is known by its words, and the machine sees it as Python does."""
    told = classify(text)
    assert kind == told["kind"]
    assert told == evaluate(jsonata(classification("$reason")), variables={"reason": text})


def test_an_error_of_the_code_names_exit_code_and_exception() -> None:
    """The last exception of a traceback is the one that ended the step."""
    said = (
        "step Train: AlgorithmError: ExecuteUserScriptError:\nExitCode 1\n"
        'ErrorMessage "KeyError: first\n\nValueError: no rows\n"\nCommand "python train", exit code: 1'
    )
    assert "the step's own code ended with an error (exit code 1): ValueError: no rows" == classify(said)["cause"]


@given(text=TEXTS)
@settings(deadline=None)
def test_machine_and_python_agree(evaluate: Evaluate, text: str) -> None:
    """Whatever a failure says, both find the same, and the machine's expression does not fail."""
    assert classify(text) == evaluate(jsonata(classification("$reason")), variables={"reason": text})


@given(text=TEXTS, outcome=st.sampled_from([*OUTCOMES, "", "odd"]))
@settings(deadline=None)
def test_advice_never_fails(evaluate: Evaluate, text: str, outcome: str) -> None:
    """It is worked out in a Choice, which can catch nothing."""
    told = evaluate(jsonata(advice()), variables={"reason": text, "outcome": outcome})
    assert {"kind", "whose", "cause", "remedy", "runbook"} == set(told)
    assert (told["remedy"] != "") == (outcome in OUTCOMES)


@pytest.mark.parametrize("row", PATTERNS, ids=lambda row: row.failure.kind)
def test_every_row_is_of_use(row: Any) -> None:
    """Each row has words that no row before it takes, pages that have them, and texts that end without a full stop."""
    assert any(classify(needle)["kind"] == row.failure.kind for needle in row.needles)
    assert row.sources
    assert all(source.startswith(("https://docs.aws.amazon.com/", "docs/")) for source in row.sources)
    for text in (row.failure.cause, row.failure.remedy):
        assert not text.endswith(".")


def test_every_section_exists() -> None:
    """What people are sent to read is a heading of the runbook."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
    wanted = {row.failure.runbook for row in PATTERNS} | {UNKNOWN.runbook}
    wanted |= {row.runbook for row in OUTCOMES.values() if row.runbook}
    assert wanted <= set(headings)
