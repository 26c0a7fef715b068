"""Who counts as a person, what an approval leads to, and every state of the approval, for each policy."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from dual_pipeline.approver import person, person_of
from dual_pipeline.asl import jsonata
from dual_pipeline.model_project import Approval
from dual_pipeline.outer_loop.approval import approval
from dual_pipeline.outer_loop.definition import outer_loop_definition
from dual_pipeline.outer_loop.setting import Setting
from dual_pipeline_local import definitions

Evaluate = Callable[..., Any]
STS = "arn:aws:sts::111122223333:assumed-role"
SSO = f"{STS}/AWSReservedSSO_Approver_1a2b"
USER = "arn:aws:iam::111122223333:user/team/ada"


def of(setting: Setting, **policy: Any) -> Setting:
    """The same project with another policy."""
    return replace(setting, project=replace(setting.project, approval=Approval(**policy)))


@pytest.mark.parametrize("mode", ["auto", "one", "two"])
def test_every_state(setting: Setting, mode: Any, snapshot: SnapshotAssertion) -> None:
    """The states of each policy, field by field."""
    states = json.loads(json.dumps(approval(of(setting, mode=mode)).states))
    assert states == snapshot(extension_class=JSONSnapshotExtension)


@pytest.mark.parametrize("mode", ["auto", "one", "two"])
def test_step_functions_accepts_it(setting: Setting, mode: Any, jsonata_problem: Callable[[str], object]) -> None:
    """The whole machine is valid with each policy."""
    text = json.dumps(outer_loop_definition(of(setting, mode=mode)))
    assert None is definitions.problem(text, kind="STANDARD")
    assert None is jsonata_problem(text)


@pytest.mark.parametrize(
    ("context", "who"),
    [
        ({}, ""),
        ({"IamIdentity": {}}, ""),
        ({"IamIdentity": {"Arn": USER}}, USER),
        ({"IamIdentity": {"Arn": f"{STS}/Approver/monday"}}, f"{STS}/Approver"),
        ({"IamIdentity": {"Arn": f"{STS}/Approver/tuesday"}}, f"{STS}/Approver"),
        ({"IamIdentity": {"Arn": f"{SSO}/ada@example.com"}}, "Identity Center user ada@example.com"),
        ({"IamIdentity": {"Arn": f"{STS}/AWSReservedSSO_Admin_9z/ada@example.com"}}, "Identity Center user ada@example.com"),
        ({"IamIdentity": {"Arn": f"{SSO}/x", "SourceIdentity": "ada"}}, "source identity ada"),
        ({"UserProfileName": "ada", "DomainId": "d-1", "IamIdentity": {"Arn": f"{STS}/Studio/SageMaker"}}, "Studio profile d-1/ada"),
        ({"UserProfileName": "ada"}, "Studio profile /ada"),
    ],
)  # fmt: skip
def test_who_counts(evaluate: Evaluate, context: dict[str, Any], who: str) -> None:
    """What the caller may choose, such as a session's name, makes nobody another person."""
    assert who == person(context)
    assert who == evaluate(jsonata(person_of("$c")), variables={"c": context})


TEXT = st.one_of(st.text(max_size=20), st.sampled_from([USER, f"{SSO}/ada", f"{STS}/Approver/x", f"{STS}/Approver"]))


@given(
    context=st.fixed_dictionaries(
        {},
        optional={
            "UserProfileName": TEXT,
            "DomainId": TEXT,
            "IamIdentity": st.fixed_dictionaries({}, optional={"Arn": TEXT, "SourceIdentity": TEXT}),
        },
    )
)
@settings(deadline=None)
def test_machine_and_python_agree(evaluate: Evaluate, context: dict[str, Any]) -> None:
    """Whoever it is, the command line and the machine take them for the same person."""
    assert person(context) == evaluate(jsonata(person_of("$c")), variables={"c": context})


@pytest.mark.parametrize(
    ("mode", "status", "who", "next_"),
    [
        ("one", "Approved", USER, "RecordApproval"),
        ("one", "Approved", "", "RecordApproval"),
        ("one", "Rejected", USER, "RecordRejection"),
        ("two", "Approved", USER, "CountApprover"),
        ("two", "Approved", "", "LookAgain"),
        ("two", "Rejected", "", "RecordRejection"),
    ],
)
def test_where_an_answer_leads(
    setting: Setting, evaluate: Evaluate, mode: Any, status: str, who: str, next_: str
) -> None:
    """One approval is enough or is counted; who is not known counts for nothing where two are needed."""
    rules: Any = approval(of(setting, mode=mode)).states["AwaitApprovalDecide"]["Choices"]
    variables = {"waiting": {"over": True, "since": 0}, "approval": {"status": status, "person": who}}
    assert next_ == next(rule["Next"] for rule in rules if evaluate(rule["Condition"], variables=variables) is True)


@pytest.mark.parametrize(("first", "last", "next_"), [("a", "b", "RecordApproval"), ("a", "a", "LookAgain")])
def test_two_people_differ(setting: Setting, evaluate: Evaluate, first: str, last: str, next_: str) -> None:
    """The first person and the last one are compared by name."""
    states: Any = approval(of(setting, mode="two")).states
    attributes = {"first_by": {"S": first}, "last_by": {"S": last}, "first_why": {"S": "x"}, "last_why": {"S": "y"}}
    counted = evaluate(states["CountApprover"]["Assign"], result={"Attributes": attributes})
    (rule,) = states["IsSecondApprover"]["Choices"]
    agreed = evaluate(rule["Condition"], variables=counted)
    assert next_ == (rule["Next"] if agreed else states["IsSecondApprover"]["Default"])
    if agreed:
        merged = evaluate(rule["Assign"]["approval"], variables={**counted, "approval": {"by": "b", "version": 3}})
        assert {"by": "a and b", "person": "a and b", "words": "x; y", "version": 3} == merged


@pytest.mark.parametrize(
    ("status", "who", "rounds", "next_"),
    [
        ("Approved", "ada", 1, "AskForAnother"),
        ("Approved", "", 1, "AskForAnother"),
        ("PendingManualApproval", "grace", 1, "AskForAnother"),
        ("Approved", "grace", 10, "CountApprover"),
        ("Approved", "grace", 11, "RejectPackage"),
        ("Approved", "ada", 10, "AskForAnother"),
        ("Approved", "", 11, "RejectPackage"),
        ("Rejected", "grace", 1, "RecordRejection"),
        ("Rejected", "", 11, "RecordRejection"),
    ],
)
def test_a_package_is_not_set_back_unseen(
    setting: Setting, evaluate: Evaluate, status: str, who: str, rounds: int, next_: str
) -> None:
    """A rejection since the wait stands, another person's approval counts, and there is an end to asking."""
    state: Any = approval(of(setting, mode="two")).states["MayAskAgain"]
    variables = {
        "approval": {"status": status, "person": who},
        "approvers": {"first": "ada", "last": "ada"},
        "rounds": rounds,
    }
    agreed = (rule["Next"] for rule in state["Choices"] if evaluate(rule["Condition"], variables=variables) is True)
    assert next_ == next(agreed, state["Default"])


@pytest.mark.parametrize(
    ("mode", "first", "says"),
    [
        ("one", "", "Nobody has decided yet"),
        ("two", "", "Nobody has decided yet"),
        ("two", "ada", "ada has approved; a second person, other than that one, has to"),
    ],
)
def test_the_reminder_says_who_is_missing(
    setting: Setting, evaluate: Evaluate, mode: Any, first: str, says: str
) -> None:
    """After the first of two approvals somebody has decided."""
    variables = {
        "approvers": {"first": first, "last": first},
        "approval": {"words": ""},
        "packageArn": "p",
        "runId": "r",
        "trigger": {"reason": "data", "detail": ""},
        "evaluation": {"metrics": {}, "champion": {}, "folder": ""},
    }
    states: Any = approval(of(setting, mode=mode)).states
    assert evaluate(states["Remind"]["Arguments"]["Message"], variables=variables).startswith(says)


@pytest.mark.parametrize(
    ("deadline", "half_s"), [(timedelta(days=3), 129_600), (timedelta(minutes=5), 150), (timedelta(seconds=301), 151)]
)
def test_the_reminder_comes_at_half_time(setting: Setting, deadline: timedelta, half_s: int) -> None:
    """The wait is as long before the reminder as after it, and slices are those of the whole."""
    states: Any = approval(of(setting, deadline=deadline)).states
    late = next(rule for rule in states["AwaitApprovalDecide"]["Choices"] if "$waiting.since" in rule["Condition"])
    assert f"{{% $millis() - $waiting.since >= {half_s * 1000} %}}" == late["Condition"]
    assert "IsReminded" == late["Next"]
    for branch in (states["Remind"], *states["Remind"]["Catch"]):
        assert (True, "") == (branch["Assign"]["reminded"], branch["Assign"]["waiting"]["at"])
        assert "AwaitApproval" == branch["Next"]


def test_words_fit_the_registry(setting: Setting, evaluate: Evaluate) -> None:
    """A package's description is one line of at most 1,024 characters."""
    states: Any = approval(of(setting, mode="two")).states
    field = states["AskForAnother"]["Arguments"]["ApprovalDescription"]
    assert "a b" == evaluate(field, variables={"missing": "a\n\t b"})
    assert 1024 == len(evaluate(field, variables={"missing": "x" * 5000}))


def test_what_the_package_says_is_kept(setting: Setting, evaluate: Evaluate) -> None:
    """Status, words, person, time and version; what is missing is empty."""
    states: Any = approval(setting).states
    field = states["AwaitApproval"]["Assign"]["approval"]
    assert {
        "status": "Approved",
        "words": "",
        "by": "",
        "person": "",
        "at": "",
        "version": 0,
        "created": 0,
        "model": "",
        "definition": "",
    } == evaluate(field, result={"ModelApprovalStatus": "Approved"})
    answer = {
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": "good",
        "LastModifiedTime": "now",
        "ModelPackageVersion": 7,
        "LastModifiedBy": {"IamIdentity": {"Arn": f"{SSO}/ada"}},
    }
    found = evaluate(field, result=answer)
    assert (f"{SSO}/ada", "Identity Center user ada", 7) == (found["by"], found["person"], found["version"])


@pytest.mark.parametrize(
    ("before", "own", "newer"),
    [
        ({}, 1000, ""),
        ({"package_version": {"N": "9"}}, 1000, ""),
        ({"package_version": {"N": "6"}, "package_created": {"N": "999"}}, 1000, ""),
        ({"package_version": {"N": "7"}, "package_created": {"N": "1000"}}, 1000, ""),
        ({"package_version": {"N": "9"}, "package_created": {"N": "1001"}}, 1000, "9"),
        ({"package_version": {"N": "57"}, "package_created": {"N": "999"}}, 1000, ""),
        ({"package_version": {"N": "2"}, "package_created": {"N": "1000"}}, 999, "2"),
    ],
)
def test_a_newer_model_had_its_turn(
    definition: dict[str, Any], evaluate: Evaluate, before: dict[str, Any], own: int, newer: str
) -> None:
    """The release lock remembers whose turn was last by the package's time: versions may begin again."""
    field = definition["States"]["TakeReleaseLock"]["Assign"]
    result = {"Attributes": before} if before else {}
    assert {"newer": newer} == evaluate(field, result=result, variables={"approval": {"created": own}})


@pytest.mark.parametrize(
    ("time", "created"),
    [("2026-11-20T10:00:00Z", 1_795_168_800_000), ("2026-11-20T10:00:00.25Z", 1_795_168_800_250), (None, 0)],
)
def test_when_the_package_was_made(setting: Setting, evaluate: Evaluate, time: str | None, created: int) -> None:
    """Milliseconds, whatever fraction the time has; times as text would not compare."""
    states: Any = approval(setting).states
    answer = {"ModelApprovalStatus": "Approved"} | ({"CreationTime": time} if time else {})
    assert created == evaluate(states["AwaitApproval"]["Assign"]["approval"], result=answer)["created"]
