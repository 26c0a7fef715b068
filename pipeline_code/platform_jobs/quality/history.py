"""Anomalies: a snapshot's numbers against those of the last runs that passed.

The modified z-score of Iglewicz and Hoaglin: |x - median| / (1.4826 * MAD), 3.5 being their limit; see
https://www.itl.nist.gov/div898/handbook/eda/section3/eda35h.htm. A floor keeps a history that hardly moves from making
an anomaly of every change: a tenth of the rows, one missing value in a hundred, a tenth of a column's deviation.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from pipeline_code.platform_jobs.quality.rules import Outcome, Rule

Entry = Mapping[str, Any]

_CONSISTENT = 1.4826  # makes the MAD of normal data its standard deviation
_ROWS_FLOOR, _NULLS_FLOOR, _MEAN_FLOOR = 0.1, 0.01, 0.1


class HistoryError(Exception):
    """The history cannot be read; reads on from its name: `the history is no JSON`."""


def parse(content: bytes) -> list[Entry]:
    """The entries of a history document, oldest first; raises HistoryError."""
    try:
        document = json.loads(content)
    except ValueError as error:
        raise HistoryError("is no JSON") from error
    entries = document.get("entries") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise HistoryError("holds no list of entries with snapshot, rows, nulls, means and deviations")
    return entries


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("snapshot_uri"), str):
        return False
    tables = [entry.get(name) for name in ("nulls", "means", "deviations")]
    shaped = all(isinstance(table, dict) and all(map(_is_number, table.values())) for table in tables)
    return shaped and _is_number(entry.get("rows"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def judge(entries: Sequence[Entry], entry: Entry, checks: Sequence[Rule]) -> list[Outcome]:
    """An outcome for each check; earlier runs on the same snapshot tell nothing."""
    earlier = [each for each in entries if each["snapshot_uri"] != entry["snapshot_uri"]]
    return [_judge(earlier, entry, check) for check in checks]


def _judge(earlier: Sequence[Entry], entry: Entry, check: Rule) -> Outcome:
    value = _value(entry, check)
    if value is None:
        return Outcome(False, None, "there is no value")
    past = [each for each in earlier if _value(each, check) is not None]
    if len(past) < check["min_runs"]:
        return Outcome(
            True, value, f"too little history: {len(past)} of {check['min_runs']} runs; observed {value:.6g}"
        )
    values = [float(_value(each, check) or 0) for each in past]
    middle = median(values)
    spread = max(_CONSISTENT * median(abs(each - middle) for each in values), _floor(past, check, middle))
    # Nothing has ever varied, not even within a run: any other value is an anomaly, beyond rounding.
    same = math.isclose(value, middle, rel_tol=1e-9, abs_tol=1e-12)
    deviations = 0.0 if same else abs(value - middle) / spread if spread > 0 else math.inf
    told = f"observed {value:.6g}, {deviations:.3g} deviations from {middle:.6g}, the median of {len(values)} runs"
    return Outcome(deviations <= check["most_deviations"], value, told)


def _value(entry: Entry, check: Rule) -> float | None:
    if check["kind"] == "RowCount":
        return float(entry["rows"])
    value = entry["nulls" if check["kind"] == "NullRate" else "means"].get(check["column"])
    return None if value is None else float(value)


def _floor(past: Sequence[Entry], check: Rule, middle: float) -> float:
    if check["kind"] == "RowCount":
        return _ROWS_FLOOR * middle
    if check["kind"] == "NullRate":
        return _NULLS_FLOOR
    return _MEAN_FLOOR * median(float(each["deviations"].get(check["column"], 0)) for each in past)


def appended(entries: Sequence[Entry], entry: Entry, *, most: int) -> dict[str, Any]:
    """The history document with a run that passed at its end; a snapshot counts once, at its last run."""
    kept = [each for each in entries if each["snapshot_uri"] != entry["snapshot_uri"]]
    return {"entries": [*kept, entry][-most:]}


def entry_of(row: Mapping[str, Any], columns: Mapping[str, str], *, snapshot_uri: str, run_id: str) -> dict[str, Any]:
    """A history entry from the numbers that `measures` selects."""
    rows = row["size"]
    numbers = [name for name, kind in columns.items() if kind == "number"]
    found = {name: row[f"mean_{at}"] for at, name in enumerate(columns) if name in numbers}
    spread = {name: row[f"deviation_{at}"] for at, name in enumerate(columns) if name in numbers}
    return {
        "snapshot_uri": snapshot_uri,
        "run_id": run_id,
        "rows": rows,
        "nulls": {name: 1 - row[f"count_{at}"] / rows for at, name in enumerate(columns)} if rows else {},
        "means": {name: value for name, value in found.items() if _is_number(value)},
        "deviations": {name: value for name, value in spread.items() if _is_number(value)},
    }


def measures(columns: Mapping[str, str]) -> Iterator[str]:
    """SQL of the numbers that a history keeps."""
    yield "count(*) as size"
    for at, (name, kind) in enumerate(columns.items()):
        yield f"count(`{name}`) as count_{at}"
        if kind == "number":
            value = f"cast(`{name}` as double)"
            yield f"avg({value}) as mean_{at}"
            yield f"stddev_pop({value}) as deviation_{at}"
