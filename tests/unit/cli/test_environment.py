"""An environment is learned from its stacks; what is missing is told in one sentence."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from dual_pipeline_cli.environment import EnvironmentTrouble, answer, connect, explain


class Stacks:
    """Clients that know only DescribeStacks: name -> tags and outputs."""

    def __init__(self, *stacks: tuple[dict[str, str], dict[str, str]]) -> None:
        self._stacks = [
            {
                "Tags": [{"Key": f"dual-pipeline:{name}", "Value": value} for name, value in tags.items()],
                "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()],
            }
            for tags, outputs in stacks
        ]

    def client(self, service: str, /) -> Any:
        assert "cloudformation" == service
        return self

    def get_paginator(self, operation: str) -> Any:
        assert "describe_stacks" == operation
        return self

    def paginate(self) -> list[dict[str, Any]]:
        return [{"Stacks": self._stacks}]


FOUNDATION = ({"environment": "dev"}, {"KeyArn": "arn:key"})
CENSUS = ({"environment": "dev", "project": "census"}, {"PipelineName": "dev-census"})
OTHER = ({"environment": "dev", "project": "other"}, {"PipelineName": "dev-other"})
PROD = ({"environment": "prod", "project": "census"}, {"PipelineName": "prod-census"})


def test_only_project_needs_no_name() -> None:
    """Outputs of the shared stack and of the project's own are found together."""
    found = connect("dev", aws=Stacks(FOUNDATION, CENSUS, PROD))
    assert ("census", "dev-census", "arn:key") == (found.project, found["PipelineName"], found["KeyArn"])


def test_project_is_chosen_by_name() -> None:
    """With several projects the name decides."""
    assert "dev-other" == connect("dev", "other", aws=Stacks(FOUNDATION, CENSUS, OTHER))["PipelineName"]


@pytest.mark.parametrize(
    ("environment", "project", "sentence"),
    [
        ("dev", None, "dev has several projects: choose one with --project, of census, other"),
        ("dev", "cencus", "dev has no project 'cencus': it has census, other"),
        ("staging", None, "no environment named 'staging' in the given clients: no stack there has that name"),
    ],
)
def test_wrong_choice_is_explained(environment: str, project: str | None, sentence: str) -> None:
    """What there is to choose from stands in the sentence."""
    with pytest.raises(EnvironmentTrouble, match=sentence):
        connect(environment, project, aws=Stacks(FOUNDATION, CENSUS, OTHER))


def test_missing_output_asks_for_a_deployment() -> None:
    """An environment deployed by an older version says so."""
    with pytest.raises(EnvironmentTrouble, match="census in dev have no output New: deploy them again"):
        connect("dev", aws=Stacks(CENSUS))["New"]


def test_what_aws_refuses_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Missing credentials and refusals end with exit code 2 and no traceback."""

    def refuse() -> int:
        raise NoCredentialsError

    assert 2 == answer(refuse)
    assert "error: no AWS credentials: sign in" in capsys.readouterr().err
    stale = ClientError({"Error": {"Code": "ExpiredToken", "Message": "x"}}, "DescribeStacks")
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "you may not"}}, "DescribeStacks")
    assert "AWS does not accept these credentials (ExpiredToken): sign in again (aws sso login)" == explain(stale)
    assert "AWS refused DescribeStacks: you may not" == explain(denied)
