"""Which lines of a training job's log are metrics: those a request defines, or those of Amazon's own XGBoost image."""

import re

from dual_pipeline_local.sagemaker.api import Record, invalid

_OWN_IMAGE = "/sagemaker-xgboost:"
# https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html; the expressions are those that
# DescribeTrainingJob shows. `#011` is how a tab arrives in the log.
_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
_NAMES = "accuracy auc error f1 logloss mae map merror mlogloss mse ndcg rmse"
_BUILT_IN = [
    {"Name": f"{split}:{name}", "Regex": rf".*\[[0-9]+\].*#011{split}-{name}:{_NUMBER}.*"}
    for split in ("train", "validation")
    for name in _NAMES.split()
]


def metric_definitions(algorithm: Record) -> list[Record]:
    """The metrics that a job of this AlgorithmSpecification emits."""
    if _OWN_IMAGE in algorithm.get("TrainingImage", ""):
        return _BUILT_IN
    definitions: list[Record] = algorithm.get("MetricDefinitions", [])
    return definitions


def check_metric_definitions(algorithm: Record) -> None:
    """Refuse broken expressions, and a request's own metrics for Amazon's image, in script mode too, in AWS's words."""
    for definition in algorithm.get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise invalid(f"Regex of metric {definition['Name']} is no regular expression: {error}") from None
    if _OWN_IMAGE in algorithm.get("TrainingImage", "") and algorithm.get("MetricDefinitions"):
        raise invalid(
            "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry the request "
            "without specifying metric definitions."
        )
