"""A control plane of records only: jobs end as they are told to, objects lie in a dictionary."""

import io
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.pipelines.pipelines import Pipelines

ROLE = "arn:aws:iam::123456789012:role/pipeline"
CALLER = Caller(arn="arn:aws:iam::123456789012:root", account="123456789012", region="eu-west-1")


class Objects:
    """An S3 client over a dictionary of URIs."""

    def __init__(self) -> None:
        self.by_uri: dict[str, bytes] = {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        try:
            return {"Body": io.BytesIO(self.by_uri[f"s3://{Bucket}/{Key}"])}
        except KeyError:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Key}}, "GetObject") from None


class Cloud:
    """Allows everything and remembers events."""

    def __init__(self) -> None:
        self.objects = Objects()
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def authorize(self, caller: Caller, action: str, resource: str) -> None:
        """Allowed."""

    def authorize_call(self, caller: Caller, operation: str, request: dict[str, Any]) -> None:
        """Allowed."""

    def client(self, role_arn: str, service: str) -> Any:
        """The objects."""
        assert service == "s3"
        return self.objects

    def environment(self, role_arn: str) -> Mapping[str, str]:
        """No credentials."""
        return {}

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """Remember."""
        self.events.append((detail_type, detail))


class Plane:
    """Pipelines over a fake API: `answers` maps an operation to what it does with a request."""

    def __init__(self, work: Path) -> None:
        self.cloud = Cloud()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._jobs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        control = Control(cloud=self.cloud, work=work, call=self._call)
        self.pipelines = Pipelines(control, wait_for_job=lambda arn, _given_up: self._jobs[arn])

    def run(self, definition: str, **parameters: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Create a pipeline and run it to its end: the execution and its steps by name."""
        name = f"p{next(self._numbers)}"
        self.ask("CreatePipeline", PipelineName=name, PipelineDefinition=definition, RoleArn=ROLE)
        given = [{"Name": key, "Value": value} for key, value in parameters.items()]
        arn = self.ask("StartPipelineExecution", PipelineName=name, PipelineParameters=given)["PipelineExecutionArn"]
        execution = self.pipelines._execution({"PipelineExecutionArn": arn})
        assert execution.done.wait(10)
        return execution.record, {name: run.record for name, run in execution.runs.items()}

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        """Call an operation of the pipelines."""
        if operation in ("CreatePipeline", "StartPipelineExecution"):
            request["ClientRequestToken"] = f"{next(self._numbers):032}"
        return self.pipelines.operations[operation](request, CALLER)

    def _call(self, operation: str, request: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        with self._lock:
            self.calls.append((operation, request))
        answer = self.answers[operation](request) if operation in self.answers else {}
        for kind in ("Processing", "Training"):
            if operation == f"Create{kind}Job":
                arn = f"arn:aws:sagemaker:eu-west-1:123456789012:{kind.lower()}-job/{request[f'{kind}JobName']}"
                self._jobs[arn] = {f"{kind}JobStatus": "Completed", **request, **answer}
                return {f"{kind}JobArn": arn}
        return answer


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    """A fake control plane."""
    return Plane(tmp_path)


@pytest.fixture
def throttled() -> ApiError:
    """What AWS answers when there are too many calls."""
    return ApiError("ThrottlingException", "Rate exceeded")
