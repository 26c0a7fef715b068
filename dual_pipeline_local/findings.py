"""What a run wrote down about its model: metrics, comparisons, trials and warnings; and what its endpoint answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline.loop_contract import EVALUATION_FILE, GOLDEN_ROWS_FILE, STEP_EVALUATE

from . import staging
from .deployment import Deployment
from .observer import RunView
from .safety import LocalAws

EVALUATION_PAGE = "evaluation.html"
_MOST_TRIALS = 100


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training job of a tuning job: the objective it reached and the hyperparameters it was given."""

    name: str
    status: str
    objective: float | None
    hyperparameters: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that a run's own files and jobs tell; parts that it has not are empty.

    `champion` and `tuning` are the evaluation's sentences, `trials` stand best first.
    """

    quality_engine: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    champion: str = ""
    tuning: str = ""
    trials: tuple[Trial, ...] = ()
    warnings: tuple[str, ...] = ()
    has_page: bool = False
    prediction: Mapping[str, Any] | None = None


def gather(view: RunView, aws: LocalAws, deployment: Deployment, *, folder: Path) -> Findings:
    """Read what the run wrote, keep Evaluate's page as `evaluation.html` in the folder, and ask a released endpoint."""
    bucket, _ = deployment.raw_data
    verdict = _document(aws, f"s3://{bucket}/{deployment.project}/runs/{view.run_id}/verdict.json")
    uri = _evaluation_uri(view, aws)
    evaluation = _document(aws, f"{uri}/{EVALUATION_FILE}") if uri else {}
    # A project without an inner loop saves its model and has no endpoint.
    endpoint = deployment.outputs.get("EndpointName") if view.outcome == "released" else None
    return Findings(
        quality_engine=f"{verdict['engine']} {verdict['engine_version']}" if "engine" in verdict else None,
        metrics=dict(_metrics(evaluation)),
        baseline=_baseline(evaluation),
        champion=_sentence(evaluation, "champion"),
        tuning=_sentence(evaluation, "tuning"),
        trials=tuple(_trials(view, aws)),
        warnings=(*filter(None, [verdict.get("engine_note")]), *evaluation.get("warnings", ())),
        has_page=_keep_page(aws, uri, folder / EVALUATION_PAGE),
        prediction=_predict(aws, endpoint, _document(aws, f"{uri}/{GOLDEN_ROWS_FILE}")) if endpoint else None,
    )


def short_number(text: str) -> str:
    """A hyperparameter's value with no more digits than a reader wants."""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def _evaluation_uri(view: RunView, aws: LocalAws) -> str:
    """Where Evaluate's report lies; a step from the cache left it under the execution that it was taken from."""
    job = next((step.resource for step in view.steps if step.name == STEP_EVALUATE and step.status == "Succeeded"), "")
    if not job:
        return ""
    described = aws.client("sagemaker").describe_processing_job(ProcessingJobName=job.rpartition("/")[2])
    outputs = described["ProcessingOutputConfig"]["Outputs"]
    return next((out["S3Output"]["S3Uri"].rstrip("/") for out in outputs if out["OutputName"] == "evaluation"), "")


def _metrics(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, metric in evaluation.get("binary_classification_metrics", {}).items():
        value = metric.get("value") if isinstance(metric, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def _baseline(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The baseline's metrics with its description beside them."""
    baseline: Mapping[str, Any] = evaluation.get("baseline") or {}
    told = {name: value for name, value in baseline.items() if name != "metrics"}
    return {**baseline.get("metrics", {}), **told}


def _sentence(evaluation: Mapping[str, Any], part: str) -> str:
    found = evaluation.get(part)
    return str(found.get("sentence", "")) if isinstance(found, dict) else ""


def _trials(view: RunView, aws: LocalAws) -> Iterator[Trial]:
    sagemaker = aws.client("sagemaker")
    for step in view.steps:
        if step.type != "TuningJob" or not step.resource:
            continue
        answer = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=step.resource.rpartition("/")[2],
            SortBy="FinalObjectiveMetricValue",
            SortOrder="Descending",
            MaxResults=_MOST_TRIALS,
        )
        for job in answer["TrainingJobSummaries"]:
            yield Trial(
                name=job["TrainingJobName"],
                status=job["TrainingJobStatus"],
                objective=job.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
                hyperparameters=job.get("TunedHyperParameters", {}),
            )


def _keep_page(aws: LocalAws, uri: str, target: Path) -> bool:
    target.unlink(missing_ok=True)
    content = _object(aws, f"{uri}/report.html") if uri else None
    if content is not None:
        target.write_bytes(content)
    return content is not None


def _predict(aws: LocalAws, endpoint: str, golden: Mapping[str, Any]) -> dict[str, Any]:
    row = golden["body"].splitlines()[0]
    answer = aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, ContentType=golden["content_type"], Accept=golden["accept"], Body=row.encode()
    )
    return {"input": row, "output": json.loads(answer["Body"].read())}


def _document(aws: LocalAws, uri: str) -> dict[str, Any]:
    """A JSON object in S3; empty when there is none."""
    content = _object(aws, uri)
    document = json.loads(content) if content is not None else {}
    return document if isinstance(document, dict) else {}


def _object(aws: LocalAws, uri: str) -> bytes | None:
    try:
        return staging.read(aws.client("s3"), uri)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
