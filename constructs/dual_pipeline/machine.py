"""State machines with explicit roles, and the rules that start them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from dual_pipeline.asl import Statement
from dual_pipeline.service_role import ServiceRole


def policy_statement(statement: Statement) -> iam.PolicyStatement:
    """`statement` as the CDK takes it."""
    return iam.PolicyStatement(
        actions=list(statement.actions),
        resources=list(statement.resources),
        conditions={operator: dict(keys) for operator, keys in statement.conditions.items()},
    )


class Machine(Construct):
    """A state machine named `name` whose role holds `statements` and what its own logging takes.

    An Express machine logs to the vended group, for it keeps no history; a Standard one logs its errors.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        definition: Mapping[str, object],
        statements: Sequence[Statement],
        key: kms.IKey,
        express: bool = False,
    ) -> None:
        super().__init__(scope, id_)
        self.name = name
        stack = cdk.Stack.of(self)
        # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "states.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": machine_arn(stack, name)},
                },
            ),
        )
        for statement in statements:
            self.role.add_to_policy(policy_statement(statement))
        # The group has a name that must be free on the next deployment, so it goes with the stack.
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/vendedlogs/states/{name}",
            encryption_key=key,
            retention=logs.RetentionDays.SIX_MONTHS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.EXPRESS if express else sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(
                stack.to_json_string(in_partition(definition, partition=stack.partition))
            ),
            role=self.role,
            logs=sfn.LogOptions(
                destination=log_group,
                level=sfn.LogLevel.ALL if express else sfn.LogLevel.ERROR,
                include_execution_data=False,
            ),
        )

    @property
    def arn(self) -> str:
        """The machine's ARN."""
        return self.machine.state_machine_arn


def in_partition(definition: Mapping[str, object], *, partition: str) -> Any:
    """The definition with its integrations named as in `partition`, which the states themselves do not know."""
    return json.loads(json.dumps(definition).replace('"arn:aws:states:::', f'"arn:{partition}:states:::'))


def machine_arn(stack: cdk.Stack, name: str) -> str:
    """The ARN of a machine by its name, for whoever must not depend on the machine itself."""
    return stack.format_arn(
        service="states", resource="stateMachine", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )


class DeadLetters(sqs.Queue):
    """Keeps for 14 days what could not be delivered.

    Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """

    def __init__(self, scope: Construct, id_: str) -> None:
        super().__init__(
            scope,
            id_,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )


def scheduler_role(
    scope: Construct, id_: str, *, machine_arn: str, dead_letters: sqs.IQueue, description: str
) -> iam.IRole:
    """What a schedule runs as that starts one machine; it also hands on to the queue what could not be started.

    Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
    """
    return ServiceRole(
        scope,
        id_,
        service="scheduler",
        description=description,
        statements=[
            iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine_arn]),
            iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[dead_letters.queue_arn]),
        ],
    ).role


class Starter(Construct):
    """Lets EventBridge rules start one machine: their role, and the queue for events that could not be delivered."""

    def __init__(
        self, scope: Construct, id_: str, *, machine: Machine, dead_letters: DeadLetters | None = None
    ) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        self._machine = machine
        self.dead_letters = dead_letters or DeadLetters(self, "DeadLetters")
        source = {"StringEquals": {"aws:SourceAccount": stack.account}}
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("events.amazonaws.com", conditions=source))
        self.role.add_to_policy(iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine.arn]))
        self.dead_letters.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.dead_letters.queue_arn],
                conditions=source,
            )
        )

    def add_rule(
        self, id_: str, *, description: str, pattern: Mapping[str, Any], paths: Mapping[str, str], template: str
    ) -> None:
        """Start the machine on events that match `pattern`, with `template` filled from `paths` as its input."""
        events.CfnRule(
            self,
            id_,
            description=description,
            event_pattern=pattern,
            targets=[
                events.CfnRule.TargetProperty(
                    id="Machine",
                    arn=self._machine.arn,
                    role_arn=self.role.role_arn,
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map=dict(paths), input_template=template
                    ),
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.dead_letters.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=6 * 3600, maximum_retry_attempts=24
                    ),
                )
            ],
        )
