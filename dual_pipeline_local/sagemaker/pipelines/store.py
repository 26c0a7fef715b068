"""The pipelines of an account with their versions and executions, and the idempotency tokens given so far."""

from dataclasses import dataclass, field

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.control import arn
from dual_pipeline_local.sagemaker.pipelines.cache import Cache
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.execution import Execution


@dataclass
class Pipeline:
    """A pipeline: its record, its versions from 1 on, its executions in order of start, its cache."""

    record: Record
    versions: list[tuple[Record, Definition]] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    cache: Cache = field(default_factory=Cache)


class Store:
    """Pipelines by name."""

    def __init__(self) -> None:
        self.pipelines: dict[str, Pipeline] = {}
        self._tokens: dict[tuple[str, str], tuple[Record, str]] = {}

    def pipeline(self, name: str, caller: Caller) -> Pipeline:
        """The pipeline of that name or ARN; raises ResourceNotFound."""
        try:
            return self.pipelines[name.rpartition("/")[2]]
        except KeyError:
            pipeline_arn = name if name.startswith("arn:") else arn(caller, f"pipeline/{name}")
            raise ApiError("ResourceNotFound", f"Pipeline '{pipeline_arn}' does not exist.") from None

    def executions(self) -> list[Execution]:
        """All executions."""
        return [execution for pipeline in self.pipelines.values() for execution in pipeline.executions]

    def execution(self, request: Record) -> Execution:
        """The execution that a request names; raises ResourceNotFound."""
        wanted = request["PipelineExecutionArn"]
        for execution in self.executions():
            if execution.arn == wanted:
                return execution
        raise ApiError("ResourceNotFound", f"Pipeline execution '{wanted}' does not exist.")

    def repeated(self, operation: str, token: str, request: Record) -> str | None:
        """What an earlier request of the same token made; the same token for another request is a conflict."""
        earlier = self._tokens.get((operation, token))
        if earlier is None:
            return None
        if earlier[0] != request:
            raise ApiError("ConflictException", f"ClientRequestToken {token} was used for another {operation} request")
        return earlier[1]

    def remember(self, operation: str, token: str, request: Record, made: str) -> None:
        """Keep what a request of that token made."""
        self._tokens[operation, token] = (dict(request), made)
