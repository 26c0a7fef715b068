"""AWS as an operator's commands see it: a ledger of plain items, a registry of packages, and runs of the machine."""

import io
import json
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline_cli.environment import EnvironmentClient

MACHINE = "arn:aws:states:eu-west-1:1:stateMachine:dev-census-outer-loop"
EXECUTION = "arn:aws:states:eu-west-1:1:execution:dev-census-outer-loop"
GROUP = "arn:aws:sagemaker:eu-west-1:1:model-package/dev-census"
START = datetime(2026, 11, 20, 10, tzinfo=UTC)


def package(version: int, *, status: str = "PendingManualApproval", **more: Any) -> dict[str, Any]:
    """A package as DescribeModelPackage answers it; its run is `run-<version>`."""
    return {
        "ModelPackageArn": f"{GROUP}/{version}",
        "ModelPackageVersion": version,
        "ModelApprovalStatus": status,
        "CreationTime": START,
        "CustomerMetadataProperties": {"run_id": f"run-{version}", "champion_uri": "s3://none.json"},
        "ModelMetrics": {"ModelQuality": {"Statistics": {"S3Uri": "s3://artifacts/x/evaluation.json"}}},
        **more,
    }


class OperatorAws:
    """Clients whose answers come from what was put in; what is written is kept in `updated` and `started`."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.packages: list[dict[str, Any]] = []
        self.objects: dict[str, bytes] = {}
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.executions: dict[str, dict[str, Any]] = {}
        self.updated: list[dict[str, Any]] = []
        self.started: list[dict[str, Any]] = []
        self.me = "arn:aws:iam::1:user/grace"

    def client(self, _service: str, /) -> Any:
        return self

    def get_item(self, **request: Any) -> dict[str, Any]:
        item = self.items.get(request["Key"]["sk"]["S"])
        return {"Item": _typed(item)} if item else {}

    def describe_model_package(self, **request: str) -> dict[str, Any]:
        for found in self.packages:
            if found["ModelPackageArn"] == request["ModelPackageName"]:
                return found
        raise ClientError(
            {"Error": {"Code": "ValidationException", "Message": "does not exist"}}, "DescribeModelPackage"
        )

    def update_model_package(self, **request: Any) -> dict[str, Any]:
        self.updated.append(request)
        return {}

    def get_object(self, **request: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[f"s3://{request['Bucket']}/{request['Key']}"])}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": self.me}

    def start_execution(self, **request: Any) -> dict[str, str]:
        self.started.append(request)
        return {"executionArn": f"{EXECUTION}:run-new"}

    def list_executions(self, **_: Any) -> dict[str, Any]:
        return {"executions": [{"name": name} for name in self.executions]}

    def describe_execution(self, **request: str) -> dict[str, Any]:
        try:
            return self.executions[request["executionArn"].rsplit(":", 1)[1]]
        except KeyError:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution") from None

    def get_paginator(self, operation: str) -> Any:
        return type("Pages", (), {"paginate": lambda _, **request: [getattr(self, f"_{operation}")(request)]})()

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        prefix = request["ExpressionAttributeValues"][":run"]["S"]
        return {"Items": [_typed({"sk": sk, **item}) for sk, item in self.items.items() if sk.startswith(prefix)]}

    def _list_model_packages(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.get("ModelApprovalStatus")
        listed = [found for found in self.packages if wanted in (None, found["ModelApprovalStatus"])]
        return {"ModelPackageSummaryList": listed}

    def _get_execution_history(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"events": self.histories[request["executionArn"].rsplit(":", 1)[1]]}


def entered(name: str) -> dict[str, Any]:
    """The history's event of a state that was entered."""
    return {"type": "TaskStateEntered", "timestamp": START, "stateEnteredEventDetails": {"name": name}}


def operator(aws: OperatorAws, *, mode: str = "one") -> EnvironmentClient:
    """Project census of environment dev."""
    outputs = {
        "ApprovalMode": mode,
        "LedgerTableName": "ledger",
        "ModelPackageGroupName": "dev-census",
        "StateMachineArn": MACHINE,
    }
    return EnvironmentClient(
        environment="dev", project="census", outputs=outputs, region="eu-west-1", local=False, aws=aws, where="AWS"
    )


def _typed(item: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"N": str(value)}
        if isinstance(value, int | float)
        else {"S": value if isinstance(value, str) else json.dumps(value)}
        for name, value in item.items()
    }
