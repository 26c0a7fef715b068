"""`dual-pipeline rollback`: an endpoint brought back to an earlier approved version, by the loop's guarded release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dual_pipeline.loop_contract import REASON_ROLLBACK

from .environment import (
    EnvironmentClient,
    EnvironmentOption,
    EnvironmentTrouble,
    LocalOption,
    ProjectOption,
    answer,
    connect,
)
from .ledger import read_champion, read_runs
from .registry import find_model, find_own_model
from .start import BecauseOption, FollowOption, begin, options, tell


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version that was released once: when last, by which run, and its AUC on its own holdout if it has one."""

    package_arn: str
    run_id: str
    released_at: str
    auc: float | None

    @property
    def version(self) -> int:
        """The package's number in its group."""
        return int(self.package_arn.rpartition("/")[2])


def rollback(
    because: BecauseOption,
    package: Annotated[
        str,
        typer.Argument(help="Package ARN, group/version or version; by default the last one released before."),
    ] = "",
    environment: EnvironmentOption = "dev",
    project: ProjectOption = None,
    follow: FollowOption = False,
    local: LocalOption = False,
) -> None:
    """Bring the endpoint back to an earlier approved version.

    It goes the way of every release: lock, preflight, guarded update, golden rows; then that version is the champion,
    with its own baseline. To the version that serves already, it repairs an endpoint that was changed by hand. With
    --follow the exit code is 1 unless it was released.
    """

    def action() -> int:
        client = connect(environment, project, local)
        if "EndpointName" not in client.outputs:
            raise EnvironmentTrouble(f"{client.project} of {client.environment} has no endpoint to bring back")
        console = Console(highlight=False, soft_wrap=True)
        target = find_target(client, package)
        console.print(_table(client, target))
        arn = begin(client, reason=REASON_ROLLBACK, because=because, package=target, source=None)
        told = tell(client, arn, follow=follow)
        return int(follow and told.outcome != "released")

    raise typer.Exit(answer(action))


def find_target(environment: EnvironmentClient, name: str = "") -> str:
    """The ARN of the approved package of that name, or of the last one that was released before the champion.

    Raises EnvironmentTrouble when there is none.
    """
    if name:
        model = find_own_model(environment, name)
        status = model.package.get("ModelApprovalStatus")
        if status != "Approved":
            raise EnvironmentTrouble(f"{model.arn} is {status}, and only an approved version may serve: name another")
        return model.arn
    champion = read_champion(environment)
    if champion is None:
        raise EnvironmentTrouble(f"no model was released in {environment.project} of {environment.environment} yet")
    serving = int(champion.package_arn.rpartition("/")[2])
    # a ledger that was adopted may remember an earlier group, whose numbers say nothing of this one's
    group = champion.package_arn.rpartition("/")[0]
    earlier = [release for release in releases(environment) if release.version < serving]
    for release in earlier:
        if release.package_arn.rpartition("/")[0] == group and _is_approved(environment, release.package_arn):
            return release.package_arn
    raise EnvironmentTrouble(
        f"no approved version was released before {champion.package_arn}, which serves: name a version, or train a"
        f" better one with dual-pipeline start{options(environment)}"
    )


def _is_approved(environment: EnvironmentClient, package_arn: str) -> bool:
    """Whether a package may serve; one that was deleted may not."""
    try:
        return find_model(environment, package_arn).package.get("ModelApprovalStatus") == "Approved"
    except EnvironmentTrouble:
        return False


def releases(environment: EnvironmentClient) -> list[Release]:
    """Every version that was released, the newest version first, each with its last release."""
    found: dict[str, Release] = {}
    for release in sorted(_released(environment), key=lambda release: release.released_at):
        found[release.package_arn] = release
    return sorted(found.values(), key=lambda release: release.version, reverse=True)


def _released(environment: EnvironmentClient) -> Iterator[Release]:
    for run in read_runs(environment):
        if run.get("outcome") == "released" and run.get("model_package_arn"):
            auc = json.loads(str(run.get("metrics") or "{}")).get("auc", {})
            yield Release(
                package_arn=str(run["model_package_arn"]),
                run_id=str(run["run_id"]),
                released_at=str(run.get("finished_at") or ""),
                auc=auc.get("value"),
            )


def _table(environment: EnvironmentClient, target: str) -> Table:
    champion = read_champion(environment)
    table = Table(title="Released versions", title_justify="left")
    for column in ("version", "released", "AUC", ""):
        table.add_column(column, justify="right" if column == "AUC" else "left")
    for release in releases(environment):
        serves = champion is not None and champion.package_arn == release.package_arn
        marks = ["serves"] * serves + ["goes back to"] * (release.package_arn == target)
        auc = "" if release.auc is None else f"{release.auc:.4f}"
        table.add_row(str(release.version), release.released_at[:19], auc, ", ".join(marks))
    return table
