"""A definition as the SageMaker SDK 3.27 compiles it runs unchanged.

`compiled_by_sdk.json` is `Pipeline.definition()` of two ScriptProcessor steps (one cached, one with DependsOn), a
ConditionStep (a PropertyFile, Not, Or, In), a ModelStep and a FailStep, with String, Float, Integer and Boolean
parameters.
"""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.local

REPORT = """
import json, pathlib, sys
pathlib.Path(sys.argv[1], "report.json").write_text(json.dumps({"auc": {"value": float(sys.argv[2])}}))
"""


@pytest.fixture(scope="module")
def pipeline(corner: Any) -> str:
    """The compiled pipeline, with what it refers to in S3."""
    corner.put("code/sdk.py", REPORT)
    corner.put("archives/sdk/model.tar.gz", corner.archive({"code/inference.py": ""}))
    text = Path(__file__).with_name("compiled_by_sdk.json").read_text()
    corner.sagemaker.create_pipeline(PipelineName="sdk", PipelineDefinition=text, RoleArn=corner.role)
    return "sdk"


def test_the_good_branch(corner: Any, pipeline: str) -> None:
    """All conditions hold: the model is made under a name of the pipeline's."""
    execution = corner.execute(pipeline)
    assert "Succeeded" == execution["PipelineExecutionStatus"], corner.steps(execution)
    steps = corner.steps(execution)
    assert {"One", "Two", "Gate", "Create"} == set(steps)
    model = corner.sagemaker.describe_model(ModelName=steps["Create"]["Metadata"]["Model"]["Arn"].rpartition("/")[2])
    assert "s3://corner/archives/sdk/model.tar.gz" == model["PrimaryContainer"]["ModelDataUrl"]
    execution_id = execution["PipelineExecutionArn"].rpartition("/")[2]
    assert b'{"auc": {"value": 3.0}}' == corner.get(f"s3://corner/sdk/{execution_id}/Two/report.json")


def test_the_bad_branch(corner: Any, pipeline: str) -> None:
    """The first condition fails: the Fail step's joined message is the reason."""
    execution = corner.execute(pipeline, Score="0.1")
    assert "score 0.1 below 0.5" == execution["FailureReason"]
    assert "Create" not in corner.steps(execution)
