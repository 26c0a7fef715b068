"""A project's own workflow as a resource: the document checked, its placeholders filled, its role and its alarms."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from dual_pipeline.errors import ConfigError
from dual_pipeline.machine import Machine
from dual_pipeline.machine_alarms import MachineAlarms
from dual_pipeline.workflow import Workflow
from dual_pipeline.workflow_check import checked, filled
from dual_pipeline.workflow_permissions import statements_of


class OwnWorkflow(Construct):
    """The state machine of `workflow`, whose file lies below `root`, named as `values["NamePrefix"]` says.

    `values` fill the document's placeholders. Raises ConfigError with every reason not to deploy the document.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workflow: Workflow,
        root: Path,
        values: Mapping[str, str],
        key: kms.IKey,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id_)
        path = root / workflow.file
        if not path.is_file():
            raise ConfigError(
                f"Workflow.file must be a file below {root}, got {workflow.file!r}, which is none: add it"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"Workflow.file {workflow.file!r} must be text in UTF-8, got another byte at {error.start}: save it so"
            ) from None
        document = checked(text, workflow=workflow)
        self.machine = Machine(
            self,
            "Machine",
            name=values["NamePrefix"],
            definition=filled(document, values),
            statements=[
                replace(each, resources=tuple(filled(list(each.resources), values)))
                for each in statements_of(document, workflow=workflow)
            ],
            key=key,
        )
        self.alarms = MachineAlarms(
            self,
            "Alarms",
            name=values["NamePrefix"],
            machine_arn=self.machine.arn,
            advice=f"an execution of the workflow {workflow.name} broke off: see its last state and why",
            runbook="Own workflow failed",
            topic=topic,
        ).alarms
        cdk.CfnOutput(self, "Arn", value=self.machine.arn)
