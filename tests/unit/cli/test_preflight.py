"""preflight.sh and make: what a machine lacks is said in one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def _house(folder: Path) -> Path:
    for name in ("preflight.sh", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def _preflight(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(folder / "preflight.sh")],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_good_machine_gets_its_python(tmp_path: Path) -> None:
    """The interpreter goes to stdout; a first use is told what it will download."""
    ended = _preflight(_house(tmp_path), PYTHON=sys.executable)
    assert (0, f"{sys.executable}\n") == (ended.returncode, ended.stdout)
    assert "preflight: ok; first use downloads about" in ended.stderr


def test_missing_python_is_one_line(tmp_path: Path) -> None:
    """A Python that is none is named, with what to do."""
    ended = _preflight(_house(tmp_path), PYTHON="/absent/python")
    assert (2, "") == (ended.returncode, ended.stdout)
    assert 1 == len(ended.stderr.splitlines())
    assert "preflight: missing: Python 3.11 (PYTHON=/absent/python is not that" in ended.stderr


def test_everything_missing_is_one_line(tmp_path: Path) -> None:
    """Several lacks are told together, so that nobody finds them one by one."""
    house = _house(tmp_path)
    (house / "build").write_text("")
    old = tmp_path / "bin"
    old.mkdir()
    (old / "python3").write_text("#!/bin/sh\nexit 1\n")
    (old / "python3").chmod(0o755)
    for tool in ("df", "awk", "dirname"):
        (old / tool).symlink_to(shutil.which(tool) or tool)
    ended = _preflight(house, PATH=str(old), PYTHON="")
    (line,) = ended.stderr.splitlines()
    assert all(part in line for part in ("Python 3.11", "; make; ", "a folder at", "build (a file is in its place)"))


def test_python_without_venv_is_named(tmp_path: Path) -> None:
    """A system Python without ensurepip, as Debian ships it, gets the package's name."""
    fake = tmp_path / "python3.11"
    fake.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    fake.chmod(0o755)
    ended = _preflight(_house(tmp_path), PYTHON=str(fake))
    assert 2 == ended.returncode
    assert f"missing: the venv module of {fake} (Debian and Ubuntu: apt install python3.11-venv)" in ended.stderr


def test_make_works_from_another_folder(tmp_path: Path) -> None:
    """-C and -f both reach the project's folder, also one with a space in its name."""
    house = tmp_path / "my house"
    house.mkdir()
    _house(house)
    for arguments in (["-C", str(house)], ["-f", str(house / "Makefile")]):
        ended = subprocess.run(
            ["make", "-s", *arguments, "help"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (0, "") == (ended.returncode, ended.stderr)
        assert "make local [ENV=dev|staging|prod]" in ended.stdout
