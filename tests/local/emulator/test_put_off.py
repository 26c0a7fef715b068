"""What is put off, for real: the shipped state makes the schedule with the shipped rights, and the schedule starts the run."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dual_pipeline.asl import Statement, assign, choice
from dual_pipeline.outer_loop.admission import admission
from outer_loop import setting
from waiting import until

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

ACCOUNT, REGION = "123456789012", "eu-west-1"


def allowed(statement: Statement) -> dict[str, Any]:
    """A statement as IAM takes it."""
    shape = {"Effect": "Allow", "Action": [*statement.actions], "Resource": [*statement.resources]}
    return {**shape, **({"Condition": statement.conditions} if statement.conditions else {})}


def test_a_trailing_run_starts_when_its_time_has_come(emulator: Any) -> None:
    """The schedule starts the machine once, with what was put off, and is gone then."""
    name = "dev-putoff-outer-loop"
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
    start = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": arn}
    starter = emulator.role("put-off-starter", "scheduler.amazonaws.com", start)
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:put-off"
    places = replace(setting("putoff"), account=ACCOUNT, starter_role_arn=starter, dead_letters_arn=queue)
    part = admission(places)
    role = emulator.role("put-off", "states.amazonaws.com", *map(allowed, part.statements))
    scheduler = emulator.client("scheduler")
    scheduler.create_schedule_group(Name=places.schedule_group)

    # A minute is the least that a run is put off; the test has not that much time.
    state = json.loads(json.dumps(part.states["ScheduleTrailing"]).replace("60000", "8000"))
    trigger = {"reason": "data", "detail": "a file", "force": True, "source": None}
    known = {"trigger": trigger, "resumeAt": 1, "runId": "r", "id": "0123456789ab", "telling": True, "quiet": True}
    told = {"quiet": "{% $quiet %}", "trouble": "{% $trouble %}"}
    states = {
        "Start": choice(("$states.input.reason = 'trailing'", "Ended"), default="PutOff"),
        "PutOff": assign({**known, "trouble": ""}, next_="ScheduleTrailing"),
        "ScheduleTrailing": state,
        "FreeLocks": {"Type": "Pass", "Output": told, "End": True},
        "Ended": {"Type": "Succeed"},
    }
    machine = emulator.machine(name, role, {"QueryLanguage": "JSONata", "StartAt": "Start", "States": states})
    first, again = emulator.execute(machine), emulator.execute(machine)
    assert json.loads(first["output"]) == {"quiet": False, "trouble": ""}
    assert json.loads(again["output"]) == {"quiet": True, "trouble": ""}, "there is one schedule for one moment"

    client = emulator.client("stepfunctions")

    def trailing() -> list[Any]:
        found = client.list_executions(stateMachineArn=machine)["executions"]
        inputs = [client.describe_execution(executionArn=each["executionArn"])["input"] for each in found]
        return [given for given in map(json.loads, inputs) if given]

    until(trailing)
    expected = {"reason": "trailing", "detail": "put off by run r", "force": True, "source": None}
    assert trailing() == [expected]
    assert until(lambda: not scheduler.list_schedules(GroupName=places.schedule_group)["Schedules"])
