"""The inner loop of this project: preprocess -> train -> evaluate -> register, if the model passes its gate.

`make compile` runs `build` and writes definition.json. Outputs lie under the execution's id; inputs never carry it, so
that a step whose code, data and settings are unchanged is taken from the cache. Evaluate is not cached: its report must
lie under the execution that asks for it.
"""

from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.workflow.conditions import ConditionEquals, ConditionGreaterThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder

from dual_pipeline.loop_contract import PARAMETER_APPROVAL_STATUS, PARAMETER_RUN_ID, PARAMETER_SNAPSHOT_URI
from dual_pipeline.placeholders import PLACEHOLDERS
from pipeline_code.sagemaker_jobs import SageMakerJobs

from .contract import EVALUATION_FILE, GATE_PASSED_PATH
from .project import CENSUS

CACHE = CacheConfig(enable_caching=True, expire_after="P7D")


def build(session: PipelineSession) -> Pipeline:
    """The pipeline; its name is given by the stack that deploys it."""
    jobs = SageMakerJobs(session, CENSUS)
    parameters = jobs.parameters

    preprocess = ProcessingStep(
        name="Preprocess",
        step_args=jobs.processing(
            "preprocess",
            inputs={"snapshot": parameters[PARAMETER_SNAPSHOT_URI]},
            outputs=["train", "validation", "holdout", "encoding"],
            arguments=["--seed=17"],
        ),
        cache_config=CACHE,
        retry_policies=jobs.retries(),
    )
    prepared = preprocess.properties.ProcessingOutputConfig.Outputs

    train = TrainingStep(
        name="Train",
        step_args=jobs.training(
            "train",
            channels={name: prepared[name].S3Output.S3Uri for name in ("train", "validation", "encoding")},
        ),
        cache_config=CACHE,
        retry_policies=jobs.retries(),
    )
    model_uri = train.properties.ModelArtifacts.S3ModelArtifacts

    report = PropertyFile(name="EvaluationReport", output_name="evaluation", path=EVALUATION_FILE)
    evaluate = ProcessingStep(
        name="Evaluate",
        step_args=jobs.processing(
            "evaluate",
            inputs={
                "model": model_uri,
                "train": prepared["train"].S3Output.S3Uri,
                "holdout": prepared["holdout"].S3Output.S3Uri,
            },
            outputs=["evaluation"],
            arguments=[
                "--min-auc",
                parameters["MinAuc"].to_string(),
                "--min-accuracy",
                parameters["MinAccuracy"].to_string(),
                "--seed=17",
            ],
        ),
        property_files=[report],
        retry_policies=jobs.retries(),
    )
    evaluation_uri = Join(
        on="/",
        values=[
            evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri,
            EVALUATION_FILE,
        ],
    )

    model = ModelBuilder(
        image_uri=PLACEHOLDERS["xgboost_image"],
        s3_model_data_url=model_uri,
        env_vars={"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
        role_arn=PLACEHOLDERS["processing_role_arn"],
        sagemaker_session=session,
    )
    register = ModelStep(
        name="Register",
        step_args=model.register(
            model_package_group_name=PLACEHOLDERS["model_package_group"],
            approval_status=parameters[PARAMETER_APPROVAL_STATUS],
            content_types=["text/csv", "application/json"],
            response_types=["application/json"],
            model_metrics=ModelMetrics(
                model_statistics=MetricsSource(content_type="application/json", s3_uri=evaluation_uri)
            ),
            customer_metadata_properties={
                "run_id": parameters[PARAMETER_RUN_ID],
                "snapshot_uri": parameters[PARAMETER_SNAPSHOT_URI],
                "execution_id": ExecutionVariables.PIPELINE_EXECUTION_ID,
            },
        ),
    )

    def reported(path: str) -> JsonGet:
        return JsonGet(step_name=evaluate.name, property_file=report, json_path=path)

    # A refused model is no failure: the execution succeeds without a package and the report says why.
    gate = ConditionStep(
        name="Gate",
        conditions=[
            ConditionEquals(left=reported(GATE_PASSED_PATH), right=True),
            ConditionGreaterThanOrEqualTo(
                left=reported("binary_classification_metrics.auc.value"), right=parameters["MinAuc"]
            ),
            ConditionGreaterThanOrEqualTo(
                left=reported("binary_classification_metrics.accuracy.value"), right=parameters["MinAccuracy"]
            ),
        ],
        if_steps=[register],
    )
    return Pipeline(
        name=CENSUS.name,
        parameters=list(parameters.values()),
        steps=[preprocess, train, evaluate, gate],
        pipeline_experiment_config=None,
        sagemaker_session=session,
    )
