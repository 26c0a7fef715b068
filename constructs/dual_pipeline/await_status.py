"""The one way a state machine waits for somebody else's work: store a task token, be woken by an event, look again.

Step Functions has no `.sync` for SageMaker Pipelines, approvals and endpoints
(https://github.com/aws/aws-cdk/issues/20811). docs/await-status.md explains the mechanism and its guarantees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dual_pipeline.asl import (
    CONDITION_FAILED,
    DYNAMODB_ERRORS,
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

# Variables that a machine sets in its first state; each wait starts its own clock at its first look.
INITIAL: State = {"waiting": {"at": "", "since": 0, "key": "", "over": False}}
WAIT_SORT_KEY = "WAIT"
KEEP_S = 40 * 24 * 3600
_DYNAMODB_IAM = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-ddb.html"


def wait_key(operation: str) -> State:
    """The ledger key of a wait for the operation that a JSONata expression names."""
    return {"pk": {"S": jsonata(f"'WAIT#' & {operation}")}, "sk": {"S": WAIT_SORT_KEY}}


@dataclass(frozen=True, kw_only=True)
class AwaitStatus:
    """States that end when an operation is over or `deadline_s` has passed, however its events behave.

    `integration` with `arguments` is the read that tells the truth. Over its result `$states.result` stand three
    JSONata expressions: `key` names the operation exactly as its events do, `done` says whether it is over, and
    `observe` is what later states find in the variable `observed`. An awake machine always reads again, so an event
    is only a wake-up: a lost one costs a slice of waiting at most, an early one is found as a marker in the table.
    `ends` are branches (condition, next state, variables to set) that an operation that is over takes before `next_`.
    """

    name: str
    integration: str
    arguments: Mapping[str, object]
    errors: Sequence[str]
    key: str
    done: str
    observe: str
    observed: str
    deadline_s: int
    slice_s: int
    table_name: str
    next_: str
    on_deadline: str
    catches: Sequence[State]
    ends: Sequence[tuple[str, str, Mapping[str, object]]] = ()

    @property
    def waiting_s(self) -> int:
        """Seconds of one slice: as configured, but at least a hundredth of the deadline and at most all of it."""
        return min(self.deadline_s, max(self.slice_s, -(-self.deadline_s // 100)))

    @property
    def rounds(self) -> int:
        """The most rounds of waiting when no event ever comes."""
        return -(-self.deadline_s // self.waiting_s) + 1

    def fragment(self) -> Fragment:
        """The states; the first one is `name`. The machine sets INITIAL before, and its role holds `wait_statement`."""
        look, decide, sleep, consume = (f"{self.name}{part}" for part in ("", "Decide", "Sleep", "Consume"))
        ledger_retry = [retry(DYNAMODB_ERRORS)]
        name = quote(self.name)
        late = f"$millis() - $waiting.since >= {self.deadline_s * 1000}"
        states: dict[str, State] = {
            look: task(
                self.integration,
                arguments=self.arguments,
                timeout_s=60,
                retries=[retry(self.errors)],
                catches=self.catches,
                assign={
                    "waiting": {
                        "at": self.name,
                        "since": jsonata(f"$waiting.at = {name} ? $waiting.since : $millis()"),
                        "key": jsonata(self.key),
                        "over": jsonata(self.done),
                    },
                    self.observed: jsonata(self.observe),
                },
                next_=decide,
            ),
            decide: choice(
                *((f"$waiting.over and {condition}", next_, values) for condition, next_, values in self.ends),
                ("$waiting.over", self.next_),
                (late, self.on_deadline),
                default=sleep,
            ),
            # The optimised putItem has no callback, only the SDK integration has.
            sleep: task(
                "aws-sdk:dynamodb:putItem.waitForTaskToken",
                arguments={
                    "TableName": self.table_name,
                    "Item": {
                        **wait_key("$waiting.key"),
                        "token": {"S": jsonata("$states.context.Task.Token")},
                        "execution": {"S": jsonata("$states.context.Execution.Id")},
                        "expires_at": {"N": jsonata(f"$string($floor($millis() / 1000) + {KEEP_S})")},
                    },
                    "ConditionExpression": "attribute_not_exists(terminal)",
                },
                timeout_s=self.waiting_s,
                retries=ledger_retry,
                catches=[
                    catch(CONDITION_FAILED, next_=consume),
                    catch("States.Timeout", next_=look),
                    *self.catches,
                ],
                next_=look,
            ),
            # Taking the marker away makes each event worth one look: a stale one cannot keep the machine spinning.
            consume: task(
                "aws-sdk:dynamodb:deleteItem",
                arguments={
                    "TableName": self.table_name,
                    "Key": wait_key("$waiting.key"),
                    "ConditionExpression": "attribute_exists(terminal)",
                },
                timeout_s=60,
                retries=ledger_retry,
                catches=[catch(CONDITION_FAILED, next_=look), *self.catches],
                next_=look,
            ),
        }
        return Fragment(states=states)


def wait_statement(table_arn: str) -> Statement:
    """What a machine's role needs to wait: its tokens and markers in the table, nothing else of it."""
    return Statement(
        actions=("dynamodb:PutItem", "dynamodb:DeleteItem"),
        resources=(table_arn,),
        conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["WAIT#*"]}},
        source=_DYNAMODB_IAM,
    )
