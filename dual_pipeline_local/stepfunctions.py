"""Step Functions executions that act as the state machine's role and end as AWS ends them.

ministack keeps machines and executions, evaluates JSONata and JSONPath, and runs Pass, Choice, Wait, Parallel and Map.
Replaced here: how states follow each other (history, limits), tasks, retries and catches, time-outs, stop, and names.
Source: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html and service-quotas.html
"""

from __future__ import annotations

import contextvars
import json
import logging
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from . import cloudwatch, definitions, integrations, jobs, ministack, settings
from .aws_time import AwsTime
from .clock import CLOCK
from .errors import ApiError
from .integrations import Integration, TaskError

MAX_PAYLOAD: Final = 262_144
MAX_EVENTS: Final = 25_000
EXPRESS_SECONDS: Final = 300
_DEFAULT_TASK_SECONDS: Final = 99_999_999
_POLL_S: Final = 0.05
_UNCATCHABLE: Final = ("States.Runtime",)
_NOT_IN_ALL: Final = ("States.DataLimitExceeded", "States.Runtime")
_TIMEOUTS: Final = ("States.Timeout", "States.HeartbeatTimeout")

_log = logging.getLogger("dual_pipeline_local.stepfunctions")
_lock = threading.RLock()
State = dict[str, Any]


class Ended(Exception):
    """The execution was stopped or timed out while a state was at work."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the threads of one execution share."""

    machine: str
    role: str
    ended: threading.Event = field(default_factory=threading.Event)

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise Ended as soon as the execution is over."""
        if CLOCK.wait(self.ended, seconds):
            raise Ended


_runs: dict[str, Run] = {}
_token_machines: dict[str, str] = {}
_run: contextvars.ContextVar[Run] = contextvars.ContextVar("run")


_METRICS: Final = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}


def install() -> None:
    """Put role-bound execution in place of ministack's."""
    service = _service()
    known_start, known_stop, known_check = (
        service._start_execution,
        service._stop_execution,
        service._validate_definition_jsonata,
    )
    known_create, known_update, known_emit = (
        service._create_state_machine,
        service._update_state_machine,
        service._emit_execution_status_event,
    )
    known_start_sync = service._start_sync_execution

    def stop(request: Mapping[str, Any]) -> Any:
        with _lock:
            answer = known_stop(request)
        if (run := _runs.get(str(request.get("executionArn")))) and answer[0] < 400:
            run.ended.set()
        return answer

    def emit(execution: State) -> None:
        publish_status(execution)
        if _machine_of(execution).get("type") != "EXPRESS":
            known_emit(execution)

    service._start_execution = lambda request: _answered(lambda: _start(request, known_start))
    service._start_sync_execution = lambda request: _answered(lambda: _start_sync(request, known_start_sync))
    service._validate_state_machine_definition = _validate
    service._test_state = lambda _request: _answered(_refuse_test_state)
    service._stop_execution = stop
    service._validate_definition_jsonata = lambda text: known_check(text) or definitions.problem(text)
    service._create_state_machine = lambda request: _answered(lambda: _checked_create(request, known_create))
    service._update_state_machine = lambda request: _answered(lambda: _checked_update(request, known_update))
    service._emit_execution_status_event = emit
    service._run_execution = _run_execution
    service._run_sub_machine = _run_branch
    service._execute_task = _execute_task
    service._with_retry_and_catch = _with_retry_and_catch
    service._error_matches = error_matches
    service._apply_state_assign = _assign
    service._add_event = _add_event
    service._scaled_sleep = lambda seconds: _run.get().sleep(seconds * service._SFN_WAIT_SCALE)
    service._sleep_until = _sleep_until
    service.now_iso = CLOCK.stamp


def publish_status(execution: Mapping[str, Any]) -> None:
    """Count an execution that started or ended, of Standard and Express machines.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    """
    if name := _METRICS.get(execution["status"]):
        machine = {"StateMachineArn": str(execution["stateMachineArn"])}
        cloudwatch.publish("AWS/States", name, machine, 1.0, unit="Count")


def error_matches(names: list[str], error: str) -> bool:
    """Whether an ErrorEquals list covers an error."""
    if error in _UNCATCHABLE:
        return False
    if error in names or (error == "States.HeartbeatTimeout" and "States.Timeout" in names):
        return True
    if error in _NOT_IN_ALL:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error not in _TIMEOUTS)


def retry_delay(retrier: Mapping[str, Any], attempt: int) -> float:
    """Seconds before retry number `attempt` (from 0): exponential, capped, and with full jitter if asked."""
    delay = float(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** attempt)
    delay = min(delay, float(retrier.get("MaxDelaySeconds", delay)))
    return random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay  # noqa: S311


def machine_of_token(token: str) -> str | None:
    """The state machine whose task a token was given to: what IAM checks SendTaskSuccess and its like on."""
    return _token_machines.get(token)


def check_machine(definition: str, role: str, *, name: str, kind: str) -> None:
    """Raise what CreateStateMachine would answer for a definition and role it refuses."""
    responses = ministack.load("core.responses")
    region, account = responses.get_region(), responses.get_account_id()
    if problem := _service()._validate_definition_jsonata(definition) or definitions.problem(definition, kind=kind):
        raise ApiError("InvalidDefinition", f"Invalid State Machine Definition: '{problem}'")
    machine = f"arn:aws:states:{region}:{account}:stateMachine:{name}"
    definitions.check_role(definition, role, machine_arn=machine, region=region, account=account)


def _service() -> Any:
    return ministack.load("services.stepfunctions")


def _answered(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ApiError as error:
        return ministack.load("core.responses").error_response_json(error.code, error.message, error.status)


def _checked_create(request: Mapping[str, Any], create: Callable[..., Any]) -> Any:
    name, kind = str(request.get("name", "")), str(request.get("type") or "STANDARD")
    check_machine(str(request.get("definition", "")), str(request.get("roleArn", "")), name=name, kind=kind)
    return create(request)


def _checked_update(request: Mapping[str, Any], update: Callable[..., Any]) -> Any:
    known = _service()._state_machines.get(request.get("stateMachineArn"))
    if known:
        definition, role = request.get("definition", known["definition"]), request.get("roleArn", known["roleArn"])
        check_machine(definition, role, name=known["name"], kind=known["type"])
    return update(request)


def _validate(request: Mapping[str, Any]) -> Any:
    """ValidateStateMachineDefinition: what CreateStateMachine would refuse the definition for."""
    definition, kind = str(request.get("definition", "")), str(request.get("type") or "STANDARD")
    problem = _service()._validate_definition_jsonata(definition) or definitions.problem(definition, kind=kind)
    found = []
    if problem:
        code, _, message = str(problem).partition(": ")
        found = [{"severity": "ERROR", "code": code, "message": message}]
    answer = {"result": "FAIL" if found else "OK", "diagnostics": found, "truncated": False}
    return ministack.load("core.responses").json_response(answer)


def _refuse_test_state() -> Any:
    # ministack's own runs a task without the role, and a JSONata state without its variables
    raise ApiError("ValidationException", "TestState is not modelled by the local emulator, see docs/emulator.md")


def _start_sync(request: Mapping[str, Any], start: Callable[..., Any]) -> Any:
    machine = _service()._state_machines.get(request.get("stateMachineArn"))
    if machine and machine.get("type") != "EXPRESS":
        raise ApiError("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")
    _check_input(request)
    return start(request)


def _check_input(request: Mapping[str, Any]) -> str:
    """The input of an execution; raises what AWS answers to a text that is too long or no JSON in UTF-8."""
    text: str = request.get("input", "{}")
    if len(text.encode(errors="replace")) > MAX_PAYLOAD:
        raise ApiError("InvalidExecutionInput", f"Invalid Execution Input: more than {MAX_PAYLOAD} bytes")
    try:
        _text(json.loads(text, parse_constant=_refuse_constant)).encode()
    except ValueError as error:
        raise ApiError("InvalidExecutionInput", f"Invalid Execution Input: '{error}'") from error
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _start(request: Mapping[str, Any], start: Callable[..., Any]) -> Any:
    """StartExecution: the name is an idempotency key of a Standard machine while the execution runs."""
    service, responses = _service(), ministack.load("core.responses")
    text = _check_input(request)
    name = request.get("name")
    if name is not None and not re.fullmatch(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}", name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")
    machine = service._resolve_state_machine_arn(request.get("stateMachineArn", ""))
    with _lock:
        if name and machine:
            known = service._executions.get(f"{machine.replace(':stateMachine:', ':execution:')}:{name}")
            if known and known["status"] == "RUNNING" and known["input"] == text:
                return responses.json_response({"executionArn": known["executionArn"], "startDate": known["startDate"]})
        return start(request)


def _machine_of(execution: State) -> State:
    machine: State = _service()._state_machines.get(execution["stateMachineArn"]) or {}
    return machine


def _run_execution(arn: str) -> None:
    """Walk a machine from its start to its end on this thread."""
    service = _service()
    execution = service._executions.get(arn)
    machine = _machine_of(execution) if execution else None
    if not machine:
        return
    definition = json.loads(machine["definition"])
    run = Run(machine=machine["stateMachineArn"], role=machine["roleArn"])
    with _lock:
        if execution["status"] != "RUNNING":
            return
        _runs[arn] = run
    token = _run.set(run)
    limit = definition.get("TimeoutSeconds")
    if machine.get("type") == "EXPRESS":
        limit = min(limit or EXPRESS_SECONDS, EXPRESS_SECONDS)
    if limit:
        _time_out_after(limit, execution, run)
    given = json.loads(execution["input"])
    context = {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": arn,
            "Input": given,
            "Name": execution["name"],
            "RoleArn": machine["roleArn"],
            "StartTime": execution["startDate"],
            "RedriveCount": 0,
        },
        "StateMachine": {"Id": run.machine, "Name": machine["name"]},
        "variables": {},
    }
    try:
        output = _text(_walk(definition, given, execution, context))
        _finish(execution, "SUCCEEDED", {"executionSucceededEventDetails": {"output": output}}, output=output)
    except Ended:
        _log.info("execution %s ended while a state was at work", arn)
    except service._ExecutionError as error:
        _fail(execution, error.error, error.cause)
    except Exception as error:
        _log.exception("execution %s broke", arn)
        _fail(execution, "States.Runtime", str(error))
    finally:
        run.ended.set()
        _runs.pop(arn, None)
        _run.reset(token)


def _time_out_after(seconds: float, execution: State, run: Run) -> None:
    def expire() -> None:
        if not CLOCK.wait(run.ended, seconds):
            _finish(execution, "TIMED_OUT", {"executionTimedOutEventDetails": {}})
            run.ended.set()

    threading.Thread(target=contextvars.copy_context().run, args=(expire,), daemon=True, name="time-out").start()


def _sleep_until(moment: str) -> None:
    until = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    _service()._scaled_sleep((until - CLOCK.now()).total_seconds())


def _fail(execution: State, error: str, cause: str) -> None:
    _finish(
        execution, "FAILED", {"executionFailedEventDetails": {"error": error, "cause": cause}}, error=error, cause=cause
    )


_ENDINGS: Final = {"SUCCEEDED": "ExecutionSucceeded", "FAILED": "ExecutionFailed", "TIMED_OUT": "ExecutionTimedOut"}


def _finish(execution: State, status: str, details: State, **fields: str) -> None:
    """End a running execution once: status, last event, status event on the bus."""
    service = _service()
    with _lock:
        if execution["status"] != "RUNNING":
            return
        execution.update(status=status, stopDate=CLOCK.stamp(), **fields)
        _append(execution, _ENDINGS[status], details)
    service._emit_execution_status_event(execution)


def _walk(machine: Mapping[str, Any], given: Any, execution: State, context: State) -> Any:
    """Run states from StartAt to a terminal one and answer its output."""
    service = _service()
    name, data = machine["StartAt"], given
    while True:
        if _run.get().ended.is_set():
            raise Ended
        state = machine["States"][name]
        kind = state["Type"]
        context["State"] = {"Name": name, "EnteredTime": CLOCK.stamp(), "RetryCount": 0}
        _add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": {"name": name, "input": _text(data)}})
        if kind == "Fail":
            raise service._ExecutionError(*service._fail_state_error(state, data, context))
        if kind == "Succeed":
            data, following = _succeed(state, data, context), None
        elif kind in ("Task", "Parallel", "Map"):
            data, following = getattr(service, f"_execute_{kind.lower()}")(state, data, execution, context)
        else:
            data, following = getattr(service, f"_execute_{kind.lower()}")(state, data, context)
        output = _limited(data, f"The state '{name}' returned a result")
        _add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": {"name": name, "output": output}})
        if following is None:
            return data
        name = following


def _succeed(state: State, data: Any, context: State) -> Any:
    service = _service()
    if service._state_query_language(state, context) == "JSONata":
        return service._apply_jsonata_output(state, data, context, default=data)
    return service._apply_output_path(state, service._apply_input_path(state, data, context), context)


def _run_branch(states: State, start: str, given: Any, execution: State, context: State) -> Any:
    """A Parallel branch or Map iteration: it sees the outer variables and keeps its own."""
    inner = {**context, "variables": dict(context["variables"])}
    return _walk({"StartAt": start, "States": states}, json.loads(_text(given)), execution, inner)


def _with_retry_and_catch(state: State, given: Any, context: State, attempt: Callable[[], Any]) -> Any:
    """Run a Task, Parallel or Map attempt under the state's Retry and Catch."""
    service = _service()
    retried: dict[int, int] = {}
    entered = context["State"]
    while True:
        context["State"] = {**entered, "RetryCount": sum(retried.values())}
        try:
            return attempt()
        except service._ExecutionError as error:
            retrier, index = service._find_matching_retrier(state.get("Retry", []), error.error, retried)
            if retrier is not None:
                scale = AwsTime(settings.current().time_scale).pause_scale
                _run.get().sleep(retry_delay(retrier, retried.get(index, 0)) * scale)
                retried[index] = retried.get(index, 0) + 1
                continue
            catcher = service._find_matching_catcher(state.get("Catch", []), error.error)
            if catcher is None:
                raise
            problem = {"Error": error.error, "Cause": error.cause}
            language = service._state_query_language(state, context)
            return service._apply_catcher(catcher, given, context, language, problem), catcher["Next"]


def _execute_task(state: State, given: Any, execution: State, context: State) -> Any:
    return _with_retry_and_catch(state, given, context, lambda: _attempt(state, given, execution, context))


def _attempt(state: State, given: Any, execution: State, context: State) -> Any:
    """One try of a task: arguments, the call, its result."""
    service = _service()
    language = service._state_query_language(state, context)
    if state["Resource"].endswith(integrations.CALLBACK):
        context["Task"] = {"Token": service.new_uuid() + service.new_uuid()}
    if language == "JSONata":
        arguments = service._apply_jsonata_arguments(state, given, context)
    else:
        arguments = service._apply_parameters(state, service._apply_input_path(state, given, context), context)
    _limited(arguments, f"The arguments of the state '{context['State']['Name']}'")
    result = _perform(state, arguments, given, execution, context)
    if language == "JSONata":
        output = service._apply_jsonata_output(state, given, context, result=result, default=result)
        service._apply_state_assign(state, given, context, result=result)
    else:
        output = service._apply_result_path(state, given, service._apply_result_selector(state, result))
        output = service._apply_output_path(state, output, context)
    return output, service._next_or_end(state)


class Attempt:
    """The time and the history of one try of a task."""

    def __init__(self, state: State, execution: State, *, seconds: float, heartbeat: float | None) -> None:
        self.heartbeat = heartbeat
        self._execution = execution
        self._deadline = CLOCK.monotonic() + seconds
        self._resource = str(state["Resource"])

    def pause(self, seconds: float) -> None:
        """Wait a little; raises Ended with the execution and States.Timeout at the task's deadline."""
        _run.get().sleep(min(seconds, max(0.0, self._deadline - CLOCK.monotonic())))
        if CLOCK.monotonic() >= self._deadline:
            raise TaskError("States.Timeout", "")

    def record(self, event: str, details: State) -> None:
        parts = self._resource.removeprefix("arn:aws:states:::").rsplit(":", 1)
        base = {"resourceType": parts[0], "resource": parts[-1]}
        name = f"{event[0].lower()}{event[1:]}EventDetails"
        _add_event(self._execution, event, {name: {**base, **details}})


def _perform(state: State, arguments: Any, given: Any, execution: State, context: State) -> Any:
    service = _service()
    run = _run.get()
    attempt = Attempt(
        state,
        execution,
        seconds=_seconds(state, "TimeoutSeconds", given, context) or _DEFAULT_TASK_SECONDS,
        heartbeat=_seconds(state, "HeartbeatSeconds", given, context),
    )
    attempt.record("TaskScheduled", {"region": run.machine.split(":")[3], "parameters": _text(arguments)})
    attempt.record("TaskStarted", {})
    try:
        result = _invoke(state["Resource"], arguments, context, attempt)
        output = _limited(result, f"The task '{context['State']['Name']}' returned a result")
    except TaskError as error:
        failed = "TaskTimedOut" if error.error in _TIMEOUTS else "TaskFailed"
        attempt.record(failed, {"error": error.error, "cause": error.cause})
        raise service._ExecutionError(error.error, error.cause) from error
    attempt.record("TaskSucceeded", {"output": output})
    return result


def _invoke(resource: str, arguments: Any, context: State, attempt: Attempt) -> Any:
    run = _run.get()
    who = {"role": run.role, "machine": run.machine}
    if resource.startswith("arn:aws:lambda:"):
        invoke = integrations.parse("arn:aws:states:::lambda:invoke")
        return integrations.call(invoke, {"FunctionName": resource, "Payload": arguments}, **who)["Payload"]
    try:
        integration = integrations.parse(resource)
    except ValueError as error:
        raise TaskError("States.Runtime", str(error)) from error
    if integration.pattern.startswith("sync"):
        return jobs.run(
            integration,
            arguments,
            **who,
            submitted=lambda answer: attempt.record("TaskSubmitted", {"output": _text(answer)}),
            pause=attempt.pause,
        )
    if integration.pattern == integrations.CALLBACK:
        return _await_callback(integration, arguments, context["Task"]["Token"], attempt, **who)
    return integrations.call(integration, arguments, **who)


def _await_callback(
    integration: Integration, arguments: Any, token: str, attempt: Attempt, *, role: str, machine: str
) -> Any:
    """Call the service, then wait until somebody sends the token back."""
    tokens = _service()._task_tokens
    answered = threading.Event()
    waiting: State = {"event": answered, "result": None, "error": None, "heartbeat": None}
    tokens[token] = waiting
    _token_machines[token] = machine
    beaten, last = None, CLOCK.monotonic()
    try:
        answer = integrations.call(integration, arguments, role=role, machine=machine)
        attempt.record("TaskSubmitted", {"output": _text(answer)})
        while not answered.is_set():
            attempt.pause(_POLL_S)
            if waiting["heartbeat"] != beaten:
                beaten, last = waiting["heartbeat"], CLOCK.monotonic()
            if attempt.heartbeat and CLOCK.monotonic() - last >= attempt.heartbeat:
                raise TaskError("States.HeartbeatTimeout", "")
    finally:
        tokens.pop(token, None)
    if failure := waiting["error"]:
        raise TaskError(failure["Error"], failure["Cause"])
    return json.loads(waiting["result"])


def _seconds(state: State, name: str, given: Any, context: State) -> float | None:
    service = _service()
    if f"{name}Path" in state:
        return float(service._resolve_path_or_ctx(state[f"{name}Path"], given, context))
    if name not in state:
        return None
    value = service._apply_jsonata_template(state[name], given, context)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise service._ExecutionError("States.QueryEvaluationError", f"The field '{name}' is not a positive number")
    return float(value)


def _assign(state: State, given: Any, context: State | None, result: Any = None, error_output: Any = None) -> None:
    """Assign: every expression sees the variables as they were before the state."""
    service = _service()
    values = state.get("Assign")
    if not context or not isinstance(values, dict) or service._state_query_language(state, context) != "JSONata":
        return
    evaluated = {
        name: service._apply_jsonata_template(value, given, context, result=result, error_output=error_output)
        for name, value in values.items()
    }
    _limited(evaluated, "The assigned variables")
    context["variables"].update(evaluated)


def _limited(value: Any, what: str) -> str:
    """The JSON text of a payload, refused when AWS would find it too large."""
    text = _text(value)
    if len(text.encode()) > MAX_PAYLOAD:
        cause = f"{what} with a size exceeding the maximum number of bytes service limit."
        raise _service()._ExecutionError("States.DataLimitExceeded", cause)
    return text


def _add_event(execution: State, kind: str, details: State | None = None) -> State:
    """Append to the history of a running execution; the last event it may have is its failure."""
    with _lock:
        if len(execution["events"]) >= MAX_EVENTS - 1:
            cause = f"The execution reached the maximum number of history events ({MAX_EVENTS})."
            raise _service()._ExecutionError("States.Runtime", cause)
        return _append(execution, kind, details)


def _append(execution: State, kind: str, details: State | None) -> State:
    number = len(execution["events"]) + 1
    event = {"id": number, "previousEventId": number - 1, "type": kind, "timestamp": CLOCK.stamp(), **(details or {})}
    execution["events"].append(event)
    return event


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
