"""Which metrics a training job emits."""

import re

import pytest

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.jobs.metric_definitions import check_metric_definitions, metric_definitions

OWN = {"TrainingImage": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0"}
FOREIGN = {"TrainingImage": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/mine:1"}
DEFINED = [{"Name": "auc", "Regex": "auc=(.*)"}]


def test_amazons_image_defines_its_metrics_itself() -> None:
    """The line that XGBoost's own algorithm prints is found, with its number."""
    (auc,) = [each for each in metric_definitions(OWN) if each["Name"] == "validation:auc"]
    found = re.search(auc["Regex"], "[99]#011train-auc:0.95012#011validation-auc:0.930123")
    assert found is not None
    assert "0.930123" == found[1]


def test_other_images_emit_what_the_request_defines() -> None:
    """Nothing is added to it."""
    assert DEFINED == metric_definitions({**FOREIGN, "MetricDefinitions": DEFINED})
    assert [] == metric_definitions(FOREIGN)


def test_broken_expressions_are_refused() -> None:
    """Before a job starts that could never emit the metric."""
    with pytest.raises(ApiError, match="Regex of metric auc is no regular expression: missing \\), unterminated"):
        check_metric_definitions({**FOREIGN, "MetricDefinitions": [{"Name": "auc", "Regex": "auc=("}]})


def test_a_requests_own_metrics_are_refused_for_amazons_image() -> None:
    """In AWS's words; for any other image they are welcome."""
    check_metric_definitions({**FOREIGN, "MetricDefinitions": DEFINED})
    check_metric_definitions(OWN)
    with pytest.raises(ApiError, match="You can't override the metric definitions for Amazon SageMaker algorithms"):
        check_metric_definitions({**OWN, "MetricDefinitions": DEFINED})
