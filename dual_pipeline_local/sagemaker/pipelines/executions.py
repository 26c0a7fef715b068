"""Executions of pipelines: started, run again, stopped, described.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/run-pipeline.html
"""

import secrets
import string

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control, Operations
from dual_pipeline_local.sagemaker.listing import Listing, paginate
from dual_pipeline_local.sagemaker.pipelines.execution import Execution, Interpreter
from dual_pipeline_local.sagemaker.pipelines.expressions import ExpressionError, Scope, text_of
from dual_pipeline_local.sagemaker.pipelines.run import Run
from dual_pipeline_local.sagemaker.pipelines.selection import reused_runs, selected_steps
from dual_pipeline_local.sagemaker.pipelines.store import Pipeline, Store

_EXECUTIONS = Listing(operation="ListPipelineExecutions", name="PipelineExecutionArn")
_ID_LETTERS = string.ascii_lowercase + string.digits
_STARTED = (
    "PipelineExecutionDisplayName",
    "PipelineExecutionDescription",
    "ParallelismConfiguration",
    "SelectiveExecutionConfig",
)


class Executions:
    """The operations on executions."""

    def __init__(self, control: Control, store: Store, interpreter: Interpreter) -> None:
        self._control = control
        self._store = store
        self._interpreter = interpreter
        self.operations: Operations = {
            "StartPipelineExecution": self._start,
            "RetryPipelineExecution": self._retry,
            "StopPipelineExecution": self._stop,
            "UpdatePipelineExecution": self._update,
            "DescribePipelineExecution": self._describe,
            "DescribePipelineDefinitionForExecution": self._describe_definition,
            "ListPipelineExecutions": self._list,
            "ListPipelineExecutionSteps": self._list_steps,
            "ListPipelineParametersForExecution": self._list_parameters,
        }

    def stop_all(self) -> None:
        """Stop every execution; its jobs are stopped with it."""
        with self._control.changed:
            executions = self._store.executions()
            for execution in executions:
                execution.abandoned.set()
                execution.stop.set()
            self._control.changed.notify_all()
        for execution in executions:
            execution.done.wait(timeout=30)

    def _start(self, request: Record, caller: Caller) -> Record:
        token = request.pop("ClientRequestToken")
        with self._control.changed:  # neither a deletion nor the same token may come in between
            pipeline = self._store.pipeline(request["PipelineName"], caller)
            known = self._store.repeated("StartPipelineExecution", token, request)
            if known:
                return {"PipelineExecutionArn": known}
            execution = self._execution(request, pipeline, caller)
            self._store.remember("StartPipelineExecution", token, request, execution.arn)
            pipeline.executions.append(execution)
            pipeline.record["LastRunTime"] = pipeline.record["LastExecutionTime"] = execution.record["CreationTime"]
            version, _ = pipeline.versions[execution.record["PipelineVersionId"] - 1]
            version["LastExecutionPipelineExecutionArn"] = execution.arn
        self._run(execution)
        return {"PipelineExecutionArn": execution.arn}

    def _run(self, execution: Execution, *, before: str | None = None) -> None:
        name = execution.arn.rpartition("/")[2]
        self._control.start(lambda: self._interpreter.run(execution, before=before), name=name)

    def _execution(self, request: Record, pipeline: Pipeline, caller: Caller) -> Execution:
        """A new execution as a request wants it, which refuses what it cannot have."""
        if "MlflowExperimentName" in request:
            raise not_modelled("StartPipelineExecution with MlflowExperimentName")
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
        selected, runs = self._selection(request, pipeline, version)
        now = api.now()
        execution_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
        settings = {"ParallelismConfiguration": pipeline.record.get("ParallelismConfiguration")} | request
        execution = Execution(
            record={name: value for name, value in settings.items() if name in _STARTED and value is not None}
            | {
                "PipelineArn": pipeline.record["PipelineArn"],
                "PipelineExecutionArn": f"{pipeline.record['PipelineArn']}/execution/{execution_id}",
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
            selected=selected,
            runs=runs,
        )
        _name_experiment(execution)
        return execution

    def _selection(
        self, request: Record, pipeline: Pipeline, version: int
    ) -> tuple[frozenset[str] | None, dict[str, Run]]:
        """The selected steps, None for all, and the runs they take from their source."""
        config = request.get("SelectiveExecutionConfig")
        if config is None:
            return None, {}
        definition = pipeline.versions[version - 1][1]
        selected, wanted = selected_steps(definition, config), config.get("SourcePipelineExecutionArn")
        source = next((execution for execution in pipeline.executions if execution.arn == wanted), None)
        if wanted is not None and source is None:
            raise invalid(
                f"Invalid SourcePipelineExecutionArn: {wanted}. It is no execution of {pipeline.record['PipelineArn']}"
            )
        known = (source.arn, source.status, source.runs) if source else None
        return selected, reused_runs(definition, selected, known)

    def _retry(self, request: Record, _caller: Caller) -> Record:
        token = request.pop("ClientRequestToken")
        with self._control.changed:
            known = self._store.repeated("RetryPipelineExecution", token, request)
            if known:
                return {"PipelineExecutionArn": known}
            execution = self._store.execution(request)
            before = execution.status
            if before not in ("Failed", "Stopped"):
                raise invalid(f"Only a failed or stopped pipeline execution can be retried, this one is {before}")
            self._store.remember("RetryPipelineExecution", token, request, execution.arn)
            execution.begin_again()
            execution.record |= {
                **{name: request[name] for name in ("ParallelismConfiguration",) if name in request},
                "PipelineExecutionStatus": "Executing",
                "LastModifiedTime": api.now(),
            }
        self._run(execution, before=before)
        return {"PipelineExecutionArn": execution.arn}

    def _stop(self, request: Record, _caller: Caller) -> Record:
        execution = self._store.execution(request)
        self._interpreter.halt(execution)
        return {"PipelineExecutionArn": execution.arn}

    def _update(self, request: Record, _caller: Caller) -> Record:
        execution = self._store.execution(request)
        with self._control.changed:
            execution.record |= {name: value for name, value in request.items() if name in _STARTED}
            execution.record["LastModifiedTime"] = api.now()
        return {"PipelineExecutionArn": execution.arn}

    def _describe(self, request: Record, _caller: Caller) -> Record:
        return api.output("DescribePipelineExecution", self._store.execution(request).record)

    def _describe_definition(self, request: Record, _caller: Caller) -> Record:
        execution = self._store.execution(request)
        return {"PipelineDefinition": execution.definition.text, "CreationTime": execution.record["CreationTime"]}

    def _list(self, request: Record, caller: Caller) -> Record:
        pipeline = self._store.pipeline(request.pop("PipelineName"), caller)
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
            steps = [dict(run.record) for run in self._store.execution(request).runs.values()]
        if request.get("SortOrder", "Descending") == "Descending":
            steps.reverse()
        return paginate(request, "PipelineExecutionSteps", steps)

    def _list_parameters(self, request: Record, _caller: Caller) -> Record:
        values = self._store.execution(request).values
        shown = [{"Name": name, "Value": text_of(value)} for name, value in values.items()]
        return paginate(request, "PipelineParameters", shown)


def _name_experiment(execution: Execution) -> None:
    """Resolve PipelineExperimentConfig into the execution's record."""
    scope = Scope(execution.values, execution.variable, _nothing_to_read)
    try:
        config: Record = scope.resolve(execution.definition.experiment or {})
    except ExpressionError as error:
        raise invalid(f"PipelineExperimentConfig: {error}") from error
    if config:
        execution.record["PipelineExperimentConfig"] = config


def _nothing_to_read(uri: str) -> bytes:
    raise ExpressionError(f"{uri} cannot be read before the execution starts")
