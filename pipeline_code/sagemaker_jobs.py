"""SageMaker jobs as the platform wants them: its roles, key, isolation, tags, time limit and retries.

A project's `pipeline.py` builds its steps from these. Only `python -m pipeline_code.compile` imports this module, for
the SDK takes seconds to import.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.network import NetworkConfig
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import (
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
)
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, Networking, StoppingCondition, Tag

from dual_pipeline.definition import hyperparameter_name, parameter_defaults
from dual_pipeline.loop_contract import (
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_REASON,
    TAG_COST_CENTER,
    TAG_ENVIRONMENT,
    TAG_PROJECT,
    TAG_RUN,
)
from dual_pipeline.model_project import ModelProject
from dual_pipeline.placeholders import PLACEHOLDERS

Uri: TypeAlias = str | PipelineVariable

_PARAMETER_TYPES = {str: ParameterString, int: ParameterInteger, float: ParameterFloat}


class SageMakerJobs:
    """The jobs of one project's pipeline; `parameters` are the pipeline's, by name."""

    def __init__(self, session: PipelineSession, project: ModelProject) -> None:
        self.session = session
        self.project = project
        declared: list[Parameter] = [
            ParameterString(name=PARAMETER_SNAPSHOT_URI),
            ParameterString(name=PARAMETER_RUN_ID, default_value="none"),
            ParameterString(name=PARAMETER_TRIGGER_REASON, default_value="person"),
            ParameterString(
                name=PARAMETER_APPROVAL_STATUS,
                default_value="PendingManualApproval",
                enum_values=["PendingManualApproval", "Approved"],
            ),
            *(
                _PARAMETER_TYPES[type(value)](name=name, default_value=value)
                for name, value in parameter_defaults(project).items()
            ),
        ]
        self.parameters: Mapping[str, Parameter] = {parameter.name: parameter for parameter in declared}

    def processing(
        self,
        step: str,
        *,
        inputs: Mapping[str, Uri],
        outputs: Sequence[str],
        arguments: Sequence[str | PipelineVariable],
    ) -> object:
        """Step arguments of a processing job that runs the code of `<project>/<step>/`.

        Each input is read as a folder, `--input-<name>`; each output written as one, `--output-<name>`.
        """
        code = "/opt/ml/processing/input/code"
        processor = Processor(
            role=PLACEHOLDERS["processing_role_arn"],
            image_uri=PLACEHOLDERS["xgboost_image"],
            entrypoint=["python3", f"{code}/{PLACEHOLDERS[f'{step}_code_file']}"],
            instance_count=1,
            instance_type=self.parameters["ProcessingInstanceType"],
            volume_size_in_gb=self.parameters["VolumeSizeInGB"],
            volume_kms_key=PLACEHOLDERS["kms_key_arn"],
            output_kms_key=PLACEHOLDERS["kms_key_arn"],
            max_runtime_in_seconds=self.parameters["MaxRuntimeInSeconds"],
            network_config=NetworkConfig(enable_network_isolation=True),
            tags=[{"Key": key, "Value": value} for key, value in self._tags().items()],
            sagemaker_session=self.session,
        )
        sources = {"code": PLACEHOLDERS[f"{step}_code_uri"], **inputs}
        folders = [f"--input-{name}=/opt/ml/processing/input/{name}" for name in inputs]
        folders += [f"--output-{name}=/opt/ml/processing/output/{name}" for name in outputs]
        return processor.run(
            inputs=[
                ProcessingInput(
                    input_name=name,
                    s3_input=ProcessingS3Input(
                        s3_uri=uri,
                        s3_data_type="S3Prefix",
                        s3_input_mode="File",
                        local_path=f"/opt/ml/processing/input/{name}",
                    ),
                )
                for name, uri in sources.items()
            ],
            outputs=[
                ProcessingOutput(
                    output_name=name,
                    s3_output=ProcessingS3Output(
                        s3_uri=self.output_uri(step, *([name] if len(outputs) > 1 else [])),
                        s3_upload_mode="EndOfJob",
                        local_path=f"/opt/ml/processing/output/{name}",
                    ),
                )
                for name in outputs
            ],
            arguments=[*folders, *arguments],
        )

    def training(self, step: str, *, channels: Mapping[str, Uri]) -> object:
        """Step arguments of a training job in script mode: the project's hyperparameters, a folder per channel.

        The code comes through a channel of its own, so that it also arrives under network isolation.
        """
        hyperparameters: dict[str, str | PipelineVariable] = {
            name: self.parameters[hyperparameter_name(name)].to_string() for name in self.project.hyperparameters
        }
        trainer = ModelTrainer(
            role=PLACEHOLDERS["training_role_arn"],
            training_image=PLACEHOLDERS["xgboost_image"],
            hyperparameters={
                **hyperparameters,
                "sagemaker_program": f"{step}.py",
                "sagemaker_submit_directory": f"/opt/ml/input/data/code/{PLACEHOLDERS[f'{step}_code_file']}",
            },
            compute=Compute.model_construct(
                instance_type=self.parameters["TrainingInstanceType"],
                instance_count=1,
                volume_size_in_gb=self.parameters["VolumeSizeInGB"],
                volume_kms_key_id=PLACEHOLDERS["kms_key_arn"],
            ),
            stopping_condition=StoppingCondition.model_construct(
                max_runtime_in_seconds=self.parameters["MaxRuntimeInSeconds"]
            ),
            output_data_config=OutputDataConfig(
                s3_output_path=self.output_uri(step), kms_key_id=PLACEHOLDERS["kms_key_arn"]
            ),
            networking=Networking(enable_network_isolation=True),
            tags=[Tag.model_construct(key=key, value=value) for key, value in self._tags().items()],
            sagemaker_session=self.session,
        )
        sources = {"code": PLACEHOLDERS[f"{step}_code_uri"], **channels}
        return trainer.train(
            input_data_config=[InputData(channel_name=name, data_source=uri) for name, uri in sources.items()]
        )

    def output_uri(self, *path: str) -> Join:
        """Where this execution writes: `s3://<artifact bucket>/<project>/executions/<execution id>/<path>`."""
        root = f"s3://{PLACEHOLDERS['artifact_bucket']}/{self.project.name}/executions"
        return Join(on="/", values=[root, ExecutionVariables.PIPELINE_EXECUTION_ID, *path])

    def retries(self) -> list[StepRetryPolicy | SageMakerJobStepRetryPolicy]:
        """Retry what passes by itself: throttling, faults of the service, no capacity, a full quota."""
        return [
            StepRetryPolicy(
                exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
                interval_seconds=10,
                max_attempts=5,
            ),
            SageMakerJobStepRetryPolicy(
                exception_types=[SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT],
                failure_reason_types=[
                    SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
                    SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
                ],
                interval_seconds=60,
                max_attempts=5,
            ),
        ]

    def _tags(self) -> dict[str, str | PipelineVariable]:
        return {
            TAG_ENVIRONMENT: PLACEHOLDERS["environment"],
            TAG_PROJECT: self.project.name,
            TAG_RUN: self.parameters[PARAMETER_RUN_ID],
            TAG_COST_CENTER: PLACEHOLDERS["cost_center"],
        }
