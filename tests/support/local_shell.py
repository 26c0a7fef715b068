"""A shell as a person has it, but poisoned with AWS settings that nothing may read, and a local AWS deployed from it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dual_pipeline_local import lifecycle
from dual_pipeline_local.deployment import Deployment, read_deployment
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.safety import LocalAws

ROOT = Path(__file__).parents[2]
CENSUS = ROOT / "data" / "census.csv"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECRET = "AKIAPOISONPOISONPOIS"


@dataclass
class Poison:
    """A shell full of AWS settings, and what was done with them."""

    folder: Path
    requests: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """The poisoned shell; the files are pipes, so that reading one is noticed."""
        for name in ("config", "credentials"):
            path = self.folder / ".aws" / name
            path.parent.mkdir(exist_ok=True)
            os.mkfifo(path)
            threading.Thread(target=self._feed, args=(path,), daemon=True).start()
        trap = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=trap.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{trap.server_port}"
        return {
            **os.environ,
            "HOME": str(self.folder),
            "AWS_CONFIG_FILE": str(self.folder / ".aws" / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / ".aws" / "credentials"),
            "AWS_PROFILE": "production",
            "AWS_ACCESS_KEY_ID": SECRET,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": SECRET,
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials",
            "HTTPS_PROXY": url,
            "HTTP_PROXY": url,
        }

    def _feed(self, path: Path) -> None:
        while True:
            with path.open("w") as pipe:  # opens when somebody reads
                self.readers.append(path.name)
                pipe.write(f"[default]\naws_access_key_id = {SECRET}\naws_secret_access_key = {SECRET}\n")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        requests = self.requests

        class Trap(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                requests.append(self.rfile.readline().decode("latin-1"))
                self.close_connection = True

        return Trap


@dataclass(frozen=True)
class Shell:
    """A poisoned shell in the project's folder, with one local AWS."""

    poison: Poison
    environment: dict[str, str]
    workplace: Workplace
    checkout: Path

    def command(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Call `dual-pipeline local ...` in this shell."""
        command = [sys.executable, "-m", "dual_pipeline_cli", "local", *map(str, arguments)]
        return subprocess.run(
            [*command, "--work", str(self.workplace.folder)],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def told(self, *arguments: str) -> str:
        """What `dual-pipeline ...` prints when it succeeds."""
        ended = self.tell(*arguments)
        assert 0 == ended.returncode, ended.stdout + ended.stderr
        return ended.stdout

    def tell(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call `dual-pipeline ...` in the folder of the checkout."""
        return subprocess.run(
            [sys.executable, "-m", "dual_pipeline_cli", *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def release(
        self, data: Path = CENSUS, *, force: bool = False
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        """Upload data or insist, follow the run, and read its summary."""
        ended = self.command("run", "--data", data, *(["--force"] if force else []))
        return ended, json.loads((self.workplace.folder / "summary.json").read_text())

    @property
    def aws(self) -> LocalAws:
        """Clients of the local AWS."""
        emulator = lifecycle.find(self.workplace)
        assert emulator is not None
        return LocalAws(emulator.settings)

    @property
    def deployment(self) -> Deployment:
        return read_deployment(self.aws, environment="dev", project="census")


def python(*arguments: str | Path, **environment: str) -> None:
    """Run Python in the checkout."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "constructs", ROOT / "tests" / "support")))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def context(**more: str) -> str:
    """The CDK's context of this project, as the CLI hands it over."""
    return json.dumps({**json.loads((ROOT / "cdk.json").read_text())["context"], **more})


def synthesized(folder: Path, *, environment: str = "dev") -> Path:
    """An environment, synthesized into a folder."""
    assembly = folder / "cdk.out"
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={
            **os.environ,
            "CDK_OUTDIR": str(assembly),
            "CDK_CONTEXT_JSON": context(environment=environment, commit=COMMIT),
        },
        check=True,
        capture_output=True,
    )
    return assembly


@contextmanager
def deployed(home: Path, checkout: Path, assembly: Path) -> Iterator[Shell]:
    """A local AWS with `dev` deployed from the unmodified assembly."""
    poison = Poison(home)
    (checkout / "pipeline_code").symlink_to(ROOT / "pipeline_code")
    shell = Shell(poison, poison.environment(), Workplace(folder=checkout / "build" / "local"), checkout)
    up = shell.command("up", "--app", assembly)
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        yield shell
    finally:
        shell.command("down")
