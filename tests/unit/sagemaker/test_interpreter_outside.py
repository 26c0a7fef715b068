"""Callback and Lambda steps over a fake control plane: what they send, what they take, and that they never hang."""

import json
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.pipelines import outside
from dual_pipeline_local.sagemaker.pipelines.callbacks import Callbacks
from pipeline_definitions import callback, define, function, process

SUCCESS, FAILURE = "SendPipelineExecutionStepSuccess", "SendPipelineExecutionStepFailure"
TOKEN = "t" * 32


@pytest.fixture
def asking(plane: Any) -> str:
    """An execution that waits for a grade and a note, and uses the grade."""
    step = callback("Ask", ("grade", "Integer"), ("note", "String"), url=plane.cloud.queue.url, arguments={"n": 5})
    use = process("Use", {"Get": "Steps.Ask.OutputParameters['grade']"})
    arn: str = plane.start(plane.create(define(step, use)))
    return arn


def answer(plane: Any, **outputs: str) -> dict[str, Any]:
    """Answer the callback with these outputs."""
    given = [{"Name": name, "Value": value} for name, value in outputs.items()]
    found: dict[str, Any] = plane.ask(
        SUCCESS, CallbackToken=plane.message()["token"], OutputParameters=given, ClientRequestToken=TOKEN
    )
    return found


def test_a_callback_goes_on_with_its_answer(plane: Any, asking: str) -> None:
    """The message is AWS's; outputs are typed for the steps behind and listed as text."""
    message = plane.message()
    token = message["token"]
    assert {"token": token, "pipelineExecutionArn": asking, "arguments": {"n": 5}, "status": "Executing"} == message
    assert {"PipelineExecutionArn": asking} == answer(plane, grade="7", note="fine")
    execution, steps = plane.ended(asking)
    assert "Succeeded" == execution["PipelineExecutionStatus"], steps
    assert [7] == plane.requests("CreateProcessingJob")[0]["AppSpecification"]["ContainerArguments"]
    assert {
        "CallbackToken": token,
        "SqsQueueUrl": plane.cloud.queue.url,
        "OutputParameters": [{"Name": "grade", "Value": "7"}, {"Name": "note", "Value": "fine"}],
    } == steps["Ask"]["Metadata"]["Callback"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"FailureReason": "the customer said no"}, "the customer said no"),
        ({}, "answered with SendPipelineExecutionStepFailure without a FailureReason"),
    ],
)
def test_a_refusal_fails_the_step_with_the_answerers_reason(
    plane: Any, asking: str, given: dict[str, str], reason: str
) -> None:
    """Nothing behind it starts."""
    plane.ask(FAILURE, CallbackToken=plane.message()["token"], **given)
    execution, steps = plane.ended(asking)
    assert "Step failure: One or multiple steps failed." == execution["FailureReason"]
    assert ["Ask"] == list(steps)
    assert reason in steps["Ask"]["FailureReason"]


@pytest.mark.parametrize(
    ("outputs", "fault"),
    [
        ({}, "output parameter grade is missing; output parameter note is missing"),
        ({"grade": "seven", "note": ""}, "output parameter grade must be of type Integer: got 'seven'"),
        ({"grade": "7", "note": "", "more": ""}, "output parameter more is not one of the step's ['grade', 'note']"),
    ],
)
def test_garbage_is_refused_and_the_step_waits_on(plane: Any, asking: str, outputs: dict[str, str], fault: str) -> None:
    """A ValidationException names every fault; a right answer is still taken."""
    with pytest.raises(ApiError, match="ValidationException: Invalid OutputParameters of callback token") as refusal:
        answer(plane, **outputs)
    assert fault in refusal.value.message
    answer(plane, grade="7", note="")
    assert "Succeeded" == plane.ended(asking)[0]["PipelineExecutionStatus"]


def test_outputs_are_given_once(plane: Any, asking: str) -> None:
    """The same name twice is no answer."""
    twice = [{"Name": "grade", "Value": value} for value in ("1", "2")]
    with pytest.raises(ApiError, match="Output parameters must be given once each"):
        plane.ask(SUCCESS, CallbackToken=plane.message()["token"], OutputParameters=twice)
    plane.pipelines.stop_all()


def test_a_token_is_answered_once(plane: Any, asking: str) -> None:
    """The same request again is the same answer, any other is a conflict, an unknown token is not found."""
    token = plane.message()["token"]
    first = answer(plane, grade="7", note="")
    assert first == answer(plane, grade="7", note="")
    with pytest.raises(ApiError, match=f"ConflictException: Callback token '{token}' has been answered already"):
        answer(plane, grade="8", note="")
    with pytest.raises(ApiError, match="ConflictException"):
        plane.ask(FAILURE, CallbackToken=token)
    with pytest.raises(ApiError, match="ResourceNotFound: Callback token 'AAAAAAAAAA' does not exist"):
        plane.ask(FAILURE, CallbackToken="AAAAAAAAAA")
    with pytest.raises(ApiError, match="ValidationException"):
        plane.ask(FAILURE, CallbackToken="short")
    assert "Succeeded" == plane.ended(asking)[0]["PipelineExecutionStatus"]


def test_a_stop_is_told_to_the_queue(plane: Any, asking: str) -> None:
    """As AWS does; an answer is taken, and without one the execution ends all the same; later it is too late."""
    token = plane.message()["token"]
    plane.ask("StopPipelineExecution", PipelineExecutionArn=asking)
    stopping = plane.message(2)
    assert (token, "Stopping", {"n": 5}) == (stopping["token"], stopping["status"], stopping["arguments"])
    execution, steps = plane.ended(asking)
    assert ("Stopped", "Stopped") == (execution["PipelineExecutionStatus"], steps["Ask"]["StepStatus"])
    with pytest.raises(ApiError, match=r"ConflictException: The step of callback token .* waits no longer"):
        answer(plane, grade="7", note="")


def test_an_end_of_everything_waits_for_nothing(plane: Any, asking: str) -> None:
    """No message is sent any more."""
    plane.message()
    plane.pipelines.stop_all()
    assert "Stopped" == plane.ended(asking)[0]["PipelineExecutionStatus"]
    assert 1 == len(plane.cloud.queue.messages)


def test_a_callback_nobody_answers_times_out(plane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After seven days the step fails, typed."""
    assert 7 * 24 * 3600 == outside.CALLBACK_TIMEOUT_S
    monkeypatch.setattr(outside, "CALLBACK_TIMEOUT_S", 0.05)
    _, steps = plane.run(define(callback("Ask", url=plane.cloud.queue.url)))
    assert "was not answered within 0.05 seconds" in steps["Ask"]["FailureReason"]
    assert steps["Ask"]["FailureReason"].startswith("ClientError: Callback token ")


def test_a_missing_queue_fails_the_step(plane: Any) -> None:
    """With SQS's own error."""
    _, steps = plane.run(define(callback("Ask", url="https://sqs/lost")))
    assert steps["Ask"]["FailureReason"].startswith("ClientError: Failed to invoke sqs:SendMessage. Error Details: ")
    assert "QueueDoesNotExist" in steps["Ask"]["FailureReason"]


ANSWERS = st.tuples(
    st.sampled_from([SUCCESS, FAILURE]),
    st.dictionaries(st.sampled_from(["grade", "more"]), st.integers(0, 2).map(str) | st.text(max_size=3)),
    st.sampled_from(["a" * 32, "b" * 32]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANSWERS, max_size=8))
def test_whatever_is_answered_the_first_right_answer_counts(
    answers: list[tuple[str, dict[str, str], str]],
) -> None:
    """Any row of answers leaves a callback as its first acceptable one left it."""
    callbacks = Callbacks(threading.Condition())
    waiting = callbacks.begin("arn", [{"OutputName": "grade", "OutputType": "Integer"}])
    accepted: list[Any] = []
    for operation, outputs, request_token in answers:
        request: dict[str, Any] = {"CallbackToken": waiting.token, "ClientRequestToken": request_token}
        if operation == SUCCESS:
            request["OutputParameters"] = [{"Name": name, "Value": value} for name, value in outputs.items()]
        try:
            assert {"PipelineExecutionArn": "arn"} == callbacks.operations[operation](request, None)  # type: ignore[arg-type]
        except ApiError as error:
            assert error.code in ("ValidationException", "ConflictException")  # noqa: PT017
        else:
            accepted.append((operation, request))
    assert waiting.answered == bool(accepted)
    assert waiting.request == (accepted[0] if accepted else None)
    assert all(again == accepted[0] for again in accepted)
    assert (waiting.outputs is None) == (not accepted or accepted[0][0] == FAILURE)


def run_function(plane: Any, answers: Any, *outputs: tuple[str, str]) -> dict[str, Any]:
    """Run a Lambda step whose function does so: the step."""
    plane.cloud.functions.by_arn["arn:f"] = answers
    step = function("Call", *outputs, arn="arn:f", arguments={"text": {"Get": "Execution.PipelineName"}, "n": 1})
    found: dict[str, Any] = plane.run(define(step))[1]["Call"]
    return found


def test_a_function_is_invoked_with_its_arguments(plane: Any) -> None:
    """Outputs are taken by name and read as their type; what else it returns, statusCode too, means nothing."""
    events: list[Any] = []

    def handle(event: dict[str, Any]) -> str:
        events.append(event)
        return json.dumps({"statusCode": 500, "share": 0.5, "ok": True, "note": "n", "count": "3", "deep": {}})

    outputs = [("share", "Float"), ("ok", "Boolean"), ("note", "String"), ("count", "Integer")]
    step = run_function(plane, handle, *outputs)
    assert [{"text": "p1", "n": 1}] == events
    assert {
        "Arn": "arn:f",
        "OutputParameters": [
            {"Name": "share", "Value": "0.5"},
            {"Name": "ok", "Value": "true"},
            {"Name": "note", "Value": "n"},
            {"Name": "count", "Value": "3"},
        ],
    } == step["Metadata"]["Lambda"]


@pytest.mark.parametrize("returned", ["null", "3", '"text"', "[]", ""])
def test_a_function_without_outputs_may_return_anything(plane: Any, returned: str) -> None:
    """Also nothing."""
    assert "Succeeded" == run_function(plane, lambda _event: returned)["StepStatus"]


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        ("null", "it must be a JSON object with grade, got NoneType"),
        ("[1]", "it must be a JSON object with grade, got list"),
        ("{}", "output parameter grade is missing"),
        ('{"grade": null}', "output parameter grade is missing"),
        ('{"grade": "A"}', "output parameter grade must be of type Integer: got 'A'"),
        ('{"grade": 1.5}', "output parameter grade must be of type Integer: got '1.5'"),
        ('{"grade": {"value": 1}}', "output parameters cannot be nested: grade"),
        ('{"grade"', "Expecting"),
    ],
)
def test_a_response_without_the_outputs_fails_the_step(plane: Any, returned: str, fault: str) -> None:
    """With a reason that names function and output."""
    reason = run_function(plane, lambda _event: returned, ("grade", "Integer"))["FailureReason"]
    assert reason.startswith("ClientError: Invalid response of Lambda function arn:f: ")
    assert fault in reason


def test_a_functions_error_is_the_steps_reason(plane: Any) -> None:
    """Type and message of what it raised."""

    def refuse(_event: dict[str, Any]) -> str:
        raise ValueError("the champion is better")

    reason = "ClientError: Lambda function arn:f failed with ValueError: the champion is better"
    assert reason == run_function(plane, refuse)["FailureReason"]


def test_a_missing_function_fails_the_step(plane: Any) -> None:
    """With Lambda's own error."""
    _, steps = plane.run(define(function("Call", arn="arn:lost")))
    assert "ClientError: Failed to invoke lambda:InvokeFunction. Error Details: " in steps["Call"]["FailureReason"]
    assert "Function not found: arn:lost" in steps["Call"]["FailureReason"]


def test_a_function_has_ten_minutes(plane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the step fails; the function runs on."""
    assert 600 == outside.LAMBDA_TIMEOUT_S
    monkeypatch.setattr(outside, "LAMBDA_TIMEOUT_S", 0.05)
    hold = threading.Event()
    step = run_function(plane, lambda _event: str(hold.wait(10)).lower())
    hold.set()
    assert "ClientError: Lambda function arn:f did not answer within 0.05 seconds" == step["FailureReason"]


def test_a_stop_does_not_hang_on_a_function(plane: Any) -> None:
    """It waits for the function for a while only."""
    hold, invoked = threading.Event(), threading.Event()

    def wait(_event: dict[str, Any]) -> str:
        invoked.set()
        return str(hold.wait(10)).lower()

    plane.cloud.functions.by_arn["arn:f"] = wait
    arn = plane.start(plane.create(define(function("Call", arn="arn:f"))))
    assert invoked.wait(10)
    plane.ask("StopPipelineExecution", PipelineExecutionArn=arn)
    execution, steps = plane.ended(arn)
    hold.set()
    assert ("Stopped", "Stopped") == (execution["PipelineExecutionStatus"], steps["Call"]["StepStatus"])
