"""One dashboard for an environment, and what happens when its budget is spent."""

import json
from collections import defaultdict
from typing import Any

import pytest

from dual_pipeline.loop_contract import (
    DRIFT_METRICS,
    MODEL_METRIC,
    OUTCOME_METRIC,
    QUALITY_METRICS,
    REFUSED_MODEL_METRIC,
    VERDICT_METRIC,
)
from synthesis import Synthesis, joined

pytestmark = pytest.mark.xdist_group("synthesis")

OURS = {OUTCOME_METRIC, VERDICT_METRIC, MODEL_METRIC, REFUSED_MODEL_METRIC, *QUALITY_METRICS, *DRIFT_METRICS}
STAGES = ("Dev", "Staging", "Prod", "Least", "Most", "Alone")


def only(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (resource,) = resources.values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def dashboard(synthesis: Synthesis, stage: str) -> tuple[str, list[dict[str, Any]]]:
    """The name of a stage's only dashboard and its widgets."""
    found = {
        path: each
        for path, each in synthesis.resources("AWS::CloudWatch::Dashboard").items()
        if path.startswith(f"{stage}/")
    }
    properties = only(found)
    return properties["DashboardName"], json.loads(joined(properties["DashboardBody"]))["widgets"]


@pytest.mark.parametrize("stage", STAGES)
def test_one_dashboard_shows_every_alarm(synthesis: Synthesis, stage: str) -> None:
    """An environment has one dashboard, under the name that operators know, with the state of each of its alarms."""
    name, widgets = dashboard(synthesis, stage)
    assert f"{stage.lower()}-dual-pipeline" == name
    shown = [arn for each in widgets if each["type"] == "alarm" for arn in each["properties"]["alarms"]]
    alarms = {
        alarm["Properties"]["AlarmName"]
        for path, alarm in synthesis.resources("AWS::CloudWatch::Alarm").items()
        if path.startswith(f"{stage}/")
    }
    assert alarms == {arn.rpartition(":alarm:")[2] for arn in shown}
    assert len(alarms) == len(shown)


@pytest.mark.parametrize("stage", STAGES)
def test_widgets_show_what_is_published(synthesis: Synthesis, stage: str) -> None:
    """Each of our metrics on the page is one that the loop publishes, and each project has its rows."""
    _, widgets = dashboard(synthesis, stage)
    lines = [line for each in widgets if each["type"] == "metric" for line in each["properties"]["metrics"]]
    ours = {line[1] for line in lines if line[0] == "DualPipeline"}
    services = {line[0] for line in lines if isinstance(line[0], str)} - {"DualPipeline"}
    titles = [each["properties"]["markdown"] for each in widgets if each["type"] == "text"]
    projects = ["census", "census-two"] if stage == "Most" else ["census"]
    assert [f"## {project}" for project in projects] == titles[1:]
    assert f"dual-pipeline cost --env {stage.lower()}" in titles[0]
    if stage == "Alone":
        assert {OUTCOME_METRIC, VERDICT_METRIC, *QUALITY_METRICS} == ours
        assert {"AWS/States"} == services
    else:
        assert ours <= OURS
        assert {MODEL_METRIC, REFUSED_MODEL_METRIC, "DriftedFeatures", "DriftMaxPsi"} <= ours
        assert {"AWS/States", "AWS/SageMaker", "/aws/sagemaker/Endpoints"} == services


def test_widgets_lie_side_by_side(synthesis: Synthesis) -> None:
    """Every row fills the page's 24 columns."""
    _, widgets = dashboard(synthesis, "Dev")
    rows: dict[int, int] = {}
    for each in widgets:
        rows[each["y"]] = rows.get(each["y"], 0) + each["width"]
    assert {24} == set(rows.values())


def starters(synthesis: Synthesis, stage: str) -> set[tuple[str, str]]:
    """The roles, as stack and logical id, that some policy lets start an outer loop of a stage."""
    machines: dict[str, set[str]] = defaultdict(set)
    for path, machine in synthesis.resources("AWS::StepFunctions::StateMachine").items():
        if machine["Properties"]["StateMachineName"].endswith("-outer-loop"):
            machines[path.rpartition("/")[0]].add(path.rpartition("/")[2])
    found = set()
    for path, policy in synthesis.resources("AWS::IAM::Policy").items():
        stack, _, _ = path.rpartition("/")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            target = json.dumps(statement["Resource"])
            loop = "outer-loop" in target or any(f'"{machine}"' in target for machine in machines[stack])
            if path.startswith(f"{stage}/") and "states:StartExecution" in actions and loop:
                found |= {(stack, role["Ref"]) for role in policy["Properties"]["Roles"]}
    return found


@pytest.mark.parametrize(("stage", "approval"), [("Dev", "AUTOMATIC"), ("Most", "MANUAL")])
def test_a_spent_budget_stops_every_role_that_starts_runs(synthesis: Synthesis, stage: str, approval: str) -> None:
    """By itself or after an approval; the action names each role that starts an outer loop without a person, and no other."""
    action = only(synthesis.resources("AWS::Budgets::BudgetsAction", stack=f"{stage}/Watch"))
    assert {
        "BudgetName": f"{stage.lower()}-dual-pipeline",
        "ActionType": "APPLY_IAM_POLICY",
        "NotificationType": "ACTUAL",
        "ActionThreshold": {"Type": "PERCENTAGE", "Value": 100},
        "ApprovalModel": approval,
    } == {
        name: value
        for name, value in action.items()
        if name in ("BudgetName", "ActionType", "NotificationType", "ActionThreshold", "ApprovalModel")
    }
    named = set()
    for role in action["Definition"]["IamActionDefinition"]["Roles"]:
        output = role["Fn::GetStackOutput"]
        stack = output["StackName"].replace(f"{stage}-", f"{stage}/", 1)
        named.add((stack, synthesis.templates[stack]["Outputs"][output["OutputName"]]["Value"]["Ref"]))
    assert starters(synthesis, stage) == named
    assert len(named) <= 100


def test_the_deny_is_on_starting_outer_loops(synthesis: Synthesis) -> None:
    """The policy denies to start the environment's outer loops, and nothing else; its text names the runbook."""
    policy = only(synthesis.resources("AWS::IAM::ManagedPolicy", stack="Most/Watch"))
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert ("Deny", "states:StartExecution") == (statement["Effect"], statement["Action"])
    machines = [joined(each).rpartition(":")[2] for each in statement["Resource"]]
    assert ["most-census-outer-loop", "most-census-two-outer-loop"] == machines
    assert "section 'Budget spent'" in policy["Description"]


def test_the_actions_role_can_do_nothing_else(synthesis: Synthesis) -> None:
    """Only this account's budgets may assume it, and it attaches and detaches that one policy on those roles."""
    watch = synthesis.templates["Dev/Watch"]["Resources"]
    (role,) = (each["Properties"] for each in watch.values() if each["Type"] == "AWS::IAM::Role")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert {"Service": "budgets.amazonaws.com"} == trust["Principal"]
    assert {"StringEquals", "ArnLike"} == set(trust["Condition"])
    assert joined(trust["Condition"]["ArnLike"]["aws:SourceArn"]).endswith(":budget/*")
    (policy,) = (each["Properties"] for each in watch.values() if each["Type"] == "AWS::IAM::Policy")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert ["iam:AttachRolePolicy", "iam:DetachRolePolicy"] == statement["Action"]
    (deny,) = (id_ for id_, each in watch.items() if each["Type"] == "AWS::IAM::ManagedPolicy")
    assert {"ArnEquals": {"iam:PolicyARN": {"Ref": deny}}} == statement["Condition"]
    action = only(synthesis.resources("AWS::Budgets::BudgetsAction", stack="Dev/Watch"))
    assert len(action["Definition"]["IamActionDefinition"]["Roles"]) == len(statement["Resource"])


@pytest.mark.parametrize(("stage", "there"), [("Least", False), ("Alone", False), ("Staging", True)])
def test_no_action_without_a_budget_or_where_it_only_warns(synthesis: Synthesis, stage: str, there: bool) -> None:
    """An environment without a budget, or whose budget only warns, has no action; the dashboard is there all the same."""
    assert (stage != "Least") == bool(synthesis.resources("AWS::Budgets::Budget", stack=f"{stage}/Foundation"))
    assert there == bool(synthesis.resources("AWS::Budgets::BudgetsAction", stack=f"{stage}/Watch"))
