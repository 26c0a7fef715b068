"""The private names of ministack that the plug-in holds on to, in one list that a test pins.

ministack offers no plug-in interface; its services are modules with private functions and tables. Nothing else in this
package imports ministack: every use goes through `load`, and every name used stands in `HOOKS`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Mapping
from typing import Any, Final

from .errors import EmulatorError
from .settings import Settings

VERSION: Final = "1.5.33"

HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "app": ("SERVICE_REGISTRY", "SERVICE_HANDLERS", "app", "fix_success_content_type", "pin_request_origin"),
    "core.arn": ("parse_arn",),
    "core.concurrency": ("run_reentrant",),
    "core.responses": ("error_response_json", "json_response", "request_scope", "get_account_id", "get_region"),
    "core.router": ("SERVICE_PATTERNS",),
    "core.iam_actions": (
        "SERVICE_TO_IAM_NAMESPACE",
        "extract_iam_action",
        "extract_resource_arn",
        "request_tag_context",
        "s3_service_context",
    ),
    "core.iam_evaluator": (
        "EvalContext",
        "caller_arn",
        "combine_resource_policy",
        "evaluate",
        "evaluate_resource_policy",
        "_gather_role_policies",
        "_gather_user_policies",
        "_permissions_boundary",
        "_resource_policy",
    ),
    "services.dynamodb": ("_tables",),
    "services.iam": ("_roles", "_users"),
    "services.sts": ("_sessions", "register_session", "_role_id"),
    "services.s3": ("_fire_s3_event", "_buckets", "_bucket_has_versions"),
    "services.eventbridge": (
        "_put_events",
        "_dispatch_event",
        "_invoke_target",
        "_dispatch_to_stepfunctions",
        "_dispatch_to_sqs",
        "_parse_cron_fields",
        "_cron_next_fire",
    ),
    "services.glue": ("_jobs", "_job_runs", "_create_job", "_update_job", "_start_job_run", "_batch_stop_job_run"),
    "services.stepfunctions": (
        "_SFN_WAIT_SCALE",
        "_ExecutionError",
        "_add_event",
        "_apply_catcher",
        "_apply_input_path",
        "_apply_jsonata_arguments",
        "_apply_jsonata_output",
        "_apply_jsonata_template",
        "_apply_output_path",
        "_apply_parameters",
        "_apply_result_path",
        "_apply_result_selector",
        "_apply_state_assign",
        "_create_state_machine",
        "_emit_execution_status_event",
        "_error_matches",
        "_execute_choice",
        "_execute_map",
        "_execute_parallel",
        "_execute_pass",
        "_execute_task",
        "_execute_wait",
        "_executions",
        "_fail_state_error",
        "_find_matching_catcher",
        "_find_matching_retrier",
        "_next_or_end",
        "_resolve_path_or_ctx",
        "_resolve_state_machine_arn",
        "_run_execution",
        "_run_sub_machine",
        "_scaled_sleep",
        "_sleep_until",
        "_start_execution",
        "_start_sync_execution",
        "_state_machines",
        "_state_query_language",
        "_stop_execution",
        "_task_tokens",
        "_test_state",
        "_update_state_machine",
        "_validate_definition_jsonata",
        "_validate_state_machine_definition",
        "_with_retry_and_catch",
        "new_uuid",
        "now_iso",
    ),
    "services.cloudformation.provisioners": (
        "_cw_metric_alarm_record",
        "_RESOURCE_HANDLERS",
        "_STACK_TAG_PROPERTY",
        "_physical_name",
        "_sfn_definition",
    ),
    "services.cloudformation": ("_stacks",),
    "services.cloudformation.changesets": ("validate_template_support", "_add_event", "_IMPORT_LOOKUPS"),
    "services.cloudformation.handlers": ("validate_template_support", "_add_event"),
    "services.cloudformation.stacks": ("_runs_on_worker_thread", "_add_event"),
    "services.cloudwatch": (
        "_alarm_tags_refusal",
        "_alarms",
        "_cbor_ok",
        "_cbor_timestamp",
        "_composite_alarms",
        "_dispatch_alarm_actions",
        "_error",
        "_evaluate_alarm",
        "_evaluate_all_alarms",
        "_evaluate_parent_alarms",
        "_get_metric_data",
        "_get_metric_statistics",
        "_is_sns_action_arn",
        "_json_ok",
        "_list_metrics",
        "_put_metric_alarm",
        "_put_metric_data",
        "_record_history",
        "_resource_tags",
        "_set_alarm_state",
        "_xml",
        "cloudformation_put_metric_alarm",
        "new_uuid",
        "record_metric",
    ),
    "services.ecr": ("_batch_get_image",),
    "services.sqs": ("_queues",),
    "services.sns": ("_fanout", "topic_policy_allows"),
}


def prepare(settings: Settings) -> None:
    """Set the environment that ministack reads when it is imported: loopback only, authorization on, nothing kept."""
    os.environ.update(
        {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "GATEWAY_PORT": str(settings.port),
            "MINISTACK_ACCOUNT_ID": settings.account,
            "MINISTACK_REGION": settings.region,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "SFN_WAIT_SCALE": str(settings.time_scale),
            "PERSIST_STATE": "0",
            "S3_PERSIST": "0",
            "STATE_DIR": str(settings.work / "ministack"),
            "S3_DATA_DIR": str(settings.work / "ministack" / "s3"),
            "TMPDIR": str(settings.work / "tmp"),
            "DOCKER_HOST": "",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
            **settings.client_environment(),
        }
    )
    for name in ("SERVICES", "USE_SSL", "LOCALSTACK_PERSISTENCE", "AWS_SESSION_TOKEN", "SFN_MOCK_CONFIG"):
        os.environ.pop(name, None)


def load(module: str) -> Any:
    """A module of ministack, for example `services.iam`."""
    return importlib.import_module(f"ministack.{module}")


def missing_hooks() -> list[str]:
    """The names in `HOOKS` that the installed ministack lacks, as `module.name`."""
    return [
        f"ministack.{module}.{name}"
        for module, names in HOOKS.items()
        for name in names
        if not hasattr(load(module), name)
    ]


def verify() -> None:
    """Refuse to run on another ministack than the one the plug-in was written for."""
    installed = importlib.metadata.version("ministack")
    if installed != VERSION:
        raise EmulatorError(
            f"ministack {installed} is installed, the emulator needs {VERSION}: install requirements.txt"
        )
    if missing := missing_hooks():
        raise EmulatorError(f"ministack {installed} lacks {', '.join(missing)}")
