"""Two runs' files compared byte for byte, and where they first differ."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from rich.text import Text

_CHUNK = 1 << 20
_ARCHIVE = ".tar.gz"
REPACKED = "packed anew"


class Verdict(Enum):
    """What a file is, compared with the earlier run's; the value is the style it is shown in."""

    SAME = "green"
    DIFFERS = "yellow"
    NEW = "cyan"
    MISSING = "red"


@dataclass(frozen=True, kw_only=True)
class FileComparison:
    """One file that either of two runs wrote; `note` tells where a file that differs does so first.

    Sizes are in bytes and None where there is no file; `sha256` is that of the present file, else of the earlier one.
    """

    name: str
    verdict: Verdict
    sha256: str
    size_then: int | None
    size_now: int | None
    note: str = ""

    @property
    def shown(self) -> Text:
        """The verdict as a word for the terminal."""
        return Text(self.verdict.name.lower(), self.verdict.value)


def compare_folders(then: Path, now: Path) -> list[FileComparison]:
    """Every file of two folders in order of name.

    An archive is the same when its members are: SageMaker packs a training job's model.tar.gz, with times in it.
    """
    before, after = _files(then), _files(now)
    return [_compare(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]


def first_difference(then: Any, now: Any, path: str = "$") -> str | None:
    """Where two JSON values first differ, as a path with both values; None when they do not."""
    if isinstance(then, dict) and isinstance(now, dict):
        pairs = [
            (f"{path}.{key}", then.get(key, _MISSING), now.get(key, _MISSING)) for key in dict.fromkeys([*then, *now])
        ]
    elif isinstance(then, list) and isinstance(now, list):
        length = max(len(then), len(now))
        pairs = [(f"{path}[{n}]", _item(then, n), _item(now, n)) for n in range(length)]
    else:
        return None if _equal(then, now) else f"{path}: {_short(then)}, now {_short(now)}"
    return next((found for place, a, b in pairs if (found := first_difference(a, b, place))), None)


class _Missing:
    """What stands for a member that one side lacks."""

    def __repr__(self) -> str:
        return "missing"


_MISSING = _Missing()


def _item(values: list[Any], number: int) -> Any:
    return values[number] if number < len(values) else _MISSING


def _equal(then: Any, now: Any) -> bool:
    return type(then) is type(now) and repr(then) == repr(now)


def _short(value: Any) -> str:
    text = repr(value) if value is _MISSING else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _compare(name: str, then: Path | None, now: Path | None) -> FileComparison:
    before, after = _hash(then), _hash(now)
    if then is None or now is None:
        verdict, note = Verdict.NEW if then is None else Verdict.MISSING, ""
    elif before == after:
        verdict, note = Verdict.SAME, ""
    elif name.endswith(_ARCHIVE):
        difference = _archive_difference(then, now)
        verdict, note = Verdict.DIFFERS if difference else Verdict.SAME, difference or REPACKED
    else:
        verdict, note = Verdict.DIFFERS, _difference(then, now)
    return FileComparison(
        name=name,
        verdict=verdict,
        sha256=after or before,
        size_then=then.stat().st_size if then else None,
        size_now=now.stat().st_size if now else None,
        note=note,
    )


def _difference(then: Path, now: Path) -> str:
    if then.suffix == ".json":
        try:
            found = first_difference(json.loads(then.read_bytes()), json.loads(now.read_bytes()))
        except ValueError:
            found = None
        return found or "the same values, spelled differently"
    return f"from byte {_first_byte(then, now):,} on"


def _first_byte(then: Path, now: Path) -> int:
    at = 0
    with then.open("rb") as before, now.open("rb") as after:
        while True:
            a, b = before.read(_CHUNK), after.read(_CHUNK)
            if a != b:
                shorter = min(len(a), len(b))
                return at + next((n for n in range(shorter) if a[n] != b[n]), shorter)
            at += len(a)


def _archive_difference(then: Path, now: Path) -> str | None:
    try:
        before, after = dict(_members(then)), dict(_members(now))
    except tarfile.TarError as error:
        return f"no archive: {error}"
    differing = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return f"its file {differing[0]} differs" if differing else None


def _members(path: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                yield member.name.removeprefix("./"), hashlib.sha256(content.read()).hexdigest()


def _hash(path: Path | None) -> str:
    if path is None:
        return ""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
