"""What came of a scenario: a table of its acts, and scenario.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..report import Report
from .act import Played
from .scenario import Scenario

_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class PlayedAct:
    """An act with its title and how long it took."""

    title: str
    played: Played
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Playbill:
    """A scenario, as far as it was played, and the reports of its runs."""

    scenario: Scenario
    environment: str
    acts: tuple[PlayedAct, ...]
    reports: tuple[Report, ...]
    duration_s: float

    @property
    def reached(self) -> bool:
        """Whether all acts were played and each came to what was stated."""
        return len(self.acts) == len(self.scenario.acts) and all(act.played.reached for act in self.acts)

    def summary(self) -> dict[str, Any]:
        """The scenario in the form of scenario.json: durations in seconds."""
        return {
            "scenario": self.scenario.name,
            "shows": self.scenario.shows,
            "environment": self.environment,
            "reached": self.reached,
            "duration_s": round(self.duration_s, 2),
            "acts": [
                {
                    "title": act.title,
                    "expected": act.played.expected,
                    "got": act.played.got,
                    "why": act.played.why,
                    "duration_s": round(act.duration_s, 2),
                }
                for act in self.acts
            ],
            "runs": [
                {
                    "execution_arn": report.view.execution_arn,
                    "outcome": report.view.outcome,
                    "reason": report.reason,
                    "template_sha256": report.template_sha256,
                }
                for report in self.reports
            ],
        }

    def write(self, folder: Path) -> None:
        """Write scenario.json."""
        (folder / "scenario.json").write_text(json.dumps(self.summary(), indent=1) + "\n")

    def show(self, console: Console, folder: Path) -> None:
        """Print the acts, what they came to, and the verdict."""
        table = Table(title=f"Scenario {self.scenario.name}", title_justify="left")
        for column in ("act", "expected", "got"):
            table.add_column(column)
        table.add_column("s", justify="right")
        for act in self.acts:
            style = "green" if act.played.reached else "bold red"
            table.add_row(act.title, act.played.expected, Text(act.played.got, style=style), f"{act.duration_s:.1f}")
        console.print(table)
        for act in self.acts:
            if act.played.why:
                console.print(Text(f"{act.played.got}: {act.played.why}"[:_LONGEST]))
        verdict = "AS STATED" if self.reached else "NOT AS STATED"
        console.print(
            Text.assemble(
                (verdict, "bold green" if self.reached else "bold red"),
                f"  {self.scenario.shows}; {self.duration_s:.1f} s",
            )
        )
        console.print(Text(f"scenario    {folder / 'scenario.json'}"))
        console.print(Text(f"last run    {folder / 'report.html'}"))
