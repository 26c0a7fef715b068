"""The project's last word before a model is registered."""

import io
import json
from typing import Any

import boto3
import pytest

from pipeline_code.census.decide.handler import RefusedError, decide, handler, location

URI = "s3://artifacts/census/executions/abc/evaluate/evaluation"


def evaluation(*regressions: object) -> bytes:
    """A report with a segment per given answer to whether it regressed."""
    rows = [
        {"column": "place", "value": value, "auc": 0.9, "regression": regression}
        for value, regression in zip(("north", None, "south"), regressions, strict=False)
    ]
    return json.dumps({"segments": rows}).encode()


class Bucket:
    """An S3 client of one object."""

    def __init__(self, body: bytes) -> None:
        """Remember the body, and what is asked for."""
        self.body = body
        self.asked: dict[str, str] = {}

    def get_object(self, **asked: str) -> dict[str, Any]:
        """The object."""
        self.asked = asked
        return {"Body": io.BytesIO(self.body)}


def test_it_reads_the_evaluation_and_answers_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """As SageMaker calls it, with the folder of the Evaluate step."""
    bucket = Bucket(evaluation(False, False))
    monkeypatch.setattr(boto3, "client", lambda service: {"s3": bucket}[service])
    note = handler({"run_id": "r-1", "evaluation_uri": URI}, None)
    assert {"note": "no segment regressed: 2 of 2 judged"} == note
    assert {"Bucket": "artifacts", "Key": "census/executions/abc/evaluate/evaluation/evaluation.json"} == bucket.asked


def test_a_regression_is_refused_by_name() -> None:
    """Every segment that regressed, that of the missing values too."""
    with pytest.raises(RefusedError, match="worse than the champion for place north, place missing; see the segments"):
        decide(evaluation(True, True, False), URI)


def test_segments_that_were_not_judged_are_told() -> None:
    """They are no reason to refuse; an evaluation without segments is none either."""
    report = json.loads(evaluation(False, False))
    report["segments"][0]["auc"] = None
    assert "no segment regressed: 1 of 2 judged, the others are too small" == decide(json.dumps(report).encode(), URI)
    assert "0 of 0 judged" in decide(b'{"segments": []}', URI)


@pytest.mark.parametrize("answer", [None, "false", 0, 1])
def test_anything_but_a_plain_no_is_a_regression(answer: object) -> None:
    """A poisoned report does not slip through."""
    with pytest.raises(RefusedError, match="place north"):
        decide(evaluation(answer), URI)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"segments": null}', b'{"segments": [1]}', b'{"segments": [{}]}']
)
def test_what_is_no_evaluation_is_refused(body: bytes) -> None:
    """The sentence names the object."""
    with pytest.raises(ValueError, match=f"{URI} is no evaluation with a table of segments; run Evaluate again"):
        decide(body, URI)


@pytest.mark.parametrize("uri", [URI, f"{URI}/", f"{URI}/evaluation.json"])
def test_folder_and_file_are_the_same_place(uri: str) -> None:
    """Whichever the pipeline passes."""
    assert ("artifacts", "census/executions/abc/evaluate/evaluation/evaluation.json") == location(uri)


@pytest.mark.parametrize("uri", [None, "", 3, "https://x/y", "s3://", "s3://bucket", "s3:///key"])
def test_another_location_is_refused(uri: object) -> None:
    """In a sentence that shows what was got."""
    with pytest.raises(ValueError, match="evaluation_uri must be s3://bucket/folder"):
        location(uri)
