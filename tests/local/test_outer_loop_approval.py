"""Approvals as people give them: one, two, the same one twice, nobody known, too late, after a reminder, overtaken."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dual_pipeline.model_project import Approval
from outer_loop import PACKAGE, World, approval, body, trigger, world_of

pytestmark = pytest.mark.local

ROLE = "arn:aws:sts::000000000000:assumed-role"


def decided(status: str, by: dict[str, Any] | None, words: str = "looks good", **more: Any) -> dict[str, Any]:
    """The package as a person left it."""
    named = {} if by is None else {"LastModifiedBy": by}
    return approval(status, ApprovalDescription=words, LastModifiedTime="2026-11-20T10:00:00Z", **named, **more)


def approved(by: dict[str, Any] | None, words: str = "looks good", **more: Any) -> dict[str, Any]:
    """Approved by that person."""
    return decided("Approved", by, words, **more)


def role(name: str) -> dict[str, Any]:
    """Somebody with a role, as SageMaker names them."""
    return {"IamIdentity": {"Arn": f"{ROLE}/{name}", "PrincipalId": "AROA:x"}}


ADA, GRACE = role("AWSReservedSSO_Approver_1a/ada"), role("AWSReservedSSO_Approver_1a/grace")
PENDING = approval("PendingManualApproval")
EVALUATION = {
    "binary_classification_metrics": {"auc": {"value": 0.92}},
    "champion": {"metrics": {"auc": 0.91}, "interval": [0.001, 0.02], "sentence": "It is better."},
    "gate": {"passed": True, "reasons": []},
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "one": {"AwaitApproval": [PENDING, approved(ADA)], "ReadEvaluation": body(EVALUATION)},
    "refused": {"AwaitApproval": decided("Rejected", ADA, "biased against the young")},
    "two": {"AwaitApproval": [approved(ADA, "good"), PENDING, approved(GRACE, "fine")]},
    "same-person": {"AwaitApproval": [approved(ADA), PENDING, approved(ADA, "again"), PENDING]},
    "same-role": {
        "AwaitApproval": [approved(role("Approver/first")), PENDING, approved(role("Approver/second")), PENDING],
        "LookAgain": approved(role("Approver/third")),
    },
    "nobody": {
        "AwaitApproval": [approved(None), PENDING, decided("Rejected", GRACE, "who was that?")],
        "LookAgain": approved(None),
    },
    "not-set-back": {
        "AwaitApproval": approved(ADA),
        "AskForAnother": {"Throw": {"Error": "SageMaker.ConflictException", "Cause": "no"}},
    },
    "rejected-meanwhile": {
        "AwaitApproval": [approved(ADA), PENDING, approved(GRACE)],
        "LookAgain": decided("Rejected", GRACE, "biased"),
    },
    "approved-meanwhile": {"AwaitApproval": approved(ADA), "LookAgain": approved(GRACE, "fine")},
    "script": {"AwaitApproval": approved(ADA)},
    "nameless-script": {"AwaitApproval": approved(None), "LookAgain": approved(None)},
    "half-time": {"AwaitApproval": [approved(ADA), PENDING]},
    "expired": {"AwaitApproval": PENDING},
    "reminded": {"AwaitApproval": [PENDING, PENDING, approved(ADA)]},
    "withdrawn": {"AwaitApproval": approved(ADA), "CheckApproval": decided("Rejected", GRACE, "stop it")},
    "pending-again": {"AwaitApproval": approved(ADA), "CheckApproval": decided("PendingManualApproval", GRACE, "wait")},
    "withdrawn-unnamed": {"AwaitApproval": approved(ADA), "CheckApproval": approval("Rejected")},
    "overtaken": {"AwaitApproval": approved(ADA, ModelPackageVersion=7)},
    "made-anew": {"AwaitApproval": approved(ADA)},
    "two-made-anew": {"AwaitApproval": [approved(ADA), PENDING]},
    "champion-moved": {
        "ReadChampion": {"Item": {"model_package_arn": {"S": "package-3"}, "model_uri": {"S": "s3://x"}}},
        "CheckChampion": {"Item": {"model_package_arn": {"S": "package-4"}, "run_id": {"S": "run-4"}}},
    },
    "known": {"AwaitApproval": approved(ADA, ModelPackageVersion=7)},
}
# Whose turn it was before: 2026-11-20 at ten and at eight; the package is of nine, a group before it of a year ago.
TURNS = {
    "overtaken": {"package_version": {"N": "9"}, "package_created": {"N": "1795168800000"}},
    "known": {"package_version": {"N": "6"}, "package_created": {"N": "1795161600000"}},
    "made-anew": {"package_version": {"N": "57"}, "package_created": {"N": "1763628000000"}},
    "two-made-anew": {"package_version": {"N": "57"}, "package_created": {"N": "1763628000000"}},
}
TWO = {
    name: Approval(mode="two")
    for name in (
        *("two", "same-person", "same-role", "nobody", "not-set-back", "rejected-meanwhile", "approved-meanwhile"),
        *("script", "nameless-script", "half-time", "two-made-anew"),
    )
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every scenario; a newer model has had its turn before `overtaken`, an older one before `known`."""
    usual = {"AskForAnother": {"ModelPackageArn": PACKAGE}, "LookAgain": approved(ADA)}
    scenarios = {name: usual | given for name, given in SCENARIOS.items()}
    with world_of(tmp_path_factory.mktemp("world"), scenarios, approval=TWO) as world:
        for name, turn in TURNS.items():
            world.put(name, f"LOCK#release#dev-{name}", **turn)
        for name in ("made-anew", "two-made-anew"):
            first = {"first_by": {"S": "Identity Center user grace"}, "last_by": {"S": "Identity Center user grace"}}
            world.put(name, f"APPROVAL#{PACKAGE}", **first)
            world.put(name, f"APPROVAL#{PACKAGE}#run-before", **first)
            world.put(name, f"DECISION#{PACKAGE}#run-before", decided_by={"S": "earlier"})
        world.put("known", f"DECISION#{PACKAGE}#known-run", decided_by={"S": "earlier"})
        yield world


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, dict[str, Any]]:
    """Every scenario, side by side."""

    def run(name: str) -> dict[str, Any]:
        return world.run(name, trigger(name), run=f"{name}-run")

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(SCENARIOS, pool.map(run, SCENARIOS), strict=True))


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("one", "released", f"approved by {ROLE}/AWSReservedSSO_Approver_1a/ada: looks good"),
        ("refused", "rejected", f"by {ROLE}/AWSReservedSSO_Approver_1a/ada: biased against the young"),
        ("two", "released", "by Identity Center user ada and Identity Center user grace: good; fine"),
        ("same-person", "expired", "expired: nobody approved or rejected the model within 3 days"),
        ("same-role", "expired", "expired: nobody approved or rejected the model within 3 days"),
        ("nobody", "rejected", "AWSReservedSSO_Approver_1a/grace: who was that?"),
        ("not-set-back", "failed", "AskForAnother failed with SageMaker.ConflictException"),
        ("rejected-meanwhile", "rejected", "AWSReservedSSO_Approver_1a/grace: biased"),
        (
            "approved-meanwhile",
            "released",
            "by Identity Center user ada and Identity Center user grace: looks good; fine",
        ),
        ("script", "rejected", "was approved and set back 10 times, never by two different people"),
        ("nameless-script", "rejected", "the last time: SageMaker does not say who approved"),
        ("expired", "expired", "expired: nobody approved or rejected the model within 3 days"),
        ("reminded", "released", "approved by"),
        (
            "withdrawn",
            "rejected",
            f"the approval was withdrawn: the package became Rejected by {ROLE}/AWSReservedSSO_Approver_1a/grace: stop it",
        ),
        ("pending-again", "rejected", "the package became PendingManualApproval by"),
        (
            "withdrawn-unnamed",
            "rejected",
            "the package became Rejected by somebody whom SageMaker does not name: no reason",
        ),
        ("overtaken", "rejected", "the approval is stale: the newer model of version 9 was approved while this model"),
        ("made-anew", "released", "approved by"),
        ("two-made-anew", "expired", "expired: nobody"),
        ("champion-moved", "rejected", "is stale: the champion became package-4 of run run-4 while this model waited"),
        ("known", "released", "approved by"),
    ],
)
def test_outcome(runs: dict[str, dict[str, Any]], name: str, outcome: str, reason: str) -> None:
    """A model is released when as many different people as the policy asks for approved it."""
    run = runs[name]
    assert (outcome, True) == (run["outcome"], reason in run["reason"]), run["reason"]
    assert "trouble" not in run["reason"]


@pytest.mark.parametrize(
    ("name", "counted", "set_back"),
    [
        ("one", 0, 0),
        ("two", 2, 1),
        ("same-person", 2, 2),
        ("same-role", 2, 2),
        ("nobody", 0, 1),
        ("not-set-back", 1, 1),
        ("rejected-meanwhile", 1, 0),
        ("approved-meanwhile", 2, 0),
        ("script", 11, 10),
        ("nameless-script", 0, 10),
    ],
)
def test_the_package_waits_for_the_second_person(
    runs: dict[str, dict[str, Any]], name: str, counted: int, set_back: int
) -> None:
    """An approval that is not enough sets the package back and tells people; who is not known is not counted."""
    states = runs[name]["states"]
    assert (counted, set_back) == (states.count("CountApprover"), states.count("AskForAnother"))


def test_the_first_approver_stays(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The record of both approvals names the first person for ever and the last one beside it."""
    item = world.item("two", f"APPROVAL#{PACKAGE}#two-run")
    assert ("Identity Center user ada", "good") == (item["first_by"], item["first_why"])
    assert ("Identity Center user grace", "fine") == (item["last_by"], item["last_why"])
    again = world.item("same-person", f"APPROVAL#{PACKAGE}#same-person-run")
    assert again["first_by"] == again["last_by"] == "Identity Center user ada"
    shared = world.item("same-role", f"APPROVAL#{PACKAGE}#same-role-run")
    assert shared["first_by"] == shared["last_by"] == f"{ROLE}/Approver"


def test_who_decided_is_recorded(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The decision keeps who, when, why and the numbers against the champion's; nothing is written where nobody did."""
    record = world.item("one", f"DECISION#{PACKAGE}#one-run")
    assert ("Approved", "Identity Center user ada", "looks good", "one") == (
        record["decision"],
        record["person"],
        record["why"],
        record["policy"],
    )
    assert "2026-11-20T10:00:00Z" == record["decided_at"]
    assert {"auc": {"value": 0.92}} == json.loads(record["metrics"])
    assert EVALUATION["champion"] == json.loads(record["comparison"])
    assert runs["one"]["sk"] == f"RUN#{record['run_id']}"
    assert "Rejected" == world.item("refused", f"DECISION#{PACKAGE}#refused-run")["decision"]
    assert (
        "Identity Center user ada and Identity Center user grace"
        == world.item("two", f"DECISION#{PACKAGE}#two-run")["person"]
    )
    assert {} == world.item("expired", f"DECISION#{PACKAGE}#expired-run")


def test_a_decision_is_never_overwritten(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """A record that is there stays as it is, and the run goes on."""
    assert "released" == runs["known"]["outcome"]
    assert "earlier" == world.item("known", f"DECISION#{PACKAGE}#known-run")["decided_by"]


@pytest.mark.parametrize(("name", "reminders"), [("one", 0), ("reminded", 1), ("expired", 1), ("same-person", 1)])
def test_people_are_reminded_once(runs: dict[str, dict[str, Any]], name: str, reminders: int) -> None:
    """At half time people are reminded, and the wait goes on as long again."""
    states = runs[name]["states"]
    assert reminders == states.count("Remind")
    assert (states.count("IsReminded") == 2) == (runs[name]["outcome"] == "expired")


def test_a_group_that_was_made_anew_inherits_nothing(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """Versions begin at one again, so neither an old turn nor an old decision or first approver is the new package's."""
    assert (
        f"{ROLE}/AWSReservedSSO_Approver_1a/ada"
        == world.item("made-anew", f"DECISION#{PACKAGE}#made-anew-run")["decided_by"]
    )
    assert (
        "Identity Center user ada" == world.item("two-made-anew", f"APPROVAL#{PACKAGE}#two-made-anew-run")["first_by"]
    )
    turn = world.item("made-anew", "LOCK#release#dev-made-anew")
    assert ("1795165200000", "0") == (turn["package_created"], turn["package_version"])


def test_people_are_told_each_time(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """The request, the reminder and who is missing arrive, each with the command that decides."""
    sqs, told = world.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=world.queue, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            told.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=world.queue, ReceiptHandle=message["ReceiptHandle"])
    by_subject = {message["Subject"]: message["Message"] for message in told}
    for name, what, says in (
        ("expired", "a model waits for approval", "until somebody approves it"),
        ("expired", "a model still waits for approval", "half of the time is over"),
        ("half-time", "a model still waits for approval", "Identity Center user ada has approved; a second"),
        ("two", "a model waits for approval", "until two different people approve it"),
        ("two", "a model needs a second approval", "approved by Identity Center user ada; a second person"),
        ("nobody", "a model needs a second approval", "SageMaker does not say who approved"),
    ):
        message = by_subject[f"{name} in dev: {what}"]
        assert says in message
        assert f'dual-pipeline approve {PACKAGE} --env dev --project {name} --because "WHY"' in message
    assert "Nobody has decided" not in by_subject["half-time in dev: a model still waits for approval"]
    assert "It is better." in by_subject["one in dev: a model waits for approval"]
    assert "  auc 0.92 (champion 0.91)" in by_subject["one in dev: a model waits for approval"]


@pytest.mark.parametrize(("name", "refused"), [("withdrawn", 0), ("pending-again", 1), ("one", 0)])
def test_an_approval_is_read_again_under_the_lock(runs: dict[str, dict[str, Any]], name: str, refused: int) -> None:
    """What a person rejected meanwhile keeps that person's words; what waits again waits for nobody, and is rejected."""
    states = runs[name]["states"]
    assert states.index("TakeReleaseLock") < states.index("CheckApproval")
    assert (refused, name == "one") == (states.count("RejectPackage"), "CreateModel" in states)


def test_no_lock_survives(world: World, runs: dict[str, dict[str, Any]]) -> None:
    """However it was decided, nobody owns a lock any more."""
    owners = [
        world.item(name, f"LOCK#{lock}").get("owner") for name in runs for lock in ("training", f"release#dev-{name}")
    ]
    assert not any(owners)
