"""A running emulator for the tests of a module, and clients of its root user."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dual_pipeline_local.server import UNMAPPED_PATH
from dual_pipeline_local.settings import Settings

ACCOUNT = "123456789012"
REGION = "eu-west-1"


class Emulator:
    """One server process on a free port, everything it writes under `work`."""

    def __init__(self, work: Path, *, time_scale: float = 0.1) -> None:
        self.settings = Settings(work=work, port=_free_port(), region=REGION, account=ACCOUNT, time_scale=time_scale)
        self.log = work.parent / f"{work.name}.log"
        arguments = ["--port", str(self.settings.port), "--work", str(work), "--account", ACCOUNT, "--region", REGION]
        arguments += ["--time-scale", str(time_scale)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dual_pipeline_local.server", *arguments, "--die-with-parent"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client, of the root user unless credentials are given."""
        keys: dict[str, Any] = credentials or {
            "aws_access_key_id": self.settings.access_key_id,
            "aws_secret_access_key": self.settings.secret_access_key,
        }
        config = Config(retries={"total_max_attempts": 1}, inject_host_prefix=False, max_pool_connections=64)
        session = boto3.Session(**keys, region_name=REGION)
        return session.client(service, endpoint_url=self.settings.endpoint_url, config=config)  # type: ignore[call-overload]

    def role(self, name: str, service: str, *statements: dict[str, Any]) -> str:
        """A role for a service principal with an inline policy; its ARN."""
        iam = self.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="Inline", PolicyDocument=_policy(*statements))
        return arn

    def machine(self, name: str, role: str, definition: dict[str, Any], **options: Any) -> str:
        """A state machine; its ARN."""
        arn: str = self.client("stepfunctions").create_state_machine(
            name=name, roleArn=role, definition=json.dumps(definition), **options
        )["stateMachineArn"]
        return arn

    def execute(self, machine: str, given: Any = None, *, seconds: float = 30) -> dict[str, Any]:
        """Run a machine to its end and describe the execution."""
        client = self.client("stepfunctions")
        arn = client.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))["executionArn"]
        return self.ended(arn, seconds=seconds)

    def ended(self, execution: str, *, seconds: float = 30) -> dict[str, Any]:
        """Wait for an execution's end and describe it."""
        client, deadline = self.client("stepfunctions"), time.monotonic() + seconds
        while time.monotonic() < deadline:
            found: dict[str, Any] = client.describe_execution(executionArn=execution)
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.05)
        raise AssertionError(f"{execution} still runs after {seconds} s\n{self.log.read_text()[-4000:]}")

    def history(self, execution: str) -> list[dict[str, Any]]:
        """All history events of an execution."""
        pages = self.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]

    def unmapped(self) -> list[str]:
        """Calls that IAM could not be asked about."""
        with urllib.request.urlopen(self.settings.endpoint_url + UNMAPPED_PATH) as answer:
            found: list[str] = json.load(answer)["unmapped"]
            return found

    def stop(self) -> None:
        """Stop the server as `make local` does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.settings.endpoint_url}/_ministack/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the emulator did not start\n{self.log.read_text()[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(scope="module")
def emulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator for the tests of one module, which may set how long a second of AWS lasts as `TIME_SCALE`."""
    scale = getattr(request.module, "TIME_SCALE", 0.1)
    running = Emulator(tmp_path_factory.mktemp("emulator") / "work", time_scale=scale)
    yield running
    running.stop()
