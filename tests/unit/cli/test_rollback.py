"""Bringing an endpoint back from the command line: which version, what is refused, and what is started."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from dual_pipeline_cli.environment import EnvironmentTrouble
from dual_pipeline_cli.rollback import find_target, releases
from dual_pipeline_cli.start import begin
from operator_aws import GROUP, OperatorAws, operator, package


def released(version: int, at: str, **more: Any) -> dict[str, Any]:
    """A run that released a version."""
    metrics = json.dumps({"auc": {"value": 0.9 + version / 100}})
    arn = f"{GROUP}/{version}"
    return {"outcome": "released", "model_package_arn": arn, "finished_at": at, "metrics": metrics} | more


@pytest.fixture
def aws() -> OperatorAws:
    """Versions 1, 3 and 4 were released, 2 was refused; 4 serves."""
    aws = OperatorAws()
    aws.packages = [package(1, status="Approved"), package(2, status="Rejected")]
    aws.packages += [package(3, status="Approved"), package(4, status="Approved")]
    aws.items = {
        "RUN#a": released(1, "2026-11-01"),
        "RUN#b": {"outcome": "rolled-back", "model_package_arn": f"{GROUP}/2", "finished_at": "2026-11-02"},
        "RUN#c": released(3, "2026-11-03"),
        "RUN#d": released(4, "2026-11-04"),
        "RUN#e": {"outcome": "suppressed", "reason": "no news"},
        "CHAMPION#dev-census": {"model_package_arn": f"{GROUP}/4", "run_id": "d", "model_uri": "s3://m"},
    }
    return aws


def test_the_last_release_before_the_champion_comes_back(aws: OperatorAws) -> None:
    """Without a name it is the highest released and approved version below the one that serves."""
    assert f"{GROUP}/3" == find_target(operator(aws))
    aws.packages[2]["ModelApprovalStatus"] = "Rejected"
    assert f"{GROUP}/1" == find_target(operator(aws))


def test_a_version_that_was_deleted_is_passed_over(aws: OperatorAws) -> None:
    """The next one comes back; what an earlier group of another name held says nothing here."""
    del aws.packages[2]
    assert f"{GROUP}/1" == find_target(operator(aws))
    other = GROUP.replace("dev-census", "dev-old") + "/2"
    aws.packages.append(package(2, status="Approved") | {"ModelPackageArn": other})
    aws.items["RUN#old"] = released(2, "2026-10-01", model_package_arn=other)
    assert f"{GROUP}/1" == find_target(operator(aws))


def test_going_back_twice_goes_further_back(aws: OperatorAws) -> None:
    """After a rollback the next one does not return to the version that was left."""
    aws.items["RUN#f"] = released(3, "2026-11-05")
    aws.items["CHAMPION#dev-census"]["model_package_arn"] = f"{GROUP}/3"
    assert f"{GROUP}/1" == find_target(operator(aws))
    assert [(4, "d"), (3, "f"), (1, "a")] == [(each.version, each.run_id) for each in releases(operator(aws))]


@pytest.mark.parametrize("name", ["4", "dev-census/4", f"{GROUP}/4"])
def test_a_named_version_comes_back(aws: OperatorAws, name: str) -> None:
    """Any approved version may serve, the champion included, which repairs an endpoint."""
    assert f"{GROUP}/4" == find_target(operator(aws), name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("2", f"{GROUP}/2 is Rejected, and only an approved version may serve: name another"),
        ("9", "model package group dev-census has no version 9"),
        (
            "arn:aws:sagemaker:eu-west-1:1:model-package/dev-other/1",
            "is no version of dev-census, the group of census in dev: name",
        ),
    ],
)
def test_what_cannot_come_back(aws: OperatorAws, name: str, sentence: str) -> None:
    """One sentence says why a version cannot serve."""
    aws.packages.append(package(1) | {"ModelPackageArn": "arn:aws:sagemaker:eu-west-1:1:model-package/dev-other/1"})
    with pytest.raises(EnvironmentTrouble, match=re.escape(sentence)):
        find_target(operator(aws), name)


def test_there_may_be_nothing_to_go_back_to(aws: OperatorAws) -> None:
    """A first model has none before it, and an environment without one says so."""
    aws.items["CHAMPION#dev-census"]["model_package_arn"] = f"{GROUP}/1"
    with pytest.raises(EnvironmentTrouble, match=r"no approved version was released before .*/1, which serves"):
        find_target(operator(aws))
    del aws.items["CHAMPION#dev-census"]
    with pytest.raises(EnvironmentTrouble, match="no model was released in census of dev yet"):
        find_target(operator(aws))


def test_the_outer_loop_is_started_with_the_package(aws: OperatorAws) -> None:
    """What is started is a rollback of that package, for the reason given."""
    client = replace(operator(aws))
    begin(client, reason="rollback", because="it is\n slow", package=f"{GROUP}/3", source=None)
    (started,) = aws.started
    assert {"reason": "rollback", "detail": "it is slow", "package": f"{GROUP}/3", "source": None} == json.loads(
        started["input"]
    )
