"""A state machine of a project's own, beside its outer loop."""

from dataclasses import dataclass
from datetime import timedelta

from dual_pipeline.asl import Statement
from dual_pipeline.validation import check, check_duration, check_match

# What the platform itself names so: `<environment>-<project>-<kind>`, a job, machine, model, alarm or scaling policy.
TAKEN = (
    "drift",
    "ingest",
    "invocations",
    "model",
    "outcome",
    "outer-loop",
    "p99-latency",
    "preflight",
    "quality",
    "score",
    "smoke",
    "traffic",
    "train",
)


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """A document of the Amazon States Language, deployed as `<environment>-<project>-<name>` once it is checked.

    `file` lies below the repository's root; nothing of it runs longer than `timeout`. `step` is the step folder of the
    project whose code its training jobs run, `functions` are the Lambda functions that it may call. `statements` are
    what it may do beyond what follows from the document.
    """

    name: str
    file: str
    timeout: timedelta = timedelta(days=1)
    step: str | None = None
    functions: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()

    def __post_init__(self) -> None:
        # What it makes is named `<environment>-<project>-<name>-...`, at most 63 characters in all.
        wanted = "lower-case letters, digits and hyphens, a letter first, at most 16 characters"
        check_match(owner=self, field="name", pattern=r"[a-z](-?[a-z0-9]){0,15}", allowed=wanted)
        check(owner=self, field="name", allowed="at most 16 characters", ok=len(self.name) <= 16)
        wanted = f"another name than {', '.join(TAKEN)}, which the platform uses, and end in none of them"
        ok = not any(f"-{self.name}".endswith(f"-{taken}") for taken in TAKEN)
        check(owner=self, field="name", allowed=wanted, ok=ok)
        wanted = "the path of a .json file below the repository's root, such as workflows/train.json"
        check_match(owner=self, field="file", pattern=r"(?!.*\.\.)[\w.-]+(/[\w.-]+)*\.json", allowed=wanted)
        check_duration(owner=self, field="timeout", low=timedelta(minutes=1), high=timedelta(days=30))
        if self.step is not None:
            wanted = "the name of a step folder, such as alone, or None"
            check_match(owner=self, field="step", pattern=r"[a-z][a-z0-9_]*", allowed=wanted)
        ok = isinstance(self.functions, tuple) and all(isinstance(name, str) and name for name in self.functions)
        check(owner=self, field="functions", allowed="a tuple of names of Lambda functions", ok=ok)
        ok = isinstance(self.statements, tuple) and all(isinstance(each, Statement) for each in self.statements)
        check(owner=self, field="statements", allowed="a tuple of Statement", ok=ok)
