"""What is left of a local run when its emulator is gone: which jobs its steps were, and its parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .lifecycle import Workplace


@dataclass(frozen=True, kw_only=True)
class NotedStep:
    """A step that was a job: its kind as ListPipelineExecutionSteps names it, and the job's name."""

    kind: str
    job: str
    status: str
    cached: bool


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """One run of both loops."""

    run_id: str
    environment: str
    project: str
    outcome: str
    pipeline_execution_arn: str
    parameters: Mapping[str, str]
    steps: Mapping[str, NotedStep]

    @property
    def execution_id(self) -> str:
        """The id of the pipeline execution."""
        return self.pipeline_execution_arn.rpartition("/")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that names this run."""
        return self.run_id, self.execution_id, self.pipeline_execution_arn

    def write(self, workplace: Workplace) -> Path:
        """Write `runs/<run id>.json`."""
        workplace.runs.mkdir(parents=True, exist_ok=True)
        path = workplace.runs / f"{self.run_id}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> RunNotes:
        """What `write` wrote."""
        fields: dict[str, Any] = json.loads(path.read_text())
        steps = {name: NotedStep(**step) for name, step in fields.pop("steps").items()}
        return cls(steps=steps, **fields)


def read_notes(workplace: Workplace) -> Iterator[RunNotes]:
    """The runs of the workplace's present or last emulator, newest first."""
    files = sorted(workplace.runs.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return map(RunNotes.read, files)
