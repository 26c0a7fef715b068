"""A run as one self-contained HTML page with a timeline of both loops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from .findings import EVALUATION_PAGE, short_number
from .observer import StateRecord, StepRecord

if TYPE_CHECKING:
    from .report import Report

_PAGE = Template(Path(__file__).with_name("page.html").read_text())


def render(report: Report) -> str:
    """One page without outside resources: verdict, timeline of both loops, metrics and the reason of a failure."""
    view = report.view
    records: list[StateRecord | StepRecord] = [*view.states, *view.steps]
    start = min((record.started_at for record in records), default=None)
    end = max((record.ended_at or record.started_at for record in records), default=None)
    lanes = ""
    if start and end:
        span = max((end - start).total_seconds(), 0.001)
        lanes = (
            _axis(span) + _lane("Outer loop", view.states, start, span) + _lane("Inner loop", view.steps, start, span)
        )
    facts = {
        "environment": report.environment,
        "project": report.project,
        "execution": view.execution_arn,
        "templates (sha256)": report.template_sha256,
        "duration": f"{report.duration_s:.1f} s",
        "state transitions": view.transitions,
        "peak memory": f"{report.peak_memory_mb} MB",
        "data quality engine": report.findings.quality_engine,
        "model package": view.package_arn,
        "endpoint": report.endpoint_name,
        "prediction": json.dumps(report.findings.prediction) if report.findings.prediction else None,
    }
    rows = "".join(f"<tr><th>{escape(k)}<td><code>{escape(str(v))}</code>" for k, v in facts.items() if v is not None)
    sections = f"<section class=timeline>{lanes}</section>" if lanes else ""
    if report.findings.metrics:
        sections += _metrics_section(report)
    if report.findings.trials:
        sections += _trials_section(report)
    if report.failure:
        text = "\n".join(report.failure.lines())
        sections += f"<h2>What went wrong</h2><pre>{escape(text)}</pre>"
    good = "good" if report.released else "bad"
    return _PAGE.substitute(
        title=escape(f"{report.environment} {report.project}: {view.outcome}"),
        verdict=f'<p class="verdict {good}"><b>{escape(view.outcome)}</b> {escape(report.reason)}</p>',
        sections=sections,
        facts=rows,
    )


def _axis(span: float) -> str:
    step = next((size for size in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600) if span / size <= 12), 7200)
    ticks = "".join(
        f"<i style='left:{100 * second / span:.3f}%'>{second} s</i>" for second in range(0, int(span) + 1, step)
    )
    return f"<div class=row><span></span><div class='track axis'>{ticks}</div></div>"


def _lane(title: str, records: Sequence[StateRecord | StepRecord], start: datetime, span: float) -> str:
    rows = [f"<h2>{title}</h2>"]
    for record in records:
        left = 100 * (record.started_at - start).total_seconds() / span
        width = 100 * record.duration_s / span
        status = "cached" if isinstance(record, StepRecord) and record.cached else record.status.lower()
        place = f"left:{left:.3f}%;width:{width:.3f}%"
        # a label beside a bar that ends far to the right stands before it
        side = f"right:{100 - left:.3f}%" if left + width > 88 else f"left:{left + width:.3f}%"
        rows.append(
            f"<div class=row><span>{escape(record.name)}</span><div class=track title='{escape(status)}'>"
            f"<b class={escape(status)} style='{place}'></b>"
            f"<em style='{side}'>{record.duration_s:.1f} s</em></div></div>"
        )
    return "".join(rows)


def _metrics_section(report: Report) -> str:
    findings = report.findings
    rows = ""
    for name, value in findings.metrics.items():
        other = findings.baseline.get(name)
        shown = f"{other:.4f}" if isinstance(other, int | float) else ""
        rows += f"<tr><th>{escape(name)}<td>{value:.4f}<td>{shown}"
    caption = escape(str(findings.baseline.get("description", "")))
    sentences = [findings.champion, *(f"Warning: {warning}" for warning in report.warnings)]
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences if sentence)
    link = f"<p><a href={EVALUATION_PAGE}>The whole evaluation</a></p>" if findings.has_page else ""
    return f"<h2>Holdout metrics</h2><table><tr><th><td>model<td>baseline{rows}</table><p>{caption}</p>{told}{link}"


def _trials_section(report: Report) -> str:
    trials = report.findings.trials
    names = sorted({name for trial in trials for name in trial.hyperparameters})
    head = "".join(f"<td>{escape(name)}" for name in names)
    rows = ""
    for trial in trials:
        objective = f"{trial.objective:.6f}" if trial.objective is not None else escape(trial.status)
        rows += f"<tr><th>{objective}" + "".join(
            f"<td>{escape(short_number(trial.hyperparameters.get(name, '')))}" for name in names
        )
    told = f"<p>{escape(report.findings.tuning)}</p>" if report.findings.tuning else ""
    return f"<h2>Tuning</h2><table><tr><th>objective{head}{rows}</table>{told}"
