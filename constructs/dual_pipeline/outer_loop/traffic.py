"""Asks the golden rows while a new model bakes: an idle canary would pass whatever it answers.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html
"""

from typing import NamedTuple

from dual_pipeline.asl import SAGEMAKER_ERRORS, Fragment, State, Statement, assign, catch, choice, jsonata, retry, task
from dual_pipeline.loop_contract import GOLDEN_INFERENCE_ID
from dual_pipeline.model_project import Rollout
from dual_pipeline.outer_loop.finish import STARTED_RETRY, start_statement
from dual_pipeline.outer_loop.setting import REDRIVE, RETRY, Setting, seconds

_ROUND_S = 15
# A history holds 25,000 events, a request and a round some ten each.
_MOST_ROUNDS = 400
MOST_REQUESTS = 1500
_MOST_AT_ONCE = 10


def start_traffic(setting: Setting, *, next_: str) -> Fragment:
    """Start the machine that asks; without it the rollout goes on, guarded by what other traffic there is."""
    state = task(
        "states:startExecution",
        arguments={
            "StateMachineArn": setting.traffic_arn,
            "Name": jsonata(f"$id & '-' & {RETRY} & '-' & {REDRIVE}"),
            "Input": {
                "content_type": jsonata("$golden.content_type"),
                "accept": jsonata("$golden.accept"),
                "body": jsonata("$golden.body"),
            },
        },
        timeout_s=60,
        retries=STARTED_RETRY,
        catches=[
            catch(
                next_=next_,
                assign={
                    "trouble": jsonata("'no golden rows were asked during the bake: ' & $states.errorOutput.Error")
                },
            )
        ],
        next_=next_,
    )
    return Fragment(states={"StartTraffic": state}, statements=(start_statement(setting.traffic_arn),))


def traffic_definition(setting: Setting) -> State:
    """The machine; its input is a request. It ends with the rollout, and in any case after a number of rounds."""
    pace = Pace.of(setting.project.rollout)
    return {
        "Comment": f"Golden rows for {setting.prefix} while it bakes",
        "QueryLanguage": "JSONata",
        "StartAt": "Begin",
        # Rounds are counted; this is for what no count foresees.
        "TimeoutSeconds": 2 * pace.rounds * pace.round_s + 600,
        "States": {
            "Begin": assign(
                {
                    "request": jsonata("$states.input"),
                    "left": pace.rounds,
                    "asked": 0,
                    "seen": "Updating",
                    "bakes": False,
                },
                next_="LookAtEndpoint",
            ),
            "LookAtEndpoint": task(
                "aws-sdk:sagemaker:describeEndpoint",
                arguments={"EndpointName": setting.prefix},
                timeout_s=60,
                retries=[retry(SAGEMAKER_ERRORS, attempts=4)],
                catches=[],
                assign={
                    "seen": jsonata("$states.result.EndpointStatus"),
                    "bakes": jsonata(
                        "$count([$states.result.PendingDeploymentSummary.ProductionVariants.VariantStatus["
                        "Status in ['ActivatingTraffic', 'Baking']]]) > 0"
                    ),
                },
                next_="GoesOn",
            ),
            "GoesOn": choice(
                ("$seen != 'Updating' or $left <= 0", "Done"),
                (f"$bakes and $asked < {MOST_REQUESTS}", "AskGoldenRows"),
                default="Pause",
            ),
            "AskGoldenRows": {
                "Type": "Map",
                "Items": jsonata(f"[1..{pace.requests}]"),
                "MaxConcurrency": 2,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "AskEndpoint",
                    "States": {"AskEndpoint": _ask(setting), "Asked": {"Type": "Succeed"}},
                },
                "Assign": {"asked": jsonata(f"$asked + {pace.requests}")},
                "Output": {},
                "Next": "Pause",
            },
            "Pause": {
                "Type": "Wait",
                "Seconds": pace.round_s,
                "Assign": {"left": jsonata("$left - 1")},
                "Output": {},
                "Next": "LookAtEndpoint",
            },
            "Done": {"Type": "Succeed"},
        },
    }


def _ask(setting: Setting) -> State:
    """One request; an answer that is wrong or does not come is the alarms' business."""
    return task(
        "aws-sdk:sagemakerruntime:invokeEndpoint",
        arguments={
            "EndpointName": setting.prefix,
            "ContentType": jsonata("$request.content_type"),
            "Accept": jsonata("$request.accept"),
            "Body": jsonata("$request.body"),
            "InferenceId": jsonata(f"'{GOLDEN_INFERENCE_ID}' & $string($left) & '-' & $string($states.input)"),
        },
        timeout_s=90,
        retries=[],
        catches=[catch(next_="Asked") | {"Output": {}}],
        next_="Asked",
    )


class Pace(NamedTuple):
    """How fast golden rows are asked: a round every `round_s` seconds, `rounds` of them, `requests` in each."""

    round_s: int
    rounds: int
    requests: int

    @classmethod
    def of(cls, rollout: Rollout) -> "Pace":
        """As many requests as a history holds, over as long as a rollout may take."""
        deadline_s = seconds(rollout.deadline)
        round_s = max(_ROUND_S, -(-deadline_s // _MOST_ROUNDS))
        # A canary bakes once more after its rest has followed.
        baking_rounds = max(1, max(2, rollout.waits) * seconds(rollout.wait) // round_s)
        return cls(round_s, -(-deadline_s // round_s), max(1, min(_MOST_AT_ONCE, MOST_REQUESTS // baking_rounds)))


def traffic_statements(setting: Setting) -> tuple[Statement, ...]:
    """All that the machine's role may do."""
    return (
        Statement(
            actions=("sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"),
            resources=(setting.arn("sagemaker", f"endpoint/{setting.prefix}"),),
            source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html",
        ),
    )
