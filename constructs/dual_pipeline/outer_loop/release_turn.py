"""A release's turn: one at a time, of a model that is still approved, with nothing in the way of its endpoint."""

import math

from dual_pipeline.asl import CONDITION_FAILED, Fragment, State, choice, jsonata, quote, retry, task
from dual_pipeline.loop_contract import REASON_ROLLBACK
from dual_pipeline.outer_loop.approval import read_approval
from dual_pipeline.outer_loop.endpoint_wait import await_endpoint
from dual_pipeline.outer_loop.golden_rows import read_golden_rows
from dual_pipeline.outer_loop.preflight import CONTAINER, preflight
from dual_pipeline.outer_loop.setting import (
    FAILED_AFTER_APPROVAL,
    LEDGER,
    NOW_S,
    Setting,
    in_seconds,
)
from dual_pipeline.outer_loop.training import read_champion

# How long a release that stands in line waits at the most before it looks again.
LINE_S = 600

_WITHDRAWN: State = {
    "outcome": "rejected",
    "reason": jsonata(
        "'the approval was withdrawn: the package became ' & $standing.status & ' by '"
        " & ($standing.by != '' ? $standing.by : 'somebody whom SageMaker does not name')"
        " & ': ' & ($standing.words != '' ? $standing.words : 'no reason given')"
    ),
}


def stand_in_line(setting: Setting, *, next_: str) -> dict[str, State]:
    """Take the release lock and go on with what is still approved, compared with today's champion, and the newest."""
    me: State = {"S": jsonata("$me")}
    return {
        # One release at a time; the next one stands in line.
        "TakeReleaseLock": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": setting.release_lock,
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
        "CheckApproval": read_approval(
            variable="standing", values={"container": jsonata(CONTAINER)}, next_="IsApprovalFresh"
        ),
        "IsApprovalFresh": choice(
            ("$standing.status = 'Rejected'", "FreeLocks", _WITHDRAWN),
            ("$standing.status != 'Approved'", "RejectPackage", _WITHDRAWN),
            # Who goes back says so after all that has happened.
            (
                f"$trigger.reason = {quote(REASON_ROLLBACK)} or $serving.package = $champion.package and $newer = ''",
                next_,
            ),
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
    }


def release_turn(setting: Setting) -> Fragment:
    """Stand in line, look at everything once more, and read what the model has to answer."""
    checks = preflight(setting, next_="CanRelease")
    states: dict[str, State] = {
        **stand_in_line(setting, next_="Preflight"),
        **checks.states,
        "CanRelease": choice(
            (
                "$preflight.status in ['Creating', 'Updating', 'SystemUpdating', 'RollingBack'] and $not($waited)",
                "AwaitRest",
                {"waited": True},
            ),
            (
                "$preflight.problem = ''",
                "ReadGoldenRows",
                {
                    "previousConfig": jsonata("$preflight.config"),
                    "liveCount": jsonata("$preflight.count"),
                    **_larger(setting),
                },
            ),
            default="RejectPackage",
            otherwise={
                "outcome": "failed",
                "failedState": "Preflight",
                "reason": jsonata("'Preflight: ' & $preflight.problem"),
            },
        ),
        # It moves for somebody else, or for a run that was aborted, and rests soon. Approvers may change their minds
        # meanwhile.
        **await_endpoint(setting, name="AwaitRest", next_="CheckApproval", unseen=FAILED_AFTER_APPROVAL),
        **read_golden_rows(setting, next_="CreateModel"),
    }
    return Fragment(states=states, statements=checks.statements)


def _larger(setting: Setting) -> State:
    """A release never takes instances away; without autoscaling nobody else does, so people are told."""
    rollout = setting.project.rollout
    if rollout.scales:
        return {}
    told = f"' instances serve where {rollout.instance_count} are configured, and a release keeps them'"
    return {
        "trouble": jsonata(
            f"$preflight.count > {rollout.instance_count} ? $string($preflight.count) & {told} : $trouble"
        )
    }
