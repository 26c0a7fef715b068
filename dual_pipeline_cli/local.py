"""`dual-pipeline local`: an environment in a local AWS that stays up until it is taken down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dual_pipeline_local import lifecycle
from dual_pipeline_local.lifecycle import Emulator, EmulatorTrouble, MemoryMeter, Workplace
from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.run import (
    DEFAULT_PROJECT,
    Deployed,
    Request,
    bring_up,
    check_data,
    deploy_again,
    guarded,
    release,
)

app = typer.Typer(help="Run an environment on this machine, with no AWS account.", no_args_is_help=True)

Environment = Annotated[
    str, typer.Option("--env", "--environment", "-e", help="Name of an environment of environments.py.")
]
Project = Annotated[str, typer.Option("--project", "-p", help="Model project to give the data to.")]
Data = Annotated[Path, typer.Option("--data", "-d", help="CSV file to upload.")]
Port = Annotated[int | None, typer.Option("--port", help="Port of the local AWS; any free one by default.")]
App = Annotated[Path | None, typer.Option("--app", help="Deploy this cloud assembly instead of synthesizing one.")]
Work = Annotated[Path, typer.Option("--work", help="Folder for state, logs and reports.")]

_CENSUS = Path("data/census.csv")
_WORK = Path("build/local")
Force = Annotated[
    bool, typer.Option("--force", help="Upload nothing: train once more on the data that is there, and release.")
]


@app.command()
def up(environment: Environment = "dev", port: Port = None, assembly: App = None, work: Work = _WORK) -> None:
    """Start a local AWS in the background, deploy an environment into it, and print how to reach it."""
    workplace = Workplace(folder=work.absolute())
    request = Request(root=Path.cwd(), environment=environment, port=port, assembly=assembly, workplace=workplace)
    narrator = Narrator()

    def action() -> int:
        request.check()
        with workplace.held():
            deployed = bring_up(request, narrator, background=True)
        _explain(narrator.console, deployed.emulator)
        return 0

    raise typer.Exit(guarded(action))


@app.command()
def deploy(assembly: App = None, work: Work = _WORK) -> None:
    """Deploy the environment again into the running local AWS: after an edit, or after a teardown."""
    workplace = Workplace(folder=work.absolute())
    narrator = Narrator()

    def action() -> int:
        with workplace.held():
            emulator = _running(workplace)
            environment = emulator.environment
            request = Request(root=Path.cwd(), environment=environment, assembly=assembly, workplace=workplace)
            request.check()
            deploy_again(request, emulator, narrator)
        _explain(narrator.console, emulator)
        return 0

    raise typer.Exit(guarded(action))


@app.command()
def run(project: Project = DEFAULT_PROJECT, data: Data = _CENSUS, force: Force = False, work: Work = _WORK) -> None:
    """Upload data to the running local AWS and follow the run it starts; the exit code is 0 if a model was released.

    The same data again ends as suppressed: nothing to do.
    """
    workplace = Workplace(folder=work.absolute())
    narrator = Narrator()

    def action() -> int:
        check_data(data)
        with workplace.held(), MemoryMeter() as meter:
            emulator = _running(workplace)
            request = Request(
                root=Path.cwd(),
                environment=emulator.environment,
                project=project,
                data=data,
                workplace=workplace,
                force=force,
            )
            deployed = Deployed.load(workplace, emulator)
            report = release(request, deployed, narrator, meter)
        report.show(narrator.console, workplace.folder)
        return 0 if report.released else 1

    raise typer.Exit(guarded(action))


@app.command()
def down(work: Work = _WORK) -> None:
    """Stop the local AWS and everything it runs; data and models in it are gone, logs and reports stay."""
    workplace = Workplace(folder=work.absolute())
    console = Console(highlight=False)

    def action() -> int:
        emulator = lifecycle.find(workplace)
        if emulator is None:
            console.print("no local AWS is running")
            return 0
        lifecycle.stop(workplace, emulator)
        console.print(f"stopped the local AWS at {emulator.settings.endpoint_url}")
        return 0

    raise typer.Exit(guarded(action))


@app.command()
def status(work: Work = _WORK) -> None:
    """Say whether a local AWS is running and how to reach it; the exit code is 1 if there is none."""
    workplace = Workplace(folder=work.absolute())
    console = Console(highlight=False, soft_wrap=True)

    def action() -> int:
        emulator = lifecycle.find(workplace)
        if emulator is None:
            console.print("no local AWS is running: start one with dual-pipeline local up")
            return 1
        _explain(console, emulator)
        return 0

    raise typer.Exit(guarded(action))


def _running(workplace: Workplace) -> Emulator:
    emulator = lifecycle.find(workplace)
    if emulator is None:
        raise EmulatorTrouble("no local AWS is running: start one with dual-pipeline local up")
    return emulator


def _explain(console: Console, emulator: Emulator) -> None:
    settings = emulator.settings
    exports = " ".join(f"{name}={value}" for name, value in settings.client_environment().items())
    prefix = f"{emulator.environment}-{DEFAULT_PROJECT}"
    arn = f"arn:aws:states:{settings.region}:{settings.account}:stateMachine:{prefix}-outer-loop"
    aws = f".venv/bin/aws --endpoint-url {settings.endpoint_url}"
    console.print(f"local AWS with environment {emulator.environment} at {settings.endpoint_url}, in a shell:")
    for line in (
        f"export {exports}",
        f"{aws} cloudformation describe-stacks --query 'Stacks[].[StackName,StackStatus]' --output text",
        f"{aws} stepfunctions list-executions --state-machine-arn {arn}",
        f"{aws} sagemaker list-pipeline-executions --pipeline-name {prefix}",
        ".venv/bin/dual-pipeline local run            # upload data/census.csv and follow the run that it starts",
        ".venv/bin/dual-pipeline local run --force    # another release of it: the endpoint's update path",
        ".venv/bin/dual-pipeline local down    # stop everything",
    ):
        console.print(f"  {line}", markup=False)
