"""The processes that answer for an endpoint: one per variant, whatever its instance count."""

import http.client
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.model_server import REQUEST_TIMEOUT_S, Answer, ModelServer, ServerDown

_LOOK_S = 0.2
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


class UnhealthyFleet(Exception):
    """A variant did not come up; `str()` is the endpoint's FailureReason."""


@dataclass(frozen=True)
class Exchange:
    """One request's way through a fleet: the variant, its answer (None: there was none, see `trouble`), and how long.

    `latency_s` is the model's alone, `instances` how many the variant had.
    """

    variant: str
    answer: Answer | None
    trouble: str
    latency_s: float
    instances: int


class Fleet:
    """All servers of one endpoint under one configuration, the role they act as, and what is captured of them."""

    def __init__(self, *, role: str, capture: Record | None) -> None:
        self.role = role
        self.capture = capture
        self._servers: dict[str, ModelServer] = {}
        self._weights: dict[str, float] = {}
        self._instances: dict[str, int] = {}
        self._idle = threading.Condition()
        self._in_flight = 0
        self._stopping = threading.Event()

    @property
    def images(self) -> Mapping[str, str]:
        """Variant -> image, as far as images are known."""
        return {name: server.image for name, server in self._servers.items() if server.image}

    @property
    def servers(self) -> Mapping[str, ModelServer]:
        """Variant -> server."""
        return self._servers

    def add(self, variant: str, server: ModelServer, *, weight: float, instances: int) -> None:
        """Take a started server in; raises UnhealthyFleet when the fleet was stopped while it started."""
        self._servers[variant] = server
        self.scale(variant, weight=weight, instances=instances)
        if self._stopping.is_set():
            server.stop()
            raise UnhealthyFleet("The emulator is stopping.")

    def scale(self, variant: str, *, weight: float, instances: int) -> None:
        """Give a variant another weight and instance count."""
        self._weights[variant] = weight
        self._instances[variant] = instances

    def wait_until_healthy(self) -> None:
        """Wait for every server, and restart those that end from then on; raises UnhealthyFleet."""
        for variant, server in self._servers.items():
            try:
                server.wait_until_healthy()
            except ServerDown as error:
                raise UnhealthyFleet(
                    f"The primary container for production variant {variant} did not pass the ping health check. "
                    f"Please check CloudWatch logs for this endpoint. {error}"
                ) from error
        threading.Thread(target=self._keep, name="fleet", daemon=True).start()

    def check_health(self) -> None:
        """Wait for every server to answer /ping, restarted if it must be; raises UnhealthyFleet."""
        for variant, server in self._servers.items():
            if not server.recovers():
                raise UnhealthyFleet(f"production variant {variant} does not pass the ping health check")

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Exchange:
        """Send a request to a variant drawn by weight."""
        names = list(self._weights)
        variant = random.choices(names, [self._weights[name] for name in names])[0]  # noqa: S311
        started = time.perf_counter()
        answer, trouble = None, ""
        try:
            answer = self._servers[variant].invoke(body, headers)
        except TimeoutError:
            trouble = "Your invocation timed out while waiting for a response from container primary."
        except (OSError, http.client.HTTPException) as error:
            trouble = f"The container primary broke off: {error or type(error).__name__}"
        return Exchange(variant, answer, trouble, time.perf_counter() - started, self._instances[variant])

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
            self._idle.wait_for(lambda: self._in_flight == 0, timeout=REQUEST_TIMEOUT_S)
        self.stop()

    def stop(self) -> None:
        """End every server now."""
        self._stopping.set()
        for server in self._servers.values():
            server.stop()

    def _keep(self) -> None:
        """Restart servers that ended, as a container is, with pauses that double while one keeps ending."""
        pauses = {variant: self._pauses() for variant in self._servers}
        while not self._stopping.wait(_LOOK_S):
            for variant, server in self._servers.items():
                if server.has_ended() and not self._stopping.wait(next(pauses[variant])):
                    server.restart()

    @staticmethod
    def _pauses() -> Iterator[float]:
        pause_s = _FIRST_PAUSE_S
        while True:
            yield pause_s
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
