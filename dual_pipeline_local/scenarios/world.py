"""The world around a deployed environment: what acts change in it, and what they look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..approver import Approver
from ..assembly import read_assembly
from ..deployment import Toolbox, check_templates, read_deployment
from ..lifecycle import MemoryMeter
from ..loop_driver import Answer, LoopDriver
from ..narrator import Narrator
from ..report import Report
from ..run import Deployed, Request, report_on
from .data_variant import DataVariant, Rows, read_rows, without
from .mailbox import Mailbox
from .project_copy import CodeChange, copy_with

# Columns of the file that a client does not know: the number of the row, and what it asks for.
_NOT_SENT = ("", "loan")


class World:
    """One deployed project with the people, the data and the code around it.

    `reports` are those of the runs so far, `champion` is that of the model that was released last.
    """

    def __init__(self, request: Request, deployed: Deployed, *, narrator: Narrator, meter: MemoryMeter) -> None:
        self.request = request
        self.deployed = deployed
        self.narrator = narrator
        self.aws = deployed.aws
        self.deployment = read_deployment(self.aws, environment=request.environment, project=request.project)
        self.driver = LoopDriver(self.aws, self.deployment, narrator=narrator)
        self.people = Approver(self.aws)
        self.mailbox = Mailbox(self.aws, self.deployment["NotificationTopicArn"])
        self.reports: list[Report] = []
        self.champion: Report | None = None
        self._meter = meter
        meter.include(deployed.emulator.process)

    @property
    def folder(self) -> Path:
        """Where the scenario keeps its files."""
        return self.request.workplace.folder / "scenario"

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return self.deployment["EndpointName"]

    def follow(self, execution: str, *, answer: Answer | None = None) -> Report:
        """Tell a run to its end and write down what there is to say; without an answer its model is approved."""
        view = self.driver.follow(execution, answer=answer or self.people.approve)
        report = report_on(
            view, self.request, self.deployed, self.deployment, narrator=self.narrator, meter=self._meter
        )
        self.reports.append(report)
        if report.released:
            self.champion = report
        self.tell_mail()
        return report

    def tell_mail(self) -> None:
        """Say what people have been told since the last time."""
        for mail in self.mailbox.fetch():
            self.narrator.say(("mail      ", "dim"), mail.subject)

    def pass_time(self, duration: timedelta) -> None:
        """Let time pass for the state machines and the schedules."""
        self.deployed.emulator.pass_time(duration)

    def ship(self, change: CodeChange) -> str:
        """Deploy the checkout with a change in the project's code, and wait for the run that this starts; its ARN."""
        request, narrator = self.request, self.narrator
        root = copy_with(change, root=request.root, project=request.project, folder=self.folder / "checkout")
        toolbox = Toolbox(root=root, workplace=request.workplace, changed=True)
        with narrator.phase("cdk synth of the changed checkout"):
            toolbox.synth(root / "cdk.out", environment=request.environment)
        stacks = read_assembly(root / "cdk.out", environment=request.environment)
        with narrator.phase(f"cdk deploy {stacks.stage}/*"):
            toolbox.deploy(self.aws, stacks)
        templates = check_templates(self.aws, stacks)
        self.deployed = replace(self.deployed, templates=templates, template_sha256=stacks.sha256)
        narrator.say(f"template sha256 with {change.says}: {stacks.sha256}")
        return self.driver.started(
            lambda trigger: trigger.get("reason") == "code", by="the deployed code", otherwise="is it any other code?"
        )

    def ask_endpoint(self, body: str) -> Any:
        """What the endpoint answers now; raises ClientError when it does not."""
        answer = self.aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.endpoint, ContentType="text/csv", Body=body
        )
        return answer["Body"].read().decode()

    def objects(self, prefix: str) -> list[str]:
        """Keys in the data bucket below a prefix of the project's."""
        pages = (
            self.aws.client("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=self.deployment["DataBucketName"], Prefix=f"{self.request.project}/{prefix}")
        )
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def records(self, variant: DataVariant | None = None) -> Rows:
        """The data given, or a variant of it, as clients send it to the endpoint."""
        data = self.request.data
        header, rows = variant.read(data) if variant else read_rows(data)
        return without(_NOT_SENT, header, rows)
