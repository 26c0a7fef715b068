"""What watches an endpoint for drift, read from the templates."""

import json
from typing import Any

import pytest

from synthesis import Synthesis, joined

pytestmark = pytest.mark.xdist_group("synthesis")


def named(synthesis: Synthesis, kind: str, stack: str, **wanted: Any) -> list[dict[str, Any]]:
    """The properties of resources that have these properties."""
    found = (resource["Properties"] for resource in synthesis.resources(kind, stack=stack).values())
    return [each for each in found if all(joined(each.get(name)) == value for name, value in wanted.items())]


def test_the_alarm_is_the_one_that_triggers_wait_for(synthesis: Synthesis) -> None:
    """By name, on a metric, until an hour after the next measurement is due; no data is no breach."""
    (alarm,) = named(synthesis, "AWS::CloudWatch::Alarm", "Dev/CensusOuterLoop", AlarmName="dev-census-drift")
    assert ("DualPipeline", "DriftFindings", "Maximum") == (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"])
    assert (3600, 25, 1, 0) == tuple(
        alarm[name] for name in ("Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold")
    )
    assert ("GreaterThanThreshold", "notBreaching") == (alarm["ComparisonOperator"], alarm["TreatMissingData"])
    assert alarm["AlarmActions"]
    (rule,) = (
        resource["Properties"]
        for resource in synthesis.resources("AWS::Events::Rule", stack="Dev/Foundation").values()
        if "drift alarm begins" in resource["Properties"].get("Description", "")
    )
    assert alarm["AlarmName"] in rule["EventPattern"]["detail"]["alarmName"]
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 604_800


def test_the_machine_is_started_daily(synthesis: Synthesis) -> None:
    """A schedule with a queue for what could not be started, and the machine under its name."""
    (schedule,) = named(
        synthesis, "AWS::Scheduler::Schedule", "Dev/CensusOuterLoop", Description="Measures drift of census"
    )
    assert ("rate(24 hours)", "{}") == (schedule["ScheduleExpression"], schedule["Target"]["Input"])
    assert "DeadLetterConfig" in schedule["Target"]
    (machine,) = named(
        synthesis,
        "AWS::StepFunctions::StateMachine",
        "Dev/CensusOuterLoop",
        StateMachineName="dev-census-drift",
    )
    definition = json.loads(joined(machine["DefinitionString"]))
    assert "Measure" in definition["States"]


def test_without_an_endpoint_nothing_is_watched(synthesis: Synthesis) -> None:
    """A project without an inner loop has neither machine nor schedule nor alarm."""
    stacks = [path for path in synthesis.templates if path.startswith("Alone/")]
    text = json.dumps([synthesis.templates[path] for path in stacks])
    assert "Measures drift of" not in text
    assert "sagemaker:CreateProcessingJob" not in text


def test_the_job_may_write_nothing_but_reports(synthesis: Synthesis) -> None:
    """It reads captured data, evaluations, labels and its code."""
    (policy,) = (
        resource["Properties"]["PolicyDocument"]["Statement"]
        for id_, resource in synthesis.resources("AWS::IAM::Policy", stack="Dev/CensusOuterLoop").items()
        if "/DriftJobRole" in id_
    )
    by_sid = {each.get("Sid"): each for each in policy}
    assert "/census/drift/*" in json.dumps(by_sid["WriteReports"]["Resource"])
    writers = [sid for sid, each in by_sid.items() if "s3:PutObject" in each["Action"]]
    assert ["WriteReports"] == writers
    assert "/census/ground-truth/*" in json.dumps(by_sid["ReadLabels"]["Resource"])
