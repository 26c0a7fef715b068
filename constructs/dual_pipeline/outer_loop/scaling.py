"""Keeps the number of instances to the traffic, but takes none away while two fleets share it.

Source: https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-suspend-resume-scaling.html
"""

from dual_pipeline.asl import State, Statement, catch, jsonata, quote, retry, task
from dual_pipeline.loop_contract import VARIANT_NAME
from dual_pipeline.outer_loop.setting import Setting

_RETRY = [
    retry(
        (
            "ApplicationAutoScaling.ConcurrentUpdateException",
            "ApplicationAutoScaling.InternalServiceException",
            "ApplicationAutoScaling.SdkClientException",
        ),
        attempts=4,
    )
]


def hold_scaling(setting: Setting, *, next_: str) -> dict[str, State]:
    """Suspend scaling in: each fleet gets a part of the requests, which looks as if fewer instances would do."""
    return {
        "HoldScaling": _register(
            setting,
            held=True,
            next_=next_,
            assign={"scalingHeld": True},
            trouble="scaling in could not be suspended for the rollout",
        )
    }


def resume_scaling(setting: Setting, *, next_: str) -> dict[str, State]:
    """Let the endpoint scale in again after a release that was refused."""
    return {
        "ResumeScaling": _register(
            setting,
            held=False,
            next_=next_,
            assign={"scalingHeld": False},
            trouble="scaling in is suspended until the next release",
        )
    }


def scale(setting: Setting, *, next_: str) -> dict[str, State]:
    """Let the endpoint scale between its bounds by the requests that each instance gets in a minute."""
    rollout = setting.project.rollout
    return {
        "RegisterScaling": _register(
            setting,
            held=False,
            next_="SetScalingPolicy",
            assign={"scalingHeld": False},
            trouble="the endpoint's scaling could not be set",
        ),
        "SetScalingPolicy": task(
            "aws-sdk:applicationautoscaling:putScalingPolicy",
            arguments={
                **_target(setting),
                "PolicyName": f"{setting.prefix}-invocations",
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                    "TargetValue": rollout.requests_per_instance,
                    "ScaleInCooldown": 600,
                    "ScaleOutCooldown": 120,
                },
            },
            timeout_s=60,
            retries=_RETRY,
            catches=[_troubled("the endpoint's scaling policy could not be set", next_=next_)],
            next_=next_,
        ),
    }


def scaling_statements(setting: Setting) -> tuple[Statement, ...]:
    """What registering and scaling take."""
    page = "https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html"
    dimension = {
        "StringEquals": {"application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount"}
    }
    return (
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


def _target(setting: Setting) -> State:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{setting.prefix}/variant/{VARIANT_NAME}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def _register(setting: Setting, *, held: bool, next_: str, assign: State, trouble: str) -> State:
    rollout = setting.project.rollout
    return task(
        "aws-sdk:applicationautoscaling:registerScalableTarget",
        arguments={
            **_target(setting),
            "MinCapacity": rollout.instance_count,
            "MaxCapacity": rollout.max_instance_count,
            "SuspendedState": {"DynamicScalingInSuspended": held},
        },
        timeout_s=60,
        retries=_RETRY,
        catches=[_troubled(trouble, next_=next_, values=assign)],
        assign=assign,
        next_=next_,
    )


def _troubled(trouble: str, *, next_: str, values: State | None = None) -> State:
    told = jsonata(f"{quote(f'{trouble}: ')} & $states.errorOutput.Error")
    return catch(next_=next_, assign={**(values or {}), "trouble": told})
