"""The local AWS as a process: `python -m dual_pipeline_local.server --port P --work DIR --account A --region R`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from . import aws_time, ministack, settings
from .clock import CLOCK, CLOCK_PATH
from .errors import EmulatorError

UNMAPPED_PATH: Final = "/_dual_pipeline/unmapped"
_GRACE_S: Final = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or, if asked, the parent's death; leave no process behind."""
    options = _parse(arguments)
    sys.argv = sys.argv[:1]
    try:
        scale = aws_time.parse_scale(options.time_scale)
    except EmulatorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    mine = settings.Settings(
        work=options.work.resolve(),
        port=options.port,
        region=options.region,
        account=options.account,
        time_scale=scale,
    )
    parent = os.getppid() if options.die_with_parent else None
    try:
        _refuse_taken_port(mine.port)
        for folder in (mine.work, mine.logs, mine.work / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
    except (EmulatorError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    settings.use(mine)
    ministack.prepare(mine)
    mine.pid_file.write_text(f"{os.getpid()}\n")
    try:
        asyncio.run(_serve(mine, parent))
    finally:
        mine.pid_file.unlink(missing_ok=True)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dual_pipeline_local.server", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything the emulator writes")
    parser.add_argument("--account", default=settings.DEFAULT_ACCOUNT, help="account id of 12 digits")
    parser.add_argument("--region", required=True, help="region of the account")
    parser.add_argument(
        "--time-scale",
        default="1/60",
        help="real seconds that a second of AWS lasts in bakes, alarm periods and Wait states (default 1/60)",
    )
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the starting process is gone")
    return parser.parse_args(arguments)


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EmulatorError(
                f"port {port} is taken on 127.0.0.1: stop what uses it or choose another port"
            ) from error


async def _serve(mine: settings.Settings, parent: int | None) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    from . import plugin

    plugin.install()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    if parent is not None:
        _watch(parent, lambda: loop.call_soon_threadsafe(stopped.set))
    config = Config()
    config.bind = [f"127.0.0.1:{mine.port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.shutdown_timeout = 1
    try:
        await serve(_application(), config, shutdown_trigger=stopped.wait)
    finally:
        plugin.stop()
        mine.pid_file.unlink(missing_ok=True)
        os._exit(0)


def _watch(parent: int, stop: Any) -> None:
    """Call `stop` when this process is no longer a child of `parent`; leave by force when that takes too long."""

    def poll() -> None:
        from . import plugin

        while os.getppid() == parent:
            time.sleep(0.2)
        stop()
        time.sleep(_GRACE_S)
        plugin.stop()
        os._exit(1)

    threading.Thread(target=poll, daemon=True, name="parent-watch").start()


def _application() -> Any:
    """ministack's application, plus what is the emulator's own: calls that IAM could not be asked about, the clock."""
    from .gateway import unmapped

    inner = ministack.load("app").app

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path == UNMAPPED_PATH:
            await _answer(send, 200, {"unmapped": unmapped.list()})
        elif path == CLOCK_PATH:
            await _answer(send, *_clock(scope["method"], await _body(receive)))
        else:
            await inner(scope, receive, send)

    return application


def _clock(method: str, body: bytes) -> tuple[int, dict[str, str]]:
    """GET reads the clock of Step Functions and the scheduler, POST of `{"forward_s": 60}` moves it forward."""
    if method == "POST":
        try:
            CLOCK.forward(json.loads(body)["forward_s"])
        except (ValueError, KeyError, TypeError) as error:
            told = str(error) if isinstance(error, ValueError) else 'the body must be {"forward_s": <seconds>}'
            return 400, {"error": told}
    return 200, {"now": CLOCK.stamp()}


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _answer(send: Any, status: int, content: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


if __name__ == "__main__":
    raise SystemExit(main())
