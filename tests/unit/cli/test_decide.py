"""Approving and rejecting from the command line: what waits, what is refused, and what is shown."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from dual_pipeline_cli.decide import decide, find_waiting, numbers, staleness
from dual_pipeline_cli.environment import EnvironmentTrouble
from operator_aws import GROUP, OperatorAws, operator, package

REPORT = {
    "binary_classification_metrics": {"auc": {"value": 0.92}, "f1": {"value": None}, "confusion_matrix": {"0": {}}},
    "champion": {"metrics": {"auc": 0.91}, "interval": [0.001, 0.02], "sentence": "It is better."},
}


def world(*packages: dict[str, Any], **items: dict[str, Any]) -> OperatorAws:
    """A registry with these packages, and a ledger."""
    aws = OperatorAws()
    aws.packages, aws.items = list(packages), {name.replace("__", "#"): item for name, item in items.items()}
    aws.objects["s3://artifacts/x/evaluation.json"] = json.dumps(REPORT).encode()
    return aws


def test_the_only_one_that_waits_needs_no_name() -> None:
    """A package whose run has ended, or that no run registered, does not wait."""
    ended, strange = package(1), package(2, CustomerMetadataProperties={})
    aws = world(ended, strange, package(3), package(4, status="Approved"))
    aws.items["RUN#run-1"] = {"outcome": "failed", "reason": "it died"}
    assert f"{GROUP}/3" == find_waiting(operator(aws)).arn


@pytest.mark.parametrize(
    ("packages", "name", "sentence"),
    [
        ([], "", "nothing waits for approval in census of dev: see dual-pipeline explain --env dev --project census"),
        ([package(3), package(4)], "", "2 models wait for approval: name one of dev-census/3, dev-census/4"),
        ([package(1)], "1", "nothing waits for dev-census/1: its run run-1 ended as expired: nobody answered"),
        ([package(5, CustomerMetadataProperties={})], "5", "was not registered by a run of the outer loop"),
        (
            [
                package(
                    2,
                    status="Rejected",
                    ApprovalDescription="biased",
                    LastModifiedBy={"IamIdentity": {"Arn": "arn:aws:iam::1:user/ada"}},
                    LastModifiedTime=datetime(2026, 11, 20, tzinfo=UTC),
                )
            ],
            "2",
            "dev-census/2 is Rejected already: by arn:aws:iam::1:user/ada at 2026-11-20 00:00:00+00:00, who said: biased",
        ),
        (
            [package(2, status="Approved")],
            "2",
            "is Approved already: by the policy, or somebody whom SageMaker does not",
        ),
    ],
)
def test_what_cannot_be_decided(packages: list[dict[str, Any]], name: str, sentence: str) -> None:
    """One sentence says why there is nothing to decide."""
    aws = world(*packages)
    aws.items["RUN#run-1"] = {"outcome": "expired", "reason": "nobody answered"}
    with pytest.raises(EnvironmentTrouble, match=re.escape(sentence)):
        find_waiting(operator(aws), name)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("group", ["prod-census", "dev-census-2"])
def test_only_a_version_of_the_projects_own_group_is_decided(group: str, ended: bool) -> None:
    """Another project's or environment's has checks of its own, which these are not."""
    others = f"{GROUP.removesuffix('dev-census')}{group}/3"
    aws = world(package(3, ModelPackageArn=others))
    sentence = (
        f"{others} is no version of dev-census, the group of census in dev: name one, such as dev-census/1, or say"
        " --env and --project"
    )
    for name in (others, f"{group}/3"):
        with pytest.raises(EnvironmentTrouble, match=re.escape(sentence)):
            find_waiting(operator(aws), name, ended=ended)


@pytest.mark.parametrize(("status", "said"), [("Approved", "better"), ("Rejected", "biased")])
def test_an_answer_is_an_update(status: Any, said: str) -> None:
    """The registry is told status and words, on one line."""
    aws = world(package(3))
    client = operator(aws)
    decide(client, find_waiting(client), status, f" {said}\n indeed")
    wanted = {"ModelPackageArn": f"{GROUP}/3", "ModelApprovalStatus": status, "ApprovalDescription": f"{said} indeed"}
    assert [wanted] == aws.updated


@pytest.mark.parametrize("waiting", [package(1), package(1, CustomerMetadataProperties={})])
def test_what_no_run_waits_for_can_be_rejected_by_name(waiting: dict[str, Any]) -> None:
    """A run that died leaves its package: rejecting it keeps it from being approved later, approving it is refused."""
    aws = world(waiting, package(2))
    aws.items["RUN#run-1"] = {"outcome": "failed", "reason": "the execution ended as ABORTED"}
    client = operator(aws)
    with pytest.raises(
        EnvironmentTrouble, match=r"nothing waits for dev-census/1: .*; reject it, or somebody approves it"
    ):
        find_waiting(client, "1")
    decide(client, find_waiting(client, "1", ended=True), "Rejected", "its run has ended")
    assert [f"{GROUP}/1"] == [update["ModelPackageArn"] for update in aws.updated]
    assert f"{GROUP}/2" == find_waiting(client, ended=True).arn


CHAMPION = {"model_package_arn": f"{GROUP}/9", "run_id": "run-9", "model_uri": "s3://artifacts/9/model.tar.gz"}


@pytest.mark.parametrize(
    ("items", "others", "sentence"),
    [
        ({"CHAMPION__dev-census": CHAMPION}, [], "is stale: the champion became .*dev-census/9 of run run-9"),
        (
            {"LOCK__release__dev-census": {"package_version": 8, "package_created": 1_795_168_800_001}},
            [],
            "is stale: version 8, which is newer, was approved",
        ),
        ({}, [package(5, status="Approved")], "is stale: version 5, which is newer, was approved already; reject it"),
        (
            {f"APPROVAL__{GROUP}/3__run-3": {"first_by": "arn:aws:iam::1:user/grace"}},
            [],
            r"you \(arn:aws:iam::1:user/grace\) have approved dev-census/3 already: another person has to",
        ),
    ],
)
def test_an_approval_that_cannot_count_is_refused(
    items: dict[str, Any], others: list[dict[str, Any]], sentence: str
) -> None:
    """What is stale, or approved by the same person already, is not approved; rejecting it is no mistake."""
    aws = world(package(3), *others, **items)
    client = operator(aws)
    model = find_waiting(client, "3")
    with pytest.raises(EnvironmentTrouble, match=sentence):
        decide(client, model, "Approved", "good")
    assert [] == aws.updated
    decide(client, model, "Rejected", "late")
    assert 1 == len(aws.updated)


def test_fresh_against_its_own_champion() -> None:
    """The champion it was compared with, and older versions, make nothing stale; another person's approval neither."""
    metadata = {"run_id": "run-3", "champion_uri": CHAMPION["model_uri"]}
    aws = world(package(3, CustomerMetadataProperties=metadata), package(2, status="Approved"))
    aws.items |= {
        "CHAMPION#dev-census": CHAMPION,
        "LOCK#release#dev-census": {"package_version": 57, "package_created": 1_795_168_800_000},
        f"APPROVAL#{GROUP}/3#run-3": {"first_by": "arn:aws:iam::1:user/ada"},
    }
    decide(operator(aws), find_waiting(operator(aws)), "Approved", "good")
    assert ["Approved"] == [update["ModelApprovalStatus"] for update in aws.updated]


def test_what_cannot_be_known_is_left_to_the_machine() -> None:
    """A package that does not say what it was compared with is not called stale."""
    aws = world(package(3, CustomerMetadataProperties={"run_id": "run-3"}), **{"CHAMPION__dev-census": CHAMPION})
    assert "" == staleness(operator(aws), find_waiting(operator(aws)))


def test_numbers_against_the_champion() -> None:
    """Metrics that are numbers, each beside the champion's, and the sentence with the interval."""
    aws = world(package(3))
    assert ({"auc": (0.92, 0.91)}, "It is better.") == numbers(operator(aws), find_waiting(operator(aws)))


def test_without_a_report_nothing_is_shown() -> None:
    """A first model, or one without a report, has no champion to compare with."""
    aws = world(package(3, ModelMetrics={}))
    assert ({}, "There is no champion to compare with.") == numbers(operator(aws), find_waiting(operator(aws)))
