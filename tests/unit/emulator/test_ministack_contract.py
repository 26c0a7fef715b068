"""ministack's private names and behaviours that the plug-in leans on."""

import inspect
from typing import Any

import pytest

from dual_pipeline_local import ministack
from dual_pipeline_local.errors import EmulatorError


def test_the_pinned_version_is_installed() -> None:
    """The emulator starts only on the ministack it was written for."""
    ministack.verify()


@pytest.mark.parametrize(("module", "names"), ministack.HOOKS.items())
def test_every_hook_exists(module: str, names: tuple[str, ...]) -> None:
    """Each private name in use is still there."""
    found = ministack.load(module)
    assert [name for name in names if not hasattr(found, name)] == []


def test_a_missing_hook_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ministack that moved a hook is refused with the hook's name."""
    monkeypatch.setattr(ministack, "HOOKS", {"core.router": ("no_such_name",)})
    with pytest.raises(EmulatorError, match=r"ministack\.core\.router\.no_such_name"):
        ministack.verify()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version is refused before its hooks are looked at."""
    monkeypatch.setattr(ministack, "VERSION", "1.0.0")
    with pytest.raises(EmulatorError, match=r"the emulator needs 1\.0\.0"):
        ministack.verify()


SIGNATURES: dict[tuple[str, str], list[str]] = {
    ("core.iam_actions", "extract_iam_action"): ["service", "method", "path", "headers", "body", "query_params"],
    ("core.iam_evaluator", "combine_resource_policy"): [
        "identity",
        "ctx",
        "policy",
        "owner_account",
        "required",
        "limits",
    ],
    ("core.iam_evaluator", "_resource_policy"): ["service", "resource_arn"],
    ("services.cloudwatch", "_record_history"): [
        "alarm_name",
        "old_state",
        "new_state",
        "reason",
        "alarm_type",
        "reason_data",
    ],
    ("services.cloudwatch", "_put_metric_alarm"): ["params", "cbor_data", "is_cbor", "is_json"],
    ("services.cloudwatch", "_put_metric_data"): ["params", "cbor_data", "is_cbor", "is_json"],
    ("services.cloudwatch", "_set_alarm_state"): ["params", "cbor_data", "is_cbor", "is_json"],
    ("services.cloudwatch", "_dispatch_alarm_actions"): ["alarm", "old_state", "new_state", "reason"],
    ("services.cloudwatch", "_evaluate_parent_alarms"): ["child", "seen"],
    ("services.cloudwatch", "record_metric"): ["namespace", "metric_name", "value", "unit", "dimensions"],
    ("services.cloudformation.provisioners", "_cw_metric_alarm_record"): ["name", "props"],
    ("services.sns", "topic_policy_allows"): ["topic_arn", "service", "source_arn", "source_account"],
    ("services.cloudformation.stacks", "_add_event"): [
        "stack_id",
        "stack_name",
        "logical_id",
        "resource_type",
        "status",
        "reason",
        "physical_id",
        "detailed_status",
    ],
    ("services.eventbridge", "_invoke_target"): ["target", "event", "rule", "view"],
    ("services.eventbridge", "_dispatch_to_stepfunctions"): ["arn", "payload"],
    ("services.eventbridge", "_put_events"): ["data", "allow_aws_source"],
    ("services.stepfunctions", "_start_execution"): ["data"],
    ("app", "pin_request_origin"): ["source_ip", "secure_transport"],
    ("services.stepfunctions", "_stop_execution"): ["data"],
    ("services.stepfunctions", "_run_execution"): ["exec_arn"],
    ("services.stepfunctions", "_run_sub_machine"): ["states", "start_at", "input_data", "execution", "ctx"],
    ("services.stepfunctions", "_execute_task"): ["state_def", "raw_input", "execution", "ctx"],
    ("services.stepfunctions", "_with_retry_and_catch"): ["state_def", "raw_input", "ctx", "attempt"],
    ("services.stepfunctions", "_apply_state_assign"): ["state_def", "raw_input", "ctx", "result", "error_output"],
    ("services.stepfunctions", "_add_event"): ["execution", "event_type", "details"],
    ("services.stepfunctions", "_validate_definition_jsonata"): ["definition_str"],
    ("services.glue", "_start_job_run"): ["data"],
    ("services.glue", "_batch_stop_job_run"): ["data"],
    ("services.cloudformation.stacks", "_runs_on_worker_thread"): ["resource_type"],
}


@pytest.mark.parametrize(("place", "parameters"), SIGNATURES.items())
def test_signatures_of_replaced_functions(place: tuple[str, str], parameters: list[str]) -> None:
    """A function that the plug-in replaces or calls still takes the same parameters."""
    module, name = place
    function: Any = getattr(ministack.load(module), name)
    assert list(inspect.signature(function).parameters) == parameters


@pytest.mark.parametrize(
    ("module", "caller", "name"),
    [
        ("services.stepfunctions", "_start_execution", "_run_execution"),
        ("services.stepfunctions", "_run_parallel_branches", "_run_sub_machine"),
        ("services.stepfunctions", "_execute_parallel", "_with_retry_and_catch"),
        ("services.stepfunctions", "_execute_map", "_with_retry_and_catch"),
        ("services.stepfunctions", "_execute_wait", "_scaled_sleep"),
        ("services.stepfunctions", "_find_matching_catcher", "_error_matches"),
        ("services.stepfunctions", "_create_state_machine", "_validate_definition_jsonata"),
        ("services.eventbridge", "_dispatch_event", "_invoke_target"),
        ("services.scheduler", "_tick_schedules", "_eb"),
        ("services.cloudwatch", "_set_alarm_state", "_dispatch_alarm_actions"),
        ("services.cloudwatch", "_transition_composite", "_dispatch_alarm_actions"),
        ("services.cloudwatch", "_transition_composite", "_record_history"),
        ("services.cloudformation.provisioners", "_cw_metric_alarm_put", "_cw_metric_alarm_record"),
        ("services.cloudformation.provisioners", "_cw_metric_alarm_put", "cloudformation_put_metric_alarm"),
        ("services.lambda_svc", "_emit_lambda_metrics", "record_metric"),
    ],
)
def test_replacements_are_reached(module: str, caller: str, name: str) -> None:
    """ministack looks the replaced name up in its module when it calls it."""
    function: Any = getattr(ministack.load(module), caller)
    used = {*function.__code__.co_names, *function.__code__.co_varnames}
    for constant in function.__code__.co_consts:
        used |= set(getattr(constant, "co_names", ()))
    assert name in used
