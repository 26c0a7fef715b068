"""Personal copies: names, lives, parameters, and what a copy leaves out of the working tree's definition."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest

from dual_pipeline.sandbox_contract import output_name
from dual_pipeline_cli import sandbox
from dual_pipeline_cli.copies import Copies, clean_owner
from dual_pipeline_cli.copy_definition import as_copy
from dual_pipeline_cli.environment import EnvironmentClient, EnvironmentTrouble
from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.safety import LocalAws
from dual_pipeline_local.settings import Settings

DEFINITION: dict[str, Any] = {
    "Parameters": [],
    "Steps": [
        {
            "Name": "Train",
            "Type": "Training",
            "Arguments": {"CheckpointConfig": {"S3Uri": "s3://artifacts/census/checkpoints/train"}},
        },
        {
            "Name": "Gate",
            "Type": "Condition",
            "Arguments": {
                "IfSteps": [
                    {"Name": "ExternalCheck", "Type": "Callback", "Arguments": {}},
                    {"Name": "Decide", "Type": "Lambda", "Arguments": {}, "DependsOn": ["ExternalCheck"]},
                    {"Name": "Register", "Type": "RegisterModel", "Arguments": {}, "DependsOn": ["Decide", "Train"]},
                ],
                "ElseSteps": [],
            },
        },
    ],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90m", timedelta(minutes=90)), ("12h", timedelta(hours=12)), ("30d", timedelta(days=30))],
)
def test_lives(text: str, expected: timedelta) -> None:
    """A copy lives for minutes, hours or days."""
    assert expected == sandbox.parse_life(text)


@pytest.mark.parametrize("text", ["", "7", "0d", "31d", "-1d", "1w", "forever"])
def test_other_lives_are_refused(text: str) -> None:
    """No copy lives for ever, nor longer than thirty days."""
    with pytest.raises(EnvironmentTrouble, match=r"--expires-in must be minutes, hours or days up to 30d"):
        sandbox.parse_life(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ann", "ann"),
        ("Ann.Lee", "ann-lee"),
        ("--x__y--", "x-y"),
        ("a" * 40, "a" * 24),
        ("AWSReserved_x-y", "awsreserved-x-y"),
    ],
)
def test_owners(name: str, expected: str) -> None:
    """Whoever calls becomes a part of a pipeline's name, within what schedules allow."""
    assert expected == clean_owner(name)


def test_a_name_without_letters_is_refused() -> None:
    """A copy needs a name that is left after cleaning."""
    with pytest.raises(EnvironmentTrouble, match="holds no letter or digit"):
        clean_owner("__")


def test_a_copy_asks_nobody_outside() -> None:
    """Callback and Lambda steps are left out, with what depended on them put straight; checkpoints lie apart."""
    copy = as_copy(DEFINITION)
    train, gate = copy["Steps"]
    assert "s3://artifacts/census/sandbox/checkpoints/train" == train["Arguments"]["CheckpointConfig"]["S3Uri"]
    (register,) = gate["Arguments"]["IfSteps"]
    assert ("Register", ["Train"]) == (register["Name"], register["DependsOn"])


def test_a_copy_cannot_do_without_an_answer() -> None:
    """When a step uses what a left-out step answers, the copy is refused with its name."""
    needs = {
        "Name": "Score",
        "Type": "Processing",
        "Arguments": {"X": {"Get": "Steps.Decide.OutputParameters['note']"}},
    }
    with pytest.raises(EnvironmentTrouble, match="leaves out step Decide"):
        as_copy({**DEFINITION, "Steps": [*DEFINITION["Steps"], needs]})


def test_environments_without_sandboxes_are_refused(tmp_path: Any) -> None:
    """Where no sandbox is deployed, a sentence says where copies run."""
    settings = Settings(work=tmp_path, port=1, region="eu-west-1")
    environment = EnvironmentClient(
        environment="prod",
        project="census",
        outputs={"PipelineName": "prod-census"},
        region="eu-west-1",
        local=True,
        aws=LocalAws(settings),
        where="nowhere",
    )
    with pytest.raises(
        EnvironmentTrouble, match=r"environment prod has no sandbox for census: copies .* sandboxes=True"
    ):
        Copies(environment)


class Running:
    """A copy of Ann's, whose owner presses Ctrl-C as soon as they look at its execution."""

    def client(self, _service: str, /) -> Any:
        """Every client."""
        return self

    def describe_pipeline(self, **_: str) -> dict[str, Any]:
        """A pipeline with one parameter."""
        return {"PipelineDefinition": json.dumps({"Parameters": [{"Name": "SnapshotUri", "Type": "String"}]})}

    def get_object(self, **_: str) -> dict[str, Any]:
        """The snapshot's manifest."""
        return {"Body": io.BytesIO(b"{}")}

    def get_paginator(self, _operation: str) -> Any:
        """Production has not run yet."""
        return type("Pages", (), {"paginate": lambda _self, **_: [{"PipelineExecutionSummaries": []}]})()

    def start_pipeline_execution(self, **_: Any) -> dict[str, str]:
        """The execution that is watched."""
        return {"PipelineExecutionArn": "arn:execution/abc"}

    def describe_pipeline_execution(self, **_: str) -> Any:
        """Ctrl-C."""
        raise KeyboardInterrupt


def test_ctrl_c_ends_the_watching_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever stops watching is told that the execution goes on, and what would stop it."""
    environment = EnvironmentClient(
        environment="dev",
        project="census",
        outputs={
            "PipelineName": "dev-census",
            output_name("pipeline_role_arn"): "role",
            output_name("schedule_group"): "group",
        },
        region="eu-west-1",
        local=True,
        aws=Running(),
        where="a test",
    )
    given = {"SnapshotUri": "s3://data/snapshot"}
    assert 130 == sandbox.run_copy(environment, name="ann", given=given, narrator=Narrator())
    told = " ".join(capsys.readouterr().out.split())
    assert "no longer watching arn:execution/abc, which goes on: dual-pipeline sandbox down stops" in told
