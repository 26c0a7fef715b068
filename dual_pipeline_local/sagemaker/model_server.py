"""The process that answers for one model, of an endpoint's variant or of a transform job."""

import http.client
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dual_pipeline_local import staging
from dual_pipeline_local.processes import ProcessGroup, tail
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.cloud import Cloud
from dual_pipeline_local.sagemaker.jobs.container import Container

REQUEST_TIMEOUT_S = 60.0
_SERVING = Path(__file__).with_name("serving.py")
_START_TIMEOUT_S = 60.0
_RECOVERY_S = 10.0
_POLL_S = 0.05


class ServerDown(Exception):
    """The server did not come up; `str()` is its last words."""


@dataclass(frozen=True)
class Answer:
    """What a model's server answered."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class ModelServer:
    """The serving process of a model (as Models.container describes it), its files under `folder`."""

    def __init__(self, model: Record, *, folder: Path, log: Path, cloud: Cloud) -> None:
        self.image: str | None = model.get("Image")
        self._container = Container(folder, log=log)
        self._port_file = folder / "port"
        role = model["ExecutionRoleArn"]
        self._unpack(model["ModelDataUrl"], cloud.client(role, "s3"))
        self._model = model
        self._cloud = cloud
        self._lock = threading.Lock()
        self._is_stopped = False
        self._measured: psutil.Process | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start()

    def wait_until_healthy(self, *, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Wait for /ping; raises ServerDown."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._port_file.exists() and self._ping():
                return
            time.sleep(_POLL_S)
        raise ServerDown(f"Log {self._container.log}: {tail(self._container.log, lines=5)}")

    def invoke(self, body: bytes, headers: Mapping[str, str], *, timeout_s: float = REQUEST_TIMEOUT_S) -> Answer:
        """POST /invocations; raises OSError or HTTPException when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=timeout_s)
        try:
            connection.request("POST", "/invocations", body, dict(headers))
            response = connection.getresponse()
            content_type = response.headers.get("Content-Type", "text/plain")
            return Answer(response.status, response.read(), content_type, dict(response.headers))
        finally:
            connection.close()

    def stop(self) -> None:
        """End the process and remove its files."""
        with self._lock:
            self._is_stopped = True
            self._process.kill()
        shutil.rmtree(self._container.root, ignore_errors=True)

    def has_ended(self) -> bool:
        """Whether the process ended by itself."""
        return not self._is_stopped and self._process.poll() is not None

    def restart(self) -> None:
        """Start the process again, as a container whose program ended."""
        with self._lock:
            if not self._is_stopped:
                self._process.kill()
                self._port_file.unlink(missing_ok=True)
                self._measured = None
                self._process = self._start()

    def recovers(self, *, timeout_s: float = _RECOVERY_S) -> bool:
        """Whether the server answers /ping now or, being restarted, soon."""
        deadline = time.monotonic() + timeout_s
        while not (is_well := self._port_file.exists() and self._ping()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return is_well

    def usage(self) -> Mapping[str, float]:
        """CPUUtilization (since the last call), MemoryUtilization and DiskUtilization in percent; {} while it is down.

        CPU counts 100 per core; memory and disk are shares of this machine's.
        """
        # A server that is being restarted has no process yet.
        with suppress(psutil.Error, OSError, ValueError, IndexError):
            if self._measured is None:
                self._measured = psutil.Process(self._process.pid).children(recursive=True)[-1]
                self._measured.cpu_percent()
                return {}
            return {
                "CPUUtilization": self._measured.cpu_percent(),
                "MemoryUtilization": self._measured.memory_percent(),
                "DiskUtilization": psutil.disk_usage(str(self._container.root)).percent,
            }
        return {}

    def _start(self) -> ProcessGroup:
        model_dir = self._container.rewrite("/opt/ml/model")
        isolated = self._model["EnableNetworkIsolation"]
        credentials: Mapping[str, str] = {} if isolated else self._cloud.environment(self._model["ExecutionRoleArn"])
        with self._container.log.open("ab") as stream:
            return ProcessGroup(
                ["python3", "-P", str(_SERVING), "--model-dir", model_dir, "--port-file", str(self._port_file)],
                env=self._container.environment({**credentials, **self._model["Environment"]}),
                cwd=self._container.ml,
                log=stream,
            )

    def _unpack(self, uri: str, s3: object) -> None:
        """The model's archive in /opt/ml/model; raises ServerDown for anything that is no tar.gz."""
        archive = staging.download(s3, uri, self._container.root / "download")[0]
        try:
            staging.unpack(archive, self._container.folder("/opt/ml/model"))
        except ValueError as error:
            raise ServerDown(f"model data {uri} is {error}") from error
        archive.unlink()

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
