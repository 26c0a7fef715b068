"""Asks the live endpoint the questions its evaluation answered, watches the model, and makes it the champion."""

from dual_pipeline.asl import DYNAMODB_ERRORS, Fragment, State, Statement, catch, choice, jsonata, retry, task
from dual_pipeline.loop_contract import GOLDEN_ROWS_FILE, VARIANT_NAME
from dual_pipeline.outer_loop.finish import CLOUDWATCH_RETRY
from dual_pipeline.outer_loop.quality import S3_RETRY
from dual_pipeline.outer_loop.setting import CAUSE, LEDGER, Setting, decoded

# After the endpoint has moved, what fails must not leave a model serving that is not the champion.
GO_BACK = catch(next_="ChooseWayBack", assign={"wrong": CAUSE, "wrongState": jsonata("$states.context.State.Name")})
RUNTIME_ERRORS = (
    "SageMakerRuntime.InternalDependencyException",
    "SageMakerRuntime.InternalFailureException",
    "SageMakerRuntime.ModelNotReadyException",
    "SageMakerRuntime.SdkClientException",
    "SageMakerRuntime.ServiceUnavailableException",
)
SCALING_RETRY = [
    retry(
        (
            "ApplicationAutoScaling.ConcurrentUpdateException",
            "ApplicationAutoScaling.InternalServiceException",
            "ApplicationAutoScaling.SdkClientException",
        ),
        attempts=4,
    )
]

# Every answer is a number within the tolerance of what the evaluation got for the same row, and there is one per row.
_WRONG = """(
  $answers := [{answers}.predictions];
  $rows := $count($golden.expected);
  $off := $filter([0..$rows - 1], function($i) {
    $not($type($answers[$i]) = 'number' and $abs($answers[$i] - $golden.expected[$i]) <= $golden.tolerance)
  });
  $rows = 0 ? 'SmokeTest: there are no golden rows'
  : $count($answers) != $rows
    ? 'SmokeTest: the endpoint gave ' & $count($answers) & ' answers to ' & $rows & ' golden rows'
  : $count($off) > 0
    ? 'SmokeTest: ' & $count($off) & ' of ' & $rows & ' golden rows are answered wrongly, the first with '
      & $string($answers[$off[0]]) & ' instead of ' & $string($golden.expected[$off[0]])
  : ''
)"""


_RELEASED: State = {
    "outcome": "released",
    "reason": jsonata(
        "'the model answers its golden rows on the endpoint; package ' & $packageArn & ', approved'"
        " & ($approval.by != '' ? ' by ' & $approval.by : '')"
        " & ($approval.words != '' ? ': ' & $approval.words : '')"
    ),
}


def release(setting: Setting) -> Fragment:
    """Every failure here goes the way back: what serves is the champion, or on its way to be it again."""
    states: dict[str, State] = {
        "ReadGoldenRows": task(
            "aws-sdk:s3:getObject",
            arguments={
                "Bucket": setting.artifact_bucket,
                "Key": jsonata(f"$evaluation.folder & '{GOLDEN_ROWS_FILE}'"),
            },
            timeout_s=60,
            retries=S3_RETRY,
            catches=[GO_BACK],
            assign={
                "golden": jsonata(
                    f"($g := {decoded('$states.result.Body')};"
                    " {'content_type': $g.content_type, 'accept': $g.accept, 'body': $g.body,"
                    " 'expected': [$g.expected], 'tolerance': $g.tolerance})"
                )
            },
            next_="SmokeTest",
        ),
        "SmokeTest": task(
            "aws-sdk:sagemakerruntime:invokeEndpoint",
            arguments={
                "EndpointName": setting.prefix,
                "ContentType": jsonata("$golden.content_type"),
                "Accept": jsonata("$golden.accept"),
                "Body": jsonata("$golden.body"),
            },
            timeout_s=90,
            retries=[retry(RUNTIME_ERRORS, attempts=4)],
            catches=[GO_BACK],
            assign={
                "wrong": jsonata(_WRONG.replace("{answers}", decoded("$states.result.Body"))),
                "wrongState": "SmokeTest",
                # Fixed here, for a transaction is repeated with the same items only.
                "releasedAt": jsonata("$now()"),
            },
            next_="JudgeAnswers",
        ),
        "JudgeAnswers": choice(("$wrong = ''", "SetAlarms"), default="ChooseWayBack"),
        "SetAlarms": task(
            "aws-sdk:cloudwatch:putMetricAlarm",
            arguments=_alarm(
                setting,
                "latency",
                metric="ModelLatency",
                statistic={"ExtendedStatistic": "p99"},
                # The metric is in microseconds.
                threshold=setting.project.rollout.max_p99_latency_ms * 1000,
                says=f"p99 latency of the model above {setting.project.rollout.max_p99_latency_ms:g} ms",
            ),
            timeout_s=60,
            retries=CLOUDWATCH_RETRY,
            catches=[GO_BACK],
            next_="SetErrorAlarm",
        ),
        "SetErrorAlarm": task(
            "aws-sdk:cloudwatch:putMetricAlarm",
            arguments=_alarm(
                setting,
                "errors",
                metric="Invocation5XXErrors",
                # The average of zeros and ones is the share of requests that failed.
                statistic={"Statistic": "Average"},
                threshold=setting.project.rollout.max_error_percent / 100,
                says=f"more than {setting.project.rollout.max_error_percent:g} % of requests failed",
            ),
            timeout_s=60,
            retries=CLOUDWATCH_RETRY,
            catches=[GO_BACK],
            next_="RegisterScaling" if setting.project.rollout.max_instance_count else "CommitRelease",
        ),
        **_scaling(setting),
        "CommitRelease": task(
            "aws-sdk:dynamodb:transactWriteItems",
            arguments={
                "ClientRequestToken": jsonata("$substring($hash($me, 'SHA-256'), 0, 36)"),
                "TransactItems": [
                    {
                        "ConditionCheck": {
                            "TableName": setting.table_name,
                            "Key": setting.item_key(f"LOCK#release#{setting.prefix}"),
                            "ConditionExpression": "#owner = :me",
                            "ExpressionAttributeNames": {"#owner": "owner"},
                            "ExpressionAttributeValues": {":me": {"S": jsonata("$me")}},
                        }
                    },
                    {
                        "Put": {
                            "TableName": setting.table_name,
                            "Item": {
                                **setting.champion_key,
                                "model_package_arn": {"S": jsonata("$packageArn")},
                                "model_uri": {"S": jsonata("$approval.model")},
                                "snapshot_uri": {"S": jsonata("$snapshotUri")},
                                "pipeline_execution_arn": {"S": jsonata("$pipelineExecutionArn")},
                                "definition_hash": {"S": jsonata("$approval.definition")},
                                "endpoint_config": {"S": jsonata("$configName")},
                                "model_name": {"S": jsonata("$modelName")},
                                "run_id": {"S": jsonata("$runId")},
                                "evaluation_uri": {
                                    "S": jsonata(
                                        f"'s3://{setting.artifact_bucket}/' & $evaluation.folder & 'evaluation.json'"
                                    )
                                },
                                "released_at": {"S": jsonata("$releasedAt")},
                            },
                        }
                    },
                ],
            },
            timeout_s=60,
            # A cancelled transaction hides whether it was a conflict; the token makes a repetition the same one.
            retries=[
                retry((*DYNAMODB_ERRORS, "DynamoDb.TransactionInProgressException")),
                retry(("DynamoDb.TransactionCanceledException",), attempts=2),
            ],
            catches=[
                catch(
                    next_="ReadBack",
                    assign={"wrong": CAUSE, "wrongState": jsonata("$states.context.State.Name")},
                )
            ],
            assign=_RELEASED,
            next_="FreeReleaseLock",
        ),
        # An answer may be lost after the write; the pointer itself tells.
        "ReadBack": task(
            "aws-sdk:dynamodb:getItem",
            arguments={"TableName": setting.table_name, "Key": setting.champion_key, "ConsistentRead": True},
            timeout_s=60,
            retries=LEDGER,
            catches=[GO_BACK],
            assign={"committedRun": jsonata("$states.result.Item.run_id.S & ''")},
            next_="IsCommitted",
        ),
        "IsCommitted": choice(("$committedRun = $runId", "FreeLocks", _RELEASED), default="ChooseWayBack"),
    }
    return Fragment(states=states, statements=_statements(setting))


def _alarm(setting: Setting, name: str, *, metric: str, statistic: State, threshold: float, says: str) -> State:
    return {
        "AlarmName": f"{setting.prefix}-model-{name}",
        "AlarmDescription": jsonata(
            f"'{says}; released by run ' & $runId & '. Runbook: {setting.runbook}#endpoint-{name}'"
        ),
        "Namespace": "AWS/SageMaker",
        "MetricName": metric,
        "Dimensions": [
            {"Name": "EndpointName", "Value": setting.prefix},
            {"Name": "VariantName", "Value": VARIANT_NAME},
        ],
        **statistic,
        "Period": 60,
        "EvaluationPeriods": 5,
        "DatapointsToAlarm": 3,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [setting.topic_arn],
    }


def _scaling(setting: Setting) -> dict[str, State]:
    rollout = setting.project.rollout
    if rollout.max_instance_count is None:
        return {}
    target: State = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{setting.prefix}/variant/{VARIANT_NAME}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    return {
        "RegisterScaling": task(
            "aws-sdk:applicationautoscaling:registerScalableTarget",
            arguments={
                **target,
                "MinCapacity": rollout.instance_count,
                "MaxCapacity": rollout.max_instance_count,
            },
            timeout_s=60,
            retries=SCALING_RETRY,
            catches=[GO_BACK],
            next_="SetScalingPolicy",
        ),
        "SetScalingPolicy": task(
            "aws-sdk:applicationautoscaling:putScalingPolicy",
            arguments={
                **target,
                "PolicyName": f"{setting.prefix}-invocations",
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                    "TargetValue": 1000,
                    "ScaleInCooldown": 600,
                    "ScaleOutCooldown": 120,
                },
            },
            timeout_s=60,
            retries=SCALING_RETRY,
            catches=[GO_BACK],
            next_="CommitRelease",
        ),
    }


def _statements(setting: Setting) -> tuple[Statement, ...]:
    statements = (
        Statement(
            actions=("sagemaker:InvokeEndpoint",),
            resources=(setting.arn("sagemaker", f"endpoint/{setting.prefix}"),),
            source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
        ),
        Statement(
            actions=("cloudwatch:PutMetricAlarm",),
            resources=(setting.arn("cloudwatch", f"alarm:{setting.prefix}-model-*"),),
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html",
        ),
    )
    if setting.project.rollout.max_instance_count is None:
        return statements
    page = "https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html"
    dimension = {
        "StringEquals": {"application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount"}
    }
    return (
        *statements,
        Statement(
            actions=("application-autoscaling:RegisterScalableTarget", "application-autoscaling:PutScalingPolicy"),
            resources=(setting.arn("application-autoscaling", "scalable-target/*"),),
            conditions=dimension,
            source=page,
        ),
        Statement(
            actions=("sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"),
            resources=(setting.arn("sagemaker", f"endpoint/{setting.prefix}"),),
            source=page,
        ),
        Statement(
            actions=("sagemaker:DescribeEndpointConfig",),
            resources=(setting.arn("sagemaker", f"endpoint-config/{setting.prefix}-*"),),
            source=page,
        ),
        Statement(
            actions=("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"),
            resources=(setting.arn("cloudwatch", f"alarm:TargetTracking-endpoint/{setting.prefix}/*"),),
            source=page,
        ),
        Statement(
            actions=("iam:CreateServiceLinkedRole",),
            resources=(
                f"arn:{setting.partition}:iam::{setting.account}:role/aws-service-role/"
                "sagemaker.application-autoscaling.amazonaws.com/"
                "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
            ),
            conditions={"StringLike": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}},
            source=page,
        ),
    )
