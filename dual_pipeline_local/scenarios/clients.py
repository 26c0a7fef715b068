"""Clients of an endpoint: requests at a steady rate, and a count of what became of them."""

from __future__ import annotations

import csv
import io
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ..safety import LocalAws

_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What became of requests: how many were answered, and how many were not, by what they were told."""

    answered: int
    failed: Counter[str]

    def __str__(self) -> str:
        total, failed = self.answered + self.failed.total(), self.failed.total()
        told = ", ".join(f"{count} with {error}" for error, count in self.failed.most_common())
        return f"{total} requests, {failed} failed{f': {told}' if told else ''}"


class Clients:
    """Asks an endpoint `per_second` times a second about rows in turn, from `start`, if it is called, to `stop`."""

    def __init__(self, aws: LocalAws, endpoint: str, rows: Sequence[Sequence[str]], *, per_second: float) -> None:
        self._runtime = aws.client("sagemaker-runtime")
        self._endpoint = endpoint
        self._bodies = itertools.cycle(as_csv([row]) for row in rows)
        self._pause_s = 1 / per_second
        self._answered = 0
        self._failed: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._ended = threading.Event()
        self._sender = threading.Thread(target=self._send, daemon=True, name="clients")

    def start(self) -> None:
        """Begin to ask."""
        self._sender.start()

    def stop(self) -> Tally:
        """Ask no more, wait for what is under way, and count."""
        self._ended.set()
        if self._sender.ident is not None:
            self._sender.join()
        return Tally(answered=self._answered, failed=self._failed)

    def _send(self) -> None:
        due = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as people:
            for body in self._bodies:
                people.submit(self._ask, body)
                due += self._pause_s
                if self._ended.wait(max(0.0, due - time.monotonic())):
                    return

    def _ask(self, body: str) -> None:
        error = ""
        try:
            self._runtime.invoke_endpoint(EndpointName=self._endpoint, ContentType="text/csv", Body=body)
        except ClientError as refused:
            told: dict[str, Any] = {**refused.response}
            status = told.get("OriginalStatusCode", "")
            error = f"{told['Error']['Code']} {status}".strip()
        except BotoCoreError as broken:
            error = type(broken).__name__
        with self._counting:
            if error:
                self._failed[error] += 1
            else:
                self._answered += 1


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """Rows as the body of a request."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def batches(rows: Sequence[Sequence[str]], size: int) -> Iterator[Sequence[Sequence[str]]]:
    """Rows in requests of `size` each."""
    for at in range(0, len(rows), size):
        yield rows[at : at + size]
