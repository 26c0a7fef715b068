"""The holdout metrics that two evaluation reports name, beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table
from rich.text import Text

REPORT = "evaluation.json"
_METRICS = "binary_classification_metrics"


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """One number of the report, then and now."""

    name: str
    then: float | None
    now: float | None


def compare_reports(then: Path, now: Path) -> list[MetricComparison]:
    """The holdout metrics of two evaluation.json files; a file that is absent or no JSON object has none."""
    old, new = dict(_numbers(_read(then))), dict(_numbers(_read(now)))
    return [MetricComparison(name=name, then=old.get(name), now=new.get(name)) for name in dict.fromkeys([*old, *new])]


def metrics_table(metrics: list[MetricComparison]) -> Table:
    """The metrics as a table for the terminal."""
    numbers = (Column(name, justify="right") for name in ("then", "now", "difference"))
    table = Table("metric", *numbers, title="Metrics", title_justify="left")
    for metric in metrics:
        change = metric.now - metric.then if metric.now is not None and metric.then is not None else None
        table.add_row(metric.name, _shown(metric.then), _shown(metric.now), _signed(change))
    return table


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _numbers(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    metrics = report.get(_METRICS)
    for name, metric in metrics.items() if isinstance(metrics, dict) else ():
        value = metric.get("value") if isinstance(metric, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
    champion = report.get("champion")
    difference = champion.get("auc_difference") if isinstance(champion, dict) else None
    if isinstance(difference, int | float) and not isinstance(difference, bool):
        yield "auc over champion", float(difference)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _signed(change: float | None) -> Text:
    if change is None:
        return Text("-")
    return Text("0" if change == 0 else f"{change:+.6f}", style="dim" if change == 0 else "yellow")
