"""A copy of a checkout in which a data scientist has changed one file, to be deployed like the checkout itself."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ..lifecycle import EmulatorTrouble

# What a synth reads, and what it runs with.
_COPIED = ("app.py", "cdk.json", "environments.py", "stacks", "pipeline_code")
_LINKED = (".venv", "node_modules")


@dataclass(frozen=True, kw_only=True)
class CodeChange:
    """Python code appended to a file of the project's folder; `says` tells what the new file does."""

    file: str
    says: str
    appended: str


def copy_with(change: CodeChange, *, root: Path, project: str, folder: Path) -> Path:
    """Copy the checkout below `root` into a new folder with the change in it; the folder.

    Raises EmulatorTrouble when the project has no such file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _COPIED:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copyfile
        copy(root / name, folder / name)
    for name in _LINKED:
        (folder / name).symlink_to((root / name).resolve())
    path = folder / "pipeline_code" / project.replace("-", "_") / change.file
    if not path.is_file():
        raise EmulatorTrouble(f"the project {project!r} has no {change.file}, which this scenario changes")
    with path.open("a", encoding="utf-8") as stream:
        stream.write(change.appended)
    return folder
