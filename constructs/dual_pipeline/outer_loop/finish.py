"""The one tail of every path: locks freed, the trailing run started, the outcome recorded, counted and told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dual_pipeline.asl import (
    CLOUDWATCH_ERRORS,
    CONDITION_FAILED,
    NOT_FOUND,
    SAGEMAKER_ERRORS,
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
from dual_pipeline.loop_contract import (
    METRIC_NAMESPACE,
    MODEL_METRIC,
    OUTCOME_METRIC,
    OUTCOME_SUPPRESSED,
    REASON_ROLLBACK,
    REASON_TRAILING,
    REFUSED_MODEL_METRIC,
    UP_TO_DATE_METRIC,
)
from dual_pipeline.outer_loop.messages import REASON, STARTED, Teller, advice
from dual_pipeline.outer_loop.scaling import resume_scaling
from dual_pipeline.outer_loop.setting import LEDGER, Setting, read_item

TRAILING_NAME = "'trailing-' & $substring($hash($me, 'SHA-256'), 0, 32)"
STARTED_RETRY = [retry(("StepFunctions.ExecutionLimitExceededException", "StepFunctions.AWSStepFunctionsException"))]
CLOUDWATCH_RETRY = [retry(CLOUDWATCH_ERRORS, attempts=4)]
# What ends before ingest has a snapshot refuses the trigger; after it, the same data was judged before.
# A rollback is no news: what it brings back was news once.
UP_TO_DATE = (
    f"$outcome = 'released' and $trigger.reason != {quote(REASON_ROLLBACK)}"
    f" or $outcome = {quote(OUTCOME_SUPPRESSED)} and $snapshotUri != ''"
)
# A request takes a thousand: the report of a project that measures more is still counted.
MOST_MEASURED = 20
PENDING_OF_FREE_LOCK = "$exists($states.result.Item.owner) ? '' : $states.result.Item.pending.S & ''"
_OUTPUT: State = {
    "outcome": jsonata("$outcome"),
    "reason": jsonata(REASON),
    "run_id": jsonata("$runId"),
    "snapshot_uri": jsonata("$snapshotUri"),
    "pipeline_execution_arn": jsonata("$pipelineExecutionArn"),
    "model_package_arn": jsonata("$packageArn"),
    "metrics": jsonata("$exists($evaluation.metrics) ? $evaluation.metrics : {}"),
}


def finish(setting: Setting) -> Fragment:
    """Nothing here hides an outcome or keeps a lock: what goes wrong is told as `trouble`, and the path goes on.

    `FreeLocks` is where every path comes to; one whose outcome is still open goes on to the approval from there.
    """
    gives_back = f"$outcome = 'blocked' and $culprit and $took != '' and $trigger.reason != {quote(REASON_TRAILING)}"
    scaled = setting.project.rollout.scales
    to_release = (
        ("$outcome = ''", setting.approval_state),
        *((("$orphan and $configName != ''", "DeleteEndpointConfig"),) if setting.project.deploys_endpoint else ()),
        ("$orphan", "DeleteModel"),
        *((("$scalingHeld", "ResumeScaling"),) if scaled else ()),
        ("$mayHoldRelease", "FreeReleaseLock"),
    )
    states: dict[str, State] = {
        "FreeLocks": choice(
            ("$mayHoldTraining", "FreeTrainingLock"),
            ("$pending != ''", "StartTrailing"),
            # A verdict that led nowhere is none: the same data may be trained on again.
            ("$judged and ($stale or $outcome in ['failed', 'expired'])", "ForgetJudgement"),
            *(to_release if setting.project.inner_loop else ()),
            default="Record",
            # What can be said of a failure is worked out on the way, so that it costs no state.
            otherwise={"advice": jsonata(advice())},
        ),
        # `pending` stays on the item until an admitted run takes it along, so that no crash in between loses it.
        "FreeTrainingLock": free_lock(
            setting.table_name,
            setting.training_lock,
            owner="$me",
            more=(
                # What a run has judged need not be judged again: same data, same code.
                Update(
                    when="$judged",
                    sets="trained_snapshot = :snapshot, trained_code = :code, trained_run = :run",
                    values={":snapshot": "$ingest.snapshot_uri", ":code": "$code", ":run": "$runId"},
                ),
                # Its own file was bad and is out of the way: what it took along waits for a run again. A trailing run
                # gives nothing back, so that this ends.
                Update(when=gives_back, sets="pending = if_not_exists(pending, :took)", values={":took": "$took"}),
                Update(when=f"{gives_back} and $trigger.force", sets="pending_force = :yes", values={":yes": "'yes'"}),
            ),
            # What looks like another's lock may be one that this run has freed, had the answer not been lost.
            gone={"mayHoldTraining": False},
            gone_next="ReadFreedLock",
            troubled={
                "mayHoldTraining": False,
                "trouble": "the training lock could not be freed and holds others up until its lease ends",
            },
            freed={
                "mayHoldTraining": False,
                "pending": jsonata("$states.result.Attributes.pending.S & ''"),
                "pendingForce": jsonata("$exists($states.result.Attributes.pending_force)"),
            },
            next_="FreeLocks",
        ),
        "ReadFreedLock": read_item(
            setting.table_name,
            setting.training_lock,
            catches=[
                catch(
                    next_="FreeLocks",
                    assign={
                        "trouble": "the training lock could not be read: start a run by hand if it is pending there"
                    },
                )
            ],
            assign={
                "pending": jsonata(PENDING_OF_FREE_LOCK),
                "pendingForce": jsonata("$exists($states.result.Item.pending_force)"),
            },
            next_="FreeLocks",
        ),
        "StartTrailing": start_trailing(
            jsonata("$states.context.StateMachine.Id"),
            name=TRAILING_NAME,
            after="$runId",
            done={"pending": ""},
            troubled={
                "pending": "",
                "trouble": jsonata(
                    "'the trailing run could not be started, start it by hand: ' & $states.errorOutput.Error"
                ),
            },
            next_="FreeLocks",
        ),
        "ForgetJudgement": forget_judgement(
            setting.table_name, setting.training_lock, run="$runId", done={"judged": False}, next_="FreeLocks"
        ),
        "Record": task(
            "aws-sdk:dynamodb:putItem",
            arguments={
                "TableName": setting.table_name,
                "Item": {
                    **setting.item_key(jsonata("'RUN#' & $runId")),
                    "outcome": {"S": jsonata("$outcome")},
                    "reason": {"S": jsonata(REASON)},
                    "state": {"S": jsonata("$failedState")},
                    **advice_fields(),
                    "trigger": {"S": jsonata("$string($trigger)")},
                    "snapshot_uri": {"S": jsonata("$snapshotUri")},
                    "quality_verdict": {"S": jsonata("$verdict.verdict & ''")},
                    "quality_verdict_uri": {"S": jsonata("$verdict.uri & ''")},
                    "quality_engine": {"S": jsonata("$verdict.engine & ''")},
                    "rows": {"N": jsonata("$string($exists($verdict.rows) ? $verdict.rows : 0)")},
                    "rows_quarantined": {
                        "N": jsonata("$string($exists($verdict.quarantined) ? $verdict.quarantined : 0)")
                    },
                    "pipeline_execution_arn": {"S": jsonata("$pipelineExecutionArn")},
                    "pipeline_version": {"S": jsonata("$execution.version & ''")},
                    "champion_uri": {"S": jsonata("$champion.model & ''")},
                    "model_package_arn": {"S": jsonata("$packageArn")},
                    "model_uri": {"S": jsonata("$approval.model & ''")},
                    "definition_hash": {"S": jsonata("$approval.definition & ''")},
                    "metrics": {"S": jsonata("$exists($evaluation.metrics) ? $string($evaluation.metrics) : '{}'")},
                    "comparison": {"S": jsonata("$string($merge([$evaluation.champion]))")},
                    "approval": {"S": jsonata("$string($approval)")},
                    "started_at": {"S": jsonata("$startedAt")},
                    "finished_at": {"S": jsonata("$now()")},
                },
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[catch(next_="CountOutcome", assign={"trouble": "the outcome is not in the ledger"})],
            next_="CountOutcome",
        ),
        "CountOutcome": count_end(setting.environment.name, setting.project.name, next_="IsAnybodyTold"),
        # Two hundred duplicates are no two hundred messages.
        "IsAnybodyTold": {
            "Type": "Choice",
            "Choices": [
                {"Condition": jsonata("$quiet"), "Next": "Ended", "Output": _OUTPUT},
                {"Condition": jsonata("$outcome = 'failed'"), "Next": "NotifyFailed"},
            ],
            "Default": "Notify",
        },
        "Notify": _end(_tell(setting, output=_OUTPUT, next_="Ended")),
        "NotifyFailed": _tell(setting, output={}, next_="Failed"),
        "Ended": {"Type": "Succeed"},
        "Failed": {"Type": "Fail", "Error": "DualPipeline.Failed", "Cause": jsonata(REASON)},
    }
    if setting.project.inner_loop:
        states |= {**_clean_up(setting), **(resume_scaling(setting, next_="FreeLocks") if scaled else {})}
        states["FreeReleaseLock"] = free_lock(
            setting.table_name,
            setting.release_lock,
            owner="$me",
            gone={"mayHoldRelease": False},
            troubled={
                "mayHoldRelease": False,
                "trouble": "the release lock could not be freed and holds others up until its lease ends",
            },
            freed={"mayHoldRelease": False},
            next_="FreeLocks",
        )
    return Fragment(
        states=states,
        statements=(
            start_statement(setting.arn("states", f"stateMachine:{setting.machine_name}")),
            *tell_statements(setting.topic_arn),
        ),
    )


def _clean_up(setting: Setting) -> dict[str, State]:
    """Remove what a refused release made; what it was made of, the package, stays in the registry."""
    config = {
        "DeleteEndpointConfig": task(
            "aws-sdk:sagemaker:deleteEndpointConfig",
            arguments={"EndpointConfigName": jsonata("$configName")},
            timeout_s=60,
            retries=[retry(SAGEMAKER_ERRORS, attempts=3)],
            catches=[
                catch(
                    next_="DeleteModel",
                    assign={
                        "trouble": jsonata(
                            f"{NOT_FOUND} ? $trouble"
                            " : 'the endpoint configuration ' & $configName & ' could not be deleted and serves nobody'"
                        )
                    },
                )
            ],
            next_="DeleteModel",
        )
    }
    return {
        **(config if setting.project.deploys_endpoint else {}),
        "DeleteModel": task(
            "aws-sdk:sagemaker:deleteModel",
            arguments={"ModelName": jsonata("$modelName")},
            timeout_s=60,
            retries=[retry(SAGEMAKER_ERRORS, attempts=3)],
            catches=[
                catch(
                    next_="FreeLocks",
                    assign={
                        "orphan": False,
                        "trouble": jsonata(
                            f"{NOT_FOUND} ? $trouble"
                            " : 'the model ' & $modelName & ' could not be deleted and serves nobody'"
                        ),
                    },
                )
            ],
            assign={"orphan": False},
            next_="FreeLocks",
        ),
    }


def _tell(setting: Setting, *, output: State, next_: str) -> State:
    project = setting.project
    teller = Teller(
        environment=setting.environment.name,
        project=quote(project.name),
        deploys=project.inner_loop,
        in_batch=project.scores_in_batch,
    )
    return publish(
        setting.topic_arn,
        subject=teller.outcome_subject(),
        message=teller.outcome(started=STARTED),
        output=output,
        next_=next_,
    )


def _end(state: State) -> State:
    """The state as an execution's last one; what it catches still goes on to where it would have gone."""
    return {name: value for name, value in state.items() if name != "Next"} | {"End": True}


def advice_fields() -> State:
    """What a run's item says of its failure: its kind, who has to act, what it means and what to do."""
    return {
        "failure": {"S": jsonata("$advice.kind")},
        "whose": {"S": jsonata("$advice.whose")},
        "cause": {"S": jsonata("$advice.cause")},
        "remedy": {"S": jsonata("$advice.remedy")},
        "runbook": {"S": jsonata("$advice.runbook")},
    }


@dataclass(frozen=True, kw_only=True)
class Update:
    """More that a write sets, if the condition `when` holds: the expression, and JSONata for the texts in it."""

    when: str
    sets: str
    values: Mapping[str, str]

    @property
    def given(self) -> str:
        """The texts as JSONata, by their names."""
        texts = ", ".join(f"{quote(name)}: {{'S': {value}}}" for name, value in self.values.items())
        return f"{self.when} ? {{{texts}}} : {{}}"


def forget_judgement(table_name: str, lock: State, *, run: str, done: State, next_: str) -> State:
    """Let what a run has judged be judged again, if nobody has judged anything since."""
    return task(
        "aws-sdk:dynamodb:updateItem",
        arguments={
            "TableName": table_name,
            "Key": lock,
            "UpdateExpression": "REMOVE trained_snapshot, trained_code, trained_run",
            "ConditionExpression": "trained_run = :run",
            "ExpressionAttributeValues": {":run": {"S": jsonata(run)}},
        },
        timeout_s=60,
        retries=LEDGER,
        catches=[
            catch(CONDITION_FAILED, next_=next_, assign=done),
            catch(
                next_=next_,
                assign={**done, "trouble": "the same data counts as trained: start the next run with --force"},
            ),
        ],
        assign=done,
        next_=next_,
    )


def free_lock(
    table_name: str,
    key: State,
    *,
    owner: str,
    freed: State,
    gone: State,
    troubled: State,
    next_: str,
    gone_next: str | None = None,
    more: Sequence[Update] = (),
) -> State:
    """Give up a lock if `owner` has it, with `more`; the answer holds what is on it then.

    Where it is gone, `gone_next` follows.
    """
    update: object = "REMOVE #owner, lease_until"
    given: object = {":me": {"S": jsonata(owner)}}
    if more:
        sets = ", ".join(f"({each.when} ? {quote(each.sets)} : [])" for each in more)
        update = jsonata(
            f"($sets := [{sets}]; {quote(str(update))} & ($count($sets) > 0 ? ' SET ' & $join($sets, ', ') : ''))"
        )
        given = jsonata(f"$merge([{{':me': {{'S': {owner}}}}}, {', '.join(each.given for each in more)}])")
    return task(
        "aws-sdk:dynamodb:updateItem",
        arguments={
            "TableName": table_name,
            "Key": key,
            "UpdateExpression": update,
            "ConditionExpression": "#owner = :me",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": given,
            "ReturnValues": "ALL_NEW",
        },
        timeout_s=60,
        retries=LEDGER,
        catches=[catch(CONDITION_FAILED, next_=gone_next or next_, assign=gone), catch(next_=next_, assign=troubled)],
        assign=freed,
        next_=next_,
    )


def start_trailing(machine: str, *, name: str, after: str, done: State, troubled: State, next_: str) -> State:
    """Start the run that trains on what arrived meanwhile; its name comes from the run that ends, so there is one."""
    return task(
        "states:startExecution",
        arguments={
            "StateMachineArn": machine,
            "Name": jsonata(name),
            "Input": {
                "reason": "trailing",
                "detail": jsonata(f"'follows run ' & {after}"),
                "force": jsonata("$pendingForce"),
                "source": jsonata("($s := $parse($pending).source; $type($s) = 'object' ? $s : null)"),
            },
        },
        timeout_s=60,
        retries=STARTED_RETRY,
        catches=[
            catch("StepFunctions.ExecutionAlreadyExistsException", next_=next_, assign=done),
            catch(next_=next_, assign=troubled),
        ],
        assign=done,
        next_=next_,
    )


def count_outcome(environment: str, project: str, outcome: str, *, next_: str) -> State:
    """Publish one outcome as a metric; `project` and `outcome` may be JSONata values."""
    counted: State = {
        "MetricName": OUTCOME_METRIC,
        "Dimensions": [
            {"Name": "Environment", "Value": environment},
            {"Name": "Project", "Value": project},
            {"Name": "Outcome", "Value": jsonata(outcome)},
        ],
        "Value": 1,
        "Unit": "Count",
    }
    return put_metrics([counted], next_=next_)


def count_end(environment: str, project: str, *, next_: str) -> State:
    """Publish the run's outcome, whether its data is up to date, and what the evaluation measured, in one request.

    A name or a value that CloudWatch would not take is left out, for it would lose the outcome with it.
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
    """
    keys = json.dumps([{"Name": "Environment", "Value": environment}, {"Name": "Project", "Value": project}])
    return put_metrics(
        jsonata(
            f"""(
  $keys := {keys};
  $measures := $outcome in ['released', 'below-gate'] and $type($evaluation.metrics) = 'object';
  $measured := $outcome = 'released' ? {quote(MODEL_METRIC)} : {quote(REFUSED_MODEL_METRIC)};
  $append([
    {{
      'MetricName': {quote(OUTCOME_METRIC)},
      'Dimensions': $append($keys, [{{'Name': 'Outcome', 'Value': $outcome}}]),
      'Value': 1,
      'Unit': 'Count'
    }},
    {{
      'MetricName': {quote(UP_TO_DATE_METRIC)},
      'Dimensions': $keys,
      'Value': {UP_TO_DATE} ? 1 : 0,
      'Unit': 'Count'
    }}
  ], $measures ? $each($evaluation.metrics, function($m, $name) {{
    $contains($name, /^[A-Za-z0-9_]{{1,64}}$/) and $type($m.value) = 'number' ? {{
      'MetricName': $measured,
      'Dimensions': $append($keys, [{{'Name': 'Metric', 'Value': $name}}]),
      'Value': $m.value,
      'Unit': 'None'
    }}
  }})[[0..{MOST_MEASURED - 1}]])
)"""
        ),
        next_=next_,
    )


def put_metrics(data: Sequence[State] | str, *, next_: str) -> State:
    """Publish metrics in our namespace, given as they are or as JSONata; a run does not fail for them."""
    return task(
        "aws-sdk:cloudwatch:putMetricData",
        arguments={"Namespace": METRIC_NAMESPACE, "MetricData": data if isinstance(data, str) else list(data)},
        timeout_s=60,
        retries=CLOUDWATCH_RETRY,
        catches=[catch(next_=next_)],
        next_=next_,
    )


def publish(
    topic_arn: str, *, subject: str, message: str, output: State, next_: str, values: State | None = None
) -> State:
    """Tell people and set variables to `values`, whether they could be told or not.

    SNS takes subjects of at most 100 characters on one line.
    """
    state = task(
        "sns:publish",
        arguments={
            "TopicArn": topic_arn,
            "Subject": jsonata(f"$substring({subject}, 0, 100)"),
            "Message": jsonata(message),
        },
        timeout_s=60,
        retries=[
            retry(
                (
                    "SNS.InternalErrorException",
                    "SNS.KMSThrottlingException",
                    "SNS.SdkClientException",
                    "SNS.ThrottledException",
                ),
                attempts=4,
            )
        ],
        catches=[catch(next_=next_, assign=values) | {"Output": output}],
        assign=values,
        next_=next_,
    )
    return state | {"Output": output}


def start_statement(machine_arn: str) -> Statement:
    """What starting a trailing run takes."""
    return Statement(
        actions=("states:StartExecution",),
        resources=(machine_arn,),
        source="https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html",
    )


def tell_statements(topic_arn: str) -> tuple[Statement, ...]:
    """What counting and telling an outcome takes."""
    return (
        Statement(
            actions=("cloudwatch:PutMetricData",),
            resources=("*",),
            reason="PutMetricData has no resource type; the condition holds it to our namespace",
            conditions={"StringEquals": {"cloudwatch:namespace": METRIC_NAMESPACE}},
            source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html",
        ),
        Statement(
            actions=("sns:Publish",),
            resources=(topic_arn,),
            source="https://docs.aws.amazon.com/step-functions/latest/dg/connect-sns.html",
        ),
    )


def key_statement(key_arn: str) -> Statement:
    """What reading and writing under the environment's key takes: table, buckets and topic are encrypted with it."""
    return Statement(
        actions=("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"),
        resources=(key_arn,),
        source="https://docs.aws.amazon.com/kms/latest/developerguide/services-dynamodb.html",
    )
