"""Captured lines become requests and answers; what is damaged is counted and never guessed at."""

import contextlib
import json
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift import DAY, END, baseline, captured, line, measured, rows, span
from pipeline_code.platform_jobs.drift.capture import Unreadable, read_line, split_lines
from pipeline_code.platform_jobs.drift.window import Window, moment, window_before

COLUMNS = ["age", "job"]


def changed(**parts: Any) -> bytes:
    """A sound line with parts of it replaced."""
    document = json.loads(line([("40", "smith")], [0.5]))
    for name, value in parts.items():
        where, _, field = name.partition("__")
        place = document["eventMetadata"] if where == "event" else document["captureData"][where]
        place[field] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize("base64_", [False, True])
def test_requests_of_csv_are_rows_with_their_scores(base64_: bool) -> None:
    """In plain text or base64, one row or several."""
    found = read_line(line([("40", "smith"), ("?", "")], [0.25, 0.5], base64_=base64_).encode(), COLUMNS)
    assert ([["40", "smith"], ["?", ""]], [0.25, 0.5]) == (found.rows, found.scores)
    assert ("id", "2026-11-27T07:00:00Z") == (found.id, found.time)


def test_requests_of_json_go_by_column() -> None:
    """A column that is left out is missing, the order of the rest does not matter."""
    text = json.dumps({"instances": [{"job": "smith", "age": 40}, {"job": "baker"}]})
    data = {"observedContentType": "application/json; charset=utf-8", "data": text, "encoding": "JSON"}
    document = json.loads(line([("1", "x")], [0.25, 0.5]))
    document["captureData"]["endpointInput"] = data
    assert [[40, "smith"], [None, "baker"]] == read_line(json.dumps(document).encode(), COLUMNS).rows


def test_quoted_csv_is_read_as_csv() -> None:
    """A comma inside quotes parts nothing."""
    assert [["40", "a,b"]] == read_line(changed(endpointInput__data='40,"a,b"'), COLUMNS).rows


def test_without_an_inference_id_the_event_is_the_id() -> None:
    """Callers need not give one."""
    assert "event-id" == read_line(changed(event__inferenceId=None), COLUMNS).id


def test_a_request_without_a_captured_answer_is_a_request() -> None:
    """Its rows count, it has no scores."""
    assert read_line(line([("40", "smith")], None).encode(), COLUMNS).scores is None


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"{", "the line is no captured request"),
        (b"\xff\xfe\x00", "the line is no captured request"),
        (b"[1]", "the line is no captured request"),
        (b'{"captureData": 1, "eventMetadata": {}}', "the line is no captured request"),
        (b"[" * 100_000, "the line is no captured request"),
        (changed(event__inferenceTime="yesterday"), "the request has no time or no id"),
        (changed(event__inferenceId=5), "the request has no time or no id"),
        (changed(endpointInput__data="!", endpointInput__encoding="BASE64"), "a body cannot be decoded"),
        (changed(endpointInput__data=None), "a body cannot be decoded"),
        (changed(endpointInput__observedContentType="image/png"), "a request is neither text/csv nor application/json"),
        (changed(endpointInput__data="40"), "a request does not fit the model's columns"),
        (changed(endpointInput__data=""), "a request does not fit the model's columns"),
        (changed(endpointOutput__data="{}"), "an answer holds no scores"),
        (changed(endpointOutput__data='{"predictions": [1, 2]}'), "the answer does not fit the request"),
        (None, "the line is too long"),
    ],
)
def test_damaged_lines_say_why(damaged: bytes | None, reason: str) -> None:
    """Each kind of damage has its words."""
    with pytest.raises(Unreadable) as caught:
        read_line(damaged, COLUMNS)
    assert reason == str(caught.value)


def test_a_score_beyond_all_numbers_is_none() -> None:
    """A whole number that no floating point number comes near is damage."""
    with pytest.raises(Unreadable, match="an answer holds no scores"):
        read_line(changed(endpointOutput__data=f'{{"predictions": [1{"0" * 400}]}}'), COLUMNS)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    """Any line is an exchange or unreadable, never another error."""
    with contextlib.suppress(Unreadable):
        read_line(content, COLUMNS)


@given(st.binary(max_size=200), st.integers(1, 20))
def test_lines_do_not_depend_on_how_a_file_comes_in(content: bytes, size: int) -> None:
    """Pieces of any size give the lines of the whole."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    assert [part.strip() for part in content.split(b"\n") if part.strip()] == list(split_lines(pieces))


def test_a_line_without_an_end_is_not_kept() -> None:
    """What is longer than the longest is one damaged line, and the next one is read."""
    pieces = [b"x" * 8, b"x" * 8, b"x\nab\n", b"y" * 30, b"\ncd"]
    assert [None, b"ab", None, b"cd"] == list(split_lines(pieces, most=10))


def test_few_damaged_lines_are_left_out_and_counted() -> None:
    """The rest is judged as if they were not there."""
    found = measured([*captured(rows(400)), "{", b"\xff", line([("40",)], [0.5])])  # type: ignore[list-item]
    assert ("measured", 400, 403, 3) == (
        found["status"],
        found["rows"],
        found["read"]["lines"],
        found["read"]["corrupt_lines"],
    )
    assert {"the line is no captured request": 2, "a request does not fit the model's columns": 1} == found["read"][
        "reasons"
    ]


def test_a_window_in_ruins_is_not_without_drift() -> None:
    """It is called corrupt, whatever the sound rest says."""
    found = measured([*captured(rows(400)), *["{"] * 401])
    assert "corrupt" == found["status"]
    assert found["sentence"] == (
        "Most of what was captured from 2026-11-26T08:00:00Z to 2026-11-27T08:00:00Z cannot be read (401 of 801 lines in"
        " 1 files), so nothing is said of drift"
    )


def test_many_ruined_files_are_not_outvoted_by_one_long_sound_one() -> None:
    """A file that holds little but damage counts as one file of those read."""
    from drift import POLICY, labels_of
    from pipeline_code.platform_jobs.drift.measurement import Watch, report

    watch = Watch(baseline(), span(), labels_of({}))
    sound = "\n".join(captured(rows(400))).encode()
    watch.read([[sound], [b"\x00"], [b"\x01"]])
    found = report(watch, baseline(), span=span(), policy=POLICY, model="m")
    assert ("corrupt", 2) == (found["status"], found["read"]["corrupt_files"])


def test_a_window_holds_its_start_and_not_its_end() -> None:
    """To the second, in the hour folders it touches and the one after, for capture comes in batches."""
    window = Window(datetime.fromisoformat("2026-11-26T22:30:00Z"), END)
    assert (True, False) == (window.holds("2026-11-26T22:30:00Z"), window.holds("2026-11-27T08:00:00.000Z"))
    assert ["2026/11/26/", "2026/11/27/"] == window.days()
    names = ["2026/11/26/21/a.jsonl", "2026/11/26/22/b.jsonl", "2026/11/27/09/c.jsonl", "2026/11/27/10/d.jsonl"]
    keys = [f"p/{name}" for name in [*names, "2026/11/27/08/note.txt"]]
    assert [f"p/{names[1]}", f"p/{names[2]}"] == window.picks(keys, "p/")


def test_the_window_begins_with_the_champion() -> None:
    """What an earlier model was asked is none of its business, the second of the release included."""
    released = END - timedelta(hours=2, milliseconds=300)
    assert "2026-11-27T06:00:00" == window_before(END, length=DAY, released=released).first
    lines = [*captured(rows(300), at=END - timedelta(hours=3)), *captured(rows(200), at=END - timedelta(hours=1))]
    random.Random(1).shuffle(lines)
    assert 200 == measured(lines, over=span(released=released))["rows"]


def test_a_release_after_the_end_leaves_nothing_to_look_at() -> None:
    """The window is empty, not inside out."""
    window = window_before(END, length=DAY, released=END + DAY)
    assert window.start == window.end


def test_moments_are_read_as_step_functions_writes_them() -> None:
    """With and without milliseconds."""
    assert END == moment("2026-11-27T08:00:00.000Z") == moment("2026-11-27T08:00:00Z")
