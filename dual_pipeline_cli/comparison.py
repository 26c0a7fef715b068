"""What a step wrote, beside what the run's own step had written: file by file, and metric by metric."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

REPORT = "evaluation.json"
_METRICS = "binary_classification_metrics"
_STYLES = {"same": "green", "differs": "yellow", "new": "cyan", "missing": "red"}


@dataclass(frozen=True, kw_only=True)
class FileComparison:
    """One file: same, differs, new (the run had none) or missing (the run had one); sizes in bytes."""

    name: str
    verdict: str
    size_then: int | None
    size_now: int | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number of the report, then and now."""

    name: str
    then: float | None
    now: float | None


def compare_folders(then: Path, now: Path) -> list[FileComparison]:
    """Every file of both folders in order of name; `same` means the same bytes."""
    files_then, files_now = _files(then), _files(now)
    return [
        FileComparison(
            name=name,
            verdict=_verdict(files_then.get(name), files_now.get(name)),
            size_then=files_then[name].stat().st_size if name in files_then else None,
            size_now=files_now[name].stat().st_size if name in files_now else None,
        )
        for name in sorted({*files_then, *files_now})
    ]


def compare_reports(then: Path, now: Path) -> list[Difference]:
    """The holdout metrics of two evaluation.json files; a file that is absent or no JSON object has none."""
    old, new = dict(_numbers(_read(then))), dict(_numbers(_read(now)))
    return [Difference(name=name, then=old.get(name), now=new.get(name)) for name in dict.fromkeys([*old, *new])]


def files_table(files: list[FileComparison]) -> Table:
    """The files as a table for the terminal."""
    table = Table(title="Outputs, compared with the run's own", title_justify="left")
    table.add_column("file")
    table.add_column("is")
    table.add_column("bytes then", justify="right")
    table.add_column("bytes now", justify="right")
    for file in files:
        sizes = (f"{size:,}" if size is not None else "-" for size in (file.size_then, file.size_now))
        table.add_row(Text(file.name), Text(file.verdict, style=_STYLES[file.verdict]), *sizes)
    return table


def metrics_table(differences: list[Difference]) -> Table:
    """The metrics as a table for the terminal."""
    table = Table(title="Metrics", title_justify="left")
    for name in ("metric", "then", "now", "difference"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for metric in differences:
        change = metric.now - metric.then if metric.now is not None and metric.then is not None else None
        table.add_row(metric.name, _shown(metric.then), _shown(metric.now), _signed(change))
    return table


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _verdict(then: Path | None, now: Path | None) -> str:
    if then is None:
        return "new"
    if now is None:
        return "missing"
    return "same" if then.read_bytes() == now.read_bytes() else "differs"


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
