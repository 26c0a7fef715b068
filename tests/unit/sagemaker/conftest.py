"""A control plane of records only: jobs end as they are told to, objects lie in a dictionary."""

import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.control import Control
from dual_pipeline_local.sagemaker.pipelines.pipelines import Pipelines

ROLE = "arn:aws:iam::123456789012:role/pipeline"
KINDS = {
    "Processing": "processing-job",
    "Training": "training-job",
    "HyperParameterTuning": "hyper-parameter-tuning-job",
    "Transform": "transform-job",
}
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


class Queue:
    """An SQS client of one queue that is a list."""

    url = "https://sqs/checks"

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        if QueueUrl != self.url:
            raise ClientError({"Error": {"Code": "QueueDoesNotExist", "Message": QueueUrl}}, "SendMessage")
        self.messages.append(json.loads(MessageBody))


class Functions:
    """A Lambda client of functions by ARN, which answer JSON text or raise."""

    def __init__(self) -> None:
        self.by_arn: dict[str, Callable[[dict[str, Any]], str]] = {}

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        try:
            function = self.by_arn[FunctionName]
        except KeyError:
            message = f"Function not found: {FunctionName}"
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": message}}, "Invoke") from None
        try:
            return {"Payload": io.BytesIO(function(json.loads(Payload)).encode())}
        except Exception as error:
            said = json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)}).encode()
            return {"Payload": io.BytesIO(said), "FunctionError": "Unhandled"}


class Cloud:
    """Allows everything but `denied` actions and remembers events."""

    def __init__(self) -> None:
        self.objects = Objects()
        self.queue = Queue()
        self.functions = Functions()
        self.denied: set[str] = set()
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def authorize(self, caller: Caller, action: str, resource: str) -> None:
        """Allowed unless denied."""
        if action in self.denied:
            raise ApiError("AccessDeniedException", f"not authorized to perform: {action} on resource: {resource}")

    def authorize_call(self, caller: Caller, operation: str, request: dict[str, Any]) -> None:
        """Allowed unless denied."""
        self.authorize(caller, f"sagemaker:{operation}", "*")

    def client(self, role_arn: str, service: str, *, read_timeout_s: float | None = None) -> Any:
        """The objects, the queue or the functions."""
        return {"s3": self.objects, "sqs": self.queue, "lambda": self.functions}[service]

    def environment(self, role_arn: str) -> Mapping[str, str]:
        """No credentials."""
        return {}

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """Remember."""
        self.events.append((detail_type, detail))

    def publish(
        self, namespace: str, name: str, dimensions: Mapping[str, str], value: float, *, unit: str = "None"
    ) -> None:
        """Nothing looks at metrics."""


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
        self.pipelines = Pipelines(control, wait_for_job=self._wait, stop_grace_s=0.2)
        self._changed = control.changed

    def create(self, definition: str, **more: Any) -> str:
        """Create a pipeline and answer its name."""
        name = f"p{next(self._numbers)}"
        self.ask("CreatePipeline", PipelineName=name, PipelineDefinition=definition, RoleArn=ROLE, **more)
        return name

    def start(self, pipeline: str, *, parameters: Mapping[str, str] = MappingProxyType({}), **more: Any) -> str:
        """Start an execution and answer its ARN."""
        given = [{"Name": key, "Value": value} for key, value in parameters.items()]
        arn: str = self.ask("StartPipelineExecution", PipelineName=pipeline, PipelineParameters=given, **more)[
            "PipelineExecutionArn"
        ]
        return arn

    def ended(self, arn: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Wait for the end of an execution: how it is described, and its steps by name."""
        execution = self.pipelines._store.execution({"PipelineExecutionArn": arn})
        assert execution.done.wait(10)
        listed = self.ask("ListPipelineExecutionSteps", PipelineExecutionArn=arn, SortOrder="Ascending", MaxResults=100)
        described = self.ask("DescribePipelineExecution", PipelineExecutionArn=arn)
        return described, {step["StepName"]: step for step in listed["PipelineExecutionSteps"]}

    def run(self, definition: str, **parameters: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Create a pipeline and run it to its end: the execution and its steps by name."""
        return self.ended(self.start(self.create(definition), parameters=parameters))

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        """Call an operation of the pipelines."""
        api.complete(operation, request)
        api.check(operation, request)
        return self.pipelines.operations[operation](request, CALLER)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """The requests of the calls of an operation so far."""
        with self._lock:
            return [request for called, request in self.calls if called == operation]

    def message(self, number: int = 1) -> dict[str, Any]:
        """Wait for so many messages in the queue and answer the last of them."""
        found: dict[str, Any] = self.until(lambda: self.cloud.queue.messages[number - 1 :])[0]
        return found

    @staticmethod
    def until(look: Callable[[], Any]) -> Any:
        """Look until there is something, at most 10 seconds."""
        deadline = time.monotonic() + 10
        while not (found := look()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return found

    def _wait(self, arn: str, given_up: Callable[[], bool]) -> dict[str, Any]:
        with self._changed:
            while self._jobs[arn].get("hangs") and not given_up():
                self._changed.wait(0.05)
        return self._jobs[arn]

    def _call(self, operation: str, request: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        with self._lock:
            self.calls.append((operation, request))
        answer = self.answers[operation](request) if operation in self.answers else {}
        for kind, noun in KINDS.items():
            if operation == f"Create{kind}Job":
                arn = f"arn:aws:sagemaker:eu-west-1:123456789012:{noun}/{request[f'{kind}JobName']}"
                status = "InProgress" if answer.get("hangs") else "Completed"
                self._jobs[arn] = {f"{kind}JobArn": arn, f"{kind}JobStatus": status, **request, **answer}
                return {f"{kind}JobArn": arn}
            if operation == f"Stop{kind}Job":
                for job in self._jobs.values():
                    if job.get(f"{kind}JobName") == request[f"{kind}JobName"]:
                        job |= {"hangs": False, f"{kind}JobStatus": "Stopped"}
        return answer


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    """A fake control plane; what still runs in the end is stopped."""
    plane = Plane(tmp_path)
    yield plane
    plane.pipelines.stop_all()


@pytest.fixture
def throttled() -> ApiError:
    """What AWS answers when there are too many calls."""
    return ApiError("ThrottlingException", "Rate exceeded")
