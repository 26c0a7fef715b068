"""One step's run in an execution, and the ways in which it ends other than well."""

from dataclasses import dataclass, field

from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.pipelines.step import Step


class StepFailed(Exception):
    """A step failed; `str()` is its FailureReason. `ends` is set for a Fail step, whose message the execution takes."""

    def __init__(self, reason: str, *, ends: bool = False) -> None:
        super().__init__(reason[:1024])
        self.ends = ends


class StepStopped(Exception):
    """A step was stopped with its execution."""


@dataclass
class Run:
    """One step's run, its record as ListPipelineExecutionSteps answers it."""

    step: Step
    record: Record
    properties: Record = field(default_factory=dict)

    @property
    def status(self) -> str:
        """StepStatus."""
        status: str = self.record["StepStatus"]
        return status
