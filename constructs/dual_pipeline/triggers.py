"""Starts outer loops on what several projects share: drift alarms that ring, inner loops that were deployed anew."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from dual_pipeline.asl import SAGEMAKER_ERRORS, State, Statement, catch, choice, jsonata, retry, task
from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import DRIFT_ALARM_SUFFIX, TAG_CODE, outer_loop_name
from dual_pipeline.machine import Machine, Starter, machine_arn, scheduler_role
from dual_pipeline.outer_loop.finish import CLOUDWATCH_RETRY, STARTED_RETRY, key_statement, start_statement
from dual_pipeline.outer_loop.setting import read_item
from dual_pipeline.permissions import sagemaker_arn


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One project's loops by name: its state machine, its drift alarm, its inner loop's pipeline (an ARN) and stack.

    Without an inner loop there is neither, and nothing starts for new code.
    """

    project: str
    machine_arn: str
    alarm: str
    pipeline_arn: str = ""
    stack: str = ""


def triggers_definition(*, loops: Sequence[Loop], table_name: str) -> State:
    """The Express machine. Its input is `{"kind": "drift"}`, or `{"kind": "code", "stack": <id of a stack>}`.

        Whether a drift alarm rings and whether the code is new is read here and now: an event is only a reason to look.
    Drift alarms are alarms of metrics: composite ones are told only to who may describe every alarm.
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    """
    by_alarm = {loop.alarm: loop.machine_arn for loop in loops}
    deployed = _with_inner_loop(loops)
    of_stack = [
        {"stack": f":stack/{loop.stack}/", "machine": loop.machine_arn, "pipeline": loop.pipeline_arn, "pk": _pk(loop)}
        for loop in deployed
    ]
    broken = catch(next_="NotStarted")
    states: dict[str, State] = {
        "ReadInput": choice(
            ("$states.input.kind = 'drift'", "FindRingingAlarms"),
            default="IsOurs" if deployed else "Done",
            otherwise={
                "loop": jsonata(
                    "($stack := $states.input.stack & ''; $found := $loops[$contains($stack, stack)];"
                    " $exists($found) ? $found[0] : {'machine': '', 'pipeline': '', 'pk': ''})"
                ).replace("$loops", _literal(of_stack)),
            },
        ),
        "FindRingingAlarms": task(
            "aws-sdk:cloudwatch:describeAlarms",
            arguments={
                "AlarmNames": list(by_alarm),
                "AlarmTypes": ["MetricAlarm"],
                "StateValue": "ALARM",
                "MaxRecords": 100,
            },
            timeout_s=60,
            retries=CLOUDWATCH_RETRY,
            catches=[broken],
            assign={
                "starts": jsonata(
                    f"($machines := {_literal(by_alarm)};"
                    " [$states.result.MetricAlarms.{"
                    "'machine': $lookup($machines, AlarmName),"
                    " 'input': {'reason': 'drift', 'detail': 'the alarm ' & AlarmName & ' rings: '"
                    " & $substring(StateReason, 0, 500), 'source': null}}])"
                )
            },
            next_="StartRuns",
        ),
        **(_code_states(table_name, broken) if deployed else {}),
        "StartRuns": {
            "Type": "Map",
            "Items": jsonata("$starts"),
            "MaxConcurrency": 5,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "StartRun",
                "States": {
                    "StartRun": {
                        "Type": "Task",
                        "Resource": "arn:aws:states:::states:startExecution",
                        "Arguments": {
                            "StateMachineArn": jsonata("$states.input.machine"),
                            "Input": jsonata("$states.input.input"),
                        },
                        "TimeoutSeconds": 60,
                        "Retry": STARTED_RETRY,
                        "Output": {},
                        "End": True,
                    }
                },
            },
            "Output": {},
            "Catch": [broken],
            "Next": "Done",
        },
        "Done": {"Type": "Succeed"},
        "NotStarted": {
            "Type": "Fail",
            "Error": "DualPipeline.NotStarted",
            "Cause": "a run that drift or new code asks for was not started; a drift alarm is looked at again in a day",
        },
    }
    return {"QueryLanguage": "JSONata", "StartAt": "ReadInput", "TimeoutSeconds": 240, "States": states}


def _code_states(table_name: str, broken: State) -> dict[str, State]:
    """Starts a run where what a pipeline runs is not what the last judged model came from."""
    return {
        "IsOurs": choice(("$loop.machine != ''", "ReadCode"), default="Done"),
        "ReadCode": task(
            "aws-sdk:sagemaker:listTags",
            arguments={"ResourceArn": jsonata("$loop.pipeline")},
            timeout_s=60,
            retries=[retry(SAGEMAKER_ERRORS, attempts=4)],
            catches=[broken],
            assign={"code": jsonata(f"$states.result.Tags[Key = '{TAG_CODE}'].Value & ''")},
            next_="ReadTrained",
        ),
        "ReadTrained": read_item(
            table_name,
            {"pk": {"S": jsonata("$loop.pk")}, "sk": {"S": "LOCK#training"}},
            catches=[broken],
            assign={
                "trained": jsonata("$split($states.result.Item.trained_code.S & '', '/')[0] & ''"),
                "starts": jsonata(
                    "[{'machine': $loop.machine, 'input': {'reason': 'code',"
                    " 'detail': 'the inner loop was deployed with other code or settings', 'source': null}}]"
                ),
            },
            next_="IsNews",
        ),
        # Before the first model there is nothing that the code could be newer than: data starts the first run.
        "IsNews": choice(("$trained != '' and $code != '' and $trained != $code", "StartRuns"), default="Done"),
    }


class Triggers(Construct):
    """One Express machine per environment for the triggers that projects share.

    A drift alarm starts a run when it begins to ring, and once a day as long as it rings. An inner loop's stack starts
    one when it was updated, if what its pipeline runs is not what the last judged model came from.
    """

    def __init__(
        self, scope: Construct, id_: str, *, environment: Environment, ledger: dynamodb.ITable, key: kms.IKey
    ) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        stage = cdk.Stage.of(self)
        start = f"{stage.stage_name}-" if stage and stage.stage_name else ""
        pipelines = {
            project.name: f"{sagemaker_arn(self)}:pipeline/{environment.name}-{project.name}"
            for project in environment.projects
            if project.inner_loop
        }
        loops = [
            Loop(
                project=project.name,
                machine_arn=machine_arn(stack, outer_loop_name(environment.name, project.name)),
                alarm=f"{environment.name}-{project.name}{DRIFT_ALARM_SUFFIX}",
                pipeline_arn=pipelines.get(project.name, ""),
                stack=f"{start}{project.stack_prefix}InnerLoop" if project.inner_loop else "",
            )
            for project in environment.projects
        ]
        self.machine = Machine(
            self,
            "Machine",
            name=f"{environment.name}-triggers",
            definition=triggers_definition(loops=loops, table_name=ledger.table_name),
            statements=_statements(stack, loops=loops, ledger=ledger, key=key),
            key=key,
            express=True,
        )
        starter = Starter(self, "Events", machine=self.machine)
        self.dead_letters = starter.dead_letters
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
        starter.add_rule(
            "DriftAlarm",
            description="Trains anew when a drift alarm begins to ring",
            pattern={
                "source": ["aws.cloudwatch"],
                "detail-type": ["CloudWatch Alarm State Change"],
                "detail": {"alarmName": [loop.alarm for loop in loops], "state": {"value": ["ALARM"]}},
            },
            paths={},
            template='{"kind": "drift"}',
        )
        if deployed := _with_inner_loop(loops):
            _add_code_rule(starter, [loop.stack for loop in deployed])
        role = scheduler_role(
            self,
            "DailyRole",
            machine_arn=self.machine.arn,
            dead_letters=self.dead_letters,
            description=f"Looks daily whether drift alarms of {environment.name} still ring",
        )
        scheduler.CfnSchedule(
            self,
            "StillDrifting",
            description="An alarm's event comes once; this looks whether it still rings",
            schedule_expression="rate(1 day)",
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=self.machine.arn,
                role_arn=role.role_arn,
                input='{"kind": "drift"}',
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self.dead_letters.queue_arn),
            ),
        )


def _add_code_rule(starter: Starter, names: Sequence[str]) -> None:
    stack = cdk.Stack.of(starter)
    begin = f"arn:{stack.partition}:cloudformation:{stack.region}:{stack.account}:stack/"
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-eventbridge-events.html
    starter.add_rule(
        "InnerLoopDeployed",
        description="Trains anew when an inner loop was deployed with other code",
        pattern={
            "source": ["aws.cloudformation"],
            "detail-type": ["CloudFormation Stack Status Change"],
            "detail": {
                "stack-id": [{"prefix": f"{begin}{name}/"} for name in names],
                "status-details": {"status": ["UPDATE_COMPLETE"]},
            },
        },
        paths={"stack": "$.detail.stack-id"},
        template='{"kind": "code", "stack": <stack>}',
    )


def _with_inner_loop(loops: Sequence[Loop]) -> list[Loop]:
    return [loop for loop in loops if loop.stack]


def _pk(loop: Loop) -> str:
    return f"PROJECT#{loop.project}"


def _literal(value: object) -> str:
    """`value` as JSONata, in which JSON is itself; tokens of the CDK inside it are replaced with the rest."""
    return json.dumps(value)


def _statements(
    stack: cdk.Stack, *, loops: Sequence[Loop], ledger: dynamodb.ITable, key: kms.IKey
) -> tuple[Statement, ...]:
    alarms: Mapping[str, str] = {
        loop.alarm: stack.format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name=loop.alarm,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        for loop in loops
    }
    return (
        *(start_statement(loop.machine_arn) for loop in loops),
        Statement(
            actions=("cloudwatch:DescribeAlarms",),
            resources=tuple(alarms.values()),
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html",
        ),
        *(_code_statements(deployed, ledger) if (deployed := _with_inner_loop(loops)) else ()),
        key_statement(key.key_arn),
    )


def _code_statements(deployed: Sequence[Loop], ledger: dynamodb.ITable) -> tuple[Statement, ...]:
    return (
        Statement(
            actions=("sagemaker:ListTags",),
            resources=tuple(loop.pipeline_arn for loop in deployed),
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html",
        ),
        Statement(
            actions=("dynamodb:GetItem",),
            resources=(ledger.table_arn,),
            conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [_pk(loop) for loop in deployed]}},
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html",
        ),
    )
