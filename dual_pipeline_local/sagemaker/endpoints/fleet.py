"""The processes that answer for an endpoint: one per variant, whatever its instance count."""

import random
import threading
from collections.abc import Mapping

from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.model_server import REQUEST_TIMEOUT_S, Answer, ModelServer, ServerDown


class UnhealthyFleet(Exception):
    """A variant did not come up; `str()` is the endpoint's FailureReason."""


class Fleet:
    """All servers of one endpoint under one configuration, the role they act as, and what is captured of them."""

    def __init__(self, *, role: str, capture: Record | None) -> None:
        self.role = role
        self.capture = capture
        self._servers: dict[str, ModelServer] = {}
        self._idle = threading.Condition()
        self._in_flight = 0

    @property
    def images(self) -> Mapping[str, str]:
        """Variant -> image, as far as images are known."""
        return {name: server.image for name, server in self._servers.items() if server.image}

    def add(self, variant: str, server: ModelServer) -> None:
        """Take a started server in."""
        self._servers[variant] = server

    def wait_until_healthy(self) -> None:
        """Wait for every server; raises UnhealthyFleet."""
        for variant, server in self._servers.items():
            try:
                server.wait_until_healthy()
            except ServerDown as error:
                raise UnhealthyFleet(
                    f"The primary container for production variant {variant} did not pass the ping health check. "
                    f"Please check CloudWatch logs for this endpoint. {error}"
                ) from error

    def invoke(self, weights: Mapping[str, float], body: bytes, headers: Mapping[str, str]) -> tuple[str, Answer]:
        """Send a request to a variant drawn by weight; the variant and its answer."""
        names = list(weights)
        chosen = random.choices(names, [weights[name] for name in names])[0]  # noqa: S311
        return chosen, self._servers[chosen].invoke(body, headers)

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
        for server in self._servers.values():
            server.stop()
