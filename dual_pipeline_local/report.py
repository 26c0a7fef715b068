"""What a run leaves to read: summary.json, tables on the terminal, and a page with a timeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from . import page
from .findings import EVALUATION_PAGE, Findings, Trial, short_number
from .observer import RunView

_QUICK_S = 0.1
_LONGEST_NOTE = 400
_BEST_TRIALS = 5
_ORDINARY = "ConditionalCheckFailedException"  # how the machine learns that something is so already
_STYLES = {"succeeded": "green", "running": "cyan", "caught": "yellow", "failed": "red", "stopped": "red"}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run did not release: the state and step where it ended, the exception and the log's last lines.

    `kind`, `means` and `remedy` are those of the table of failures; another outcome than failed has a remedy only.
    """

    state: str | None
    step: str | None
    exception: str | None
    log: str | None
    log_tail: tuple[str, ...]
    kind: str = ""
    means: str = ""
    remedy: str = ""

    def lines(self) -> list[str]:
        """A failure as lines of text."""
        lines = [
            f"{name:<11} {value}"
            for name, value in (
                ("state", self.state),
                ("step", self.step),
                ("exception", self.exception),
                ("means", f"{self.means} ({self.kind})" if self.kind else ""),
                ("do", self.remedy),
            )
            if value
        ]
        if self.log_tail:
            lines.append(f"log         {self.log}, last lines:")
            lines += [f"    {line}" for line in self.log_tail]
        return lines


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything said about one run."""

    environment: str
    project: str
    view: RunView
    templates: Mapping[str, str]
    template_sha256: str
    duration_s: float
    peak_memory_mb: int
    endpoint_name: str
    findings: Findings = field(default_factory=Findings)
    failure: Failure | None = None

    @property
    def released(self) -> bool:
        return self.view.outcome == "released"

    @property
    def reason(self) -> str:
        """One sentence on how the run ended."""
        return str(self.view.record.get("reason") or self.view.cause or self.view.error or "")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the evaluation warns of, beyond its own sentence on tuning."""
        return tuple(warning for warning in self.findings.warnings if warning != self.findings.tuning)

    def summary(self) -> dict[str, Any]:
        """The run in the form of summary.json: durations in seconds, memory in MB."""
        summary: dict[str, Any] = {
            "outcome": self.view.outcome,
            "reason": self.reason,
            "environment": self.environment,
            "project": self.project,
            "template_sha256": self.template_sha256,
            "templates": dict(self.templates),
            "execution_arn": self.view.execution_arn,
            "duration_s": round(self.duration_s, 2),
            "state_transitions": self.view.transitions,
            "states": [
                {"name": state.name, "status": state.status, "duration_s": state.duration_s}
                for state in self.view.states
            ],
            "steps": [
                {"name": step.name, "type": step.type, "status": step.status, "duration_s": step.duration_s}
                for step in self.view.steps
            ],
            "quality_engine": self.findings.quality_engine,
            "metrics": dict(self.findings.metrics),
            "baseline": dict(self.findings.baseline),
            "champion": self.findings.champion,
            "tuning": {
                "sentence": self.findings.tuning,
                "trials": [
                    {"status": trial.status, "objective": trial.objective, **trial.hyperparameters}
                    for trial in self.findings.trials
                ],
            },
            "warnings": list(self.findings.warnings),
            "model_package_arn": self.view.package_arn,
            "endpoint_name": self.endpoint_name,
            "prediction": self.findings.prediction,
            "peak_memory_mb": self.peak_memory_mb,
        }
        if self.failure:
            summary["failure"] = {
                "state": self.failure.state,
                "step": self.failure.step,
                "exception": self.failure.exception,
                "log": self.failure.log,
                "log_tail": list(self.failure.log_tail),
                "kind": self.failure.kind,
                "means": self.failure.means,
                "remedy": self.failure.remedy,
            }
        return summary

    def write(self, folder: Path) -> None:
        """Write summary.json and report.html."""
        (folder / "summary.json").write_text(json.dumps(self.summary(), indent=1) + "\n")
        (folder / "report.html").write_text(page.render(self))

    def show(self, console: Console, folder: Path) -> None:
        """Print tables, verdict and where to look next."""
        console.print(_states_table(self.view), _steps_table(self.view))
        if self.findings.trials:
            console.print(_trials_table(self.findings.trials))
        if self.findings.metrics:
            console.print(_metrics_table(self.findings.metrics, self.findings.baseline))
        console.print(self._verdict(folder))

    def _verdict(self, folder: Path) -> Group:
        style = "bold green" if self.released else "bold red"
        line = Text.assemble((self.view.outcome.upper(), style), f"  {self.reason}")
        facts = [
            f"{self.duration_s:.1f} s, {self.view.transitions} state transitions, peak memory {self.peak_memory_mb} MB"
        ]
        judge = self.findings.quality_engine
        facts += [f"{'quality':<11} judged by {judge}"] if judge else []
        for name, sentence in (("champion", self.findings.champion), ("tuning", self.findings.tuning)):
            facts += [f"{name:<11} {sentence}"] if sentence else []
        facts += [f"{'warning':<11} {warning}" for warning in self.warnings]
        if prediction := self.findings.prediction:
            facts.append(f"prediction  {prediction['input']}  ->  {json.dumps(prediction['output'])}")
        if self.failure:
            facts += self.failure.lines()
        else:
            facts += [
                f"note        {state.name} was caught: {state.error} {state.cause}"[:_LONGEST_NOTE]
                for state in self.view.states
                if state.status == "caught" and not state.error.endswith(_ORDINARY)
            ]
        if self.findings.has_page:
            facts.append(f"evaluation  {folder / EVALUATION_PAGE}")
        facts.append(f"report      {folder / 'report.html'}")
        facts.append(f"summary     {folder / 'summary.json'}")
        return Group(line, *(Text(fact) for fact in facts))


def _states_table(view: RunView) -> Table:
    """States that took time or went wrong; the many quick ones are only counted."""
    shown = [state for state in view.states if state.duration_s >= _QUICK_S or state.status != "succeeded"]
    table = Table(title="Outer loop (Step Functions)", title_justify="left")
    table.add_column("state")
    table.add_column("status")
    table.add_column("s", justify="right")
    for state in shown:
        table.add_row(state.name, _status(state.status), f"{state.duration_s:.1f}")
    if quick := len(view.states) - len(shown):
        table.add_row(Text(f"{quick} others", style="dim"), "", Text(f"< {_QUICK_S}", style="dim"))
    return table


def _steps_table(view: RunView) -> Table | Text:
    if not view.steps:
        return Text("Inner loop: not started")
    table = Table(title="Inner loop (SageMaker Pipelines)", title_justify="left")
    table.add_column("step")
    table.add_column("type")
    table.add_column("status")
    table.add_column("s", justify="right")
    for step in view.steps:
        status = "cached" if step.cached else step.status.lower()
        table.add_row(step.name, step.type, _status(status), f"{step.duration_s:.1f}")
    return table


def _trials_table(trials: Sequence[Trial]) -> Table:
    """The best trials; the others are only counted."""
    table = Table(title="Tuning", title_justify="left")
    table.add_column("objective", justify="right")
    names = sorted({name for trial in trials for name in trial.hyperparameters})
    for name in names:
        table.add_column(name, justify="right")
    for trial in trials[:_BEST_TRIALS]:
        objective = f"{trial.objective:.6f}" if trial.objective is not None else trial.status.lower()
        table.add_row(objective, *(short_number(trial.hyperparameters.get(name, "-")) for name in names))
    if more := len(trials) - _BEST_TRIALS:
        table.caption = f"and {more} more" if more > 0 else None
    return table


def _metrics_table(metrics: Mapping[str, float], baseline: Mapping[str, Any]) -> Table:
    table = Table(title="Holdout metrics", title_justify="left", caption=baseline.get("description"))
    table.add_column("metric")
    table.add_column("model", justify="right")
    table.add_column("baseline", justify="right")
    for name, value in metrics.items():
        other = baseline.get(name)
        table.add_row(name, f"{value:.4f}", f"{other:.4f}" if isinstance(other, int | float) else "-")
    return table


def _status(status: str) -> Text:
    return Text(status, style=_STYLES.get(status, ""))
