"""The definition of a project as the SDK compiles it, in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import importlib, sys
from pathlib import Path
from pipeline_code.compile import PACKAGE, compile_project
module, name = sys.argv[1].split(":")
project = getattr(importlib.import_module(module), name)
sys.stdout.write(compile_project(PACKAGE / "census", project=project))
"""


def compile_census(project: str = "everything:EVERYTHING", *, cwd: Path = ROOT, **environment: str) -> str:
    """The definition of the census pipeline for a configuration, `module:name`; compiled by a process of its own."""
    path = ":".join(str(folder) for folder in (ROOT, ROOT / "constructs", ROOT / "tests" / "support"))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, project],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
