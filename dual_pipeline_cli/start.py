"""`dual-pipeline start`: a run of the outer loop that a person asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from dual_pipeline.loop_contract import REASON_PERSON
from dual_pipeline_local.deployment import Deployment
from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.observer import Observer, RunView

from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)

# The longest detail that the outer loop keeps.
_LONGEST = 1024
_POLL_S = 5.0

FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Show states and steps until the run ends.")]
BecauseOption = Annotated[str, typer.Option("--because", "-b", help="Why, in your words; kept with the run.")]


def start(environment: EnvironmentClient, *, because: str, force: bool = False) -> str:
    """Start a run and return its execution's ARN.

    Raises EnvironmentTrouble when no reason is given.
    """
    return begin(environment, reason=REASON_PERSON, because=because, force=force, source=None)


def begin(environment: EnvironmentClient, *, reason: str, because: str, **more: object) -> str:
    """Start the outer loop for a reason, with `more` of its input, and return the execution's ARN.

    Raises EnvironmentTrouble when `because` says nothing.
    """
    given = {"reason": reason, "detail": words(because, longest=_LONGEST), **more}
    started = environment.client("stepfunctions").start_execution(
        stateMachineArn=environment["StateMachineArn"], input=json.dumps(given)
    )
    arn: str = started["executionArn"]
    return arn


def words(because: str, *, longest: int) -> str:
    """A reason on one line.

    Raises EnvironmentTrouble when it says nothing or too much.
    """
    line = " ".join(because.split())
    if not line:
        raise EnvironmentTrouble("--because is empty: say why, others will read it")
    if len(line) > longest:
        raise EnvironmentTrouble(f"--because takes {longest} characters, got {len(line)}: say it shorter")
    return line


def start_run(
    because: BecauseOption,
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train although neither data nor code has changed since the last run.")
    ] = False,
    follow: FollowOption = False,
    local: LocalOption = False,
) -> None:
    """Start a run of the outer loop.

    With --follow the exit code is 1 if the run fails.
    """

    def action() -> int:
        client = connect(environment, project, local)
        return tell(client, start(client, because=because, force=force), follow=follow).exit_code

    raise typer.Exit(answer(action))


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was told of a run: its outcome, empty if nobody waited for it."""

    outcome: str = ""

    @property
    def exit_code(self) -> int:
        """1 if the run failed."""
        return 1 if self.outcome == "failed" else 0


def tell(environment: EnvironmentClient, arn: str, *, follow: bool) -> Told:
    """Say that a run was started and how to see more of it; with `follow` show it to its end."""
    narrator = Narrator(Console(highlight=False, soft_wrap=True))
    narrator.console.print(f"started {arn}", markup=False)
    more = f"dual-pipeline explain {arn.rsplit(':', 1)[1]}{options(environment)}"
    if not follow:
        narrator.console.print(f"what becomes of it: {more}", markup=False)
        return Told()
    view = _follow(environment, arn, narrator)
    narrator.console.print(f"{view.outcome}: {view.record.get('reason') or view.cause or view.status}", markup=False)
    narrator.console.print(f"more: {more}", markup=False)
    return Told(outcome=view.outcome)


def observer(environment: EnvironmentClient) -> Observer:
    """What watches the runs of an environment's project."""
    deployment = Deployment(
        environment=environment.environment, project=environment.project, outputs=environment.outputs
    )
    return Observer(environment.aws, deployment)


def options(environment: EnvironmentClient) -> str:
    """The options that reach the same environment again."""
    return f" --env {environment.environment} --project {environment.project}{' --local' * environment.local}"


def _follow(environment: EnvironmentClient, arn: str, narrator: Narrator) -> RunView:
    with narrator.run(f"run {arn.rsplit(':', 1)[1]}") as teller:
        for view in observer(environment).watch(arn, interval_s=0.5 if environment.local else _POLL_S):
            teller.show(view)
    return view
