"""An environment as the command line sees it: what its stacks say of themselves, and clients to ask more."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from rich.console import Console

from dual_pipeline.errors import DualPipelineError
from dual_pipeline_local import lifecycle, staging
from dual_pipeline_local.deployment import Clients, Deployment, read_deployments
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.safety import LocalAws

LOCAL_FOLDER = Path("build/local")

EnvironmentOption = Annotated[str, typer.Option("--env", "-e", help="Name of a deployed environment.")]
ProjectOption = Annotated[
    str | None, typer.Option("--project", "-p", help="Model project; not needed where there is only one.")
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Use the local AWS that `dual-pipeline local up` started, not your AWS account.")
]

_NO_OBJECT = ("NoSuchKey", "NoSuchBucket", "404")
_STALE_KEYS = {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}


class EnvironmentTrouble(DualPipelineError):
    """An environment cannot be found or read as asked."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentClient:
    """One project of an environment: what its stacks say about themselves, and clients to ask more."""

    environment: str
    project: str
    outputs: Mapping[str, str]
    region: str
    local: bool
    aws: Clients
    where: str

    def __getitem__(self, output: str) -> str:
        """The value of a stack output.

        Raises EnvironmentTrouble when the deployed stacks have none of that name.
        """
        try:
            return self.outputs[output]
        except KeyError:
            raise EnvironmentTrouble(
                f"the stacks of {self.project} in {self.environment} have no output {output}: deploy them again;"
                " a project without an inner loop has no pipeline, model package group or endpoint"
            ) from None

    def client(self, service: str) -> Any:
        """The boto3 client of a service."""
        return self.aws.client(service)

    def read(self, uri: str) -> bytes | None:
        """The bytes of an S3 object; None when there is none."""
        try:
            return staging.read(self.client("s3"), uri)
        except ClientError as error:
            if error.response["Error"].get("Code") in _NO_OBJECT:
                return None
            raise


def connect(
    environment: str, project: str | None = None, local: bool | None = None, *, aws: Clients | None = None
) -> EnvironmentClient:
    """Reach a project of an environment with the AWS credentials of the shell, or, if `local`, in a local AWS.

    Without `project` the environment's only one. Raises EnvironmentTrouble when there is no such environment or
    project, or several projects to choose from.
    """
    found, where, region = (aws, "the given clients", "") if aws else reach(bool(local))
    deployments = read_deployments(found, environment=environment)
    deployment = _choose(deployments, environment=environment, project=project, where=where)
    return EnvironmentClient(
        environment=environment,
        project=deployment.project,
        outputs=deployment.outputs,
        region=region,
        local=bool(local),
        aws=found,
        where=where,
    )


def reach(local: bool) -> tuple[Clients, str, str]:
    """Clients, what they reach in words, and its region: the AWS of the shell's credentials, or if `local` a local one.

    Raises EnvironmentTrouble when no local AWS runs here.
    """
    return _local() if local else _remote()


def answer(action: Callable[[], int]) -> int:
    """Call `action` and return its exit code; mistakes become one sentence on stderr and code 2, Ctrl-C code 130."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return action()
    except DualPipelineError as error:
        console.print(f"error: {error}", markup=False)
    except (ClientError, BotoCoreError) as error:
        console.print(f"error: {explain(error)}", markup=False)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    return 2


def explain(error: ClientError | BotoCoreError) -> str:
    """One sentence on what AWS refused, and what to do about it."""
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return "no AWS credentials: sign in (aws sso login, or set AWS_PROFILE), or use --local for a local AWS"
        case NoRegionError():
            return "no AWS region: set AWS_REGION to the environment's, or use --local for a local AWS"
        case EndpointConnectionError():
            return f"cannot reach AWS at {error.kwargs.get('endpoint_url', 'its endpoint')}: check region and network"
        case ClientError():
            code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
            if code in _STALE_KEYS:
                return f"AWS does not accept these credentials ({code}): sign in again (aws sso login)"
            return f"AWS refused {error.operation_name}: {message or code}"
        case _:
            return str(error).strip()


def _choose(deployments: Mapping[str, Deployment], *, environment: str, project: str | None, where: str) -> Deployment:
    names = ", ".join(sorted(deployments))
    if not deployments:
        raise EnvironmentTrouble(
            f"no environment named {environment!r} in {where}: no stack there has that name in its tags;"
            " name another with --env, or deploy it"
        )
    if project is None and len(deployments) > 1:
        raise EnvironmentTrouble(f"{environment} has several projects: choose one with --project, of {names}")
    if project is None:
        (only,) = deployments.values()
        return only
    if project not in deployments:
        raise EnvironmentTrouble(f"{environment} has no project {project!r}: it has {names}")
    return deployments[project]


def _local() -> tuple[Clients, str, str]:
    emulator = lifecycle.find(Workplace(folder=LOCAL_FOLDER.absolute()))
    if emulator is None:
        raise EnvironmentTrouble(
            f"no local AWS is running in {Path.cwd()}: start one there with dual-pipeline local up"
        )
    settings = emulator.settings
    where = f"the local AWS at {settings.endpoint_url}"
    Console(stderr=True, highlight=False).print(f"using {where}, not an AWS account", style="dim")
    return LocalAws(settings), where, settings.region


def _remote() -> tuple[Clients, str, str]:
    # the other SDKs and the AWS CLI read AWS_REGION, boto3 does not
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    if session.region_name is None:
        raise NoRegionError
    account = session.client("sts").get_caller_identity()["Account"]
    return _Session(session), f"AWS account {account} in {session.region_name}", session.region_name


class _Session:
    """Clients of a boto3 session, each made once."""

    def __init__(self, session: boto3.Session) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}

    def client(self, service: str, /) -> Any:
        if service not in self._clients:
            # typed overloads exist per literal service name only
            make: Any = self._session.client
            self._clients[service] = make(service)
        return self._clients[service]
