"""The emulator takes a budget's action only where AWS would, and where what it names exists."""

from typing import Any

import pytest

from dual_pipeline_local import budget_actions

ROLE = "arn:aws:iam::123456789012:role/"
ACTION: dict[str, Any] = {
    "BudgetName": "dev-dual-pipeline",
    "NotificationType": "ACTUAL",
    "ActionType": "APPLY_IAM_POLICY",
    "ActionThreshold": {"Type": "PERCENTAGE", "Value": 100},
    "ApprovalModel": "AUTOMATIC",
    "Definition": {
        "IamActionDefinition": {
            "PolicyArn": "arn:aws:iam::123456789012:policy/deny",
            "Roles": ["starter", "x/triggers"],
        }
    },
    "ExecutionRoleArn": f"{ROLE}budgets/executor",
    "Subscribers": [{"Type": "SNS", "Address": "arn:aws:sns:eu-west-1:123456789012:people"}],
}


class Asked:
    """Keeps what is looked up, and knows nothing called `missing`."""

    def __init__(self, missing: str = "") -> None:
        self.calls: list[tuple[str, str]] = []
        self.missing = missing

    def __call__(self, operation: str, **parameters: str) -> None:
        name = list(parameters.values())[-1]
        if name == self.missing:
            raise ValueError(f"{operation}: NoSuchEntity")
        self.calls.append((operation, name))


def test_what_an_action_names_is_looked_up() -> None:
    """Budget, policy, the roles that it acts on and the one that it acts as must exist."""
    asked = Asked()
    request = budget_actions.request_of(ACTION, account="123456789012")
    assert budget_actions.create(request, budgets=asked, iam=asked)
    assert asked.calls == [
        ("DescribeBudget", "dev-dual-pipeline"),
        ("GetPolicy", "arn:aws:iam::123456789012:policy/deny"),
        ("GetRole", "starter"),
        ("GetRole", "triggers"),
        ("GetRole", "executor"),
    ]


@pytest.mark.parametrize(
    ("changed", "missing", "message"),
    [
        ({}, "starter", "GetRole: NoSuchEntity"),
        ({"NotificationType": "GUESSED"}, "", "GUESSED"),
        ({"Subscribers": []}, "", "subscribers"),
        ({"ExecutionRoleArn": "executor"}, "", "executionRoleArn"),
        ({"ActionType": "RUN_SSM_DOCUMENTS"}, "", "the emulator has only APPLY_IAM_POLICY"),
    ],
)
def test_refusals(changed: dict[str, Any], missing: str, message: str) -> None:
    """What CreateBudgetAction does not take, or names what is not there, fails the deployment in its words."""
    asked = Asked(missing)
    request = budget_actions.request_of({**ACTION, **changed}, account="123456789012")
    with pytest.raises(ValueError, match=message):
        budget_actions.create(request, budgets=asked, iam=asked)
