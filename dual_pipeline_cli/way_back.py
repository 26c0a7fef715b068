"""How the models of an environment are brought back that served until it was taken down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from botocore.exceptions import ClientError

from dual_pipeline_local.assembly import Assembly
from dual_pipeline_local.deployment import Clients

from .absence import is_absent
from .ledger import Champion, champion_in
from .stacks import TABLE, Stacks


def way_back(aws: Clients, assembly: Assembly, *, project: str | None, local: bool) -> list[str]:
    """The commands that bring back what served last, for each project with an endpoint, or `project` alone.

    No run does it by itself before new data: one on what has trained already ends before it trains.
    """
    tables = list(_tables(aws, assembly))
    commands = []
    for name in _projects_with_endpoint(assembly):
        champion = _champion(aws, tables, assembly.environment, name) if project in (None, name) else None
        if champion is not None:
            version = champion.package_arn.rpartition("/")[2]
            commands.append(
                f"dual-pipeline rollback {version} --env {assembly.environment} --project {name}{' --local' * local}"
                " --because 'deployed again after a teardown'"
            )
    return commands


def _tables(aws: Clients, assembly: Assembly) -> Iterator[str]:
    """The tables of the environment's stacks: those that stand, then what deleted ones left, the latest first."""
    stacks = Stacks(aws)
    names = [each.name for each in assembly.stacks]
    standing = [each for name in names if stacks.exists(name) for each in stacks.resources(name)]
    left = [each for name in names for each in stacks.left_by(name)]
    return (each.id for each in (*standing, *left) if each.type == TABLE)


def _projects_with_endpoint(assembly: Assembly) -> list[str]:
    found = {
        each.project
        for each in assembly.stacks
        if "EndpointName" in json.loads(each.template.read_text(encoding="utf-8")).get("Outputs", {})
    }
    return sorted(project for project in found if project is not None)


def _champion(aws: Clients, tables: Iterable[str], environment: str, project: str) -> Champion | None:
    """What the first of these tables names that exists still and knows a champion."""
    for table in tables:
        try:
            found = champion_in(aws, table, environment=environment, project=project)
        except ClientError as error:
            if not is_absent(error):
                raise
        else:
            if found is not None:
                return found
    return None
