"""What starts a run: its input checked, its variables set, and each event of new data used once."""

from dual_pipeline.asl import CONDITION_FAILED, Fragment, State, catch, choice, jsonata, quote, task
from dual_pipeline.await_status import INITIAL
from dual_pipeline.loop_contract import REASON_PERSON, REASON_ROLLBACK, REASON_TRAILING, REASONS
from dual_pipeline.outer_loop.setting import FAILED, LEDGER, Setting, in_seconds

_KEEP_EVENTS_S = 30 * 24 * 3600
SUPPRESSED: State = {"outcome": "suppressed", "quiet": True, "mayHoldTraining": False}


def quote_list(values: tuple[str, ...]) -> str:
    """`values` as a JSONata array of strings."""
    return "[" + ", ".join(quote(value) for value in values) + "]"


def _problem(setting: Setting) -> str:
    known = tuple(reason for reason in REASONS if setting.project.deploys_endpoint or reason != REASON_ROLLBACK)
    reasons = ", ".join(known)
    place = f"{setting.data_bucket}/{setting.raw_prefix}"
    package = rf"/^arn:[^ ]+:model-package\/{setting.prefix}\/[0-9]+$/"
    return f"""(
  $i := $states.input;
  $s := $i.source;
  $type($i) != 'object' ? 'the input must be an object with a reason, got ' & $type($i)
  : $not($type($i.reason) = 'string' and $i.reason in {quote_list(known)})
    ? 'reason must be one of {reasons}, got '
      & ($exists($i.reason) ? $substring($string($i.reason), 0, 200) : 'nothing')
  : $exists($i.detail) and $type($i.detail) != 'string' ? 'detail must be text, got ' & $type($i.detail)
  : $exists($i.force) and $type($i.force) != 'boolean' ? 'force must be true or false, got ' & $type($i.force)
  : $i.reason = {quote(REASON_ROLLBACK)}
    and $not($type($i.package) = 'string' and $contains($i.package, {package}))
    ? 'package must be the ARN of a version of {setting.prefix}, got '
      & ($exists($i.package) ? $substring($string($i.package), 0, 200) : 'nothing')
  : $exists($i.package) and $i.reason != {quote(REASON_ROLLBACK)}
    ? 'package is for a rollback (reason {REASON_ROLLBACK}), got it with reason ' & $substring($i.reason, 0, 200)
  : $i.force = true and $not($i.reason in {quote_list((REASON_PERSON, REASON_TRAILING))})
    ? 'force is for people (reason {REASON_PERSON}), got it with reason ' & $substring($i.reason, 0, 200)
  : $exists($s) and $type($s) != 'null'
    and $not($type($s) = 'object' and $type($s.bucket) = 'string' and $type($s.key) = 'string')
    ? 'source must be null or an object with bucket and key'
  : $type($s) = 'object' and ($s.bucket & '/' & $substring($s.key, 0, {len(setting.raw_prefix)})) != {quote(place)}
    ? 'source must lie below s3://{place}, got s3://' & $substring($s.bucket & '/' & $s.key, 0, 1100)
  : ''
)"""


_TRIGGER = """(
  $i := $states.input;
  $text := function($v) { $type($v) = 'string' ? $substring($v, 0, 1024) : '' };
  {
    'reason': $text($i.reason),
    'detail': $text($i.detail),
    'force': $i.force = true,
    'source': $type($i.source) = 'object' ? {
      'bucket': $text($i.source.bucket), 'key': $text($i.source.key),
      'version_id': $text($i.source.version_id), 'etag': $text($i.source.etag), 'sequencer': $text($i.source.sequencer)
    } : null
  }
)"""

# What every run knows from its first state on.
_KNOWN: State = {
    "me": jsonata("$states.context.Execution.Id"),
    "runId": jsonata("$states.context.Execution.Name"),
    "id": jsonata("$substring($hash($states.context.Execution.Id, 'SHA-256'), 0, 12)"),
    "startedAt": jsonata("$states.context.Execution.StartTime"),
    "trigger": jsonata(_TRIGGER),
    "attempt": 1,
    "lock": {"owner": "", "lease": 0, "cool": 0, "pending": False},
    "resumeAt": 0,
    "mayHoldTraining": True,
    "mayHoldRelease": False,
    "pending": "",
    "pendingForce": False,
    "code": "",
    "trained": {"snapshot": "", "code": "", "run": ""},
    "judged": False,
    "stale": False,
    "took": "",
    "telling": False,
    "culprit": False,
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
    "modelName": "",
    "configName": "",
    "waited": False,
    "unseen": False,
    "orphan": False,
    "scalingHeld": False,
    "reminded": False,
    **INITIAL,
}


_ROLLBACK: State = {"packageArn": jsonata("$states.input.package"), "mayHoldTraining": False}


def run_input(setting: Setting) -> Fragment:
    """To admission with input that can be used; `failed` or `suppressed` with a sentence otherwise."""
    problem = _problem(setting)
    states: dict[str, State] = {
        "CheckInput": choice(
            (
                f"{problem} != ''",
                "FreeLocks",
                {
                    **_KNOWN,
                    "outcome": "failed",
                    "failedState": "CheckInput",
                    "reason": jsonata(f"'the input is not valid: ' & {problem}"),
                    "mayHoldTraining": False,
                },
            ),
            # The console makes a folder as an empty object whose key ends with a slash.
            (
                "($k := $states.input.source.key; $type($k) = 'string' ? $substring($k, -1) = '/' : false)",
                "FreeLocks",
                {**_KNOWN, **SUPPRESSED, "reason": "the object is a folder and holds no data"},
            ),
            *(
                [(f"$states.input.reason = {quote(REASON_ROLLBACK)}", "ReadPackage", {**_KNOWN, **_ROLLBACK})]
                if setting.project.deploys_endpoint
                else []
            ),
            (
                "$states.input.reason = 'data' and $type($states.input.source.version_id) = 'string'"
                " and $states.input.source.version_id != ''",
                "ClaimEvent",
                _KNOWN,
            ),
            default="AdmitRun",
            otherwise=_KNOWN,
        ),
        "ClaimEvent": task(
            "aws-sdk:dynamodb:putItem",
            arguments={
                "TableName": setting.table_name,
                "Item": {
                    **setting.item_key(
                        jsonata(
                            "'EVENT#' & $hash($trigger.source.bucket & '/' & $trigger.source.key & '/'"
                            " & $trigger.source.version_id & '/' & $trigger.source.sequencer, 'SHA-256')"
                        )
                    ),
                    "owner": {"S": jsonata("$me")},
                    "expires_at": {"N": jsonata(in_seconds(_KEEP_EVENTS_S))},
                },
                "ConditionExpression": "attribute_not_exists(pk) OR #owner = :me",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {":me": {"S": jsonata("$me")}},
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[
                catch(
                    CONDITION_FAILED,
                    next_="FreeLocks",
                    assign={
                        **SUPPRESSED,
                        "reason": "this version of the object has started a run before: a duplicate event",
                    },
                ),
                FAILED,
            ],
            next_="AdmitRun",
        ),
    }
    return Fragment(states=states)
