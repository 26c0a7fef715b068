"""Finds where and why a run went wrong: state, step, exception and the last lines of the job's log."""

from __future__ import annotations

import re
from pathlib import Path

from .logs import find_exception, find_log
from .observer import RunView
from .processes import tail
from .report import Failure

_GLUE_RUN = re.compile(r"\bjr_[0-9a-z]+")
# A training job that the machine itself started is described in its task's cause.
_TRAINING_JOB = re.compile(r'"TrainingJobName" ?: ?"([\w-]+)"')
_LINES = 12


def diagnose(view: RunView, *, logs: Path) -> Failure:
    """Explain a run that ended without a release; parts that do not apply are None."""
    step = next((step for step in view.steps if step.status == "Failed"), None)
    troubled = [state for state in view.states if state.status in ("failed", "caught")]
    state = str(view.record.get("state") or (troubled[-1].name if troubled else "")) or None
    told = "\n".join(
        filter(
            None, [step.failure if step else "", *(item.cause for item in troubled), str(view.record.get("reason", ""))]
        )
    )
    jobs = [*_TRAINING_JOB.findall(told), *_GLUE_RUN.findall(told)]
    log = find_log(logs, [step.resource.rpartition("/")[2]] if step and step.resource else jobs)
    lines = tail(log, lines=_LINES) if log else ""
    exception = find_exception(lines) or find_exception(told)

    def said(field: str) -> str:
        return str(view.record.get(field) or "")

    return Failure(
        state=state,
        step=step.name if step else None,
        exception=exception,
        log=str(log) if log else None,
        log_tail=tuple(lines.splitlines()),
        kind=said("failure"),
        means=said("cause"),
        remedy=said("remedy"),
    )
