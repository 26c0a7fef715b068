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
from .loop_driver import LoopDriver
from .narrator import Narrator
from .observer import Observer, RunView
from .report import Report
from .safety import LocalAws, isolate
from .settings import DEFAULT_ACCOUNT

DEFAULT_ENVIRONMENT = "dev"
DEFAULT_PROJECT = "census"
ISOLATED = "only 127.0.0.1 is talked to; no AWS account, profile or credential is used"
# Glue's own engine runs in Glue alone.
_ENGINES = ("deequ", "duckdb")


class BadData(DualPipelineError):
    """The data file given cannot be uploaded."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a local run is asked to do, below the folder `root` of a checkout.

    With `force` nothing is uploaded: a person insists on a run of the data that is there.
    """

    root: Path
    environment: str = DEFAULT_ENVIRONMENT
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
        # after a teardown of one project the shared stacks name its new roles by an unchanged template
        toolbox.deploy(aws, stacks, force=True)
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
    driver = LoopDriver(deployed.aws, deployment, narrator=narrator)
    meter.include(deployed.emulator.process)
    execution = driver.insist() if request.force else driver.upload(request.data)
    view = driver.follow(execution, answer=Approver(deployed.aws).approve)
    return report_on(view, request, deployed, deployment, narrator=narrator, meter=meter)


def report_on(
    view: RunView,
    request: Request,
    deployed: Deployed,
    deployment: Deployment,
    *,
    narrator: Narrator,
    meter: MemoryMeter,
) -> Report:
    """Write down everything about a run that has ended."""
    if notes := Observer(deployed.aws, deployment).notes(view):
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
        narrator.say(ISOLATED)
        deployed = bring_up(request, narrator, background=False)
        try:
            report = release(request, deployed, narrator, meter)
        finally:
            lifecycle.stop(request.workplace, deployed.emulator)
        report.show(narrator.console, request.workplace.folder)
        narrator.console.print("keep one running: .venv/bin/dual-pipeline local up", markup=False)
    return 0 if report.released else 1


def options_parser(program: str) -> argparse.ArgumentParser:
    """What every command takes that goes from nothing to a run and back to nothing."""
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--environment", help="name of an environment of environments.py")
    parser.add_argument("--project", default=DEFAULT_PROJECT, help="the model project to give data to")
    parser.add_argument("--data", type=Path, default=Path("data/census.csv"), help="CSV file to upload")
    parser.add_argument("--port", type=int, help="port of the local AWS; any free one by default")
    parser.add_argument("--work", type=Path, default=Path("build/local"), help="folder for logs and reports")
    parser.add_argument(
        "--app", dest="assembly", type=Path, help="deploy this cloud assembly instead of synthesizing one"
    )
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the starting process is gone")
    return parser


def request_of(options: argparse.Namespace, *, environment: str = DEFAULT_ENVIRONMENT) -> Request:
    """What the options ask for, in the current folder; `environment` is the one they do not name."""
    return Request(
        root=Path.cwd(),
        environment=options.environment or environment,
        project=options.project,
        data=options.data,
        port=options.port,
        workplace=Workplace(folder=options.work.absolute()),
        assembly=options.assembly,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    options = options_parser("python -m dual_pipeline_local.run").parse_args(arguments)
    with suppress(BrokenPipeError):
        return guarded(lambda: run(request_of(options), Narrator()), die_with_parent=options.die_with_parent)
    return 1


if __name__ == "__main__":
    sys.exit(main())
