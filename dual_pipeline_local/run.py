"""The local run: deploy an environment into a local AWS, give it data, and follow both loops to an answering endpoint.

`python -m dual_pipeline_local.run` is what `make local` calls; `dual-pipeline local` uses the same pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dual_pipeline.errors import DualPipelineError

from . import lifecycle
from .approver import Approver
from .assembly import Assembly, read_assembly
from .deployment import Deployment, Toolbox, check_templates, read_deployment
from .diagnosis import diagnose
from .findings import gather
from .lifecycle import Emulator, EmulatorTrouble, MemoryMeter, Workplace
from .narrator import Narrator
from .observer import Observer, RunView
from .report import Report
from .safety import LocalAws, isolate
from .settings import DEFAULT_ACCOUNT

DEFAULT_PROJECT = "census"
# Glue's own engine runs in Glue alone.
_ENGINES = ("deequ", "duckdb")
_START_OF_RUN_S = 60.0


class BadData(DualPipelineError):
    """The data file given cannot be uploaded."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a local run is asked to do, below the folder `root` of a checkout.

    With `force` nothing is uploaded: a person insists on a run of the data that is there.
    """

    root: Path
    environment: str = "dev"
    project: str = DEFAULT_PROJECT
    data: Path = Path("data/census.csv")
    port: int | None = None
    workplace: Workplace
    assembly: Path | None = None
    force: bool = False

    def check(self) -> None:
        """Refuse what cannot work before anything is started.

        Raises BadData or EmulatorTrouble.
        """
        if not (self.root / "cdk.json").is_file():
            raise EmulatorTrouble(
                f"no cdk.json in {self.root}: run it in the project's folder, or make -C FOLDER local"
            )
        check_data(self.data)
        if (engine := os.environ.get("QUALITY_ENGINE", "")) not in ("", *_ENGINES):
            raise EmulatorTrouble(f"QUALITY_ENGINE must be one of {', '.join(_ENGINES)}, got {engine!r}")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """An environment in a running emulator."""

    emulator: Emulator
    aws: LocalAws
    templates: Mapping[str, str]
    template_sha256: str

    def save(self, workplace: Workplace) -> None:
        """Write down what was deployed, for later commands."""
        deployed = {"templates": self.templates, "template_sha256": self.template_sha256}
        _deployed_file(workplace).write_text(json.dumps(deployed, indent=1) + "\n")

    @classmethod
    def load(cls, workplace: Workplace, emulator: Emulator) -> Deployed:
        """What `save` wrote down about a running emulator."""
        return cls(
            emulator=emulator, aws=LocalAws(emulator.settings), **json.loads(_deployed_file(workplace).read_text())
        )


def _deployed_file(workplace: Workplace) -> Path:
    return workplace.emulator / "deployed.json"


def check_data(path: Path) -> None:
    """Refuse a file that cannot be uploaded; what is wrong inside it the loop finds.

    Raises BadData.
    """
    try:
        with path.open("rb") as stream:
            first = stream.read(1)
    except OSError as error:
        raise BadData(f"cannot read the data file {path.absolute()}: {error.strerror}") from error
    if not first:
        raise BadData(f"the data file {path.absolute()} is empty")


def bring_up(request: Request, narrator: Narrator, *, background: bool) -> Deployed:
    """Synthesize, start the emulator, bootstrap and deploy; on any trouble nothing is left running."""
    lifecycle.check_free(request.workplace, request.port)
    toolbox = Toolbox(root=request.root, workplace=request.workplace)
    request.workplace.log("cdk").unlink(missing_ok=True)
    assembly = request.assembly or request.root / "cdk.out"
    if request.assembly is None:
        with narrator.phase("cdk synth"):
            toolbox.synth(assembly)
    stacks = read_assembly(assembly, environment=request.environment)
    with narrator.phase("start the local AWS"):
        emulator = lifecycle.start(
            request.workplace,
            environment=request.environment,
            account=stacks.account or DEFAULT_ACCOUNT,
            region=stacks.region,
            port=request.port,
            background=background,
        )
    try:
        aws = LocalAws(emulator.settings)
        narrator.say(f"local AWS at {emulator.settings.endpoint_url}, account {emulator.settings.account}")
        with narrator.phase("cdk bootstrap"):
            toolbox.bootstrap(aws, stacks)
        with narrator.phase(f"cdk deploy {stacks.stage}/*"):
            toolbox.deploy(aws, stacks)
        templates = _verify(aws, stacks, narrator)
        deployed = Deployed(emulator=emulator, aws=aws, templates=templates, template_sha256=stacks.sha256)
        deployed.save(request.workplace)
    except BaseException:
        lifecycle.stop(request.workplace, emulator)
        raise
    return deployed


def deploy_again(request: Request, emulator: Emulator, narrator: Narrator) -> Deployed:
    """Synthesize and deploy into an emulator that runs; what it holds stays."""
    toolbox = Toolbox(root=request.root, workplace=request.workplace)
    assembly = request.assembly or request.root / "cdk.out"
    if request.assembly is None:
        with narrator.phase("cdk synth"):
            toolbox.synth(assembly)
    stacks = read_assembly(assembly, environment=request.environment)
    aws = LocalAws(emulator.settings)
    with narrator.phase(f"cdk deploy {stacks.stage}/*"):
        toolbox.deploy(aws, stacks)
    deployed = Deployed(
        emulator=emulator, aws=aws, templates=_verify(aws, stacks, narrator), template_sha256=stacks.sha256
    )
    deployed.save(request.workplace)
    return deployed


def _verify(aws: LocalAws, stacks: Assembly, narrator: Narrator) -> dict[str, str]:
    templates = check_templates(aws, stacks)
    for name, digest in templates.items():
        narrator.say(f"{name:<24} template sha256 {digest[:16]}...  deployed = {stacks.folder.name}")
    narrator.say(f"template sha256 of all, in order of file names: {stacks.sha256}")
    return templates


def release(request: Request, deployed: Deployed, narrator: Narrator, meter: MemoryMeter) -> Report:
    """Upload the data or insist, follow the run to its end, approve its model, ask the endpoint for a prediction."""
    deployment = read_deployment(deployed.aws, environment=request.environment, project=request.project)
    observer = Observer(deployed.aws, deployment)
    meter.include(deployed.emulator.process)
    if request.force:
        execution = _insist(deployed.aws, deployment)
    else:
        execution = _upload(request.data, deployed.aws, deployment, observer, narrator)
    view = _follow(execution, deployed.aws, observer, narrator)
    if notes := observer.notes(view):
        notes.write(request.workplace)
    report = Report(
        environment=request.environment,
        project=request.project,
        view=view,
        templates=deployed.templates,
        template_sha256=deployed.template_sha256,
        duration_s=narrator.elapsed_s,
        peak_memory_mb=meter.peak_mb,
        endpoint_name=deployment.outputs.get("EndpointName", ""),
        failure=None if view.outcome == "released" else diagnose(view, logs=deployed.emulator.settings.logs),
        findings=gather(view, deployed.aws, deployment, folder=request.workplace.folder),
    )
    report.write(request.workplace.folder)
    return report


def _upload(data: Path, aws: LocalAws, deployment: Deployment, observer: Observer, narrator: Narrator) -> str:
    s3 = aws.client("s3")
    bucket, prefix = deployment.raw_data
    key = prefix + data.name
    with narrator.phase(f"upload {data.name} to s3://{bucket}/{key}"):
        s3.upload_file(str(data), bucket, key)
        version = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
        deadline = time.monotonic() + _START_OF_RUN_S
        while time.monotonic() < deadline:
            for execution in observer.executions()[:10]:
                if (observer.trigger(execution).get("source") or {}).get("version_id") == version:
                    return execution
            time.sleep(0.2)
    raise EmulatorTrouble(f"the upload started no run within {_START_OF_RUN_S:.0f} s: is the rule on new data enabled?")


def _insist(aws: LocalAws, deployment: Deployment) -> str:
    given = {"reason": "person", "detail": "a local run that is forced", "force": True, "source": None}
    started = aws.client("stepfunctions").start_execution(
        stateMachineArn=deployment["StateMachineArn"], input=json.dumps(given)
    )
    arn: str = started["executionArn"]
    return arn


def _follow(execution: str, aws: LocalAws, observer: Observer, narrator: Narrator) -> RunView:
    approver = Approver(aws)
    with narrator.run(f"run {execution.rsplit(':', 1)[1]}") as teller:
        for view in observer.watch(execution):
            teller.show(view)
            waits = view.package_arn if observer.awaits_approval(view) else None
            if waits and approver.approve(waits):
                narrator.say(("approver  ", "dim"), f"approved {view.package_arn}")
    return view


def guarded(action: Callable[[], int], *, die_with_parent: bool = False) -> int:
    """Call `action` apart from real AWS; mistakes become one sentence, a signal an orderly end.

    Exit codes: the action's own, 2 for a mistake of the user's or the surroundings, 130 after Ctrl-C, 143 when ended.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if die_with_parent:
        threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    removed = [name for name in isolate() if name != "AWS_EC2_METADATA_DISABLED"]
    if removed:
        console.print(f"a local run never uses your AWS settings: ignored {', '.join(removed)}", markup=False)
    try:
        return action()
    except DualPipelineError as error:
        console.print(f"error: {error}", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("stopped")
        return 130


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


def run(request: Request, narrator: Narrator) -> int:
    """Everything from nothing to a released model and back to nothing: 0 when released, else 1."""
    request.check()
    with request.workplace.held(), MemoryMeter() as meter:
        narrator.say("only 127.0.0.1 is talked to; no AWS account, profile or credential is used")
        deployed = bring_up(request, narrator, background=False)
        try:
            report = release(request, deployed, narrator, meter)
        finally:
            lifecycle.stop(request.workplace, deployed.emulator)
        report.show(narrator.console, request.workplace.folder)
        narrator.console.print("keep one running: .venv/bin/dual-pipeline local up", markup=False)
    return 0 if report.released else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m dual_pipeline_local.run", description=__doc__)
    parser.add_argument("--environment", default="dev", help="name of an environment of environments.py")
    parser.add_argument("--project", default=DEFAULT_PROJECT, help="the model project to give data to")
    parser.add_argument("--data", type=Path, default=Path("data/census.csv"), help="CSV file to upload")
    parser.add_argument("--port", type=int, help="port of the local AWS; any free one by default")
    parser.add_argument("--work", type=Path, default=Path("build/local"), help="folder for logs and reports")
    parser.add_argument(
        "--app", dest="assembly", type=Path, help="deploy this cloud assembly instead of synthesizing one"
    )
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the starting process is gone")
    options = parser.parse_args(arguments)
    request = Request(
        root=Path.cwd(),
        environment=options.environment,
        project=options.project,
        data=options.data,
        port=options.port,
        workplace=Workplace(folder=options.work.absolute()),
        assembly=options.assembly,
    )
    with suppress(BrokenPipeError):
        return guarded(lambda: run(request, Narrator()), die_with_parent=options.die_with_parent)
    return 1


if __name__ == "__main__":
    sys.exit(main())
