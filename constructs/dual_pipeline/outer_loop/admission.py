"""Who may train: one run at a time, none for a duplicate event, so many a day, none too soon; no refusal loses data."""

from dual_pipeline.asl import (
    CONDITION_FAILED,
    SAGEMAKER_ERRORS,
    SCHEDULER_ERRORS,
    Fragment,
    State,
    Statement,
    assign,
    catch,
    choice,
    jsonata,
    quote,
    retry,
    task,
)
from dual_pipeline.loop_contract import REASON_TRAILING, TAG_CODE
from dual_pipeline.outer_loop.run_input import SUPPRESSED
from dual_pipeline.outer_loop.setting import FAILED, LEDGER, NOW_S, Setting, in_seconds, read_item, seconds
from dual_pipeline.outer_loop.train_alone import own_code

ATTEMPTS = 5
_TRAILING = f"$trigger.reason = {quote(REASON_TRAILING)}"


def admission(setting: Setting) -> Fragment:
    """From the input to a run that holds the training lock, or to outcome `suppressed`.

    A refused trigger is stored on the lock as `pending`: while somebody holds it, for whoever frees it starts the
    trailing run; during the cool-down or over the cap, for a one-time schedule starts it. `pending` leaves the lock
    with an admitted run only, and a trailing run is admitted only while there is one: however many are started, one
    trains.
    """
    states = {**_lock_states(setting), **_refusal_states(setting), **_code_states(setting)}
    return Fragment(states=states, statements=_statements(setting))


def _lock_states(setting: Setting) -> dict[str, State]:
    cap = setting.project.limits.runs_per_day
    cool_s = seconds(setting.project.limits.cool_down)
    free = "(attribute_not_exists(#owner) OR #owner = :me OR lease_until < :now)"
    # People who insist need not wait for the cool-down; the cap holds for them too.
    cool = " AND (attribute_not_exists(cool_until) OR cool_until <= :now OR #owner = :me)"
    wanted = " AND (attribute_exists(pending) OR #owner = :me)"
    return {
        "AdmitRun": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": setting.training_lock,
                "UpdateExpression": "SET #owner = :me, lease_until = :until, cool_until = :cool"
                " REMOVE pending, pending_since, pending_force",
                "ConditionExpression": jsonata(
                    f"{quote(free)} & ($trigger.force ? '' : {quote(cool)}) & ({_TRAILING} ? {quote(wanted)} : '')"
                ),
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {
                    ":me": {"S": jsonata("$me")},
                    ":until": {"N": jsonata(in_seconds(setting.training_lease_s))},
                    ":cool": {"N": jsonata(in_seconds(cool_s))},
                    ":now": {"N": jsonata(NOW_S)},
                },
                "ReturnValues": "ALL_OLD",
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[catch(CONDITION_FAILED, next_="ReadLock"), FAILED],
            assign={
                "trained": jsonata(
                    "($t := $states.result.Attributes; {'snapshot': $t.trained_snapshot.S & '',"
                    " 'code': $t.trained_code.S & '', 'run': $t.trained_run.S & ''})"
                ),
                # What it takes along it must give back if it can make nothing of it.
                "took": jsonata("$states.result.Attributes.pending.S & ''"),
                "trigger": jsonata(
                    "$merge([$trigger, {'force': $trigger.force or $exists($states.result.Attributes.pending_force)}])"
                ),
            },
            next_="CountRun",
        ),
        "CountRun": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": setting.item_key(jsonata("'CAP#' & $substring($now(), 0, 10)")),
                "UpdateExpression": "ADD runs :one SET expires_at = :expires",
                "ConditionExpression": "attribute_not_exists(runs) OR runs < :cap",
                "ExpressionAttributeValues": {
                    ":one": {"N": "1"},
                    ":cap": {"N": str(cap)},
                    ":expires": {"N": jsonata(in_seconds(3 * 24 * 3600))},
                },
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[catch(CONDITION_FAILED, next_="PutOff"), FAILED],
            next_="ReadCode",
        ),
        # Over the cap: the lock is given back with the trigger on it. What was admitted did nothing to cool down from.
        "PutOff": task(
            "aws-sdk:dynamodb:updateItem",
            arguments=_keep(setting, condition="#owner = :me", also=" REMOVE #owner, lease_until, cool_until"),
            timeout_s=60,
            retries=LEDGER,
            catches=[FAILED],
            assign={
                **SUPPRESSED,
                "telling": True,
                "resumeAt": jsonata("($day := 86400; $floor($millis() / 1000 / $day) * $day + $day)"),
                "reason": f"the cap of {cap} runs a day (limits.runs_per_day) is used up; the trigger is kept as"
                " pending and one run follows after midnight UTC",
            },
            next_="ScheduleTrailing",
        ),
        "ScheduleTrailing": task(
            "aws-sdk:scheduler:createSchedule",
            arguments={
                # One per moment: who finds it there knows that it will be done. A trailing run that is put off again
                # might find the very schedule that started it, which does nothing more.
                "Name": jsonata(f"'{setting.prefix}-' & $string($resumeAt) & ({_TRAILING} ? '-' & $id : '')"),
                "GroupName": setting.schedule_group,
                "Description": "Starts what the outer loop put off",
                "ScheduleExpression": jsonata(
                    "'at(' & $substring($fromMillis($max([$resumeAt * 1000, $millis() + 60000])), 0, 19) & ')'"
                ),
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "ActionAfterCompletion": "DELETE",
                "Target": {
                    "Arn": jsonata("$states.context.StateMachine.Id"),
                    "RoleArn": setting.starter_role_arn,
                    "Input": jsonata(
                        f"$string({{'reason': '{REASON_TRAILING}', 'detail': 'put off by run ' & $runId,"
                        " 'force': $trigger.force, 'source': $trigger.source})"
                    ),
                    "DeadLetterConfig": {"Arn": setting.dead_letters_arn},
                },
            },
            timeout_s=60,
            retries=[retry(SCHEDULER_ERRORS, attempts=4)],
            # Whoever makes the schedule tells of it, nobody else of the crowd that is put off with it.
            assign={"quiet": jsonata("$not($telling)")},
            catches=[
                catch("Scheduler.ConflictException", next_="FreeLocks"),
                catch(
                    next_="FreeLocks",
                    assign={
                        "quiet": False,
                        "trouble": jsonata(
                            "'no schedule could be made, start a run by hand: ' & $states.errorOutput.Error"
                        ),
                    },
                ),
            ],
            next_="FreeLocks",
        ),
    }


def _refusal_states(setting: Setting) -> dict[str, State]:
    held = "$lock.owner != '' and $lock.owner != $me and $lock.lease >= $millis() / 1000"
    again = catch(CONDITION_FAILED, next_="AdmitRun", assign={"attempt": jsonata("$attempt + 1")})
    return {
        "ReadLock": read_item(
            setting.table_name,
            setting.training_lock,
            catches=[FAILED],
            assign={
                "lock": jsonata(
                    "($i := $states.result.Item; {'owner': $i.owner.S & '',"
                    " 'lease': $exists($i.lease_until.N) ? $number($i.lease_until.N) : 0,"
                    " 'cool': $exists($i.cool_until.N) ? $number($i.cool_until.N) : 0,"
                    " 'pending': $exists($i.pending.S)})"
                )
            },
            next_="ChooseRefusal",
        ),
        "ChooseRefusal": choice(
            (
                f"{_TRAILING} and $not($lock.pending)",
                "FreeLocks",
                {**SUPPRESSED, "reason": "another run was admitted meanwhile and reads what this one was started for"},
            ),
            (
                f"{_TRAILING} and {held}",
                "FreeLocks",
                {**SUPPRESSED, "reason": "another run is training; when it frees the lock, what is pending follows"},
            ),
            (
                f"$attempt > {ATTEMPTS}",
                "Postpone",
                {
                    "resumeAt": jsonata("$ceil($millis() / 60000) * 60 + 60"),
                    "reason": "the training lock changes hands too fast; the trigger is kept as pending and one run"
                    " follows within two minutes",
                },
            ),
            (held, "LeavePending"),
            (
                "$lock.cool > $millis() / 1000 and $not($trigger.force)",
                "Postpone",
                {
                    # Scheduler starts within the minute that a schedule names: not before the cool-down is over.
                    "resumeAt": jsonata("$ceil($lock.cool / 60) * 60"),
                    "reason": jsonata(
                        "'the cool-down (limits.cool_down) lasts until ' & $fromMillis($lock.cool * 1000)"
                        " & '; the trigger is kept as pending and one run follows then'"
                    ),
                },
            ),
            default="AdmitRun",
            otherwise={"attempt": jsonata("$attempt + 1")},
        ),
        "LeavePending": task(
            "aws-sdk:dynamodb:updateItem",
            arguments=_keep(setting, condition="attribute_exists(#owner) AND #owner <> :me AND lease_until >= :now"),
            timeout_s=60,
            retries=LEDGER,
            catches=[again, FAILED],
            assign={
                **SUPPRESSED,
                "reason": jsonata(
                    "'run ' & $split($lock.owner, ':')[-1] & ' is training; the trigger is kept as pending and one"
                    " trailing run follows'"
                ),
            },
            next_="FreeLocks",
        ),
        # Without a condition: if somebody took the lock, whoever frees it finds this, and then the schedule nothing.
        "Postpone": task(
            "aws-sdk:dynamodb:updateItem",
            arguments=_keep(setting),
            timeout_s=60,
            retries=LEDGER,
            catches=[FAILED],
            assign=SUPPRESSED,
            next_="ScheduleTrailing",
        ),
    }


def _keep(setting: Setting, *, condition: str = "", also: str = "") -> State:
    """Arguments that put the trigger on the lock as `pending`; of several the last stays, forced if one was."""
    owner = ", ':me': {'S': $me}" if condition else ""
    values = f"{{':trigger': {{'S': $string($trigger)}}, ':now': {{'N': {NOW_S}}}{owner}}}"
    arguments: State = {
        "TableName": setting.table_name,
        "Key": setting.training_lock,
        "UpdateExpression": jsonata(
            "'SET pending = :trigger, pending_since = if_not_exists(pending_since, :now)'"
            f" & ($trigger.force ? ', pending_force = :force' : '') & {quote(also)}"
        ),
        "ExpressionAttributeValues": jsonata(
            f"$merge([{values}, $trigger.force ? {{':force': {{'S': 'yes'}}}} : {{}}])"
        ),
    }
    if condition:
        arguments |= {"ConditionExpression": condition, "ExpressionAttributeNames": {"#owner": "owner"}}
    return arguments


def _code_states(setting: Setting) -> dict[str, State]:
    if not setting.project.inner_loop:
        return {"ReadCode": assign({"code": own_code(setting)}, next_="IngestData")}
    # Read, not written into the definition: the pipeline may be deployed while this machine is not.
    return {
        "ReadCode": task(
            "aws-sdk:sagemaker:listTags",
            arguments={"ResourceArn": setting.arn("sagemaker", f"pipeline/{setting.prefix}")},
            timeout_s=60,
            retries=[retry(SAGEMAKER_ERRORS, attempts=4)],
            catches=[FAILED],
            assign={
                "code": jsonata(
                    f"($c := $states.result.Tags[Key = {quote(TAG_CODE)}].Value;"
                    f" $exists($c) ? $c & '/{setting.rules_hash}' : '')"
                )
            },
            next_="IngestData",
        )
    }


def _statements(setting: Setting) -> tuple[Statement, ...]:
    scheduler = "https://docs.aws.amazon.com/scheduler/latest/UserGuide/security_iam_id-based-policy-examples.html"
    return (
        Statement(
            actions=("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"),
            resources=(setting.table_arn,),
            conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"PROJECT#{setting.project.name}"]}},
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html",
        ),
        Statement(
            actions=("scheduler:CreateSchedule",),
            resources=(setting.arn("scheduler", f"schedule/{setting.schedule_group}/*"),),
            source=scheduler,
        ),
        Statement(
            actions=("iam:PassRole",),
            resources=(setting.starter_role_arn,),
            conditions={"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
            source=scheduler,
        ),
        *((_read_code(setting),) if setting.project.inner_loop else ()),
    )


def _read_code(setting: Setting) -> Statement:
    return Statement(
        actions=("sagemaker:ListTags",),
        resources=(setting.arn("sagemaker", f"pipeline/{setting.prefix}"),),
        source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html",
    )
