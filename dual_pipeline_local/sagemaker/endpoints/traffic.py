"""Which of an endpoint's fleets a request goes to: the old one, the new one, or each with its share."""

import random
import threading

from dual_pipeline_local.sagemaker.endpoints.fleet import Fleet


class Traffic:
    """The fleets of one endpoint: `blue` serves, `green` is the new one of an update and takes a share of requests.

    Switching is instant: a request under way ends on the fleet that it was given to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._share = 0.0
        self.blue: Fleet | None = None
        self.green: Fleet | None = None

    def enter(self) -> Fleet | None:
        """The fleet for one request, which is counted in there and must leave; None when nothing serves."""
        with self._lock:
            fleet = self.blue
            if self.green is not None and random.random() < self._share:  # noqa: S311
                fleet = self.green
            if fleet is not None:
                fleet.enter()
            return fleet

    def shift(self, green: Fleet, share: float) -> None:
        """Send this share of requests to the new fleet."""
        with self._lock:
            self.green, self._share = green, share

    def settle(self, fleet: Fleet | None) -> list[Fleet]:
        """Send every request to one fleet; the others, which get no more."""
        with self._lock:
            others = [each for each in (self.blue, self.green) if each is not None and each is not fleet]
            self.blue, self.green, self._share = fleet, None, 0.0
            return others

    def fleets(self) -> list[Fleet]:
        """Every fleet that may serve."""
        with self._lock:
            return [fleet for fleet in (self.blue, self.green) if fleet is not None]
