"""What an environment's ledger remembers of a project: its runs and the model that serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.deployment import Clients
from dual_pipeline_local.observer import plain

from .environment import EnvironmentClient


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The model that serves: its package, the run that made it, and the URI of its archive."""

    package_arn: str
    run_id: str
    uri: str


def read_champion(environment: EnvironmentClient) -> Champion | None:
    """The champion of an environment's project, if a model was released."""
    return champion_in(
        environment.aws,
        environment["LedgerTableName"],
        environment=environment.environment,
        project=environment.project,
    )


def champion_in(aws: Clients, table: str, *, environment: str, project: str) -> Champion | None:
    """The champion that a ledger's table names, be its stack deployed or gone."""
    item = _read(aws, table, project=project, sort_key=f"CHAMPION#{environment}-{project}")
    if not item.get("model_package_arn"):
        return None
    return Champion(
        package_arn=str(item["model_package_arn"]),
        run_id=str(item.get("run_id", "")),
        uri=str(item.get("model_uri", "")),
    )


def read_item(environment: EnvironmentClient, sort_key: str) -> dict[str, Any]:
    """An item of the project's, as plain data; empty when there is none."""
    return _read(environment.aws, environment["LedgerTableName"], project=environment.project, sort_key=sort_key)


def read_runs(environment: EnvironmentClient) -> Iterator[dict[str, Any]]:
    """The project's recorded runs, in no order; `run_id` is added to what the ledger has."""
    pages = (
        environment.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=environment["LedgerTableName"],
            KeyConditionExpression="pk = :project AND begins_with(sk, :run)",
            ExpressionAttributeValues={":project": {"S": f"PROJECT#{environment.project}"}, ":run": {"S": "RUN#"}},
        )
    )
    for page in pages:
        for item in page["Items"]:
            found = _plain_item(item)
            yield {**found, "run_id": str(found["sk"]).removeprefix("RUN#")}


def _read(aws: Clients, table: str, *, project: str, sort_key: str) -> dict[str, Any]:
    key = {"pk": {"S": f"PROJECT#{project}"}, "sk": {"S": sort_key}}
    return _plain_item(aws.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {}))


def _plain_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in item.items()}
