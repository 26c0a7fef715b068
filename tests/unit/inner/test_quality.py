"""What decides a verdict: DuckDB's judgement, the choice of an engine, Deequ's answers, and history, without Spark."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_pipeline.ruleset import MOST_RULES, Anomaly, Rule
from pipeline_code.platform_jobs.quality import history
from pipeline_code.platform_jobs.quality.engines import EngineError, choose
from pipeline_code.platform_jobs.quality.rules import Outcome, outcomes
from pipeline_code.platform_jobs.quality.verdict import MOST_BYTES, Judged, Quarantined, verdict
from quality import RULES, TABLES, documents, duck

ROWS: list[Any] = [(1, 1, 1.0, "a", True), (2, 2, 2.0, "b", True), (3, 3, 3.0, None, True), (4, 4, 4.0, "it's", None)]
JUDGED = Judged("run", "s3://data/census/snapshots/1/", "0" * 64)

CASES: list[tuple[Rule, bool, float | None]] = [
    (Rule(kind="RowCount", operator="=", operand=4), True, 4),
    (Rule(kind="RowCount", operator=">", operand=4), False, 4),
    (Rule(kind="RowCount", operator="between", operand=(3, 5)), True, 4),
    (Rule(kind="RowCount", operator="between", operand=(4, 9)), False, 4),
    (Rule(kind="RowCount", operator="in", operand=(3, 4)), True, 4),
    (Rule(kind="ColumnExists", column="text"), True, 1),
    (Rule(kind="ColumnExists", column="absent"), False, None),
    (Rule(kind="IsComplete", column="number"), True, 1),
    (Rule(kind="IsComplete", column="text"), False, 0.75),
    (Rule(kind="Completeness", column="text", operator=">=", operand=0.75), True, 0.75),
    (Rule(kind="Completeness", column="text", operator=">", operand=0.75), False, 0.75),
    (Rule(kind="Completeness", column="absent", operator=">=", operand=0), False, None),
    (Rule(kind="ColumnValues", column="number", operator=">=", operand=1), True, 1),
    (Rule(kind="ColumnValues", column="number", operator="<", operand=4), False, 4),
    (Rule(kind="ColumnValues", column="number", operator="between", operand=(0, 5)), True, 1),
    (Rule(kind="ColumnValues", column="number", operator="between", operand=(1, 5)), False, 0.75),
    (Rule(kind="ColumnValues", column="text", operator="in", operand=("a", "b")), False, 0.5),
    (Rule(kind="ColumnValues", column="number", operator="in", operand=(1, 2, 3, 4)), True, 1),
    (Rule(kind="ColumnValues", column="text", operator=">", operand=1), False, None),
    (Rule(kind="Mean", column="number", operator="between", operand=(2, 3)), True, 2.5),
    (Rule(kind="DistinctValuesCount", column="text", operator="=", operand=4), True, 4),
    (Rule(kind="DistinctValuesCount", column="number", operator="<", operand=4), False, 4),
    (Rule(kind="CustomSql", sql="select sum(number) as s from primary", operator="<=", operand=10), True, 10),
    (Rule(kind="CustomSql", sql="select sum(nothing) as s from primary", operator="<=", operand=10), False, None),
]


@pytest.mark.parametrize(("rule", "passed", "observed"), CASES, ids=[rule.dqdl for rule, _, _ in CASES])
def test_each_kind_of_rule(rule: Rule, passed: bool, observed: float | None) -> None:
    """What is observed and whether it passes, ends excluded, nulls satisfying nothing."""
    (found,) = outcomes(duck(ROWS), documents([rule]))
    assert (passed, observed) == (found.passed, found.observed)


@pytest.mark.parametrize("table", TABLES)
def test_every_rule_is_judged_on_every_table(table: str) -> None:
    """No table and no rule makes an engine fail, and what is observed is a finite number or nothing."""
    found = outcomes(duck(TABLES[table]), RULES)
    assert len(RULES) == len(found)
    assert all(each.observed is None or math.isfinite(each.observed) for each in found)


def test_only_rows_and_columns_pass_without_rows() -> None:
    """Shares of nothing do not pass, whatever an engine would say."""
    found = outcomes(duck([]), RULES)
    passed = {rule["kind"] for rule, outcome in zip(RULES, found, strict=True) if outcome.passed}
    assert passed <= {"RowCount", "ColumnExists"}
    assert {"there are no rows"} <= {outcome.detail for outcome in found}


def test_numbers_that_are_none_are_missing() -> None:
    """NaN and the infinities count as missing, and the two zeros are one."""
    rules = [
        Rule(kind="Completeness", column="real", operator="<=", operand=1),
        Rule(kind="Mean", column="real", operator=">", operand=0),
        Rule(kind="ColumnValues", column="real", operator=">", operand=-1),
    ]
    found = outcomes(duck(TABLES["not numbers"]), documents(rules))
    assert [(True, 0.0), (False, None), (False, None)] == [(each.passed, each.observed) for each in found]


def test_a_rule_that_does_not_fit_says_why() -> None:
    """A missing column or one of another type fails its own rule and none besides."""
    rules = [
        Rule(kind="IsComplete", column="absent"),
        Rule(kind="Mean", column="text", operator=">", operand=0),
        Rule(kind="ColumnValues", column="number", operator="in", operand=("x",)),
        Rule(kind="IsComplete", column="number"),
    ]
    found = outcomes(duck(ROWS), documents(rules))
    assert [
        "there is no column 'absent'",
        "the rule is about a number, and 'text' is a string",
        "the rule is about a text, and 'number' is a number",
        "observed 1",
    ] == [each.detail for each in found]


# the choice


@pytest.mark.parametrize(
    ("there", "chosen"),
    [({"awsgluedq", "duckdb"}, "awsgluedq"), ({"deequ", "duckdb"}, "deequ"), ({"duckdb"}, "duckdb")],
)
def test_the_best_engine_judges(there: set[str], chosen: str) -> None:
    """Glue's own in Glue, elsewhere Deequ, else DuckDB, which alone has to be explained."""
    name, sentence = choose("", there.__contains__)
    assert chosen == name
    assert ("Deequ's jar is not installed" in sentence) == (chosen == "duckdb")


def test_an_engine_may_be_forced() -> None:
    """Which needs no explanation."""
    assert ("duckdb", "") == choose("duckdb", {"deequ", "duckdb"}.__contains__)


@pytest.mark.parametrize(
    ("forced", "sentence"),
    [
        ("spark", "QUALITY_ENGINE must be one of awsgluedq, deequ, duckdb, got 'spark'"),
        ("deequ", "QUALITY_ENGINE asks for deequ, which is not here"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(forced: str, sentence: str) -> None:
    """None is replaced silently by another."""
    with pytest.raises(EngineError) as caught:
        choose(forced, {"duckdb"}.__contains__)
    assert str(caught.value).startswith(sentence)


# the document


class Judge:
    """An engine as far as a verdict names it."""

    name, version, rows = "duckdb", "2.0.0", 1000
    columns: Mapping[str, str] = {"a": "number"}

    def evaluate(self, rules: Any) -> list[Outcome]:
        return []


def judged(*failing: str, **more: Any) -> dict[str, Any]:
    """A verdict with a failed rule of each of these severities beside one that passes."""
    passing = Rule(kind="RowCount", operator=">", operand=1)
    rules: list[Any] = [(passing.document(), Outcome(True, 1000.0, "observed 1000"))]
    for at, severity in enumerate(failing):
        rule = Rule(kind="ColumnValues", column="a", operator=">", operand=at, severity=severity)  # type: ignore[arg-type]
        rules.append((rule.document(), Outcome(False, 0.0, "observed 0")))
    return verdict(JUDGED, Judge(), rules=rules, **more)


@pytest.mark.parametrize(
    ("severities", "expected"),
    [((), "pass"), (("warn",), "warn"), (("warn", "block"), "block"), (("quarantine",), "block")],
)
def test_the_worst_failed_severity_decides(severities: tuple[str, ...], expected: str) -> None:
    """A rule that passes counts for nothing; a rule of severity quarantine blocks where no row could be set apart."""
    result = judged(*severities)
    assert (expected, len(severities)) == (result["verdict"], len(result["reasons"]))
    assert (expected == "block") == (result["training_snapshot_uri"] is None)


def test_rows_set_apart_only_warn() -> None:
    """Training goes on with the snapshot of the others."""
    rule = 'ColumnValues "a" > 0'
    apart = Quarantined(rows=3, rules=(rule,), uri="s3://rows/", snapshot_uri="s3://snapshots/2/")
    result = judged("quarantine", quarantined=apart)
    assert ("warn", "s3://snapshots/2/", 3) == tuple(
        result[name] for name in ("verdict", "training_snapshot_uri", "quarantined_rows")
    )
    assert ["3 rows were quarantined", f"{rule} (quarantine): observed 0"] == result["reasons"]
    assert "block" == judged("quarantine", "quarantine", quarantined=apart)["verdict"]


def test_too_many_rows_to_set_apart_block() -> None:
    """And that is the first reason."""
    result = judged("quarantine", quarantined=Quarantined(refused="9 of 10 rows would be quarantined"))
    assert ("block", "9 of 10 rows would be quarantined") == (result["verdict"], result["reasons"][0])


def test_the_document_says_what_was_judged_and_by_what() -> None:
    """Run, snapshot, ruleset and engine are always recorded; a note alone warns."""
    result = judged(notes=["the history is no JSON"])
    assert [*JUDGED, "duckdb", "2.0.0", 1000] == [
        result[name] for name in ("run_id", "snapshot_uri", "ruleset_sha256", "engine", "engine_version", "rows")
    ]
    assert ("warn", ["the history is no JSON"]) == (result["verdict"], result["reasons"])


def test_the_document_stays_small() -> None:
    """A state holds 256 KiB: texts are cut, results are not."""
    rules: list[Any] = [
        (
            Rule(kind="ColumnValues", column="a", operator="in", operand=("日" * 3000 + str(at),)).document(),
            Outcome(False, 0.0, "🦆" * 3000),
        )
        for at in range(MOST_RULES)
    ]
    result = verdict(JUDGED, Judge(), rules=rules)
    assert len(result["rules"]) == MOST_RULES
    assert len(json.dumps(result, indent=1)) <= MOST_BYTES


# history

FEW = Anomaly(kind="RowCount", min_runs=3).document()


def entry(rows: float = 1000, *, uri: str = "now", **means: float) -> dict[str, Any]:
    """A run's numbers, in whose columns values deviate by 10."""
    return {
        "snapshot_uri": uri,
        "run_id": uri,
        "rows": rows,
        "nulls": {"a": 0.1},
        "means": {"a": 50.0, **means},
        "deviations": {"a": 10.0},
    }


def past(*rows: float) -> list[dict[str, Any]]:
    """Earlier runs of so many rows."""
    return [entry(count, uri=f"s3://{at}/") for at, count in enumerate(rows)]


@pytest.mark.parametrize(
    ("earlier", "rows", "passed", "told"),
    [
        ((), 1000, True, "too little history: 0 of 3 runs"),
        ((1000, 1000), 5, True, "too little history: 2 of 3 runs"),
        ((1000, 1000, 1000), 1000, True, "0 deviations from 1000"),
        # a history that never moved forgives a third, by the floor of a tenth
        ((1000, 1000, 1000), 1340, True, "3.4 deviations"),
        ((1000, 1000, 1000), 1360, False, "3.6 deviations"),
        ((1000, 1000, 1000), 0, False, "10 deviations"),
        ((1000, 5000, 9000), 16000, True, "deviations"),
        # one odd run among many does not widen what is normal
        ((1000, 1010, 990, 1005, 995, 900000), 5000, False, "deviations"),
    ],
)
def test_row_counts(earlier: tuple[float, ...], rows: float, passed: bool, told: str) -> None:
    """The first runs pass and say why; later ones are held to median and MAD."""
    (found,) = history.judge(past(*earlier), entry(rows), [FEW])
    assert passed == found.passed
    assert told in found.detail


@pytest.mark.parametrize(
    ("kind", "changes", "passed"),
    [
        ("NullRate", {"nulls": {"a": 0.13}}, True),
        ("NullRate", {"nulls": {"a": 0.14}}, False),
        ("NullRate", {"nulls": {"b": 0.1}}, False),
        ("Mean", {"means": {"a": 53.4}}, True),
        ("Mean", {"means": {"a": 53.6}}, False),
        ("Mean", {"means": {}}, False),
    ],
)
def test_columns(kind: Any, changes: dict[str, Any], passed: bool) -> None:
    """A steady history forgives some missing values and a shift of a third of a deviation; no value is no pass."""
    check = Anomaly(kind=kind, column="a", min_runs=3).document()
    (found,) = history.judge(past(1, 1, 1), {**entry(), **changes}, [check])
    assert passed == found.passed, found.detail


def test_a_snapshot_counts_once() -> None:
    """Judging it again neither compares it with itself nor lets it count twice."""
    again = entry(5, uri="s3://0/")
    assert "too little history: 2 of 3" in history.judge(past(1000, 1000, 1000), again, [FEW])[0].detail
    kept = history.appended(past(1000, 1000), again, most=9)["entries"]
    assert ["s3://1/", "s3://0/"] == [each["snapshot_uri"] for each in kept]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{garbage",
        b"\xff\xfe",
        b"[]",
        b'{"entries": 5}',
        b'{"entries": [{}]}',
        b'{"entries": [{"snapshot_uri": "x", "rows": "9", "nulls": {}, "means": {}, "deviations": {}}]}',
        b'{"entries": [{"snapshot_uri": "x", "rows": NaN, "nulls": {}, "means": {}, "deviations": {}}]}',
        b'{"entries": [{"snapshot_uri": "x", "rows": 9, "nulls": {"a": null}, "means": {}, "deviations": {}}]}',
    ],
)
def test_a_broken_history_is_told(content: bytes) -> None:
    """Whatever lies there, the job does not crash on it."""
    with pytest.raises(history.HistoryError):
        history.parse(content)


COUNTS = st.integers(0, 10**9)


@settings(max_examples=100, deadline=None)
@given(earlier=st.lists(COUNTS, max_size=40), rows=COUNTS, factor=st.sampled_from([2, 3, 10]))
def test_history_holds_for_any_counts(earlier: list[int], rows: int, factor: int) -> None:
    """It keeps the last runs, survives being written, and judges alike whatever the order and the unit."""
    entries = past(*earlier)
    document = history.appended(entries, entry(rows), most=30)
    assert document["entries"] == [*entries, entry(rows)][-30:]
    assert history.parse(json.dumps(document).encode()) == document["entries"]
    (found,) = history.judge(entries, entry(rows), [FEW])
    (reverse,) = history.judge(entries[::-1], entry(rows), [FEW])
    (scaled,) = history.judge(past(*(each * factor for each in earlier)), entry(rows * factor), [FEW])
    assert found.passed == reverse.passed == scaled.passed
    assert found.passed or len(earlier) >= 3
    if earlier and rows == sorted(earlier)[len(earlier) // 2] and len(earlier) % 2:
        assert found.passed
