"""Cleans up after outer loops that ended without their own tail: time-outs, aborts, and errors no Catch sees."""

import json
from collections.abc import Iterable

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.asl import CONDITION_FAILED, State, Statement, assign, catch, choice, jsonata, quote, retry, task
from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import outer_loop_name
from dual_pipeline.machine import Machine, Starter, machine_arn
from dual_pipeline.model_project import ModelProject
from dual_pipeline.outer_loop.finish import (
    PENDING_OF_FREE_LOCK,
    TRAILING_NAME,
    advice_fields,
    count_outcome,
    forget_judgement,
    free_lock,
    key_statement,
    publish,
    start_statement,
    start_trailing,
    tell_statements,
)
from dual_pipeline.outer_loop.messages import Teller, advice
from dual_pipeline.outer_loop.setting import LEDGER, read_item
from dual_pipeline.outer_loop.training import SAGEMAKER_RETRY, stop_pipeline_execution
from dual_pipeline.permissions import sagemaker_arn
from dual_pipeline.release_remains import longest_wait_s, remains_statements, remove_remains

_SAGEMAKER_PAGE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"
_PROJECT = jsonata("'PROJECT#' & $project")
_REASON = (
    "(($committed ? 'the release stands, the model is the champion; then ' : '')"
    " & 'the execution ended as ' & $status & ': ' & $why)"
)


def _key(sort_key: str) -> State:
    return {"pk": {"S": _PROJECT}, "sk": {"S": sort_key}}


def reaper_definition(*, environment: Environment, table_name: str, topic_arn: str) -> State:
    """The machine. Its input names the execution that ended; running it twice changes nothing more."""
    release_lock = _key(jsonata(f"'LOCK#release#{environment.name}-' & $project"))
    champion = _key(jsonata(f"'CHAMPION#{environment.name}-' & $project"))
    teller = Teller(environment=environment.name, project="$project")
    states: dict[str, State] = {
        "ReadInput": assign(
            {
                "me": jsonata("$states.input.execution"),
                "machine": jsonata("$states.input.machine"),
                "runId": jsonata("$states.input.name"),
                "project": jsonata(
                    f"$substringBefore($substringAfter($states.input.machine, ':{environment.name}-'), '-outer-loop')"
                ),
                "id": jsonata("$substring($hash($states.input.execution, 'SHA-256'), 0, 12)"),
                "status": jsonata("$states.input.status"),
                "why": "",
                "training": "",
                "pendingForce": False,
                "startedAt": "",
            },
            next_="ReadExecution",
        ),
        "ReadExecution": task(
            "aws-sdk:sfn:describeExecution",
            arguments={"ExecutionArn": jsonata("$me")},
            timeout_s=60,
            retries=[retry(("Sfn.SfnException", "Sfn.SdkClientException"))],
            catches=[catch(next_="ReadRun")],
            assign={
                "why": jsonata("$substring($states.result.Error & ' ' & $states.result.Cause, 0, 1500)"),
                "startedAt": jsonata("$states.result.StartDate & ''"),
            },
            next_="ReadRun",
        ),
        "ReadRun": read_item(
            table_name,
            _key(jsonata("'RUN#' & $runId")),
            assign={"recorded": jsonata("$exists($states.result.Item.outcome.S)")},
            next_="ReadChampion",
        ),
        # It may have ended after its release stood.
        "ReadChampion": read_item(
            table_name,
            champion,
            assign={
                "committed": jsonata("$states.result.Item.run_id.S = $runId"),
                "outcome": jsonata("$states.result.Item.run_id.S = $runId ? 'released' : 'failed'"),
                "package": jsonata("$states.result.Item[run_id.S = $runId].model_package_arn.S & ''"),
            },
            next_="FindTraining",
        ),
        # Nobody waits for it any more, and it goes on costing money.
        "FindTraining": task(
            "aws-sdk:sagemaker:listPipelineExecutions",
            arguments={
                "PipelineName": jsonata(f"'{environment.name}-' & $project"),
                "SortBy": "CreationTime",
                "SortOrder": "Descending",
                "MaxResults": 100,
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[catch(next_="ReadLock")],
            assign={
                "training": jsonata(
                    "($found := $states.result.PipelineExecutionSummaries[PipelineExecutionDisplayName = 'run-' & $id"
                    " and PipelineExecutionStatus = 'Executing'].PipelineExecutionArn;"
                    " $exists($found) ? [$found][0] : '')"
                )
            },
            next_="ChooseTraining",
        ),
        "ChooseTraining": choice(("$training != ''", "StopTraining"), default="ReadLock"),
        "StopTraining": stop_pipeline_execution(
            "$training",
            catches=[
                catch(
                    next_="ReadLock",
                    assign={
                        "why": jsonata("$why & ' (trouble: stop ' & $training & ' by hand, it goes on)'"),
                        "training": "",
                    },
                )
            ],
            next_="ReadLock",
        ),
        "ReadLock": read_item(
            table_name,
            _key("LOCK#training"),
            assign={
                "owner": jsonata("$states.result.Item.owner.S & ''"),
                "pending": jsonata("$states.result.Item.pending.S & ''"),
                "pendingForce": jsonata("$exists($states.result.Item.pending_force)"),
            },
            next_="ChooseTrainingLock",
        ),
        "ChooseTrainingLock": choice(
            ("$owner = $me", "FreeTrainingLock"),
            # It ended between freeing the lock and starting the trailing run.
            ("$owner = '' and $pending != '' and $not($recorded)", "StartTrailing"),
            default="FreeReleaseLock",
        ),
        "FreeTrainingLock": free_lock(
            table_name,
            _key("LOCK#training"),
            owner="$me",
            freed={
                "pending": jsonata("$states.result.Attributes.pending.S & ''"),
                "pendingForce": jsonata("$exists($states.result.Attributes.pending_force)"),
            },
            gone={"pending": ""},
            gone_next="ReadFreedLock",
            troubled={"pending": ""},
            next_="ChooseTrailing",
        ),
        "ReadFreedLock": read_item(
            table_name,
            _key("LOCK#training"),
            assign={
                "pending": jsonata(PENDING_OF_FREE_LOCK),
                "pendingForce": jsonata("$exists($states.result.Item.pending_force)"),
            },
            next_="ChooseTrailing",
        ),
        "ChooseTrailing": choice(("$pending != ''", "StartTrailing"), default="FreeReleaseLock"),
        "StartTrailing": start_trailing(
            jsonata("$machine"),
            name=TRAILING_NAME,
            after="$runId",
            done={"pending": ""},
            troubled={"why": jsonata("$why & ' (trouble: the trailing run could not be started, start it by hand)'")},
            next_="FreeReleaseLock",
        ),
        "FreeReleaseLock": free_lock(
            table_name,
            release_lock,
            owner="$me",
            freed={"pending": ""},
            gone={"pending": ""},
            troubled={"pending": ""},
            next_="IsRecorded",
        ),
        "IsRecorded": choice(
            ("$recorded", "MayHaveReleased"),
            ("$committed", "Record", {"advice": jsonata(advice(_REASON, "$outcome"))}),
            default="ForgetJudgement",
            otherwise={"advice": jsonata(advice(_REASON, "$outcome"))},
        ),
        # A run that broke off has released nothing, whatever it had judged.
        "ForgetJudgement": forget_judgement(
            table_name, _key("LOCK#training"), run="$runId", done={"pending": ""}, next_="Record"
        ),
        "Record": task(
            "aws-sdk:dynamodb:putItem",
            arguments={
                "TableName": table_name,
                "Item": {
                    **_key(jsonata("'RUN#' & $runId")),
                    "outcome": {"S": jsonata("$outcome")},
                    "reason": {"S": jsonata(_REASON)},
                    "state": {"S": jsonata("$status")},
                    **advice_fields(),
                    "model_package_arn": {"S": jsonata("$package")},
                    "started_at": {"S": jsonata("$startedAt")},
                    "finished_at": {"S": jsonata("$now()")},
                },
                "ConditionExpression": "attribute_not_exists(outcome)",
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[catch(CONDITION_FAILED, next_="MayHaveReleased"), catch(next_="CountOutcome")],
            next_="CountOutcome",
        ),
        "CountOutcome": count_outcome(environment.name, jsonata("$project"), "$outcome", next_="Notify"),
        "Notify": publish(
            topic_arn,
            subject=teller.outcome_subject("$outcome"),
            message=teller.outcome(
                outcome="$outcome",
                reason=_REASON,
                started=_left(teller, environment.projects),
            ),
            output={},
            next_="MayHaveReleased",
        ),
        # Last, for it may have to wait: nobody else does then.
        **remove_remains(environment, table_name=table_name, release_lock=release_lock, next_="Done"),
        "Done": {"Type": "Succeed"},
    }
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "ReadInput",
        "TimeoutSeconds": 3600 + longest_wait_s(environment),
        "States": states,
    }


def _left(teller: Teller, projects: Iterable[ModelProject]) -> str:
    """JSONata for what the reaper did, and for what such a run may leave to people."""
    alone = sorted(project.name for project in projects if not project.inner_loop)
    in_batch = sorted(project.name for project in projects if project.scores_in_batch)
    goes_on = quote(
        ". A rollout that it had begun goes on; once the endpoint rests, what does not serve there is removed."
    )
    if in_batch:
        jobs = quote(
            ". A transform job that it had begun may go on: find it with aws sagemaker list-transform-jobs"
            f" --status-equals InProgress --name-contains {teller.environment}-"
        )
        goes_on = f"($project in {json.dumps(in_batch)} ? {jobs} & $project : {goes_on})"
    freed = "'The run did not end by itself: its locks were freed'"
    stopped = "($training != '' ? ' and its training was stopped' : '')"
    unset = quote(
        ". Alarms of the model and the endpoint's scaling may be as they were before: the next release sets them."
    )
    return (
        f"($committed ? {freed} & {unset} : $project in {json.dumps(alone)} ? {freed} & '.' : ["
        f"{freed} & {stopped} & {goes_on},"
        " 'If it had asked for an approval, its package still waits with no run behind it. Approving it would deploy"
        " nothing, so reject it:',"
        f" {teller.orphans()}])"
    )


class Reaper(Construct):
    """One machine per environment, started when an outer loop FAILED, TIMED_OUT or was ABORTED; harmless to repeat.

    It stops the execution's training, frees the locks that it still owns, starts the trailing run if one is pending,
    records and tells the outcome if the execution did not, and removes what a release that broke off made.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        ledger: dynamodb.ITable,
        key: kms.IKey,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        loops = {project.name: outer_loop_name(environment.name, project.name) for project in environment.projects}
        page = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html"
        self.machine = Machine(
            self,
            "Machine",
            name=f"{environment.name}-reaper",
            definition=reaper_definition(
                environment=environment, table_name=ledger.table_name, topic_arn=topic.topic_arn
            ),
            statements=(
                Statement(
                    actions=("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
                    resources=(ledger.table_arn,),
                    conditions={
                        "ForAllValues:StringEquals": {
                            "dynamodb:LeadingKeys": [f"PROJECT#{project}" for project in loops]
                        }
                    },
                    source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html",
                ),
                Statement(
                    actions=("states:DescribeExecution",),
                    resources=tuple(
                        stack.format_arn(
                            service="states",
                            resource="execution",
                            resource_name=f"{loop}:*",
                            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                        )
                        for loop in loops.values()
                    ),
                    source=page,
                ),
                Statement(
                    actions=("sagemaker:ListPipelineExecutions",),
                    resources=tuple(_pipelines(stack, environment)),
                    source=_SAGEMAKER_PAGE,
                ),
                Statement(
                    actions=("sagemaker:StopPipelineExecution",),
                    resources=tuple(f"{pipeline}/execution/*" for pipeline in _pipelines(stack, environment)),
                    source=_SAGEMAKER_PAGE,
                ),
                *(start_statement(machine_arn(stack, loop)) for loop in loops.values()),
                *tell_statements(topic.topic_arn),
                *remains_statements(environment, partition=stack.partition, account=stack.account),
                key_statement(key.key_arn),
            ),
            key=key,
        )
        starter = Starter(self, "Events", machine=self.machine)
        self.dead_letters = starter.dead_letters
        # https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
        starter.add_rule(
            "Ended",
            description=f"Cleans up after outer loops of {environment.name} that did not end by themselves",
            pattern={
                "source": ["aws.states"],
                "detail-type": ["Step Functions Execution Status Change"],
                "detail": {
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                    "stateMachineArn": [machine_arn(stack, loop) for loop in loops.values()],
                },
            },
            paths={
                "execution": "$.detail.executionArn",
                "machine": "$.detail.stateMachineArn",
                "name": "$.detail.name",
                "status": "$.detail.status",
            },
            template='{"execution": <execution>, "machine": <machine>, "name": <name>, "status": <status>}',
        )


def _pipelines(stack: cdk.Stack, environment: Environment) -> list[str]:
    sagemaker = sagemaker_arn(stack)
    return [f"{sagemaker}:pipeline/{environment.name}-{project.name}" for project in environment.projects]
