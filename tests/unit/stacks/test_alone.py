"""What a project without an inner loop, with a workflow of its own, is deployed as."""

import json
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

from dual_pipeline.errors import ConfigError
from dual_pipeline.own_workflow import OwnWorkflow
from dual_pipeline.workflow import Workflow
from synthesis import Synthesis

pytestmark = pytest.mark.xdist_group("synthesis")


def test_no_stack_of_the_inner_loop(synthesis: Synthesis) -> None:
    """Foundation, outer loop, workflows, monitoring and watch; no pipeline, package group, endpoint or rollback alarm."""
    names = {path.removeprefix("Alone/") for path in synthesis.templates if path.startswith("Alone/")}
    assert {"Foundation", "CensusOuterLoop", "CensusWorkflows", "CensusMonitoring", "Watch"} == names
    kinds = {
        resource["Type"]
        for path, template in synthesis.templates.items()
        if path.startswith("Alone/")
        for resource in template["Resources"].values()
    }
    assert not {kind for kind in kinds if kind.startswith("AWS::SageMaker::")}
    assert "EndpointName" not in synthesis.templates["Alone/CensusOuterLoop"]["Outputs"]
    assert "Endpoint" not in json.dumps(synthesis.templates["Alone/CensusMonitoring"])


def test_no_trigger_waits_for_an_inner_loop(synthesis: Synthesis) -> None:
    """Its drift alarm starts it; no rule hears of stacks, and no permission is on a pipeline that there is not."""
    foundation = json.dumps(synthesis.templates["Alone/Foundation"])
    assert "alone-census-drift" in foundation
    assert "CloudFormation Stack Status Change" not in foundation
    assert "sagemaker:ListTags" not in foundation
    assert "CloudFormation Stack Status Change" in json.dumps(synthesis.templates["Least/Foundation"])


def test_the_workflow_is_the_file_filled(synthesis: Synthesis) -> None:
    """The machine has the pinned name and a definition in which no placeholder is left, and four alarms watch it."""
    (machine,) = synthesis.resources("AWS::StepFunctions::StateMachine", stack="Alone/CensusWorkflows").values()
    assert "alone-census-train-save" == machine["Properties"]["StateMachineName"]
    definition = json.dumps(machine["Properties"]["DefinitionString"])
    assert "${" not in definition
    assert "alone-census-train-save-{}" in definition
    alarms = synthesis.resources("AWS::CloudWatch::Alarm", stack="Alone/CensusWorkflows").values()
    assert {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled"} == {
        alarm["Properties"]["MetricName"] for alarm in alarms
    }
    for alarm in alarms:
        assert alarm["Properties"]["AlarmActions"]
        section = (
            "Runs throttled" if alarm["Properties"]["MetricName"] == "ExecutionThrottled" else "Own workflow failed"
        )
        assert f"section '{section}'" in alarm["Properties"]["AlarmDescription"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Workflow.file must be a file below .*, got 'own.json', which is none: add it"),
        (b'{"Comment": "\xfc"}', "Workflow.file 'own.json' must be text in UTF-8, got another byte at 13: save it so"),
        (b"{}", "workflow 'own' in own.json cannot be deployed:\n- /States must be an object with at least one state"),
    ],
)
def test_a_document_that_cannot_be_deployed_stops_synth(tmp_path: Path, text: bytes | None, message: str) -> None:
    """A missing file, one in another encoding and a broken document are refused by the construct."""
    if text is not None:
        (tmp_path / "own.json").write_bytes(text)
    stack = cdk.Stack(cdk.App(), "Stack")
    with pytest.raises(ConfigError, match=message):
        OwnWorkflow(
            stack,
            "Own",
            workflow=Workflow(name="own", file="own.json"),
            root=tmp_path,
            values={"NamePrefix": "dev-census-own"},
            key=kms.Key(stack, "Key"),
            topic=sns.Topic(stack, "Topic"),
        )
