"""Who may train: valid input, no duplicate event, one run at a time, so many a day; a refusal leaves nothing behind."""

from dual_pipeline.asl import (
    CONDITION_FAILED,
    Fragment,
    State,
    Statement,
    assign,
    catch,
    choice,
    jsonata,
    quote,
    task,
)
from dual_pipeline.await_status import INITIAL
from dual_pipeline.outer_loop.setting import FAILED, LEDGER, Setting

REASONS = ("data", "person", "trailing", "schedule", "drift", "code")
ATTEMPTS = 5
NOW_S = "$string($floor($millis() / 1000))"


def in_seconds(seconds: int) -> str:
    """JSONata for the epoch second so many seconds from now, as DynamoDB takes numbers."""
    return f"$string($floor($millis() / 1000) + {seconds})"


def _problem(setting: Setting) -> str:
    reasons = ", ".join(REASONS)
    place = f"{setting.data_bucket}/{setting.raw_prefix}"
    return f"""(
  $i := $states.input;
  $s := $i.source;
  $type($i) != 'object' ? 'the input must be an object with a reason, got ' & $type($i)
  : $not($type($i.reason) = 'string' and $i.reason in {quote_list(REASONS)})
    ? 'reason must be one of {reasons}, got ' & ($exists($i.reason) ? $string($i.reason) : 'nothing')
  : $exists($i.detail) and $type($i.detail) != 'string' ? 'detail must be text, got ' & $type($i.detail)
  : $exists($s) and $type($s) != 'null'
    and $not($type($s) = 'object' and $type($s.bucket) = 'string' and $type($s.key) = 'string')
    ? 'source must be null or an object with bucket and key'
  : $type($s) = 'object' and ($s.bucket & '/' & $substring($s.key, 0, {len(setting.raw_prefix)})) != {quote(place)}
    ? 'source must lie below s3://{place}, got s3://' & $s.bucket & '/' & $s.key
  : ''
)"""


def quote_list(values: tuple[str, ...]) -> str:
    """`values` as a JSONata array of strings."""
    return "[" + ", ".join(quote(value) for value in values) + "]"


_TRIGGER = """(
  $i := $states.input;
  $text := function($v) { $type($v) = 'string' ? $substring($v, 0, 1024) : '' };
  {
    'reason': $text($i.reason),
    'detail': $text($i.detail),
    'source': $type($i.source) = 'object' ? {
      'bucket': $text($i.source.bucket), 'key': $text($i.source.key),
      'version_id': $text($i.source.version_id), 'etag': $text($i.source.etag), 'sequencer': $text($i.source.sequencer)
    } : null
  }
)"""


def admission(setting: Setting) -> Fragment:
    """From the input to a run that holds the training lock, or to outcome `suppressed`.

    A refused trigger is stored on the lock as `pending`, on condition that somebody still holds it: whoever frees it
    starts the trailing run. A refused *trailing* run leaves nothing: it starts when the lock is free, so the holder
    was admitted later and reads every raw file that the trailing run was started for.
    """
    lock = setting.item_key("LOCK#training")
    owner = {"#owner": "owner"}
    me: State = {"S": jsonata("$me")}
    trigger: State = {"S": jsonata("$string($trigger)")}
    cap = setting.project.limits.runs_per_day
    states: dict[str, State] = {
        "ReadInput": assign(
            {
                "me": jsonata("$states.context.Execution.Id"),
                "runId": jsonata("$states.context.Execution.Name"),
                "id": jsonata("$substring($hash($states.context.Execution.Id, 'SHA-256'), 0, 12)"),
                "startedAt": jsonata("$states.context.Execution.StartTime"),
                "problem": jsonata(_problem(setting)),
                "trigger": jsonata(_TRIGGER),
                "attempt": 1,
                "mayHoldTraining": True,
                "mayHoldRelease": False,
                "pending": "",
                "outcome": "",
                "quiet": False,
                "reason": "",
                "trouble": "",
                "failedState": "",
                "snapshotUri": "",
                "verdict": {},
                "pipelineExecutionArn": "",
                "execution": {},
                "packageArn": "",
                "evaluation": {},
                "champion": {},
                "approval": {},
                **INITIAL,
            },
            next_="CheckInput",
        ),
        "CheckInput": choice(
            (
                "$problem != ''",
                "FreeLocks",
                {
                    "outcome": "failed",
                    "failedState": "CheckInput",
                    "reason": jsonata("'the input is not valid: ' & $problem"),
                    "mayHoldTraining": False,
                },
            ),
            ("$trigger.reason = 'data' and $trigger.source.version_id != ''", "ClaimEvent"),
            default="AdmitRun",
        ),
        "ClaimEvent": task(
            "aws-sdk:dynamodb:putItem",
            arguments={
                "TableName": setting.table_name,
                "Item": {
                    **setting.item_key(
                        jsonata(
                            "'EVENT#' & $hash($trigger.source.bucket & '/' & $trigger.source.key & '/'"
                            " & $trigger.source.version_id, 'SHA-256')"
                        )
                    ),
                    "owner": me,
                    "expires_at": {"N": jsonata(in_seconds(30 * 24 * 3600))},
                },
                "ConditionExpression": "attribute_not_exists(pk) OR #owner = :me",
                "ExpressionAttributeNames": owner,
                "ExpressionAttributeValues": {":me": me},
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[
                catch(
                    CONDITION_FAILED,
                    next_="FreeLocks",
                    assign={
                        "outcome": "suppressed",
                        "quiet": True,
                        "reason": "this version of the object has started a run before: a duplicate event",
                        "mayHoldTraining": False,
                    },
                ),
                FAILED,
            ],
            next_="AdmitRun",
        ),
        "AdmitRun": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": lock,
                "UpdateExpression": "SET #owner = :me, lease_until = :until REMOVE pending, pending_since",
                "ConditionExpression": "attribute_not_exists(#owner) OR #owner = :me OR lease_until < :now",
                "ExpressionAttributeNames": owner,
                "ExpressionAttributeValues": {
                    ":me": me,
                    ":until": {"N": jsonata(in_seconds(setting.training_lease_s))},
                    ":now": {"N": jsonata(NOW_S)},
                },
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[catch(CONDITION_FAILED, next_="ChooseRefusal"), FAILED],
            next_="CountRun",
        ),
        "ChooseRefusal": choice(
            (
                "$trigger.reason = 'trailing'",
                "FreeLocks",
                {
                    "outcome": "suppressed",
                    "quiet": True,
                    "reason": "a run admitted later than the data arrived is training already and reads all of it",
                    "mayHoldTraining": False,
                },
            ),
            (
                f"$attempt > {ATTEMPTS}",
                "FreeLocks",
                {
                    "outcome": "failed",
                    "failedState": "AdmitRun",
                    "reason": f"the training lock changed hands {ATTEMPTS} times in a row: start the run again",
                    "mayHoldTraining": False,
                },
            ),
            default="LeavePending",
        ),
        "LeavePending": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": lock,
                "UpdateExpression": "SET pending = :trigger, pending_since = if_not_exists(pending_since, :now)",
                "ConditionExpression": "attribute_exists(#owner) AND #owner <> :me AND lease_until >= :now",
                "ExpressionAttributeNames": owner,
                "ExpressionAttributeValues": {":me": me, ":trigger": trigger, ":now": {"N": jsonata(NOW_S)}},
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[
                catch(CONDITION_FAILED, next_="AdmitRun", assign={"attempt": jsonata("$attempt + 1")}),
                FAILED,
            ],
            assign={
                "outcome": "suppressed",
                "quiet": True,
                "reason": "another run is training; the trigger is kept as pending and one trailing run follows",
                "mayHoldTraining": False,
            },
            next_="FreeLocks",
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
            next_="IngestData",
        ),
        "PutOff": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": lock,
                "UpdateExpression": "SET pending = :trigger, pending_since = :now REMOVE #owner, lease_until",
                "ConditionExpression": "#owner = :me",
                "ExpressionAttributeNames": owner,
                "ExpressionAttributeValues": {":me": me, ":trigger": trigger, ":now": {"N": jsonata(NOW_S)}},
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[FAILED],
            assign={
                "outcome": "suppressed",
                "reason": f"the cap of {cap} runs a day (limits.runs_per_day) is used up; the trigger is"
                " kept as pending and the next admitted run reads all of its data",
                "mayHoldTraining": False,
            },
            next_="FreeLocks",
        ),
    }
    page = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html"
    return Fragment(
        states=states,
        statements=(
            Statement(
                actions=("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"),
                resources=(setting.table_arn,),
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"PROJECT#{setting.project.name}"]}},
                source=page,
            ),
        ),
    )
