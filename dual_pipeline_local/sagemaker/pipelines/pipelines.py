"""Pipelines and their executions.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines.html
"""

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control, Operations, arn
from dual_pipeline_local.sagemaker.listing import Listing, paginate
from dual_pipeline_local.sagemaker.pipelines.cache import Cache
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.execution import ENDED, Execution, Interpreter

_PIPELINES = Listing(operation="ListPipelines", name="PipelineName")
_VERSIONS = Listing(operation="ListPipelineVersions", name="PipelineArn")
_EXECUTIONS = Listing(operation="ListPipelineExecutions", name="PipelineExecutionArn")
_ID_LETTERS = string.ascii_lowercase + string.digits


@dataclass
class Pipeline:
    """A pipeline: its record, its versions from 1 on, its executions in order of start, its cache."""

    record: Record
    versions: list[tuple[Record, Definition]] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    cache: Cache = field(default_factory=Cache)


class Pipelines:
    """Pipelines by name."""

    def __init__(self, control: Control, *, wait_for_job: Callable[[str, Callable[[], bool]], Record]) -> None:
        self._control = control
        self._interpreter = Interpreter(control, wait_for_job)
        self._pipelines: dict[str, Pipeline] = {}
        self._tokens: dict[tuple[str, str], tuple[Record, str]] = {}
        self.operations: Operations = {
            "CreatePipeline": self._create,
            "UpdatePipeline": self._update,
            "DescribePipeline": self._describe,
            "ListPipelines": self._list,
            "ListPipelineVersions": self._list_versions,
            "DeletePipeline": self._delete,
            "StartPipelineExecution": self._start,
            "StopPipelineExecution": self._stop,
            "DescribePipelineExecution": self._describe_execution,
            "DescribePipelineDefinitionForExecution": self._describe_definition,
            "ListPipelineExecutions": self._list_executions,
            "ListPipelineExecutionSteps": self._list_steps,
            "ListPipelineParametersForExecution": self._list_parameters,
        }

    def stop_all(self) -> None:
        """Stop every execution; its jobs are stopped with it."""
        executions = [execution for pipeline in self._pipelines.values() for execution in pipeline.executions]
        for execution in executions:
            execution.stop.set()
        with self._control.changed:
            self._control.changed.notify_all()
        for execution in executions:
            execution.done.wait(timeout=30)

    def _create(self, request: Record, caller: Caller) -> Record:
        name, token = request["PipelineName"], request.pop("ClientRequestToken")
        pipeline_arn = arn(caller, f"pipeline/{name}")
        known = self._repeated("CreatePipeline", token, request)
        if known:
            return {"PipelineArn": known}
        definition = self._definition(request)
        now = api.now()
        with self._control.changed:
            if name in self._pipelines:
                raise invalid(
                    "Pipeline names must be unique within an AWS account and region. Pipeline with name "
                    f"({name}) already exists."
                )
            self._tokens["CreatePipeline", token] = (dict(request), pipeline_arn)
            self._control.tag(pipeline_arn, request)
            pipeline = self._pipelines[name] = Pipeline(
                request
                | {
                    "PipelineArn": pipeline_arn,
                    "PipelineStatus": "Active",
                    "CreationTime": now,
                    "LastModifiedTime": now,
                    "PipelineDefinition": definition.text,
                    "PipelineDisplayName": request.get("PipelineDisplayName", name),
                }
            )
            self._add_version(pipeline, definition)
        return {"PipelineArn": pipeline_arn}

    def _update(self, request: Record, caller: Caller) -> Record:
        pipeline = self._pipeline(request["PipelineName"], caller)
        definition = pipeline.versions[-1][1]
        if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
            definition = self._definition(pipeline.record | request)
        with self._control.changed:
            pipeline.record |= request | {"PipelineDefinition": definition.text, "LastModifiedTime": api.now()}
            version = self._add_version(pipeline, definition)
        return {"PipelineArn": pipeline.record["PipelineArn"], "PipelineVersionId": version}

    def _describe(self, request: Record, caller: Caller) -> Record:
        record = self._pipeline(request["PipelineName"], caller).record
        if "PipelineVersionId" in request:
            raise not_modelled("DescribePipeline with PipelineVersionId")
        return api.output("DescribePipeline", record)

    def _list(self, request: Record, _caller: Caller) -> Record:
        return _PIPELINES.page(request, [pipeline.record for pipeline in self._pipelines.values()])

    def _list_versions(self, request: Record, caller: Caller) -> Record:
        pipeline = self._pipeline(request.pop("PipelineName"), caller)
        return _VERSIONS.page(request, [record for record, _ in pipeline.versions])

    def _delete(self, request: Record, caller: Caller) -> Record:
        pipeline = self._pipeline(request["PipelineName"], caller)
        with self._control.changed:
            if any(execution.status not in ENDED for execution in pipeline.executions):
                raise ApiError(
                    "ConflictException",
                    f"Pipeline {pipeline.record['PipelineArn']} cannot be deleted: an execution is running",
                )
            del self._pipelines[pipeline.record["PipelineName"]]
            self._control.tags.pop(pipeline.record["PipelineArn"], None)
        return {"PipelineArn": pipeline.record["PipelineArn"]}

    def _start(self, request: Record, caller: Caller) -> Record:
        pipeline, token = self._pipeline(request["PipelineName"], caller), request.pop("ClientRequestToken")
        known = self._repeated("StartPipelineExecution", token, request)
        if known:
            return {"PipelineExecutionArn": known}
        for member in ("SelectiveExecutionConfig", "MlflowExperimentName"):
            if member in request:
                raise not_modelled(f"StartPipelineExecution with {member}")
        version = request.get("PipelineVersionId", len(pipeline.versions))
        if not 1 <= version <= len(pipeline.versions):
            raise ApiError(
                "ResourceNotFound", f"Version {version} of pipeline '{pipeline.record['PipelineArn']}' does not exist."
            )
        given = [(parameter["Name"], parameter["Value"]) for parameter in request.get("PipelineParameters", [])]
        if len(dict(given)) != len(given):
            raise invalid("Pipeline parameters must be given once each")
        version_record, definition = pipeline.versions[version - 1]
        values = definition.values(dict(given))
        now = api.now()
        execution_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
        execution_arn = f"{pipeline.record['PipelineArn']}/execution/{execution_id}"
        settings = {"ParallelismConfiguration": pipeline.record.get("ParallelismConfiguration")} | request
        execution = Execution(
            record={name: value for name, value in settings.items() if name in _STARTED and value is not None}
            | {
                "PipelineArn": pipeline.record["PipelineArn"],
                "PipelineExecutionArn": execution_arn,
                "PipelineExecutionStatus": "Executing",
                "PipelineExecutionDisplayName": request.get(
                    "PipelineExecutionDisplayName", f"execution-{round(now * 1000)}"
                ),
                "PipelineVersionId": version,
                "CreationTime": now,
                "LastModifiedTime": now,
            },
            definition=definition,
            values=values,
            pipeline=pipeline.record,
            cache=pipeline.cache,
            role=Caller(arn=version_record["RoleArn"], account=caller.account, region=caller.region),
        )
        with self._control.changed:
            self._tokens["StartPipelineExecution", token] = (request, execution_arn)
            pipeline.executions.append(execution)
            pipeline.record["LastRunTime"] = pipeline.record["LastExecutionTime"] = now
            version_record["LastExecutionPipelineExecutionArn"] = execution_arn
        self._control.start(lambda: self._interpreter.run(execution), name=execution_id)
        return {"PipelineExecutionArn": execution_arn}

    def _stop(self, request: Record, _caller: Caller) -> Record:
        execution = self._execution(request)
        with self._control.changed:
            if execution.status in ENDED:
                raise invalid(f"Only an executing pipeline execution can be stopped, this one is {execution.status}")
        if execution.status == "Executing":
            self._interpreter.move(execution, "Stopping")
            execution.stop.set()
            with self._control.changed:
                self._control.changed.notify_all()
        return {"PipelineExecutionArn": execution.arn}

    def _describe_execution(self, request: Record, _caller: Caller) -> Record:
        return api.output("DescribePipelineExecution", self._execution(request).record)

    def _describe_definition(self, request: Record, _caller: Caller) -> Record:
        execution = self._execution(request)
        return {"PipelineDefinition": execution.definition.text, "CreationTime": execution.record["CreationTime"]}

    def _list_executions(self, request: Record, caller: Caller) -> Record:
        pipeline = self._pipeline(request.pop("PipelineName"), caller)
        shown = [
            execution.record
            | {"StartTime": execution.record["CreationTime"]}
            | (
                {"PipelineExecutionFailureReason": execution.record["FailureReason"]}
                if "FailureReason" in execution.record
                else {}
            )
            for execution in pipeline.executions
        ]
        return _EXECUTIONS.page(request, shown)

    def _list_steps(self, request: Record, _caller: Caller) -> Record:
        with self._control.changed:
            steps = [run.record for run in self._execution(request).runs.values()]
        if request.get("SortOrder", "Descending") == "Descending":
            steps.reverse()
        return paginate(request, "PipelineExecutionSteps", steps)

    def _list_parameters(self, request: Record, _caller: Caller) -> Record:
        values = self._execution(request).values
        shown = [
            {"Name": name, "Value": value if isinstance(value, str) else str(value)} for name, value in values.items()
        ]
        return paginate(request, "PipelineParameters", shown)

    def _definition(self, request: Record) -> Definition:
        location = request.get("PipelineDefinitionS3Location")
        if location is None:
            if "PipelineDefinition" not in request:
                raise invalid("Either PipelineDefinition or PipelineDefinitionS3Location must be given")
            return Definition.parse(request["PipelineDefinition"])
        if "VersionId" in location:
            raise not_modelled("PipelineDefinitionS3Location with VersionId")
        uri = f"s3://{location['Bucket']}/{location['ObjectKey']}"
        try:
            return Definition.parse(staging.read(self._control.cloud.client(request["RoleArn"], "s3"), uri).decode())
        except ClientError as error:
            raise invalid(f"Unable to read the pipeline definition at {uri}: {error}") from error

    def _add_version(self, pipeline: Pipeline, definition: Definition) -> int:
        version = len(pipeline.versions) + 1
        record = {name: pipeline.record[name] for name in ("PipelineArn", "RoleArn")}
        pipeline.versions.append((record | {"PipelineVersionId": version, "CreationTime": api.now()}, definition))
        return version

    def _repeated(self, operation: str, token: str, request: Record) -> str | None:
        """What an earlier request of the same token made; the same token for another request is a conflict."""
        earlier = self._tokens.get((operation, token))
        if earlier is None:
            return None
        if earlier[0] != request:
            raise ApiError("ConflictException", f"ClientRequestToken {token} was used for another {operation} request")
        return earlier[1]

    def _pipeline(self, name: str, caller: Caller) -> Pipeline:
        try:
            return self._pipelines[name.rpartition("/")[2]]
        except KeyError:
            pipeline_arn = name if name.startswith("arn:") else arn(caller, f"pipeline/{name}")
            raise ApiError("ResourceNotFound", f"Pipeline '{pipeline_arn}' does not exist.") from None

    def _execution(self, request: Record) -> Execution:
        wanted = request["PipelineExecutionArn"]
        for pipeline in self._pipelines.values():
            for execution in pipeline.executions:
                if execution.arn == wanted:
                    return execution
        raise ApiError("ResourceNotFound", f"Pipeline execution '{wanted}' does not exist.")


_STARTED = ("PipelineExecutionDisplayName", "PipelineExecutionDescription", "ParallelismConfiguration")
