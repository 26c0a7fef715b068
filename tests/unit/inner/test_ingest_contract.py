"""What ingest decides without Spark: a file's kind, its header, its schema, and the document for the state machine."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import contract
from pipeline_code.platform_jobs.ingest.contract import (
    HEAD,
    RejectedError,
    check_schema,
    format_of,
    header_line,
    read_header,
)
from pipeline_code.platform_jobs.ingest.result import result_of, summary

CONTRACT = contract()
NAMES = [column["header"] for column in CONTRACT["columns"]]
TYPES = {"integer": "int", "double": "double", "string": "string"}
KEYS = st.text(min_size=1, max_size=1024)


def refusal(key: str, head: bytes) -> str:
    """Why a file is refused by its key and first bytes; nothing if it is not."""
    try:
        if format_of(key, head) == "csv":
            read_header(head, CONTRACT)
    except RejectedError as error:
        return str(error)
    return ""


@given(st.permutations([*NAMES, ""]), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.text())
def test_columns_come_in_any_order_quoted_or_not(names: list[str], mark: bool, end: str, rest: str) -> None:
    """With a byte-order mark or without, whatever follows the header."""
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator=end).writerow(names)
    head = (buffer.getvalue() + rest.replace("\0", "")).encode("utf-8-sig" if mark else "utf-8", errors="replace")
    assert names == read_header(head[:HEAD], CONTRACT)
    assert buffer.getvalue().rstrip("\r\n") == header_line(head[:HEAD])


@given(st.lists(st.sampled_from([*NAMES, "", "tax", "AGE", " age"]), max_size=8))
def test_a_header_is_taken_exactly_if_each_column_is_there_once(names: list[str]) -> None:
    """Names count as they are written but for spaces around them; dropped columns may be there or not."""
    found = sorted(name.strip() for name in names)
    wanted = {tuple(sorted(NAMES)), tuple(sorted([*NAMES, ""]))}
    assert (tuple(found) in wanted) == (refusal("a.csv", (",".join(names) + "\n1").encode()) == "")


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-16")), KEYS)
def test_any_bytes_are_taken_or_refused_with_one_short_line(head: bytes, key: str) -> None:
    """No file breaks the check."""
    reason = refusal(key, head)
    assert len(reason) < 2_500
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("key", "head", "reason"),
    [
        ("a.csv", b"x" * HEAD, "has no line feed in its first 65,536 bytes"),
        ("a.csv", "ü".encode() * (HEAD // 2), "has no line feed in its first 65,536 bytes"),
        ("a.csv", b"a,\xe4\n", "is not text in UTF-8"),
        ("a.CSV.GZ", b"age", "is compressed: deliver CSV as it is, or Parquet, which compresses by itself"),
        ("a.parquet", b"age,job", "is no Parquet file, although it is called one"),
    ],
)
def test_what_is_refused_at_once(key: str, head: bytes, reason: str) -> None:
    """By name and first bytes alone."""
    assert reason == refusal(key, head)


@given(st.lists(st.text(max_size=300), min_size=200, max_size=300, unique=True))
def test_a_reason_stays_short_however_many_columns_there_are(names: list[str]) -> None:
    """The first ten are named, and how many more there are."""
    with pytest.raises(RejectedError) as caught:
        check_schema([(name, "string") for name in names], CONTRACT)
    assert " more" in str(caught.value)
    assert len(str(caught.value)) < 12_000


@given(st.permutations(CONTRACT["columns"]), st.sampled_from(["tinyint", "smallint", "int", "bigint", "void"]))
def test_integers_of_any_width_are_taken(columns: list[dict[str, Any]], integer: str) -> None:
    """For an integer as for a double, wherever the column stands."""
    check_schema([(c["header"], "string" if c["type"] == "string" else integer) for c in columns], CONTRACT)


@pytest.mark.parametrize(
    ("header", "kind"),
    [("age", "double"), ("age", "decimal(10,0)"), ("age", "string"), ("age", "boolean"), ("wage", "string")]
    + [("job", kind) for kind in ("int", "date", "timestamp", "binary", "array<string>", "struct<a:string>")],
)
def test_other_types_are_refused(header: str, kind: str) -> None:
    """The reason names the column, what it is, and what it must be."""
    types = [(c["header"], kind if c["header"] == header else TYPES[c["type"]]) for c in CONTRACT["columns"]]
    [wanted] = [column["type"] for column in CONTRACT["columns"] if column["header"] == header]
    with pytest.raises(RejectedError) as caught:
        check_schema(types, CONTRACT)
    assert f"holds {header} as {kind}: it must be {wanted}" == str(caught.value)


SNAPSHOT = {"snapshot_uri": "s3://lake/1/", "snapshot_id": "1", "rows": 9}


def result(
    sources: list[str], rejected: list[str], *, trigger: str = "", unread: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The document of files by their keys."""
    return result_of(
        SNAPSHOT if sources else None,
        [{"key": key, "rows": 1, "bytes": 2} for key in sources],
        [{"key": key, "reason": "is empty"} for key in rejected],
        raw="s3://lake/raw/",
        trigger=trigger,
        unread=set(unread),
    )


@pytest.mark.parametrize(
    ("trigger", "outcome", "first"),
    [
        ("", "none", "b is empty"),
        ("a", "accepted", "b is empty"),
        ("b", "rejected", "b is empty"),
        ("c", "absent", "c is empty"),
        ("d", "absent", "d started the run but is not among the raw files: it was deleted or renamed"),
    ],
)
def test_what_became_of_the_file_that_started_the_run(trigger: str, outcome: str, first: str) -> None:
    """Its own reason comes first; one that was gone or replaced when it was read is absent, not to blame."""
    found = result(["a"], ["b", "c"], trigger=trigger, unread=("c",))
    assert (outcome, first) == (found["trigger"], found["reasons"][0])
    assert {"accepted": 1, "rejected": 2} == found["files"]


def test_a_short_document_is_told_whole() -> None:
    """Nothing is left out of what fits."""
    assert summary(result(["a"], ["b"])) == result(["a"], ["b"])


@pytest.mark.parametrize("key", ["census/raw/{}.csv", "\U0001f600" * 250 + "{}", '"' * 1000 + "{}"])
@pytest.mark.parametrize(("sources", "rejected"), [(10_000, 0), (0, 10_000), (5_000, 5_000), (1, 1)])
def test_thousands_of_files_fit_into_a_state(key: str, sources: int, rejected: int) -> None:
    """Counts and what became of the trigger stay, lists keep the newest files and the first reasons."""
    good = [key.format(at) for at in range(sources)]
    bad = [key.format(f"bad-{at}") for at in range(rejected)]
    whole = result(good, bad, trigger=(bad or good)[0])
    told = summary(whole)
    body = json.dumps(told, indent=1, sort_keys=True)
    assert len(json.dumps({"Body": body}).encode()) < 262_144 / 2
    kept = {name: told[name] for name in told if name not in ("sources", "rejected", "reasons")}
    assert kept == {name: whole[name] for name in kept}
    assert told["sources"] == whole["sources"][len(good) - len(told["sources"]) :]
    assert told["reasons"][:1] == whole["reasons"][:1]
    if sources + rejected > 2:
        assert told["reasons"][-1:] in ([], [f"and {len(bad) + 1 - len(told['reasons'])} more"])
