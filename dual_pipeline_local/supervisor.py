"""Runs one command and lets nothing of it outlive the process that asked for it.

Started as `python -I -S supervisor.py COMMAND...`, leader of its own process group, with a pipe as standard input whose
other end only the parent holds. The end of that pipe means that the parent is gone, however it died: the whole group is
then killed. PR_SET_PDEATHSIG alone would miss grandchildren (a JVM) and is bound to the thread that started the child.
"""

# every job waits for these imports: subprocess and threading alone would double the time that this takes
import _thread
import os
import signal
import sys

CANNOT_START = 127


def main(command: list[str]) -> int:
    """Run the command to its end and answer its exit code, negative signals as 128 + signal."""
    _thread.start_new_thread(_kill_group_with_parent, ())
    try:
        child = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return CANNOT_START
    # a handler, unlike SIG_IGN, is not inherited: the child hears SIGTERM, this process waits for it to react
    signal.signal(signal.SIGTERM, _outlast)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _kill_group_with_parent() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def _outlast(_number: int, _frame: object) -> None:
    """Do nothing."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
