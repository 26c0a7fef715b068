"""Puts the approved model on the endpoint under guard, and knows whether it really stayed there."""

import math
from collections.abc import Mapping

from dual_pipeline.asl import (
    CONDITION_FAILED,
    SAGEMAKER_ERRORS,
    Fragment,
    State,
    Statement,
    catch,
    choice,
    jsonata,
    quote,
    retry,
    task,
)
from dual_pipeline.await_status import AwaitStatus
from dual_pipeline.loop_contract import VARIANT_NAME
from dual_pipeline.outer_loop.approval import read_approval
from dual_pipeline.outer_loop.setting import (
    CAUSE,
    FAILED_AFTER_APPROVAL,
    LEDGER,
    NOW_S,
    REDRIVE,
    RETRY,
    Setting,
    in_seconds,
    last_segment,
    seconds,
)
from dual_pipeline.outer_loop.training import SAGEMAKER_RETRY, read_champion

# How long a release that stands in line waits at the most before it looks again.
LINE_S = 600
ENDPOINT_OVER = "$states.result.EndpointStatus in ['InService', 'Failed', 'OutOfService', 'UpdateRollbackFailed']"
OBSERVE_ENDPOINT = (
    "{'status': $states.result.EndpointStatus, 'config': $states.result.EndpointConfigName & '',"
    " 'reason': $states.result.FailureReason & ''}"
)

_WITHDRAWN: State = {
    "outcome": "rejected",
    "reason": jsonata(
        "'the approval was withdrawn: the package became ' & $standing.status & ' by '"
        " & ($standing.by != '' ? $standing.by : 'somebody whom SageMaker does not name')"
        " & ': ' & ($standing.words != '' ? $standing.words : 'no reason given')"
    ),
}

# A refusal may follow an attempt that was heard and whose answer was lost: then the endpoint moves already.
_LOOK = catch(next_="LookAtEndpoint", assign={"failedState": jsonata("$states.context.State.Name"), "reason": CAUSE})


def rollout(setting: Setting) -> Fragment:
    """Take the release lock, make model and configuration of what is still approved, move the endpoint, and compare."""
    rollout_, instances = setting.project.rollout, setting.project.instances
    name = jsonata(f"'{setting.prefix}-' & $id & '-' & {RETRY} & {REDRIVE}")
    me: State = {"S": jsonata("$me")}
    deadline_s = _deadline_s(setting)
    model = setting.model(name=name, Containers=[{"ModelPackageName": jsonata("$packageArn")}])
    states: dict[str, State] = {
        # One release at a time per endpoint; the next one stands in line.
        "TakeReleaseLock": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": setting.item_key(f"LOCK#release#{setting.prefix}"),
                "UpdateExpression": "SET #owner = :me, lease_until = :until, package_version = :version,"
                " package_created = :created",
                "ConditionExpression": "attribute_not_exists(#owner) OR #owner = :me OR lease_until < :now",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {
                    ":me": me,
                    ":until": {"N": jsonata(in_seconds(setting.release_lease_s))},
                    ":now": {"N": jsonata(NOW_S)},
                    ":version": {"N": jsonata("$string($approval.version)")},
                    ":created": {"N": jsonata("$string($approval.created)")},
                },
                "ReturnValues": "ALL_OLD",
            },
            timeout_s=60,
            # With full jitter an attempt comes after half its interval on average.
            retries=[
                *LEDGER,
                retry(
                    (CONDITION_FAILED,),
                    attempts=math.ceil(3 * setting.release_lease_s / LINE_S),
                    interval_s=30,
                    most_s=LINE_S,
                ),
            ],
            catches=[FAILED_AFTER_APPROVAL],
            # Whose turn was before: of two models that wait, the one approved from newer data decides. Times tell which
            # that is, for the versions of a group that was destroyed and made anew begin again.
            assign={
                "newer": jsonata(
                    "($last := $states.result.Attributes; $exists($last.package_created)"
                    " and $number($last.package_created.N) > $approval.created ? $last.package_version.N : '')"
                )
            },
            next_="CheckChampion",
        ),
        "CheckChampion": read_champion(
            setting, variable="serving", next_="CheckApproval", failed=FAILED_AFTER_APPROVAL
        ),
        # The line may have been long, and somebody may have thought better of it.
        "CheckApproval": read_approval(variable="standing", next_="IsApprovalFresh"),
        "IsApprovalFresh": choice(
            ("$standing.status = 'Rejected'", "FreeLocks", _WITHDRAWN),
            ("$standing.status != 'Approved'", "RejectPackage", _WITHDRAWN),
            ("$serving.package = $champion.package and $newer = ''", "FindEndpoint"),
            default="RejectPackage",
            otherwise={
                "outcome": "rejected",
                "reason": jsonata(
                    "'the approval is stale: ' & ($serving.package != $champion.package"
                    " ? 'the champion became ' & $serving.package & ' of run ' & $serving.run"
                    " : 'the newer model of version ' & $newer & ' was approved') & ' while this model waited'"
                ),
            },
        ),
        # Existence is a matter of the list: Describe's error for a missing endpoint has no name of its own.
        "FindEndpoint": task(
            "aws-sdk:sagemaker:listEndpoints",
            arguments={"NameContains": setting.prefix, "MaxResults": 100},
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            assign={
                "endpointStatus": jsonata(
                    f"$states.result.Endpoints[EndpointName = {quote(setting.prefix)}].EndpointStatus & ''"
                ),
                "previousConfig": "",
                "liveCount": 0,
            },
            next_="CanMove",
        ),
        "CanMove": choice(
            ("$endpointStatus = ''", "CreateModel"),
            ("$endpointStatus = 'InService'", "ReadEndpoint"),
            default="RejectPackage",
            otherwise={
                "outcome": "failed",
                "failedState": "FindEndpoint",
                "reason": jsonata(
                    f"'FindEndpoint: the endpoint {setting.prefix} is ' & $endpointStatus & ' and takes no new model;"
                    " bring it to InService, or delete it if it never served, then start the run again'"
                ),
            },
        ),
        "ReadEndpoint": task(
            "aws-sdk:sagemaker:describeEndpoint",
            arguments={"EndpointName": setting.prefix},
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            assign={
                "previousConfig": jsonata("$states.result.EndpointConfigName"),
                "liveCount": jsonata(
                    f"($live := $states.result.ProductionVariants[VariantName = {quote(VARIANT_NAME)}];"
                    " $sum([$live.DesiredInstanceCount]))"
                ),
            },
            next_="CreateModel",
        ),
        "CreateModel": task(
            "aws-sdk:sagemaker:createModel",
            arguments=model,
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            assign={"modelName": jsonata(last_segment("$states.result.ModelArn"))},
            next_="CreateEndpointConfig",
        ),
        "CreateEndpointConfig": task(
            "aws-sdk:sagemaker:createEndpointConfig",
            arguments={
                "EndpointConfigName": name,
                "KmsKeyId": setting.key_arn,
                "ProductionVariants": [
                    {
                        "VariantName": VARIANT_NAME,
                        "ModelName": jsonata("$modelName"),
                        "InstanceType": instances.endpoint,
                        # Not fewer than serve now, and as many as the strategy needs.
                        "InitialInstanceCount": jsonata(f"$max([$liveCount, {rollout_.instance_count}])"),
                        "InitialVariantWeight": 1,
                    }
                ],
                "DataCaptureConfig": {
                    "EnableCapture": rollout_.capture_percent > 0,
                    "InitialSamplingPercentage": rollout_.capture_percent,
                    "DestinationS3Uri": f"s3://{setting.artifact_bucket}/{setting.project.name}/capture/",
                    "KmsKeyId": setting.key_arn,
                    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                    "CaptureContentTypeHeader": {
                        "CsvContentTypes": ["text/csv"],
                        "JsonContentTypes": ["application/json"],
                    },
                },
                "Tags": setting.tags(),
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            assign={"configName": jsonata(last_segment("$states.result.EndpointConfigArn"))},
            next_="StartRollout",
        ),
        "StartRollout": choice(("$previousConfig = ''", "CreateEndpoint"), default="UpdateEndpoint"),
        "CreateEndpoint": task(
            "aws-sdk:sagemaker:createEndpoint",
            arguments={
                "EndpointName": setting.prefix,
                "EndpointConfigName": jsonata("$configName"),
                "Tags": [tag for tag in setting.tags() if tag["Value"] != jsonata("$runId")],
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[_LOOK],
            next_="AwaitRollout",
        ),
        "UpdateEndpoint": task(
            "aws-sdk:sagemaker:updateEndpoint",
            arguments=_update(
                setting,
                config="$configName",
                deployment=_guarded(setting),
                not_retained=("DataCaptureConfig", "DesiredInstanceCount"),
            ),
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[_LOOK],
            next_="AwaitRollout",
        ),
        "LookAtEndpoint": task(
            "aws-sdk:sagemaker:describeEndpoint",
            arguments={"EndpointName": setting.prefix},
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[catch(next_="RejectPackage", assign={"outcome": "failed"})],
            assign={"endpoint": jsonata(OBSERVE_ENDPOINT)},
            next_="DoesItMove",
        ),
        # Whether it is our rollout that moves it, CheckRollout finds out from the configuration.
        "DoesItMove": choice(
            (
                "$endpoint.status in ['Creating', 'Updating'] or $endpoint.config = $configName",
                "AwaitRollout",
                {"failedState": "", "reason": ""},
            ),
            default="RejectPackage",
            otherwise={"outcome": "failed"},
        ),
        **_await_endpoint(setting, name="AwaitRollout", next_="CheckRollout", unseen=FAILED_AFTER_APPROVAL),
        "CheckRollout": choice(
            ("$endpoint.status = 'InService' and $endpoint.config = $configName", "ReadGoldenRows"),
            (
                "$endpoint.status = 'InService'",
                "RejectPackage",
                {
                    "outcome": "rolled-back",
                    "reason": jsonata(
                        f"'SageMaker rolled the endpoint {setting.prefix} back to ' & $endpoint.config"
                        " & ': a rollback alarm rang or the new fleet did not come up'"
                        " & ($endpoint.reason != '' ? '; ' & $endpoint.reason : '')"
                    ),
                },
            ),
            default="RejectPackage",
            otherwise={
                "outcome": "failed",
                "failedState": "AwaitRollout",
                "reason": jsonata(
                    f"'AwaitRollout: the endpoint {setting.prefix} is ' & $endpoint.status"
                    f" & ' after at most {deadline_s} s'"
                    " & ($endpoint.reason != '' ? ': ' & $endpoint.reason : '')"
                    " & '; it needs a person, see the runbook'"
                ),
            },
        ),
        # The way back: the old configuration is known to answer, and the alarms may ring for the very model that goes,
        # so they must not undo it.
        "ChooseWayBack": choice(
            ("$previousConfig != ''", "RollBack"),
            default="RejectPackage",
            otherwise={
                "outcome": "failed",
                "failedState": jsonata("$wrongState"),
                "reason": jsonata(
                    f"$wrong & '; this was the first deployment, so the endpoint {setting.prefix} still serves '"
                    " & $configName & ' and nothing was deleted: delete the endpoint or release a better model'"
                ),
            },
        ),
        "RollBack": task(
            "aws-sdk:sagemaker:updateEndpoint",
            arguments=_update(
                setting,
                config="$previousConfig",
                deployment={"BlueGreenUpdatePolicy": _policy(setting, "ALL_AT_ONCE")},
                not_retained=("DataCaptureConfig",),
            ),
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[_stuck(setting)],
            next_="AwaitRollBack",
        ),
        **_await_endpoint(setting, name="AwaitRollBack", next_="CheckRollBack", unseen=_stuck(setting)),
        "CheckRollBack": choice(
            (
                "$endpoint.status = 'InService' and $endpoint.config = $previousConfig",
                "RejectPackage",
                {
                    "outcome": "rolled-back",
                    "reason": jsonata("$wrong & '; the endpoint is back on ' & $previousConfig"),
                },
            ),
            default="RejectPackage",
            otherwise={
                "outcome": "failed",
                "failedState": "AwaitRollBack",
                "reason": jsonata(
                    f"$wrong & '; and the way back failed: the endpoint {setting.prefix} is ' & $endpoint.status"
                    " & ' on ' & $endpoint.config & ', see the runbook'"
                ),
            },
        ),
    }
    return Fragment(states=states, statements=_statements(setting))


def _deadline_s(setting: Setting) -> int:
    """How long an endpoint may move: the rollout's own deadline, and half an hour for the way back."""
    return seconds(setting.project.rollout.deadline) + 1800


def _await_endpoint(setting: Setting, *, name: str, next_: str, unseen: State) -> Mapping[str, State]:
    """Wait until the endpoint rests, whatever became of it; `unseen` catches what keeps it from being looked at."""
    wait = AwaitStatus(
        name=name,
        integration="aws-sdk:sagemaker:describeEndpoint",
        arguments={"EndpointName": setting.prefix},
        errors=SAGEMAKER_ERRORS,
        key="$states.result.EndpointArn",
        done=ENDPOINT_OVER,
        observe=OBSERVE_ENDPOINT,
        observed="endpoint",
        deadline_s=_deadline_s(setting),
        slice_s=setting.slice_s,
        table_name=setting.table_name,
        next_=next_,
        on_deadline=next_,
        catches=[unseen],
    )
    return wait.fragment().states


def _update(setting: Setting, *, config: str, deployment: State, not_retained: tuple[str, ...]) -> State:
    # Retaining the variants keeps weights and live capacity, and would keep the old data capture. Forward the capacity
    # is that of the new configuration, which knows the live one; the old configuration does not. The deployment
    # configuration is given in full each time, for an omitted one means no guard at all.
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
    return {
        "EndpointName": setting.prefix,
        "EndpointConfigName": jsonata(config),
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": [{"VariantPropertyType": kind} for kind in not_retained],
        "RetainDeploymentConfig": False,
        "DeploymentConfig": deployment,
    }


def _guarded(setting: Setting) -> State:
    strategy = setting.project.rollout.strategy.upper().replace("-", "_")
    return {
        "BlueGreenUpdatePolicy": _policy(setting, strategy),
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in setting.rollback_alarms]},
    }


def _policy(setting: Setting, strategy: str) -> State:
    rollout_ = setting.project.rollout
    step: State = {"Type": "CAPACITY_PERCENT", "Value": rollout_.canary_percent}
    routing: State = {"Type": strategy, "WaitIntervalInSeconds": seconds(rollout_.wait)}
    if strategy == "CANARY":
        routing["CanarySize"] = step
    elif strategy == "LINEAR":
        routing["LinearStepSize"] = step
    return {
        "TrafficRoutingConfiguration": routing,
        "MaximumExecutionTimeoutInSeconds": seconds(rollout_.deadline),
        "TerminationWaitInSeconds": 0,
    }


def _stuck(setting: Setting) -> State:
    return catch(
        next_="RejectPackage",
        assign={
            "outcome": "failed",
            "failedState": jsonata("$states.context.State.Name"),
            "reason": jsonata(
                f"$wrong & '; and the way back failed with ' & $states.errorOutput.Error"
                f" & ': the endpoint {setting.prefix} may still serve ' & $configName & ', see the runbook'"
            ),
        },
    )


def _statements(setting: Setting) -> tuple[Statement, ...]:
    page = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"
    endpoint = setting.arn("sagemaker", f"endpoint/{setting.prefix}")
    model = setting.arn("sagemaker", f"model/{setting.prefix}-*")
    config = setting.arn("sagemaker", f"endpoint-config/{setting.prefix}-*")
    key_page = "https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html"
    return (
        Statement(actions=("sagemaker:CreateModel",), resources=(model,), source=page),
        Statement(actions=("sagemaker:CreateEndpointConfig",), resources=(config,), source=page),
        Statement(
            actions=("sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"), resources=(endpoint, config), source=page
        ),
        Statement(actions=("sagemaker:DescribeEndpoint",), resources=(endpoint,), source=page),
        Statement(actions=("sagemaker:AddTags",), resources=(model, config, endpoint), source=page),
        Statement(
            actions=("sagemaker:ListEndpoints",),
            resources=("*",),
            reason="ListEndpoints has no resource type",
            source=page,
        ),
        Statement(
            actions=("iam:PassRole",),
            resources=(setting.model_role_arn,),
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createmodel-perms",
        ),
        Statement(
            actions=("cloudwatch:DescribeAlarms",),
            resources=tuple(setting.arn("cloudwatch", f"alarm:{name}") for name in setting.rollback_alarms),
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html",
        ),
        Statement(
            actions=("kms:CreateGrant",),
            resources=(setting.key_arn,),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            source=key_page,
        ),
    )
