"""Puts the approved model on the endpoint under guard, and knows whether it really stayed there."""

import json

from dual_pipeline.asl import NOT_FOUND, Fragment, State, Statement, catch, choice, jsonata, quote, task
from dual_pipeline.await_status import INITIAL
from dual_pipeline.loop_contract import REASON_ROLLBACK, VARIANT_NAME
from dual_pipeline.outer_loop.endpoint_wait import OBSERVE_ENDPOINT, await_endpoint
from dual_pipeline.outer_loop.scaling import hold_scaling
from dual_pipeline.outer_loop.setting import (
    CAUSE,
    FAILED_AFTER_APPROVAL,
    FAILED_ASSIGNED,
    REDRIVE,
    RETRY,
    WRONG_ASSIGNED,
    Setting,
    last_segment,
    seconds,
)
from dual_pipeline.outer_loop.traffic import start_traffic
from dual_pipeline.outer_loop.training import SAGEMAKER_RETRY

# What DescribeEndpoint says other than was asked for: fewer instances, or another share of captured requests.
_DIFFERS = """(
  $asked := {asked};
  $endpoint.count < $asked
    ? 'it has ' & $string($endpoint.count) & ' instances where ' & $string($asked) & ' were asked for'
  : $endpoint.captured != {percent}
    ? 'it captures ' & $string($endpoint.captured) & ' % of its requests where {percent} % were asked for'
  : ''
)"""

# How many times five minutes an endpoint may move for others.
_PATIENCE = 6
# What an update takes from the new configuration and not from what serves.
_CAPTURE_ASKED = [{"VariantPropertyType": "DataCaptureConfig"}]
_ALL_ASKED = [*_CAPTURE_ASKED, {"VariantPropertyType": "DesiredInstanceCount"}]
_LEFT_BEHIND = FAILED_AFTER_APPROVAL | {"Assign": {**FAILED_ASSIGNED, "orphan": True}}
_UNSEEN = catch(next_="MayLookAgain", assign=WRONG_ASSIGNED)
# A refusal may follow an attempt that was heard and whose answer was lost: then the endpoint moves already.
_LOOK = catch(next_="LookAtEndpoint", assign={"failedState": jsonata("$states.context.State.Name"), "reason": CAUSE})


def rollout(setting: Setting) -> Fragment:
    """Make model and configuration, move the endpoint under guard, and compare it with what was asked."""
    rollout_, instances = setting.project.rollout, setting.project.instances
    scaled = rollout_.scales
    name = jsonata(f"'{setting.prefix}-' & $id & '-' & {RETRY} & {REDRIVE}")
    traffic = start_traffic(setting, next_="AwaitRollout")
    # Autoscaling may take instances away that its bounds allow.
    asked = str(rollout_.instance_count) if scaled else f"$max([$liveCount, {rollout_.instance_count}])"
    differs = _DIFFERS.format(asked=asked, percent=rollout_.capture_percent)
    model = setting.model(name=name, Containers=[{"ModelPackageName": jsonata("$packageArn")}])
    states: dict[str, State] = {
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
            catches=[_LEFT_BEHIND],
            assign={
                "configName": jsonata(last_segment("$states.result.EndpointConfigArn")),
                "patience": _PATIENCE,
                "endpoint": {"count": 0},
            },
            next_="StartRollout",
        ),
        "StartRollout": choice(
            ("$previousConfig = ''", "CreateEndpoint"), default="HoldScaling" if scaled else "UpdateEndpoint"
        ),
        **(hold_scaling(setting, next_="UpdateEndpoint") if scaled else {}),
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
                # Instances that came while it moved for others are more than the configuration knows of.
                not_retained=jsonata(
                    f"$endpoint.count > $max([$liveCount, {rollout_.instance_count}])"
                    f" ? {json.dumps(_CAPTURE_ASKED)} : {json.dumps(_ALL_ASKED)}"
                ),
            ),
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[_LOOK],
            next_="StartTraffic",
        ),
        **traffic.states,
        "LookAtEndpoint": task(
            "aws-sdk:sagemaker:describeEndpoint",
            arguments={"EndpointName": setting.prefix},
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[
                catch(
                    next_="DoesItMove",
                    assign={"endpoint": jsonata(f"{{'status': {NOT_FOUND} ? '' : 'unseen'}}")},
                )
            ],
            assign={"endpoint": jsonata(OBSERVE_ENDPOINT)},
            next_="DoesItMove",
        ),
        "DoesItMove": choice(
            (
                "$endpoint.status in ['Creating', 'RollingBack']"
                " or $configName in [$endpoint.pending, $endpoint.config]",
                "StartTraffic",
                {"failedState": "", "reason": ""},
            ),
            # It may move all the same.
            (
                "$endpoint.status = 'unseen'",
                "PauseRollout",
                {
                    "wrong": jsonata("$reason"),
                    "wrongState": jsonata("$failedState"),
                    "failedState": "",
                    "reason": "",
                },
            ),
            # Instances come or go, or SageMaker itself updates it: then it takes no other update until it rests.
            ("$endpoint.status in ['Updating', 'SystemUpdating'] and $patience > 0", "PauseUpdate"),
            default="RejectPackage",
            otherwise={"outcome": "failed", "orphan": True},
        ),
        "PauseUpdate": {
            "Type": "Wait",
            "Seconds": 300,
            "Assign": {"patience": jsonata("$patience - 1"), "failedState": "", "reason": ""},
            "Output": {},
            "Next": "UpdateEndpoint",
        },
        **await_endpoint(setting, name="AwaitRollout", next_="CheckRollout", unseen=_UNSEEN),
        # The rollout goes on whether it is seen or not: nothing may leave before the endpoint was asked.
        "MayLookAgain": choice(("$unseen", "ChooseWayBack"), default="PauseRollout"),
        "PauseRollout": {
            "Type": "Wait",
            "Seconds": 300,
            "Assign": {"unseen": True},
            "Output": {},
            "Next": "AwaitRollout",
        },
        "CheckRollout": choice(
            (f"$endpoint.status = 'InService' and $endpoint.config = $configName and {differs} = ''", "SmokeTest"),
            (
                "$endpoint.status = 'InService' and $endpoint.config = $configName",
                "ChooseWayBack",
                {
                    "wrong": jsonata(f"'AwaitRollout: the endpoint is not as asked: ' & {differs}"),
                    "wrongState": "AwaitRollout",
                },
            ),
            (
                "$endpoint.status = 'InService'",
                "RejectPackage",
                {
                    "outcome": "rolled-back",
                    "orphan": True,
                    "reason": jsonata(
                        f"'SageMaker rolled the endpoint {setting.prefix} back to ' & $endpoint.config"
                        " & ': a rollback alarm rang, the new fleet did not come up, or somebody moved it meanwhile'"
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
                    f" & ' after at most {setting.endpoint_deadline_s} s'"
                    " & ($endpoint.reason != '' ? ': ' & $endpoint.reason : '')"
                    " & '; it needs a person, see the runbook'"
                ),
            },
        ),
        # The way back: the old configuration is known to answer, and the alarms may ring for the very model that goes,
        # so they must not undo it.
        "ChooseWayBack": choice(
            ("$previousConfig != ''", "RollBack", {"repeated": False}),
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
                deployment=_at_once(setting),
                not_retained=_CAPTURE_ASKED,
            ),
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            # It may have been heard all the same, so the endpoint itself is asked.
            catches=[
                catch(
                    next_="AwaitRollBack",
                    assign={"wrong": jsonata("$wrong & '; UpdateEndpoint said ' & $states.errorOutput.Error")},
                )
            ],
            next_="AwaitRollBack",
        ),
        **await_endpoint(setting, name="AwaitRollBack", next_="CheckRollBack", unseen=_stuck(setting)),
        "CheckRollBack": choice(
            (
                "$endpoint.status = 'InService' and $endpoint.config = $previousConfig",
                "RejectPackage",
                {
                    "outcome": "rolled-back",
                    "orphan": True,
                    "reason": jsonata("$wrong & '; the endpoint is back on ' & $previousConfig"),
                },
            ),
            # It was refused while the endpoint moved, which rests now.
            (
                "$endpoint.status = 'InService' and $endpoint.config = $configName and $not($repeated)",
                "RollBack",
                {"repeated": True, **INITIAL},
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
    return Fragment(states=states, statements=(*traffic.statements, *_statements(setting)))


def _update(setting: Setting, *, config: str, deployment: State | str, not_retained: object) -> State:
    # Retaining the variants keeps weights and live capacity, and would keep the old data capture. Forward the capacity
    # is that of the new configuration, which knows the live one; the old configuration does not. The deployment
    # configuration is given in full each time, for an omitted one means no guard at all.
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
    return {
        "EndpointName": setting.prefix,
        "EndpointConfigName": jsonata(config),
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": not_retained,
        "RetainDeploymentConfig": False,
        "DeploymentConfig": deployment,
    }


def _guarded(setting: Setting) -> str:
    """JSONata for the deployment: by policy, under alarms; a rollback at once, for they ring for the one that goes."""
    strategy = setting.project.rollout.strategy.upper().replace("-", "_")
    guarded = {
        "BlueGreenUpdatePolicy": _policy(setting, strategy),
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in setting.rollback_alarms]},
    }
    return jsonata(
        f"$trigger.reason = {quote(REASON_ROLLBACK)} ? {json.dumps(_at_once(setting))} : {json.dumps(guarded)}"
    )


def _at_once(setting: Setting) -> State:
    return {"BlueGreenUpdatePolicy": _policy(setting, "ALL_AT_ONCE")}


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
        Statement(
            actions=("sagemaker:DeleteModel", "sagemaker:DeleteEndpointConfig"), resources=(model, config), source=page
        ),
        Statement(actions=("sagemaker:AddTags",), resources=(model, config, endpoint), source=page),
        setting.passes_model_role(),
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
