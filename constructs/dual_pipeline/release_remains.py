"""What an outer loop that died during its release leaves, and how it goes once the endpoint rests.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html
"""

import json
from collections.abc import Iterable

from dual_pipeline.asl import NOT_FOUND, SAGEMAKER_ERRORS, State, Statement, catch, choice, jsonata, retry, task
from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import VARIANT_NAME
from dual_pipeline.model_project import ModelProject
from dual_pipeline.outer_loop.scaling import registering_statements, set_suspended
from dual_pipeline.outer_loop.setting import SLICE_S, endpoint_deadline_s, read_item

# A configuration must not go while an endpoint moves to it.
_MOVES = "$endpoint.status in ['Creating', 'Updating', 'SystemUpdating', 'RollingBack', 'Deleting']"
_LOOK_S = 300
_RETRY = [retry(SAGEMAKER_ERRORS, attempts=3)]
_PAGE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"


def remove_remains(environment: Environment, *, table_name: str, release_lock: State, next_: str) -> dict[str, State]:
    """Remove models and configurations of run `$id` that nobody serves, and let the endpoint of `$project` scale in.

    If the run has `$committed` its release, its model is the champion and the way back, and stays. An endpoint that is
    neither InService nor gone is left to people with all that it may need. What cannot be removed fails the machine.
    """
    prefix = f"'{environment.name}-' & $project"
    return {
        "MayHaveReleased": choice(
            (f"$project in {_names(_deploying(environment))}", "LookAtEndpoint"),
            default=next_,
        ),
        "LookAtEndpoint": task(
            "aws-sdk:sagemaker:describeEndpoint",
            arguments={"EndpointName": jsonata(prefix)},
            timeout_s=60,
            retries=_RETRY,
            catches=[
                catch(
                    next_="DoesItRest",
                    assign={"endpoint": jsonata(f"{{'status': {NOT_FOUND} ? 'Absent' : 'Unknown', 'config': ''}}")},
                )
            ],
            assign={
                "endpoint": jsonata(
                    "{'status': $states.result.EndpointStatus, 'config': $states.result.EndpointConfigName & ''}"
                )
            },
            next_="DoesItRest",
        ),
        "DoesItRest": choice(
            (_MOVES, "Pause"),
            ("$endpoint.status = 'Unknown'", "EndpointUnseen"),
            ("$endpoint.status in ['InService', 'Absent']", "ReadReleaseLock"),
            default=next_,
        ),
        "Pause": {"Type": "Wait", "Seconds": _LOOK_S, "Output": {}, "Next": "LookAtEndpoint"},
        "EndpointUnseen": {
            "Type": "Fail",
            "Error": "EndpointUnseen",
            "Cause": "the endpoint could not be looked at, so nothing that the release made was removed",
        },
        "ReadReleaseLock": read_item(
            table_name,
            release_lock,
            assign={
                "another": jsonata(
                    "$states.result.Item[owner.S != $me and $number(lease_until.N) * 1000 > $millis()].owner.S & ''"
                )
            },
            next_="DoesAnotherRelease",
        ),
        # What is left may be the way back of whoever releases now, who may also have suspended scaling in.
        "DoesAnotherRelease": choice(
            ("$another != ''", "Pause"),
            # It serves what the run made.
            ("$committed or $contains($endpoint.config, '-' & $id & '-')", "MayScalingBeHeld"),
            default="FindEndpointConfigs",
        ),
        **_remove_all("EndpointConfig", prefix, next_="FindModels"),
        **_remove_all("Model", prefix, next_="MayScalingBeHeld"),
        "MayScalingBeHeld": choice(
            (f"$endpoint.status = 'InService' and $project in {_names(_scaling(environment))}", "ResumeScaling"),
            default=next_,
        ),
        "ResumeScaling": set_suspended(
            jsonata(f"'endpoint/' & {prefix} & '/variant/{VARIANT_NAME}'"), held=False, next_=next_
        ),
    }


def longest_wait_s(environment: Environment) -> int:
    """How long it may take until the endpoint rests and nobody releases.

    That is the longest rollout with half an hour for SageMaker's way back, and the release of another run, which may
    wait for the endpoint, move it and send it back.
    """
    return max(
        (4 * (endpoint_deadline_s(project.rollout) + SLICE_S) + 7200 for project in _deploying(environment)), default=0
    )


def remains_statements(environment: Environment, *, partition: str, account: str) -> tuple[Statement, ...]:
    """What finding and removing take."""
    here = f"{environment.region}:{account}"
    prefixes = [f"{environment.name}-{project.name}" for project in _deploying(environment)]
    if not prefixes:
        return ()

    def arns(kind: str, suffix: str) -> tuple[str, ...]:
        return tuple(f"arn:{partition}:sagemaker:{here}:{kind}/{prefix}{suffix}" for prefix in prefixes)

    endpoints, configs = arns("endpoint", ""), arns("endpoint-config", "-*")
    scaling = registering_statements(
        targets=f"arn:{partition}:application-autoscaling:{here}:scalable-target/*",
        endpoints=endpoints,
        configs=configs,
    )
    return (
        Statement(
            actions=("sagemaker:ListModels", "sagemaker:ListEndpointConfigs"),
            resources=("*",),
            reason="ListModels and ListEndpointConfigs have no resource type",
            source=_PAGE,
        ),
        Statement(actions=("sagemaker:DescribeEndpoint",), resources=endpoints, source=_PAGE),
        Statement(
            actions=("sagemaker:DeleteModel", "sagemaker:DeleteEndpointConfig"),
            resources=(*arns("model", "-*"), *configs),
            source=_PAGE,
        ),
        *(scaling if any(_scaling(environment)) else ()),
    )


def _remove_all(noun: str, prefix: str, *, next_: str) -> dict[str, State]:
    """Delete each `noun` that the run made; more than one where an answer was lost, or the run was redriven."""
    return {
        f"Find{noun}s": task(
            f"aws-sdk:sagemaker:list{noun}s",
            arguments={"NameContains": jsonata(f"{prefix} & '-' & $id & '-'"), "MaxResults": 100},
            timeout_s=60,
            retries=_RETRY,
            catches=[],
            assign={"found": jsonata(f"[$states.result.{noun}s.{noun}Name]")},
            next_=f"Delete{noun}s",
        ),
        f"Delete{noun}s": {
            "Type": "Map",
            "Items": jsonata("$found"),
            "MaxConcurrency": 1,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": f"Delete{noun}",
                "States": {
                    f"Delete{noun}": {
                        "Type": "Task",
                        "Resource": f"arn:aws:states:::aws-sdk:sagemaker:delete{noun}",
                        "Arguments": {f"{noun}Name": jsonata("$states.input")},
                        "TimeoutSeconds": 60,
                        "Retry": _RETRY,
                        # An answer was lost, or another reaper was faster.
                        "Catch": [catch(next_=f"Is{noun}Gone", assign={"gone": jsonata(NOT_FOUND)}) | {"Output": {}}],
                        "Output": {},
                        "Next": f"{noun}Removed",
                    },
                    f"Is{noun}Gone": choice(("$gone", f"{noun}Removed"), default=f"{noun}NotRemoved"),
                    f"{noun}Removed": {"Type": "Succeed"},
                    f"{noun}NotRemoved": {
                        "Type": "Fail",
                        "Error": "NotRemoved",
                        "Cause": f"a {noun} that the release made could not be deleted",
                    },
                },
            },
            "Output": {},
            "Next": next_,
        },
    }


def _deploying(environment: Environment) -> list[ModelProject]:
    return [project for project in environment.projects if project.deploys_endpoint]


def _scaling(environment: Environment) -> list[ModelProject]:
    return [project for project in _deploying(environment) if project.rollout.scales]


def _names(projects: Iterable[ModelProject]) -> str:
    """The names as JSONata."""
    return json.dumps(sorted(project.name for project in projects))
