"""Registering a model with its memory: metrics, drift baseline, sample payload, model card and lineage."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sagemaker.core.drift_check_baselines import DriftCheckBaselines
from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.helper.session_helper import container_def
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.steps import Step
from sagemaker.serve.model_builder import ModelBuilder

from dual_pipeline.loop_contract import (
    DRIFT_BASELINE_FILE,
    EVALUATION_FILE,
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_CHAMPION_URI,
    PARAMETER_QUALITY_VERDICT_URI,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_TRIGGER_REASON,
    SAMPLE_PAYLOAD_FILE,
    SERVING,
)
from dual_pipeline.placeholders import PLACEHOLDERS, code_file
from pipeline_code.sagemaker_jobs import SageMakerJobs, Uri


class _DraftCard(NamedTuple):
    """What the SDK reads of a card: its own classes take no pipeline variables."""

    content: Join
    model_card_status: str = "Draft"


def register(
    jobs: SageMakerJobs,
    name: str,
    *,
    model_uri: Uri,
    evaluation_uri: Uri,
    after: Sequence[Step],
) -> ModelStep:
    """A step that puts the model into the registry; `evaluation_uri` is the folder of the evaluation's files.

    The package remembers the code of every step that was built before.
    """
    step_args = _builder(jobs, model_uri, role=PLACEHOLDERS["processing_role_arn"]).register(
        model_package_group_name=PLACEHOLDERS["model_package_group"],
        approval_status=jobs.parameters[PARAMETER_APPROVAL_STATUS],
        content_types=["text/csv", "application/json"],
        response_types=["application/json"],
        domain="MACHINE_LEARNING",
        task="CLASSIFICATION",
        sample_payload_url=Join(on="/", values=[evaluation_uri, SAMPLE_PAYLOAD_FILE]),
        model_metrics=ModelMetrics(
            model_statistics=_json_file(evaluation_uri, EVALUATION_FILE),
            model_data_statistics=MetricsSource(
                content_type="application/json", s3_uri=jobs.parameters[PARAMETER_QUALITY_VERDICT_URI]
            ),
        ),
        drift_check_baselines=DriftCheckBaselines(
            model_data_statistics=_json_file(evaluation_uri, DRIFT_BASELINE_FILE)
        ),
        customer_metadata_properties=_lineage(jobs),
        model_card=_DraftCard(_model_card(jobs, model_uri=model_uri, evaluation_uri=evaluation_uri)),
    )
    return ModelStep(name=name, step_args=step_args, depends_on=list(after), retry_policies=jobs.retries(job=False))


def create_model(jobs: SageMakerJobs, name: str, *, model_uri: Uri, after: Sequence[Step]) -> ModelStep:
    """A step that creates a model for batch scoring; SageMaker names it."""
    # ModelBuilder.build would choose a model server by itself; this is the request it makes in the end.
    role = PLACEHOLDERS["scoring_role_arn"]
    jobs.session.init_model_step_arguments(_builder(jobs, model_uri, role=role))
    jobs.session.create_model(
        name=None,
        role=role,
        container_defs=container_def(PLACEHOLDERS["xgboost_image"], model_uri, SERVING),
        enable_network_isolation=True,
        tags=jobs.tags(),
    )
    step_args, jobs.session.context = jobs.session.context, None
    return ModelStep(name=name, step_args=step_args, depends_on=list(after), retry_policies=jobs.retries(job=False))


def _builder(jobs: SageMakerJobs, model_uri: Uri, *, role: str) -> ModelBuilder:
    return ModelBuilder(
        image_uri=PLACEHOLDERS["xgboost_image"],
        s3_model_data_url=model_uri,
        env_vars=dict(SERVING),
        role_arn=role,
        sagemaker_session=jobs.session,
    )


def _json_file(folder: Uri, name: str) -> MetricsSource:
    return MetricsSource(content_type="application/json", s3_uri=Join(on="/", values=[folder, name]))


def _lineage(jobs: SageMakerJobs) -> dict[str, str | PipelineVariable]:
    """At most 50 entries of at most 256 characters, letters, digits, spaces and _.:/=+-@ (botocore's model)."""
    return {
        "run_id": jobs.parameters[PARAMETER_RUN_ID],
        "reason": jobs.parameters[PARAMETER_TRIGGER_REASON],
        "snapshot_uri": jobs.parameters[PARAMETER_SNAPSHOT_URI],
        "champion_uri": jobs.parameters[PARAMETER_CHAMPION_URI],
        "quality_verdict_uri": jobs.parameters[PARAMETER_QUALITY_VERDICT_URI],
        "execution_id": ExecutionVariables.PIPELINE_EXECUTION_ID,
        "definition_hash": PLACEHOLDERS["definition_hash"],
        "commit": PLACEHOLDERS["commit"],
        "image": PLACEHOLDERS["xgboost_image"],
        **{f"code_{step}": code_file(step) for step in sorted(jobs.folders)},
    }


def _model_card(jobs: SageMakerJobs, *, model_uri: Uri, evaluation_uri: Uri) -> Join:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html#model-card-schema"""
    variables: Mapping[str, Uri] = {
        "model": model_uri,
        "evaluation": evaluation_uri,
        "execution": ExecutionVariables.PIPELINE_EXECUTION_ARN,
        "snapshot": jobs.parameters[PARAMETER_SNAPSHOT_URI],
        "run": jobs.parameters[PARAMETER_RUN_ID],
        "reason": jobs.parameters[PARAMETER_TRIGGER_REASON],
        "detail": jobs.parameters[PARAMETER_TRIGGER_DETAIL],
    }
    card: dict[str, Any] = {
        "model_overview": {"model_creator": f"dual-pipeline {jobs.project.name}", "model_artifact": ["<model>"]},
        "intended_uses": {"purpose_of_model": jobs.project.description or jobs.project.name},
        "evaluation_details": [
            {
                "name": "holdout",
                "evaluation_observation": "Metrics, segments, champion and gate: see evaluation.json and report.html",
                "datasets": ["<snapshot>"],
                "metadata": {"folder": "<evaluation>"},
            }
        ],
        "additional_information": {
            "custom_details": {
                "run": "<run>",
                "reason": "<reason>",
                "detail": "<detail>",
                "pipeline execution": "<execution>",
            }
        },
    }
    return _joined_json(card, variables)


def _joined_json(document: Any, variables: Mapping[str, Uri]) -> Join:
    """JSON text with every string `<name>` replaced by a variable; who starts an execution passes JSON-safe text."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    parts = re.split(f'(?<=")<({"|".join(variables)})>(?=")', text)
    return Join(on="", values=[variables[part] if at % 2 else part for at, part in enumerate(parts)])
