"""The executions of one pipeline: found by any name a run goes by, with their parameters, steps and jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.observer import StepRecord, read_steps

from .environment import EnvironmentClient, EnvironmentTrouble

LAST = "last"
_ENDED = ("Succeeded", "Failed", "Stopped")
_POLL_S = 1.0
_SHORTEST_TOKEN = 32
_DESCRIBE = {
    "ProcessingJob": ("describe_processing_job", "ProcessingJobName"),
    "TrainingJob": ("describe_training_job", "TrainingJobName"),
    "TuningJob": ("describe_hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
    "TransformJob": ("describe_transform_job", "TransformJobName"),
}


def is_job(step: StepRecord) -> bool:
    """Whether a step is a job, which Describe calls know."""
    return step.type in _DESCRIBE and bool(step.resource)


def outputs_of(job: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and URIs of what a job wrote; a model's name is empty, of a tuning job it is the folder of all models."""
    if "ModelArtifacts" in job:
        yield "", job["ModelArtifacts"]["S3ModelArtifacts"]
    if "TrainingJobDefinition" in job:
        yield "", job["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"]
    for output in job.get("ProcessingOutputConfig", {}).get("Outputs", []):
        yield output["OutputName"], output["S3Output"]["S3Uri"].rstrip("/") + "/"


class Executions:
    """The executions of an environment's pipeline, `pipeline` if it is not the deployed one."""

    def __init__(self, environment: EnvironmentClient, *, pipeline: str | None = None) -> None:
        self.pipeline = pipeline or environment["PipelineName"]
        self._sagemaker = environment.client("sagemaker")

    def newest_first(self) -> Iterator[dict[str, Any]]:
        """Summaries as ListPipelineExecutions has them."""
        pages = self._sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=self.pipeline, SortBy="CreationTime", SortOrder="Descending"
        )
        for page in pages:
            yield from page["PipelineExecutionSummaries"]

    def find(self, run: str) -> str:
        """The ARN of the execution that `run` names: its ARN or id, the outer loop's run id, or `last`.

        Raises EnvironmentTrouble when there is none.
        """
        for summary in self.newest_first():
            arn: str = summary["PipelineExecutionArn"]
            # the outer loop writes its run id into the description
            if run in (LAST, arn, arn.rpartition("/")[2], summary.get("PipelineExecutionDescription")):
                return arn
        if run == LAST:
            raise EnvironmentTrouble(f"pipeline {self.pipeline} has no executions yet: start a run first")
        raise EnvironmentTrouble(
            f"pipeline {self.pipeline} has no run {run!r}: give a run id of the outer loop, the id or ARN of a "
            "pipeline execution, or last"
        )

    def deployed(self) -> str:
        """The definition that the next execution would run, as JSON text."""
        text: str = self._sagemaker.describe_pipeline(PipelineName=self.pipeline)["PipelineDefinition"]
        return text

    def start(self, values: Mapping[str, str]) -> str:
        """Start an execution with these parameters and return its ARN."""
        started = self._sagemaker.start_pipeline_execution(
            PipelineName=self.pipeline,
            PipelineParameters=[{"Name": name, "Value": value} for name, value in sorted(values.items())],
        )
        arn: str = started["PipelineExecutionArn"]
        return arn

    def follow(self, arn: str, narrator: Narrator, *, poll_s: float = _POLL_S) -> str:
        """Tell each step as it ends until the execution has ended, and return its status."""
        told: set[str] = set()
        while True:
            status: str = self.describe(arn)["PipelineExecutionStatus"]
            for step in self.steps(arn):
                if step.ended_at and step.name not in told:
                    told.add(step.name)
                    detail = " (from the cache)" if step.cached else ""
                    narrator.say(f"{step.name}: {step.status.lower()}, {step.duration_s:.0f} s{detail}")
            if status in _ENDED:
                return status
            time.sleep(poll_s)

    def stop_all(self, narrator: Narrator) -> None:
        """Stop every execution that still runs, and wait until it has stopped."""
        for summary in self.newest_first():
            arn: str = summary["PipelineExecutionArn"]
            if summary["PipelineExecutionStatus"] in _ENDED:
                continue
            id_ = arn.rpartition("/")[2]
            narrator.say(f"stopping {id_}")
            self._sagemaker.stop_pipeline_execution(
                PipelineExecutionArn=arn, ClientRequestToken=id_.ljust(_SHORTEST_TOKEN, "0")
            )
            while self.describe(arn)["PipelineExecutionStatus"] not in _ENDED:
                time.sleep(_POLL_S)

    def describe(self, arn: str) -> dict[str, Any]:
        """An execution as DescribePipelineExecution answers it."""
        described: dict[str, Any] = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        return described

    def parameters(self, arn: str) -> dict[str, str]:
        """The parameters that an execution was started with, by name; defaults are not among them."""
        pages = self._sagemaker.get_paginator("list_pipeline_parameters_for_execution").paginate(
            PipelineExecutionArn=arn
        )
        return {given["Name"]: given["Value"] for page in pages for given in page["PipelineParameters"]}

    def definition(self, arn: str) -> str:
        """The definition that an execution ran, as JSON text."""
        answer = self._sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
        text: str = answer["PipelineDefinition"]
        return text

    def steps(self, arn: str) -> tuple[StepRecord, ...]:
        """The steps of an execution that have started, in order of their start."""
        return tuple(read_steps(self._sagemaker, arn))

    def job(self, step: StepRecord) -> dict[str, Any]:
        """The job of a step as its Describe call answers it.

        Raises EnvironmentTrouble when the step is no job.
        """
        if not is_job(step):
            raise EnvironmentTrouble(f"step {step.name} runs no job: it is a {step.type or 'step without result'}")
        operation, name = _DESCRIBE[step.type]
        described: dict[str, Any] = getattr(self._sagemaker, operation)(**{name: step.resource.rpartition("/")[2]})
        return described
