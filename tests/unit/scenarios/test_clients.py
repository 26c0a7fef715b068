"""Clients that ask an endpoint at a steady rate."""

import threading
import time
from collections import Counter
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from dual_pipeline_local.scenarios.clients import Clients, Tally, as_csv, batches


class Runtime:
    """An endpoint that answers as its rows say: `ok`, a status to fail with, or `gone`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._adding = threading.Lock()

    def client(self, _service: str) -> Any:
        return self

    def invoke_endpoint(self, **request: str) -> None:
        body = request["Body"].strip()
        assert {"EndpointName": "dev-census", "ContentType": "text/csv", "Body": f"{body}\n"} == request
        with self._adding:
            self.asked.append(body)
        if body == "gone":
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
        if body != "ok":
            answer = {"Error": {"Code": "ModelError"}, "OriginalStatusCode": int(body)}
            raise ClientError(answer, "InvokeEndpoint")  # type: ignore[arg-type]


def tally(*rows: str, per_second: float = 200, seconds: float = 0.3) -> tuple[Tally, list[str]]:
    """What becomes of the rows asked about in turn, and what was asked."""
    runtime = Runtime()
    clients = Clients(runtime, "dev-census", [[row] for row in rows], per_second=per_second)  # type: ignore[arg-type]
    clients.start()
    time.sleep(seconds)
    return clients.stop(), runtime.asked


def test_every_request_is_counted_once() -> None:
    """What failed is told apart by what the client was told."""
    found, asked = tally("ok", "500", "gone", "ok")
    counts = Counter(asked)
    assert counts["ok"] == found.answered > 0
    assert {"ModelError 500": counts["500"], "EndpointConnectionError": counts["gone"]} == dict(found.failed)


def test_clients_that_never_came_are_none() -> None:
    """A run that ends before anybody asks is counted as that."""
    clients = Clients(Runtime(), "dev-census", [["ok"]], per_second=10)  # type: ignore[arg-type]
    assert "0 requests, 0 failed" == str(clients.stop())


def test_no_more_than_so_many_a_second() -> None:
    """The rate is the one asked for, whatever the endpoint's speed."""
    found, _ = tally("ok", per_second=10, seconds=0.45)
    assert 1 <= found.answered <= 6


def test_a_tally_in_words() -> None:
    """People read how many failed and with what, the most frequent first."""
    told = str(Tally(answered=90, failed=Counter({"ModelError 400": 3, "ModelError 500": 7})))
    assert "100 requests, 10 failed: 7 with ModelError 500, 3 with ModelError 400" == told
    assert "5 requests, 0 failed" == str(Tally(answered=5, failed=Counter()))


def test_bodies_are_csv() -> None:
    """Values that hold a comma are quoted; a batch is one body."""
    assert '39,"a, b"\n40,c\n' == as_csv([["39", "a, b"], ["40", "c"]])
    assert [[["1"], ["2"]], [["3"]]] == [list(batch) for batch in batches([["1"], ["2"], ["3"]], 2)]
