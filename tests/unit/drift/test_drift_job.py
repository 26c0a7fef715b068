"""The job from its arguments to its files, with objects in a dictionary."""

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from drift import END, captured, documents, line, rows
from pipeline_code.platform_jobs.drift.__main__ import main, parser, run
from pipeline_code.platform_jobs.drift.errors import DriftError
from pipeline_code.platform_jobs.drift.objects import Objects
from pipeline_code.platform_jobs.drift.window import moment

HOUR = "p/2026/11/27/07/"
ARGUMENTS: dict[str, Any] = {
    "report-uri": "s3://b/drift/1/",
    "capture-uri": "s3://b/p/",
    "labels-uri": "s3://b/labels/",
    "own-id": "golden-",
    "model": "arn:model",
    "released-at": "2026-01-01T00:00:00.5Z",
    "end": "2026-11-27T08:00:00.123Z",
    "window-s": 86_400,
    "label-window-s": 14 * 86_400,
    "min-rows": 100,
    "min-labels": 50,
    "alpha": 0.01,
    "max-psi": 0.2,
    "max-auc-drop": 0.05,
}


class Bucket:
    """An S3 client over a dictionary: content and the time of writing by key; keys of `gone` are listed and deleted."""

    def __init__(self, objects: dict[str, tuple[bytes, datetime]], gone: str = "", code: str = "NoSuchKey") -> None:
        self.objects, self.gone, self.code = objects, gone, code
        self.read: list[str] = []

    def get_paginator(self, _name: str) -> "Bucket":
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        keys = [key for key in sorted(self.objects) if key.startswith(Prefix)]
        for key in keys:
            yield {"Contents": [{"Key": key, "LastModified": self.objects[key][1]}]}
        yield {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key == self.gone:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "GetObject")
        self.read.append(Key)
        content = self.objects[Key][0]
        return {"Body": StreamingBody(io.BytesIO(content), len(content))}


def words(given: dict[str, Any]) -> list[str]:
    """Arguments as the command line has them."""
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def job(
    tmp_path: Path,
    capture: dict[str, list[str]],
    labels: dict[str, tuple[str, datetime]] | None = None,
    **changes: Any,
) -> tuple[dict[str, Any], Bucket]:
    """Run the job; its report and the bucket."""
    drift, evaluation = documents()
    folder = tmp_path / "evaluation"
    folder.mkdir()
    (folder / "drift_baseline.json").write_text(json.dumps(changes.pop("drift", drift)))
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    given = ARGUMENTS | {
        "input-evaluation": folder,
        "output-report": tmp_path / "report",
        "output-message": tmp_path / "message",
    }
    options = parser().parse_args(words(given))
    files = {key: ("\n".join(lines).encode(), END) for key, lines in capture.items()}
    told = {f"labels/{name}": (text.encode(), written) for name, (text, written) in (labels or {}).items()}
    bucket = Bucket(files | told, **changes)
    run(options, Objects(bucket, "s3://b/p/"), Objects(bucket, "s3://b/labels/"))
    return json.loads((tmp_path / "report" / "report.json").read_text()), bucket


def test_only_files_of_the_windows_hours_are_read(tmp_path: Path) -> None:
    """Without labels nothing older than the window is opened, and nothing that is no capture."""
    keys = [f"{HOUR}a.jsonl", "p/2026/11/20/07/old.jsonl", "p/2026/11/27/10/new.jsonl", f"{HOUR}note.txt"]
    found, bucket = job(tmp_path, dict.fromkeys(keys, captured(rows(120))))
    assert ([keys[0]], 120) == (bucket.read, found["rows"])
    short = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert ("measured", "nothing") == (short["status"], short["decision"])
    assert short["message"].endswith("Report: s3://b/drift/1/report.html")
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")


def test_labels_of_before_the_answers_are_not_read(tmp_path: Path) -> None:
    """What was written before the window of labels cannot be about it; other files are not labels at all."""
    then = END - timedelta(days=5)
    answered = [line([row], [0.1], at=then, id_=f"q{number}") for number, row in enumerate(rows(100))]
    text = "inference_id,label\n" + "".join(f"q{number},0\n" for number in range(100))
    labels = {
        "new.csv": (text, END - timedelta(days=1)),
        "old.csv": ("inference_id,label\nq1,1\n", END - timedelta(days=20)),
        "readme.md": ("q2,1", END),
    }
    capture = {f"{HOUR}a.jsonl": captured(rows(120)), f"p/{then:%Y/%m/%d/%H}/b.jsonl": answered}
    found, bucket = job(tmp_path, capture, labels)
    assert (100, 100, 120) == (found["labels"]["offered"], found["labels"]["joined"], found["rows"])
    assert "labels/old.csv" not in bucket.read
    assert "labels/readme.md" not in bucket.read


@pytest.mark.parametrize(("today", "status"), [(["{"] * 200, "corrupt"), (captured(rows(120)), "measured")])
def test_labels_neither_hide_nor_make_damage(tmp_path: Path, today: list[str], status: str) -> None:
    """Only files of the inputs' window say whether it can be judged; damage of the days before is counted apart."""
    then = END - timedelta(days=5)
    sound = [line([row], [0.1], at=then, id_=f"q{number}") for number, row in enumerate(rows(300))]
    before = sound if status == "corrupt" else ["{"] * 300
    capture = {f"{HOUR}a.jsonl": today, f"p/{then:%Y/%m/%d/%H}/b.jsonl": before}
    found, _ = job(tmp_path, capture, {"a.csv": ("inference_id,label\nq1,0\n", END)})
    assert (status, 1, 1) == (found["status"], found["read"]["files"], found["read_earlier"]["files"])
    assert (len(today), 300) == (found["read"]["lines"], found["read_earlier"]["lines"])
    assert ("nothing moved" in found["decision"]["why"]) == (status == "measured")


def test_the_platforms_own_requests_count_for_nothing(tmp_path: Path) -> None:
    """Golden rows of a release are no traffic, whatever they ask."""
    golden = [line([("90", "pilot")], [0.9], id_=f"golden-{number}") for number in range(500)]
    found, _ = job(tmp_path, {f"{HOUR}a.jsonl": [*golden, *captured(rows(120))]})
    assert (120, 0.0, 620) == (found["rows"], found["features"][1]["unseen"]["live"], found["read"]["lines"])


def test_values_that_no_file_can_hold_are_spelled_out(tmp_path: Path) -> None:
    """A caller may send half a character as a category; the report names it as JSON does and the job goes on."""
    strange = json.loads(line([], [0.5], id_="\udfff"))
    body = json.dumps({"instances": [{"age": "40", "job": "\ud800"}]})
    asked = {"observedContentType": "application/json", "mode": "INPUT", "data": body, "encoding": "JSON"}
    strange["captureData"]["endpointInput"] = asked
    lines = [json.dumps(strange), *captured(rows(120))]
    found, _ = job(tmp_path, {f"{HOUR}a.jsonl": lines}, {"a.csv": ("inference_id,label\na,1\n", END)})
    assert (["\\ud800"], 121) == (found["features"][1]["examples"], found["rows"])
    assert "\\ud800" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_a_file_that_is_deleted_meanwhile_is_no_failure(tmp_path: Path) -> None:
    """It is empty; that it may not be read at all is one."""
    capture = {f"{HOUR}a.jsonl": captured(rows(120)), f"{HOUR}b.jsonl": captured(rows(120))}
    assert 120 == job(tmp_path, capture, gone=f"{HOUR}b.jsonl")[0]["rows"]
    (tmp_path / "denied").mkdir()
    with pytest.raises(ClientError, match="AccessDenied"):
        job(tmp_path / "denied", capture, gone=f"{HOUR}b.jsonl", code="AccessDenied")


def test_a_missing_baseline_is_one_sentence(tmp_path: Path) -> None:
    """What was wrong and what to do."""
    wanted = r"drift_baseline.json of the champion cannot be compared with: it lacks 'columns'; release a model"
    with pytest.raises(DriftError, match=wanted):
        job(tmp_path, {}, drift={})


def test_why_there_is_no_report_is_left_in_a_file(tmp_path: Path) -> None:
    """It is what SageMaker hands on of a job that failed, and the log says it as well."""
    given = ARGUMENTS | {
        "input-evaluation": tmp_path / "nothing",
        "output-report": tmp_path / "report",
        "output-message": tmp_path / "output" / "message",
    }
    with pytest.raises(SystemExit, match=r"error: drift_baseline\.json of the champion cannot be read"):
        main(words(given))
    message = (tmp_path / "output" / "message").read_text()
    assert message.startswith("drift_baseline.json of the champion cannot be read")
    assert message.endswith("or give the model project drift=None")


def test_a_long_reason_is_cut_between_characters(tmp_path: Path) -> None:
    """Bytes that are no text would be an error of their own."""
    (tmp_path / "drift_baseline.json").write_text(json.dumps({"columns": ["\u00e4" * 2000], "features": {}}))
    (tmp_path / "evaluation.json").write_text("{}")
    given = ARGUMENTS | {
        "input-evaluation": tmp_path,
        "output-report": tmp_path,
        "output-message": tmp_path / "message",
    }
    with pytest.raises(SystemExit):
        main(words(given))
    assert 1000 < len((tmp_path / "message").read_text().encode()) <= 1024


def test_moments_of_another_kind_are_refused() -> None:
    """The champion's item is not what a release writes."""
    with pytest.raises(DriftError, match=r"a moment must look like 2026-11-27T08:00:00Z, got ''"):
        moment("")
