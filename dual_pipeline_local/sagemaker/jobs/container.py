"""What a job's process sees in place of a container: a folder for /opt/ml, a python, an environment of its own.

Step code never names /opt/ml: it takes paths from argv and environment. So every `/opt/ml/...` in entrypoint, arguments
and environment values is replaced by the same path below the job's folder, and the code runs unchanged in both worlds.
"""

import os
import re
import shutil
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from dual_pipeline_local.processes import ProcessResult, run_process

HOST = "algo-1"
"""The first host of a job, and the only one of most."""
_OPT_ML = re.compile(r"(?<![\w./-])/opt/ml(?=/|$|[\s'\":,;])")
_PYTHON = '#!/bin/sh\nexec "{python}" -S "$@"\n'


class Container:
    """The surroundings of one host of a job under `folder`; what the host says goes to `log`."""

    def __init__(self, folder: Path, *, log: Path) -> None:
        self.root = folder.resolve()
        self.ml = self.root / "ml"
        self.log = log
        self.renew()

    def renew(self) -> None:
        """Empty folders, as on a new instance."""
        for name in ("ml", "bin", "home", "tmp"):
            shutil.rmtree(self.root / name, ignore_errors=True)
            (self.root / name).mkdir(parents=True)
        for name in ("python", "python3"):
            # -S hides the checkout that is installed into the venv: step code sees its own bundle and its image only
            (self.root / "bin" / name).write_text(_PYTHON.format(python=sys.executable))
            (self.root / "bin" / name).chmod(0o755)

    def path(self, location: str) -> Path:
        """Where a path of the container lies on this machine; only /opt/ml has a place.

        Raises ValueError for any other path.
        """
        path = Path(self.rewrite(location))
        if not path.resolve().is_relative_to(self.ml):
            raise ValueError(f"{location} does not lie below /opt/ml")
        return path

    def folder(self, location: str) -> Path:
        """Like `path`, and the folder is made."""
        path = self.path(location)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def rewrite(self, text: str) -> str:
        """The text with each path below /opt/ml replaced by its place on this machine."""
        return _OPT_ML.sub(str(self.ml), text)

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        timeout_s: float | None,
        stop: threading.Event,
    ) -> ProcessResult:
        """Run the job's command; the environment of this process is not inherited."""
        return run_process(
            [self.rewrite(word) for word in argv],
            env=self.environment(environment),
            cwd=cwd,
            log=self.log,
            timeout_s=timeout_s,
            stop=stop,
        )

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a process: a bare container's, and what is given, rewritten."""
        paths = sysconfig.get_paths()
        bare = {
            "PATH": f"{self.root / 'bin'}:{paths['scripts']}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": ":".join(dict.fromkeys([paths["purelib"], paths["platlib"]])),
            "PYTHONUNBUFFERED": "1",
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
            # Jobs share this machine's cores: threads that spin while they wait make training several times slower, and
            # two jobs with a thread on every core take half as long again as two with half the cores each.
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
        }
        return bare | {name: self.rewrite(value) for name, value in given.items()}
