"""Finding the telling lines of a log."""

from __future__ import annotations

import re
from pathlib import Path

_EXCEPTION = re.compile(
    r"^\s*((?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt|Failed|StaleDefinition)\b.*)$", re.MULTILINE
)
_LONGEST = 600


def find_exception(text: str) -> str | None:
    """The last line of a log or failure reason that names an exception."""
    found: list[str] = _EXCEPTION.findall(text)
    return found[-1].strip()[:_LONGEST] if found else None


def find_log(folder: Path, names: list[str]) -> Path | None:
    """The newest file below a folder that holds something and has one of the names in its own."""
    paths = (path for name in names if name for path in folder.rglob(f"*{name}*"))
    found = [path for path in paths if path.is_file() and path.stat().st_size]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
