"""Keeps the number of instances to the traffic, but takes none away while two fleets share it.

Source: https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-suspend-resume-scaling.html
"""

from collections.abc import Sequence

from dual_pipeline.asl import State, Statement, catch, jsonata, quote, retry, task
from dual_pipeline.loop_contract import VARIANT_NAME
from dual_pipeline.outer_loop.setting import Setting

_PAGE = "https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html"
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
    trouble = "scaling in could not be suspended for the rollout"
    return {
        "HoldScaling": set_suspended(
            _resource_id(setting),
            held=True,
            # It may have been heard all the same.
            catches=[_troubled(trouble, next_=next_, values={"scalingHeld": True})],
            assign={"scalingHeld": True},
            next_=next_,
        )
    }


def resume_scaling(setting: Setting, *, next_: str) -> dict[str, State]:
    """Let the endpoint scale in again after a release that was refused."""
    resumed: State = {"scalingHeld": False}
    return {
        "ResumeScaling": set_suspended(
            _resource_id(setting),
            held=False,
            catches=[_troubled("scaling in is suspended until the next release", next_=next_, values=resumed)],
            assign=resumed,
            next_=next_,
        )
    }


def set_suspended(
    resource_id: str,
    *,
    held: bool,
    next_: str,
    catches: Sequence[State] = (),
    assign: State | None = None,
) -> State:
    """Suspend scaling in or resume it; an endpoint that is not registered yet does not scale.

    Bounds stay as they are; a capacity that somebody set outside of them is moved at once.
    Source: https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
    """
    return task(
        "aws-sdk:applicationautoscaling:registerScalableTarget",
        arguments={**_target(resource_id), "SuspendedState": {"DynamicScalingInSuspended": held}},
        timeout_s=60,
        retries=_RETRY,
        catches=[catch("ApplicationAutoScaling.ValidationException", next_=next_, assign=assign), *catches],
        assign=assign,
        next_=next_,
    )


def scale(setting: Setting, *, next_: str) -> dict[str, State]:
    """Let the endpoint scale between its bounds by the requests that each instance gets in a minute."""
    rollout = setting.project.rollout
    return {
        "RegisterScaling": task(
            "aws-sdk:applicationautoscaling:registerScalableTarget",
            arguments={
                **_target(_resource_id(setting)),
                "MinCapacity": rollout.instance_count,
                "MaxCapacity": rollout.max_instance_count,
                "SuspendedState": {"DynamicScalingInSuspended": False},
            },
            timeout_s=60,
            retries=_RETRY,
            # The tail tries to resume what is suspended still.
            catches=[_troubled("the endpoint's scaling could not be set", next_="SetScalingPolicy")],
            assign={"scalingHeld": False},
            next_="SetScalingPolicy",
        ),
        "SetScalingPolicy": task(
            "aws-sdk:applicationautoscaling:putScalingPolicy",
            arguments={
                **_target(_resource_id(setting)),
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
    return (
        *registering_statements(
            "application-autoscaling:PutScalingPolicy",
            targets=setting.arn("application-autoscaling", "scalable-target/*"),
            endpoints=[setting.arn("sagemaker", f"endpoint/{setting.prefix}")],
            configs=[setting.arn("sagemaker", f"endpoint-config/{setting.prefix}-*")],
        ),
        Statement(
            actions=("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"),
            resources=(setting.arn("cloudwatch", f"alarm:TargetTracking-endpoint/{setting.prefix}/*"),),
            source=_PAGE,
        ),
        Statement(
            actions=("iam:CreateServiceLinkedRole",),
            resources=(
                f"arn:{setting.partition}:iam::{setting.account}:role/aws-service-role/"
                "sagemaker.application-autoscaling.amazonaws.com/"
                "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
            ),
            conditions={"StringLike": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}},
            source=_PAGE,
        ),
    )


def registering_statements(
    *more: str, targets: str, endpoints: Sequence[str], configs: Sequence[str]
) -> tuple[Statement, ...]:
    """What registering the variants of `endpoints` takes, and `more` that is done to what is registered."""
    return (
        Statement(
            actions=("application-autoscaling:RegisterScalableTarget", *more),
            resources=(targets,),
            conditions={
                "StringEquals": {"application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount"}
            },
            source=_PAGE,
        ),
        Statement(
            actions=("sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"),
            resources=tuple(endpoints),
            source=_PAGE,
        ),
        Statement(actions=("sagemaker:DescribeEndpointConfig",), resources=tuple(configs), source=_PAGE),
    )


def _target(resource_id: str) -> State:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": resource_id,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def _resource_id(setting: Setting) -> str:
    return f"endpoint/{setting.prefix}/variant/{VARIANT_NAME}"


def _troubled(trouble: str, *, next_: str, values: State | None = None) -> State:
    told = jsonata(f"{quote(f'{trouble}: ')} & $states.errorOutput.Error")
    return catch(next_=next_, assign={**(values or {}), "trouble": told})
