"""`dual-pipeline step`: one step of a run again, on the run's own inputs, as a plain process of the working tree.

For a notebook or a debugger:

    from dual_pipeline_cli.step import step_command
    command = step_command("evaluate", from_run="last")
    command.run()                                   # as a process
    command.call("--min-auc=0.95")                  # in this one: breakpoints work
"""

from __future__ import annotations

import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dual_pipeline_local import staging
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.sagemaker.jobs.container import HOST

from .artifact_comparison import FileComparison, compare_folders
from .bare_job import BareJob, Place, bare_job
from .environment import LOCAL_FOLDER, EnvironmentTrouble, LocalOption, ProjectOption, answer, connect
from .executions import LAST
from .metric_comparison import REPORT, compare_reports, metrics_table
from .past_job import ROOT, PastJob, job_in_environment, job_on_disk, remembered_run

STEPS_FOLDER = Path("build/steps")
_ARCHIVE = "model.tar.gz"
# Threads that spin while they wait make training many times slower where other processes want the cores, too.
_SURROUNDINGS = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True, kw_only=True)
class StepCommand:
    """A step as a process: `python -m module arguments` in the folder `root`, with `environment` added to the shell's.

    `output` is where it writes, `expected` what the run's own step wrote, both with a folder per output.
    """

    job: PastJob
    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    root: Path
    folder: Path
    output: Path
    expected: Path | None

    @property
    def argv(self) -> list[str]:
        """The command."""
        return [sys.executable, "-m", self.module, *self.arguments]

    def shell(self) -> str:
        """The command with its environment as one line for a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return f"cd {shlex.quote(str(self.root))} && env {' '.join([*variables, shlex.join(self.argv)])}"

    def launch_configuration(self) -> dict[str, Any]:
        """The command as an entry of VS Code's launch.json."""
        return {
            "name": f"{self.job.step} of run {self.job.run}",
            "type": "debugpy",
            "request": "launch",
            "module": self.module,
            "args": list(self.arguments),
            "env": dict(self.environment),
            "cwd": str(self.root),
        }

    def run(self, *arguments: str) -> int:
        """Run the step as a process, with further arguments if given, and return its exit code."""
        self.empty_output()
        command = [*self.argv, *arguments]
        return subprocess.run(command, cwd=self.root, env={**os.environ, **self.environment}, check=False).returncode

    def call(self, *arguments: str) -> None:
        """Run the step in this process, so that a debugger or a notebook sees into it."""
        self.empty_output()
        with _surroundings(self, arguments):
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)

    def empty_output(self) -> None:
        """Make the folders that the step writes to, empty."""
        shutil.rmtree(self.output, ignore_errors=True)
        for name in bare_job(self.job).outputs:
            (self.output / name).mkdir(parents=True)


def step_command(
    step: str,
    *,
    from_run: str = LAST,
    environment: str | None = None,
    project: str | None = None,
    local: bool = False,
    root: Path | None = None,
    keep: bool = False,
) -> StepCommand:
    """A step of a run as a process of the working tree `root`, with its inputs on this disk.

    `from_run` is a run id of the outer loop, the id or ARN of a pipeline execution, or `last`. Without `environment`
    and `local` a run that a local run left on disk is taken if there is one of that name. Inputs are fetched once into
    `build/steps/<execution>/<step>/`; `keep` gives the outputs a folder of their own.

    Raises EnvironmentTrouble when there is no such run or step, or when the step is no job that can run here.
    """
    root = (root or Path.cwd()).absolute()
    job = _find(step, from_run=from_run, environment=environment, project=project, local=local, root=root)
    module = f"pipeline_code.{job.project.replace('-', '_')}.{job.step.lower()}"
    code = root / Path(*module.split("."))
    if not (code / "__main__.py").is_file():
        raise EnvironmentTrouble(f"step {job.step} of {job.project} has no code of its own: there is no {code}")
    process = bare_job(job)
    folder = root / STEPS_FOLDER / job.run / job.step.lower()
    place = Place(ml=folder / "ml", output=_output(folder, keep=keep), outputs=process.outputs)
    _fetch_inputs(job, process, folder)
    environment_of_job = {name: place.rewrite(value) for name, value in process.environment.items()}
    return StepCommand(
        job=job,
        module=module,
        arguments=tuple(map(place.rewrite, process.arguments)),
        environment=_SURROUNDINGS | (_spark(folder / "spark") if process.spark else {}) | environment_of_job,
        root=root,
        folder=folder,
        output=place.output,
        expected=_fetch_expected(job, process, folder),
    )


def run_again(
    step: Annotated[str, typer.Argument(help="Step: preprocess, train, evaluate ...", show_default=False)],
    extra: Annotated[
        list[str] | None, typer.Argument(help="Further arguments for the step, after --.", show_default=False)
    ] = None,
    from_run: Annotated[
        str,
        typer.Option("--from-run", "-r", help="Run id, id or ARN of a pipeline execution, or last."),
    ] = LAST,
    environment: Annotated[
        str | None,
        typer.Option("--env", "-e", help="Environment the run belongs to; by default a local run on disk, else dev."),
    ] = None,
    project: ProjectOption = None,
    local: LocalOption = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the outputs of earlier tries.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="First print the command for a shell and for a debugger.")
    ] = False,
    only_print: Annotated[bool, typer.Option("--print", help="Only print these, run nothing.")] = False,
) -> None:
    """Run one step of a run again, on the run's own inputs, as a plain process with the code of the working tree.

    Inputs are fetched once into build/steps/ and reused; the outputs are compared with the run's own.

    The exit code is the step's.
    """
    console = Console(highlight=False, soft_wrap=True)

    def action() -> int:
        command = step_command(
            step, from_run=from_run, environment=environment, project=project, local=local, keep=keep
        )
        command = replace(command, arguments=(*command.arguments, *(extra or ())))
        _note(f"{command.job.step} of {command.job.origin}")
        if debug or only_print:
            console.print(command.shell(), markup=False)
            console.print_json(data=command.launch_configuration())
        if only_print:
            command.empty_output()
            return 0
        return _run_and_compare(command, console)

    raise typer.Exit(answer(action))


def _run_and_compare(command: StepCommand, console: Console) -> int:
    began = time.monotonic()
    code = command.run()
    told = "succeeded" if code == 0 else f"failed with exit code {code}"
    console.print(f"{command.job.step} {told} in {time.monotonic() - began:.1f} s: outputs in {command.output}")
    if code != 0:
        return code
    if command.expected is None:
        console.print("the run's own step left no outputs to compare with", style="yellow")
        return code
    console.print(_files_table(compare_folders(command.expected, command.output)))
    for report in sorted(command.output.rglob(REPORT)):
        then = command.expected / report.relative_to(command.output)
        if differences := compare_reports(then, report):
            console.print(metrics_table(differences))
    return code


def _files_table(files: Sequence[FileComparison]) -> Table:
    table = Table(
        Column("file", overflow="fold"),
        "is",
        Column("bytes then", justify="right"),
        Column("bytes now", justify="right"),
        title="Outputs, compared with the run's own",
        title_justify="left",
    )
    noted = any(file.note for file in files)
    if noted:
        table.add_column("first difference", overflow="fold")
    for file in files:
        sizes = ("-" if size is None else f"{size:,}" for size in (file.size_then, file.size_now))
        table.add_row(Text(file.name), file.shown, *sizes, *([Text(file.note)] if noted else []))
    return table


def _note(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="dim", markup=False)


def _find(
    step: str, *, from_run: str, environment: str | None, project: str | None, local: bool, root: Path
) -> PastJob:
    if environment is None and not local:
        workplace = Workplace(folder=root / LOCAL_FOLDER)
        if notes := remembered_run(workplace, from_run, project=project):
            return job_on_disk(workplace, notes, step)
        _note(f"no local run {from_run!r} is on disk: looking for it in environment dev of your AWS account")
    return job_in_environment(connect(environment or "dev", project, local), from_run, step)


def _spark(folder: Path) -> dict[str, str]:
    """What Spark's image brings along: Java, and a file system without whose scheme a path is not local."""
    # Java comes with the tools of a checkout, not with the command
    from dual_pipeline_local import spark

    folder.mkdir(parents=True, exist_ok=True)
    return spark.environment(folder, scratch=folder, options={"spark.hadoop.fs.defaultFS": f"hdfs://{HOST}"})


def _output(folder: Path, *, keep: bool) -> Path:
    """The folder for outputs: the same each time, or the next free one."""
    plain, number = folder / "output", 2
    if not keep or not plain.exists():
        return plain
    while (numbered := folder / f"output-{number}").exists():
        number += 1
    return numbered


def _fetch_inputs(job: PastJob, process: BareJob, folder: Path) -> None:
    """The inputs and configuration of the job, once; a fetch that breaks off leaves nothing that looks complete."""
    if (folder / "ml").exists():
        return
    with _complete(folder / "ml") as ml:
        (ml / "config").mkdir(parents=True)
        (ml / "config" / "resourceconfig.json").write_text(json.dumps({"current_host": HOST, "hosts": [HOST]}))
        for channel in process.inputs:
            target = ml / channel.location.removeprefix(f"{ROOT}/")
            target.mkdir(parents=True)
            try:
                job.fetch(channel.uri, channel.location, target)
            except staging.NothingStaged as error:
                raise EnvironmentTrouble(
                    f"an input of {job.step} of run {job.run} is gone: nothing lies under {channel.uri}"
                ) from error


def _fetch_expected(job: PastJob, process: BareJob, folder: Path) -> Path | None:
    """What the run's own step wrote, once; None when it wrote nothing or nothing is left of it."""
    target = folder / "expected"
    if target.exists():
        return target
    with _complete(target) as expected:
        for name, channel in process.outputs.items():
            if not channel.uri:
                continue
            try:
                (expected / name).mkdir(parents=True)
                job.fetch(channel.uri, channel.location, expected / name)
            except staging.NothingStaged:
                return None
            if job.kind == "TrainingJob":
                _unpack(expected / name)
    return target


def _unpack(folder: Path) -> None:
    """Put the files of a fetched model.tar.gz in its place."""
    archive = folder / _ARCHIVE
    if archive.is_file():
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()


@contextmanager
def _complete(folder: Path) -> Iterator[Path]:
    """A folder that gets its name only when the block ends well and it holds something."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    if any(part.iterdir()):
        part.rename(folder)


@contextmanager
def _surroundings(command: StepCommand, arguments: Sequence[str]) -> Iterator[None]:
    """argv, imports, folder and environment of this process as the step's own would have them."""
    before = sys.argv, sys.path[:], Path.cwd(), dict(os.environ)
    package = command.module.partition(".")[0]
    # imported anew, so that edits between two calls take effect
    modules = _forget(package)
    sys.argv = [command.module, *command.arguments, *arguments]
    sys.path.insert(0, str(command.root))
    os.chdir(command.root)
    os.environ.update(command.environment)
    try:
        yield
    finally:
        sys.argv, sys.path[:], folder, variables = before
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        _forget(package)
        sys.modules.update(modules)


def _forget(package: str) -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == package}
