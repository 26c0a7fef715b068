"""The processes that answer for an endpoint: one per variant, whatever its instance count."""

import http.client
import random
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dual_pipeline_local import staging
from dual_pipeline_local.processes import ProcessGroup, tail
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.cloud import Cloud
from dual_pipeline_local.sagemaker.jobs.container import Container

_SERVING = Path(__file__).parents[1] / "serving.py"
_REQUEST_TIMEOUT_S = 60.0
_START_TIMEOUT_S = 60.0
_POLL_S = 0.05


class UnhealthyFleet(Exception):
    """A variant did not come up; `str()` is the endpoint's FailureReason."""


@dataclass(frozen=True)
class Answer:
    """What a model's server answered."""

    variant: str
    status: int
    body: bytes
    content_type: str


class Server:
    """One serving process of one variant."""

    def __init__(self, variant: str, model: Record, *, folder: Path, log: Path, cloud: Cloud) -> None:
        self.variant = variant
        self.image: str | None = model.get("Image")
        self._container = Container(folder, log=log)
        self._port_file = folder / "port"
        role = model["ExecutionRoleArn"]
        archive = staging.download(cloud.client(role, "s3"), model["ModelDataUrl"], folder / "download")[0]
        shutil.unpack_archive(archive, self._container.folder("/opt/ml/model"), "gztar", filter="data")
        archive.unlink()
        model_dir = self._container.rewrite("/opt/ml/model")
        credentials: Mapping[str, str] = {} if model["EnableNetworkIsolation"] else cloud.environment(role)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            self._process = ProcessGroup(
                ["python3", "-P", str(_SERVING), "--model-dir", model_dir, "--port-file", str(self._port_file)],
                env=self._container.environment({**credentials, **model["Environment"]}),
                cwd=self._container.ml,
                log=stream,
            )

    def wait_until_healthy(self, *, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Wait for /ping, or raise UnhealthyFleet with the server's last words."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._port_file.exists() and self._ping():
                return
            time.sleep(_POLL_S)
        raise UnhealthyFleet(
            f"The primary container for production variant {self.variant} did not pass the ping health check. Please "
            f"check CloudWatch logs for this endpoint. Log {self._container.log}: {tail(self._container.log, lines=5)}"
        )

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST /invocations."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=_REQUEST_TIMEOUT_S)
        try:
            connection.request("POST", "/invocations", body, dict(headers))
            response = connection.getresponse()
            content_type = response.headers.get("Content-Type", "text/plain")
            return Answer(self.variant, response.status, response.read(), content_type)
        finally:
            connection.close()

    def stop(self) -> None:
        """End the process and remove its files."""
        self._process.kill()
        shutil.rmtree(self._port_file.parent, ignore_errors=True)

    def _ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _port(self) -> int:
        return int(self._port_file.read_text())


class Fleet:
    """All servers of one endpoint under one configuration, the role they act as, and what is captured of them."""

    def __init__(self, *, role: str, capture: Record | None) -> None:
        self.role = role
        self.capture = capture
        self._servers: dict[str, Server] = {}
        self._idle = threading.Condition()
        self._in_flight = 0

    @property
    def images(self) -> Mapping[str, str]:
        """Variant -> image, as far as images are known."""
        return {name: server.image for name, server in self._servers.items() if server.image}

    def add(self, server: Server) -> None:
        """Take a started server in."""
        self._servers[server.variant] = server

    def wait_until_healthy(self) -> None:
        """Wait for every server; raises UnhealthyFleet."""
        for server in self._servers.values():
            server.wait_until_healthy()

    def invoke(self, weights: Mapping[str, float], body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a request to a variant drawn by weight."""
        names = list(weights)
        chosen = random.choices(names, [weights[name] for name in names])[0]  # noqa: S311
        return self._servers[chosen].invoke(body, headers)

    def enter(self) -> None:
        """Count a request in; the fleet does not end before it has left."""
        with self._idle:
            self._in_flight += 1

    def leave(self) -> None:
        """Count a request out."""
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    def drain_and_stop(self) -> None:
        """Let running requests end, then stop."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, timeout=_REQUEST_TIMEOUT_S)
        self.stop()

    def stop(self) -> None:
        """End every server now."""
        for server in self._servers.values():
            server.stop()
