"""The inner loop of this project, in terms of the SageMaker Python SDK; `make compile` writes definition.json from it.

    CheckParameters -> Preprocess -> Train, Tune, Baseline -> Evaluate -> Gate -> Register

`project.py` switches steps on and off. Outputs lie under the execution's id; inputs never carry it, so that a step
whose code, data and settings are unchanged is taken from the cache.
"""

from sagemaker.core.workflow.conditions import (
    ConditionEquals,
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
)
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import ProcessingStep, Step, TrainingStep, TuningStep

from dual_pipeline.loop_contract import (
    EVALUATION_FILE,
    PARAMETER_CHAMPION_URI,
    PARAMETER_COMPARE_WITH_CHAMPION,
    PARAMETER_RUN_ID,
    PARAMETER_SCORING_URI,
    PARAMETER_SNAPSHOT_URI,
    STEP_EVALUATE,
    STEP_REFUSED,
    STEP_REGISTER,
)
from dual_pipeline.model_project import ModelProject
from pipeline_code.model_registration import create_model, register
from pipeline_code.sagemaker_jobs import SageMakerJobs, Uri, folder

from .contract import GATE_PASSED_PATH, MODEL_ARCHIVE
from .project import CENSUS

SEED = "--seed=17"
REPORT = PropertyFile(name="EvaluationReport", output_name="evaluation", path=EVALUATION_FILE)
AUC = "binary_classification_metrics.auc.value"
ACCURACY = "binary_classification_metrics.accuracy.value"


def build(session: PipelineSession, project: ModelProject = CENSUS) -> Pipeline:
    """The pipeline; its name is given by the stack that deploys it."""
    jobs = SageMakerJobs(session, project)

    preprocess = jobs.processing(
        "Preprocess",
        image="xgboost",
        inputs={"snapshot": jobs.parameters[PARAMETER_SNAPSHOT_URI]},
        sharded=["snapshot"],
        outputs=["train", "validation", "holdout", "encoding"],
        arguments=[SEED],
    )
    splits = {name: folder(preprocess, name) for name in ("train", "validation", "holdout", "encoding")}
    profile = _profile(jobs) if project.optional_steps.profile else []

    channels = {name: splits[name] for name in ("train", "validation", "encoding")}
    train = jobs.training("Train", channels=channels)
    tune = jobs.tuning("Tune", trains="Train", channels=channels) if project.tuning else None
    baseline = jobs.processing(
        "Baseline",
        image="sklearn",
        inputs={name: splits[name] for name in ("train", "holdout", "encoding")},
        outputs=["baseline"],
    )
    evaluate = _evaluate(jobs, splits=splits, train=train, tune=tune, baseline=baseline)

    return Pipeline(
        name=project.name,
        parameters=list(jobs.parameters.values()),
        steps=[
            jobs.checked("CheckParameters", steps=[preprocess, *profile]),
            train,
            *([tune] if tune else []),
            baseline,
            evaluate,
            _gate(jobs, evaluate),
        ],
        pipeline_experiment_config=jobs.experiment(),
        sagemaker_session=session,
    )


def _profile(jobs: SageMakerJobs) -> list[Step]:
    """Describe the snapshot with Spark, beside everything else; nothing waits for it."""
    snapshot = jobs.parameters[PARAMETER_SNAPSHOT_URI]
    return [jobs.processing("Profile", image="spark", inputs={"snapshot": snapshot}, outputs=["profile"])]


def _evaluate(
    jobs: SageMakerJobs,
    *,
    splits: dict[str, Uri],
    train: TrainingStep,
    tune: TuningStep | None,
    baseline: ProcessingStep,
) -> ProcessingStep:
    """Judge the better of the default and the tuned model, against the floors, the baseline and the champion."""
    parameters = jobs.parameters
    return jobs.processing(
        STEP_EVALUATE,
        image="xgboost",
        inputs={
            "model": train.properties.ModelArtifacts.S3ModelArtifacts,
            **({"tuned": jobs.tuned_model_uri(tune)} if tune else {}),
            "champion": parameters[PARAMETER_CHAMPION_URI],
            **{name: splits[name] for name in ("train", "validation", "holdout")},
            "baseline": folder(baseline, "baseline"),
        },
        outputs=["evaluation", "model"],
        arguments=[
            Join(on="", values=["--min-auc=", parameters["MinAuc"]]),
            Join(on="", values=["--min-accuracy=", parameters["MinAccuracy"]]),
            Join(on="", values=["--max-auc-drop=", parameters["MaxAucDrop"]]),
            "--segments=" + ",".join(jobs.project.gates.segments),
            Join(on="", values=["--compare-with-champion=", parameters[PARAMETER_COMPARE_WITH_CHAMPION]]),
            SEED,
        ],
        property_files=[REPORT],
    )


def _gate(jobs: SageMakerJobs, evaluate: ProcessingStep) -> ConditionStep:
    """Register what passes. A refused model is no failure, unless the project wants it so: the report says why."""
    optional, parameters = jobs.project.optional_steps, jobs.parameters
    model_uri = Join(on="/", values=[folder(evaluate, "model"), MODEL_ARCHIVE])
    checks: list[Step] = []
    told = {"run_id": parameters[PARAMETER_RUN_ID], "evaluation_uri": folder(evaluate, "evaluation")}
    if check := optional.external_check:
        checks.append(jobs.callback("ExternalCheck", inputs={**told, "instructions": check.instructions}))
    if optional.decide:
        checks.append(jobs.function("Decide", inputs=told))
    registered = register(
        jobs,
        STEP_REGISTER,
        model_uri=model_uri,
        evaluation_uri=folder(evaluate, "evaluation"),
        after=checks,
    )
    scoring: list[Step] = []
    if optional.batch_scoring:
        model = create_model(jobs, "CreateModel", model_uri=model_uri, after=[registered])
        data = parameters[PARAMETER_SCORING_URI]
        scoring = [model, jobs.transform("Score", model_name=model.properties.ModelName, data=data)]
    refused = FailStep(name=STEP_REFUSED, error_message="the model did not pass its gate; evaluation.json says why")

    def reported(path: str) -> JsonGet:
        return JsonGet(step_name=evaluate.name, property_file=REPORT, json_path=path)

    return ConditionStep(
        name="Gate",
        conditions=[
            ConditionEquals(left=reported(GATE_PASSED_PATH), right=True),
            ConditionGreaterThanOrEqualTo(left=reported(AUC), right=parameters["MinAuc"]),
            ConditionGreaterThanOrEqualTo(left=reported(ACCURACY), right=parameters["MinAccuracy"]),
            # A report that claims more than can be has been tampered with.
            *(ConditionLessThanOrEqualTo(left=reported(metric), right=1.0) for metric in (AUC, ACCURACY)),
        ],
        if_steps=[*checks, registered, *scoring],
        else_steps=[refused] if optional.refused == "fail" else [],
    )
