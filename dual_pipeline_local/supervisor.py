"""Runs one command and lets nothing of it outlive the process that asked for it.

Started as `python -I -S supervisor.py COMMAND...`, leader of its own process group, with a pipe as standard input whose
other end only the parent holds. The end of that pipe means that the parent is gone, however it died: the whole group is
then killed. PR_SET_PDEATHSIG alone would miss grandchildren (a JVM) and is bound to the thread that started the child.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

CANNOT_START = 127


def main(command: list[str]) -> int:
    """Run the command to its end and answer its exit code, negative signals as 128 + signal."""
    threading.Thread(target=_kill_group_with_parent, daemon=True).start()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return CANNOT_START
    # a handler, unlike SIG_IGN, is not inherited: the child hears SIGTERM, this process waits for it to react
    signal.signal(signal.SIGTERM, _outlast)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _kill_group_with_parent() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


_outlast: Callable[..., None] = lambda *_: None  # noqa: E731

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
