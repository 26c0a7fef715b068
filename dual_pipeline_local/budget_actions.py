"""Actions of budgets, which ministack lacks: held to what CreateBudgetAction takes, and to what they name.

No spending is measured here, so none ever acts, and none is kept: the API's other calls on actions are absent.
Source: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_CreateBudgetAction.html
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import botocore.session

from .errors import ApiError
from .sagemaker.api import check_shape

_model: Final = botocore.session.get_session().get_service_model("budgets")

Call = Callable[..., Any]


def request_of(properties: Mapping[str, Any], *, account: str) -> dict[str, Any]:
    """A template's action as CreateBudgetAction spells it; CloudFormation leaves out the prefixes of two members."""
    threshold = properties["ActionThreshold"]
    return {
        "AccountId": account,
        "ApprovalModel": "MANUAL",
        "Subscribers": [
            {"SubscriptionType": each["Type"], "Address": each["Address"]}
            for each in properties.get("Subscribers") or []
        ],
        **{
            name: properties[name]
            for name in (
                "BudgetName",
                "NotificationType",
                "ActionType",
                "Definition",
                "ExecutionRoleArn",
                "ApprovalModel",
            )
            if name in properties
        },
        "ActionThreshold": {
            "ActionThresholdValue": float(threshold["Value"]),
            "ActionThresholdType": threshold["Type"],
        },
    }


def create(request: Mapping[str, Any], *, budgets: Call, iam: Call) -> str:
    """A new action's id, if the request is valid and its budget, policy and roles exist.

    Raises ValueError with the service's error otherwise.
    """
    try:
        check_shape(_model.operation_model("CreateBudgetAction").input_shape, dict(request))
    except ApiError as error:
        raise ValueError(f"CreateBudgetAction: {error.code}: {error.message}") from error
    definition = request["Definition"].get("IamActionDefinition")
    if request["ActionType"] != "APPLY_IAM_POLICY" or definition is None:
        raise ValueError("CreateBudgetAction: the emulator has only APPLY_IAM_POLICY with an IamActionDefinition")
    budgets("DescribeBudget", AccountId=request["AccountId"], BudgetName=request["BudgetName"])
    iam("GetPolicy", PolicyArn=definition["PolicyArn"])
    for name in (*definition.get("Roles", ()), request["ExecutionRoleArn"].rpartition(":role/")[2]):
        iam("GetRole", RoleName=name.rpartition("/")[2])
    return str(uuid.uuid4())
