"""Asks the live endpoint the questions its evaluation answered, makes the model the champion, and watches it."""

from datetime import timedelta

from dual_pipeline.asl import Fragment, State, Statement, catch, choice, jsonata, quote, retry, task
from dual_pipeline.failures import runbook_link
from dual_pipeline.loop_contract import (
    GOLDEN_INFERENCE_ID,
    LIVE_AUC_METRIC,
    METRIC_NAMESPACE,
    MODEL_ALARM_SUFFIX,
    REASON_ROLLBACK,
    RUN_DIMENSION,
)
from dual_pipeline.model_project import Drift
from dual_pipeline.outer_loop.commit import commit_release
from dual_pipeline.outer_loop.finish import CLOUDWATCH_RETRY
from dual_pipeline.outer_loop.golden_rows import wrong_answers
from dual_pipeline.outer_loop.scaling import scale, scaling_statements
from dual_pipeline.outer_loop.setting import WRONG_ASSIGNED, Setting

# After the endpoint has moved, what fails must not leave a model serving that is not the champion.
GO_BACK = catch(next_="ChooseWayBack", assign=WRONG_ASSIGNED)
RUNTIME_ERRORS = (
    "SageMakerRuntime.InternalDependencyException",
    "SageMakerRuntime.InternalFailureException",
    "SageMakerRuntime.ModelNotReadyException",
    "SageMakerRuntime.SdkClientException",
    "SageMakerRuntime.ServiceUnavailableException",
)
_ANSWERS = "'the model answers its golden rows on the endpoint; package ' & $packageArn"
_RELEASED = (
    f"{_ANSWERS} & ', approved' & ($approval.by != '' ? ' by ' & $approval.by : '')"
    " & ($approval.words != '' ? ': ' & $approval.words : '')"
)
_ROLLED_BACK = f"{_ANSWERS} & ', to which the endpoint was brought back: ' & $trigger.detail"


def release(setting: Setting) -> Fragment:
    """What fails before the commit goes the way back: what serves is the champion, or on its way to be it again."""
    scaled = setting.project.rollout.scales
    drift = setting.project.watched
    watched = "RegisterScaling" if scaled else "FreeReleaseLock"
    released: State = {
        "outcome": "released",
        "reason": jsonata(f"$trigger.reason = {quote(REASON_ROLLBACK)} ? {_ROLLED_BACK} : {_RELEASED}"),
    }
    states: dict[str, State] = {
        "SmokeTest": task(
            "aws-sdk:sagemakerruntime:invokeEndpoint",
            arguments={
                "EndpointName": setting.prefix,
                "ContentType": jsonata("$golden.content_type"),
                "Accept": jsonata("$golden.accept"),
                "Body": jsonata("$golden.body"),
                "InferenceId": jsonata(f"'{GOLDEN_INFERENCE_ID}' & $id"),
            },
            timeout_s=90,
            retries=[retry(RUNTIME_ERRORS, attempts=4)],
            catches=[GO_BACK],
            assign={
                "wrong": jsonata(
                    f"($wrong := {wrong_answers('$states.result.Body', who='the endpoint')};"
                    " $wrong = '' ? '' : 'SmokeTest: ' & $wrong)"
                ),
                "wrongState": "SmokeTest",
                # Fixed here, for a transaction is repeated with the same items only.
                "releasedAt": jsonata("$now()"),
            },
            next_="JudgeAnswers",
        ),
        "JudgeAnswers": choice(("$wrong = ''", "CommitRelease"), default="ChooseWayBack"),
        **commit_release(
            setting,
            item={"endpoint_config": {"S": jsonata("$configName")}},
            released=released,
            unsure=WRONG_ASSIGNED,
            refused="ChooseWayBack",
            next_="SetAlarms" if drift else watched,
        ),
        # From here on the release stands, whatever fails.
        **(_set_alarms(setting, drift, next_=watched) if drift else {}),
        **(scale(setting, next_="FreeReleaseLock") if scaled else {}),
    }
    return Fragment(states=states, statements=(*_statements(setting), *(scaling_statements(setting) if scaled else ())))


def _set_alarms(setting: Setting, drift: Drift, *, next_: str) -> dict[str, State]:
    return {
        "SetAlarms": task(
            "aws-sdk:cloudwatch:putMetricAlarm",
            arguments=_alarm(setting, hours=drift.every // timedelta(hours=1) + 1, runbook="Model quality"),
            timeout_s=60,
            retries=CLOUDWATCH_RETRY,
            catches=[
                catch(
                    next_=next_,
                    assign={"trouble": jsonata("'no alarm watches the model: ' & $states.errorOutput.Error")},
                )
            ],
            next_=next_,
        )
    }


def _alarm(setting: Setting, *, hours: int, runbook: str) -> State:
    """Rings where the AUC on labels that came late lies below the holdout's by more than the gate and chance allow.

    It looks back from one measurement to the next, `hours`, so that it rings until one is better, and never at what
    an earlier model answered.
    """
    gates = setting.project.gates
    auc = "$evaluation.metrics.auc"
    deviation = f"($type({auc}.standard_deviation) = 'number' ? {auc}.standard_deviation : 0)"
    threshold = f"$round({auc}.value - {gates.max_auc_drop} - 3 * {deviation}, 4)"
    return {
        "AlarmName": f"{setting.prefix}{MODEL_ALARM_SUFFIX}",
        "AlarmDescription": jsonata(
            f"'the model of run ' & $runId & ' does worse on labels that came late than on its holdout: see the drift"
            f" report, then go back or train anew. Runbook: {runbook_link(runbook)}'"
        ),
        "Namespace": METRIC_NAMESPACE,
        "MetricName": LIVE_AUC_METRIC,
        "Dimensions": [
            {"Name": "Environment", "Value": setting.environment.name},
            {"Name": "Project", "Value": setting.project.name},
            {"Name": RUN_DIMENSION, "Value": jsonata("$runId")},
        ],
        "Statistic": "Minimum",
        "Period": 3600,
        "EvaluationPeriods": hours,
        "DatapointsToAlarm": 1,
        # Without an AUC there is nothing to fall short of.
        "Threshold": jsonata(f"$type({auc}.value) = 'number' ? {threshold} : 0"),
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [setting.topic_arn],
    }


def _statements(setting: Setting) -> tuple[Statement, ...]:
    alarm = Statement(
        actions=("cloudwatch:PutMetricAlarm",),
        resources=(setting.arn("cloudwatch", f"alarm:{setting.prefix}{MODEL_ALARM_SUFFIX}"),),
        source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html",
    )
    return (
        Statement(
            actions=("sagemaker:InvokeEndpoint",),
            resources=(setting.arn("sagemaker", f"endpoint/{setting.prefix}"),),
            source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
        ),
        *((alarm,) if setting.project.watched else ()),
    )
