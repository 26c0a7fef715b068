"""Pipelines and their executions.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines.html
"""

from collections.abc import Callable

from botocore.exceptions import ClientError

from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control, Operations, arn
from dual_pipeline_local.sagemaker.listing import Listing
from dual_pipeline_local.sagemaker.pipelines.callbacks import Callbacks
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.execution import ENDED, Interpreter
from dual_pipeline_local.sagemaker.pipelines.executions import Executions
from dual_pipeline_local.sagemaker.pipelines.store import Pipeline, Store

STOP_GRACE_S = 5.0
_PIPELINES = Listing(operation="ListPipelines", name="PipelineName")
_VERSIONS = Listing(operation="ListPipelineVersions", name="PipelineArn")


class Pipelines:
    """Pipelines, their executions, and the callbacks that these wait for."""

    def __init__(
        self,
        control: Control,
        *,
        wait_for_job: Callable[[str, Callable[[], bool]], Record],
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._control = control
        self._store = Store()
        self.callbacks = Callbacks(control.changed)
        interpreter = Interpreter(
            control, wait_for_job=wait_for_job, callbacks=self.callbacks, stop_grace_s=stop_grace_s
        )
        self._executions = Executions(control, self._store, interpreter)
        self.operations: Operations = {
            "CreatePipeline": self._create,
            "UpdatePipeline": self._update,
            "DescribePipeline": self._describe,
            "ListPipelines": self._list,
            "ListPipelineVersions": self._list_versions,
            "DeletePipeline": self._delete,
            **self._executions.operations,
            **self.callbacks.operations,
        }

    def stop_all(self) -> None:
        """Stop every execution; its jobs are stopped with it."""
        self._executions.stop_all()

    def _create(self, request: Record, caller: Caller) -> Record:
        name, token = request["PipelineName"], request.pop("ClientRequestToken")
        pipeline_arn = arn(caller, f"pipeline/{name}")
        definition = self._definition(request)
        now = api.now()
        with self._control.changed:
            known = self._store.repeated("CreatePipeline", token, request)
            if known:
                return {"PipelineArn": known}
            if name in self._store.pipelines:
                raise invalid(
                    "Pipeline names must be unique within an AWS account and region. Pipeline with name "
                    f"({name}) already exists."
                )
            self._store.remember("CreatePipeline", token, request, pipeline_arn)
            self._control.tag(pipeline_arn, request)
            pipeline = self._store.pipelines[name] = Pipeline(
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
        pipeline = self._store.pipeline(request["PipelineName"], caller)
        definition = pipeline.versions[-1][1]
        if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
            definition = self._definition(pipeline.record | request)
        with self._control.changed:
            pipeline.record |= request | {"PipelineDefinition": definition.text, "LastModifiedTime": api.now()}
            version = self._add_version(pipeline, definition)
        return {"PipelineArn": pipeline.record["PipelineArn"], "PipelineVersionId": version}

    def _describe(self, request: Record, caller: Caller) -> Record:
        record = self._store.pipeline(request["PipelineName"], caller).record
        if "PipelineVersionId" in request:
            raise not_modelled("DescribePipeline with PipelineVersionId")
        return api.output("DescribePipeline", record)

    def _list(self, request: Record, _caller: Caller) -> Record:
        return _PIPELINES.page(request, [pipeline.record for pipeline in self._store.pipelines.values()])

    def _list_versions(self, request: Record, caller: Caller) -> Record:
        pipeline = self._store.pipeline(request.pop("PipelineName"), caller)
        return _VERSIONS.page(request, [record for record, _ in pipeline.versions])

    def _delete(self, request: Record, caller: Caller) -> Record:
        pipeline = self._store.pipeline(request["PipelineName"], caller)
        with self._control.changed:
            if any(execution.status not in ENDED for execution in pipeline.executions):
                raise ApiError(
                    "ConflictException",
                    f"Pipeline {pipeline.record['PipelineArn']} cannot be deleted: an execution is running",
                )
            del self._store.pipelines[pipeline.record["PipelineName"]]
            self._control.tags.pop(pipeline.record["PipelineArn"], None)
        return {"PipelineArn": pipeline.record["PipelineArn"]}

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
            text = staging.read(self._control.cloud.client(request["RoleArn"], "s3"), uri).decode()
        except (ClientError, UnicodeDecodeError) as error:
            raise invalid(f"Unable to read the pipeline definition at {uri}: {error}") from error
        return Definition.parse(text)

    def _add_version(self, pipeline: Pipeline, definition: Definition) -> int:
        version = len(pipeline.versions) + 1
        record = {name: pipeline.record[name] for name in ("PipelineArn", "RoleArn")}
        pipeline.versions.append((record | {"PipelineVersionId": version, "CreationTime": api.now()}, definition))
        return version
