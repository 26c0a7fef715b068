"""A run that a person asks for carries their words; what says nothing is refused."""

import json

import pytest

from dual_pipeline_cli.environment import EnvironmentTrouble
from dual_pipeline_cli.start import options, start
from operator_aws import EXECUTION, MACHINE, OperatorAws, operator


@pytest.mark.parametrize("force", [False, True])
def test_the_input_says_who_and_why(force: bool) -> None:
    """The outer loop is started for reason `person`, with the words on one line."""
    aws = OperatorAws()
    assert f"{EXECUTION}:run-new" == start(operator(aws), because=" after\n the repair ", force=force)
    (request,) = aws.started
    assert MACHINE == request["stateMachineArn"]
    wanted = {"reason": "person", "detail": "after the repair", "force": force, "source": None}
    assert wanted == json.loads(request["input"])


@pytest.mark.parametrize(
    ("because", "sentence"),
    [(" \n", "--because is empty: say why"), ("x" * 1025, "--because takes 1024 characters, got 1025: say it shorter")],
)
def test_a_reason_is_needed(because: str, sentence: str) -> None:
    """Nothing is started without one, or with one that would be cut."""
    aws = OperatorAws()
    with pytest.raises(EnvironmentTrouble, match=sentence):
        start(operator(aws), because=because)
    assert [] == aws.started


def test_the_next_command_reaches_the_same_place() -> None:
    """What is printed to be typed next names environment and project."""
    assert " --env dev --project census" == options(operator(OperatorAws()))
