"""SageMaker steps as the platform wants them: its roles, key, isolation, tags, time limits, caching and retries.

A project's `pipeline.py` builds its pipeline from these. Only `python -m pipeline_code.compile` imports this module,
for the SDK takes seconds to import.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.lambda_helper import Lambda
from sagemaker.core.network import NetworkConfig
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import (
    CheckpointConfig,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
)
from sagemaker.core.transformer import Transformer
from sagemaker.core.workflow.conditions import (
    Condition,
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
)
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import (
    Parameter,
    ParameterBoolean,
    ParameterFloat,
    ParameterInteger,
    ParameterString,
)
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
from sagemaker.mlops.workflow.pipeline_experiment_config import PipelineExperimentConfig
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, Step, TrainingStep, TransformStep, TuningStep
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, Networking, StoppingCondition, Tag
from sagemaker.train.tuner import HyperparameterTuner

from dual_pipeline.hyperparameters import Choices, IntegerRange, Limits
from dual_pipeline.instance_types import takes_volume_key
from dual_pipeline.loop_contract import (
    OFFLINE,
    PARAMETER_RUN_ID,
    STEP_BAD_PARAMETERS,
    TAG_COST_CENTER,
    TAG_ENVIRONMENT,
    TAG_PROJECT,
    TAG_RUN,
)
from dual_pipeline.model_project import ModelProject
from dual_pipeline.pipeline_parameters import PipelineParameter, hyperparameter_name, pipeline_parameters
from dual_pipeline.placeholders import PLACEHOLDERS, code_file, code_uri

Uri: TypeAlias = str | PipelineVariable
Image: TypeAlias = Literal["xgboost", "sklearn", "spark"]

_TYPES = {
    "String": ParameterString,
    "Integer": ParameterInteger,
    "Float": ParameterFloat,
    "Boolean": ParameterBoolean,
}
_CACHE = CacheConfig(enable_caching=True, expire_after="P30D")
# One of the metrics that the XGBoost image defines itself; AWS refuses MetricDefinitions for its own image:
# https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html
_OBJECTIVE = "validation:auc"
_KMS_KEY = PLACEHOLDERS["kms_key_arn"]
_AS_IN_TRAINING = (
    "CheckpointConfig",
    "EnableManagedSpotTraining",
    "EnableNetworkIsolation",
    "Environment",
    "ResourceConfig",
    "StoppingCondition",
)
_CHECKPOINTS = "/opt/ml/checkpoints"


class SageMakerJobs:
    """The steps of one project's pipeline; `parameters` are the pipeline's, by name, `folders` those whose code runs.

    A step named `Train` runs the code of the folder `train`, and writes below `train` in its execution's folder.
    """

    def __init__(self, session: PipelineSession, project: ModelProject) -> None:
        self.session = session
        self.project = project
        self._declared = pipeline_parameters(project)
        self.folders: set[str] = set()
        self.parameters: Mapping[str, Parameter] = {each.name: _declare(each) for each in self._declared}

    def checked(self, name: str, *, steps: Sequence[Step]) -> ConditionStep:
        """Run `steps` only if every number given to the execution lies in its range; else fail with a sentence.

        Types and enumerations are refused by the service when the execution starts.
        """
        ranged = [each for each in self._declared if each.low is not None]
        conditions: list[Condition] = []
        message: list[str | PipelineVariable] = ["a parameter is out of its range: "]
        for each in ranged:
            parameter = self.parameters[each.name]
            conditions.append(ConditionGreaterThanOrEqualTo(left=parameter, right=self._bound(each.low)))
            conditions.append(ConditionLessThanOrEqualTo(left=parameter, right=self._bound(each.high)))
            message += [f"{each.name} {each.range} (got ", parameter, "); "]
        message[-1] = ")"
        bad = FailStep(name=STEP_BAD_PARAMETERS, error_message=Join(on="", values=message))
        return ConditionStep(name=name, conditions=conditions, if_steps=list(steps), else_steps=[bad])

    def processing(
        self,
        name: str,
        *,
        image: Image,
        inputs: Mapping[str, Uri],
        outputs: Sequence[str],
        arguments: Sequence[str | PipelineVariable] = (),
        sharded: Sequence[str] = (),
        property_files: Sequence[PropertyFile] = (),
    ) -> ProcessingStep:
        """A processing step; its code gets each input as a folder, `--input-<name>`, each output as `--output-<name>`.

        The files of `sharded` inputs are shared out among ProcessingInstanceCount instances; the step then learns from
        `--resource-config` which one it is.
        """
        step, root = name.lower(), "/opt/ml/processing"
        self.folders.add(step)
        command = ["smspark-submit"] if image == "spark" else ["python3"]
        processor = Processor(
            role=PLACEHOLDERS["processing_role_arn"],
            image_uri=PLACEHOLDERS[f"{image}_image"],
            entrypoint=[*command, f"{root}/input/code/{code_file(step)}"],
            instance_count=self.parameters["ProcessingInstanceCount"] if sharded else 1,
            instance_type=self.parameters["ProcessingInstanceType"],
            volume_size_in_gb=self.parameters["VolumeSizeInGB"],
            volume_kms_key=_KMS_KEY if takes_volume_key(self.project.instances.processing) else None,
            output_kms_key=_KMS_KEY,
            max_runtime_in_seconds=self.parameters["MaxRuntimeInSeconds"],
            network_config=NetworkConfig(enable_network_isolation=True),
            tags=self.tags(),
            sagemaker_session=self.session,
        )
        folders = [f"--input-{each}={root}/input/{each}" for each in inputs]
        folders += [f"--output-{each}={root}/output/{each}" for each in outputs]
        folders += ["--resource-config=/opt/ml/config/resourceconfig.json"] if sharded else []
        step_args = processor.run(
            inputs=[
                ProcessingInput(
                    input_name=each,
                    s3_input=ProcessingS3Input(
                        s3_uri=uri,
                        s3_data_type="S3Prefix",
                        s3_input_mode="File",
                        s3_data_distribution_type="ShardedByS3Key" if each in sharded else "FullyReplicated",
                        local_path=f"{root}/input/{each}",
                    ),
                )
                for each, uri in {"code": code_uri(step), **inputs}.items()
            ],
            outputs=[
                ProcessingOutput(
                    output_name=each,
                    s3_output=ProcessingS3Output(
                        s3_uri=self.output_uri(step, *([each] if len(outputs) > 1 else [])),
                        s3_upload_mode="EndOfJob",
                        local_path=f"{root}/output/{each}",
                    ),
                )
                for each in outputs
            ],
            arguments=[*folders, *arguments],
        )
        return ProcessingStep(
            name=name,
            step_args=step_args,
            property_files=list(property_files),
            cache_config=_CACHE,
            retry_policies=self.retries(),
        )

    def training(self, name: str, *, channels: Mapping[str, Uri]) -> TrainingStep:
        """A training step in script mode: the project's hyperparameters, a folder per channel."""
        step = name.lower()
        step_args = self._trainer(step, output=step).train(input_data_config=_channels(step, channels))
        return TrainingStep(name=name, step_args=step_args, cache_config=_CACHE, retry_policies=self.retries())

    def tuning(self, name: str, *, trains: str, channels: Mapping[str, Uri]) -> TuningStep:
        """A tuning step whose jobs are those of the training step `trains`, with some hyperparameters searched."""
        tuning = self.project.tuning
        assert tuning is not None
        step = trains.lower()
        trainer = self._trainer(step, output=name.lower())
        # The tuner takes no pipeline variables for numbers; the step puts them in afterwards.
        trainer.compute = Compute(instance_count=1)
        trainer.stopping_condition = None
        tuner = HyperparameterTuner(
            model_trainer=trainer,
            objective_metric_name=_OBJECTIVE,
            objective_type="Maximize",
            hyperparameter_ranges={each: _tuned(limits) for each, limits in sorted(tuning.ranges.items())},
            strategy=tuning.strategy,
            max_jobs=tuning.max_jobs,
            max_parallel_jobs=tuning.max_parallel_jobs,
            random_seed=17,
            tags=self.tags(),
        )
        training = self.training(trains, channels=channels)

        def complete(request: dict[str, Any]) -> None:
            request["HyperParameterTuningJobConfig"]["ResourceLimits"] = {
                "MaxNumberOfTrainingJobs": self.parameters["TuningMaxJobs"],
                "MaxParallelTrainingJobs": self.parameters["TuningMaxParallelJobs"],
            }
            like = training.arguments
            request["TrainingJobDefinition"] |= {
                **{member: like[member] for member in _AS_IN_TRAINING if member in like},
                # A policy of the step does not retry its jobs' internal errors:
                # https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
                "RetryStrategy": {"MaximumRetryAttempts": 3},
            }

        return _TuningStep(
            name=name,
            step_args=tuner.tune(inputs=_channels(step, channels)),
            complete=complete,
            cache_config=_CACHE,
            retry_policies=self.retries(internal=False),
        )

    def tuned_model_uri(self, tuning: TuningStep) -> Join:
        """The best model of a tuning step, which lies under the execution that really ran it, cached or not."""
        properties = tuning.properties
        folder = properties.TrainingJobDefinition.OutputDataConfig.S3OutputPath
        return Join(on="/", values=[folder, properties.BestTrainingJob.TrainingJobName, "output", "model.tar.gz"])

    def transform(self, name: str, *, model_name: Uri, data: Uri) -> TransformStep:
        """A transform step: score every line of the CSV files below `data`."""
        scoring = self.project.optional_steps.batch_scoring
        assert scoring is not None
        transformer = Transformer(
            model_name=model_name,
            instance_count=1,
            instance_type=self.parameters["ScoringInstanceType"],
            strategy="MultiRecord",
            assemble_with="Line",
            accept="application/json",
            output_path=self.output_uri(name.lower()),
            output_kms_key=_KMS_KEY,
            volume_kms_key=_KMS_KEY if takes_volume_key(scoring.instance) else None,
            tags=self.tags(),
            sagemaker_session=self.session,
        )
        step_args = transformer.transform(data=data, content_type="text/csv", split_type="Line")

        def complete(request: dict[str, Any]) -> None:
            request["TransformResources"]["InstanceCount"] = self.parameters["ScoringInstanceCount"]

        return _TransformStep(
            name=name, step_args=step_args, complete=complete, cache_config=_CACHE, retry_policies=self.retries()
        )

    def callback(self, name: str, *, inputs: Mapping[str, Uri]) -> CallbackStep:
        """Ask an outside system, through the project's queue; it answers by the SageMaker API, with a note."""
        return CallbackStep(
            name=name,
            sqs_queue_url=PLACEHOLDERS["external_check_queue_url"],
            inputs=dict(inputs),
            outputs=[CallbackOutput(output_name="note", output_type=CallbackOutputTypeEnum.String)],
        )

    def function(self, name: str, *, inputs: Mapping[str, Uri]) -> LambdaStep:
        """Call the project's own function, `handler` in `<name>/handler.py`, which refuses by raising."""
        self.folders.add(name.lower())
        return LambdaStep(
            name=name,
            lambda_func=Lambda(function_arn=PLACEHOLDERS[f"{name.lower()}_function_arn"], session=self.session),
            inputs=dict(inputs),
            outputs=[LambdaOutput(output_name="note", output_type=LambdaOutputTypeEnum.String)],
        )

    def output_uri(self, *path: str) -> Join:
        """Where this execution writes: `s3://<artifact bucket>/<project>/<executions folder>/<execution id>/<path>`."""
        root = f"{self._project_uri()}/{PLACEHOLDERS['executions_folder']}"
        return Join(on="/", values=[root, ExecutionVariables.PIPELINE_EXECUTION_ID, *path])

    def experiment(self) -> PipelineExperimentConfig | None:
        """An experiment per pipeline and a trial per execution, if the project tracks experiments."""
        if not self.project.experiments:
            return None
        return PipelineExperimentConfig(ExecutionVariables.PIPELINE_NAME, ExecutionVariables.PIPELINE_EXECUTION_ID)

    def retries(
        self, *, job: bool = True, internal: bool = True
    ) -> list[StepRetryPolicy | SageMakerJobStepRetryPolicy]:
        """Retry what passes by itself: throttling, faults of the service; of a job also no capacity or a full quota.

        Which steps and exceptions: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
        """
        calls = StepRetryPolicy(
            exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
            interval_seconds=10,
            max_attempts=5,
        )
        errors = SageMakerJobExceptionTypeEnum
        jobs = SageMakerJobStepRetryPolicy(
            exception_types=[errors.RESOURCE_LIMIT],
            failure_reason_types=[errors.CAPACITY_ERROR, *([errors.INTERNAL_ERROR] if internal else [])],
            interval_seconds=60,
            max_attempts=5,
        )
        return [calls, jobs] if job else [calls]

    def _trainer(self, step: str, *, output: str) -> ModelTrainer:
        """Script mode; the code comes through a channel of its own, so that it also arrives under network isolation."""
        self.folders.add(step)
        training = self.project.training
        limits = {"max_runtime_in_seconds": self.parameters["MaxRuntimeInSeconds"]}
        if training.spot:
            limits["max_wait_time_in_seconds"] = self.parameters["MaxWaitTimeInSeconds"]
        return ModelTrainer(
            role=PLACEHOLDERS["training_role_arn"],
            training_image=PLACEHOLDERS["xgboost_image"],
            hyperparameters={
                **{
                    name: self.parameters[hyperparameter_name(name)].to_string()
                    for name in self.project.declared_hyperparameters
                },
                "device": training.device,
                "sagemaker_program": f"{step}.py",
                "sagemaker_submit_directory": f"/opt/ml/input/data/code/{code_file(step)}",
            },
            environment=OFFLINE | ({"CHECKPOINT_DIR": _CHECKPOINTS} if training.spot else {}),
            compute=Compute.model_construct(
                instance_type=self.parameters["TrainingInstanceType"],
                instance_count=1,
                volume_size_in_gb=self.parameters["VolumeSizeInGB"],
                volume_kms_key_id=_KMS_KEY if takes_volume_key(self.project.instances.training) else None,
                enable_managed_spot_training=training.spot or None,
            ),
            stopping_condition=StoppingCondition.model_construct(**limits),
            # A fixed prefix: an execution's id would defeat caching, and keep a new execution from going on.
            checkpoint_config=CheckpointConfig(
                s3_uri=f"{self._project_uri()}/checkpoints/{step}", local_path=_CHECKPOINTS
            )
            if training.spot
            else None,
            output_data_config=OutputDataConfig(s3_output_path=self.output_uri(output), kms_key_id=_KMS_KEY),
            networking=Networking(enable_network_isolation=True),
            tags=[Tag.model_construct(key=each["Key"], value=each["Value"]) for each in self.tags()],
            sagemaker_session=self.session,
        )

    def _project_uri(self) -> str:
        return f"s3://{PLACEHOLDERS['artifact_bucket']}/{self.project.name}"

    def _bound(self, bound: float | str | None) -> Any:
        return self.parameters[bound] if isinstance(bound, str) else bound

    def tags(self) -> list[dict[str, Any]]:
        """The tags of every job and model."""
        tags = {
            TAG_ENVIRONMENT: PLACEHOLDERS["environment"],
            TAG_PROJECT: self.project.name,
            TAG_RUN: self.parameters[PARAMETER_RUN_ID],
            TAG_COST_CENTER: PLACEHOLDERS["cost_center"],
        }
        return [{"Key": key, "Value": value} for key, value in tags.items()]


class _Completed:
    """A step whose compiled arguments `complete` finishes: the SDK drops some, or takes no variables for them."""

    def __init__(self, *, complete: Callable[[dict[str, Any]], None], **given: Any) -> None:
        self._complete = complete
        super().__init__(**given)

    @property
    def arguments(self) -> Any:
        request = super().arguments  # type: ignore[misc]
        self._complete(request)
        return request


class _TuningStep(_Completed, TuningStep):  # type: ignore[misc, unused-ignore]
    pass


class _TransformStep(_Completed, TransformStep):  # type: ignore[misc, unused-ignore]
    pass


def folder(step: ProcessingStep, output: str) -> PipelineVariable:
    """Where a processing step wrote one of its outputs, be it in this execution or in the one it is cached from."""
    return step.properties.ProcessingOutputConfig.Outputs[output].S3Output.S3Uri


def _declare(parameter: PipelineParameter) -> Parameter:
    given: dict[str, Any] = {"name": parameter.name, "default_value": parameter.default}
    if parameter.choices:
        given["enum_values"] = list(parameter.choices)
    return _TYPES[parameter.type](**given)


def _channels(step: str, channels: Mapping[str, Uri]) -> list[InputData]:
    return [InputData(channel_name=name, data_source=uri) for name, uri in {"code": code_uri(step), **channels}.items()]


def _tuned(limits: Limits) -> IntegerParameter | ContinuousParameter | CategoricalParameter:
    if isinstance(limits, Choices):
        return CategoricalParameter(list(limits.values))
    kind = IntegerParameter if isinstance(limits, IntegerRange) else ContinuousParameter
    return kind(limits.low, limits.high, scaling_type=limits.scale)
