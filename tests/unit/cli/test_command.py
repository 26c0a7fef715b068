"""The dual-pipeline command: mistakes of its user end in one sentence and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def _command(*arguments: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dual_pipeline_cli", *arguments],
        cwd=cwd,
        env={**os.environ, "TERM": "dumb", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "--data", "absent.csv"), "cannot read the data file"),
        (("run", "--data", "/dev/null"), "is empty"),
        (("run",), "no local AWS is running: start one with dual-pipeline local up"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """No traceback, nothing on stdout, the sentence on stderr."""
    ended = _command("local", *arguments, "--work", str(tmp_path / "work"))
    assert 2 == ended.returncode
    assert "" == ended.stdout
    assert f"error: {sentence}".split(" is empty")[0] in ended.stderr
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", [("start",), ("explain",), ("approve", "3"), ("reject",)])
def test_operators_need_an_environment(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Without the local AWS that --local asks for there is one sentence and exit code 2."""
    because = () if command == ("explain",) else ("--because", "why")
    ended = _command(*command, *because, "--local", cwd=tmp_path)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert f"error: no local AWS is running in {tmp_path}" in ended.stderr


def test_status_without_an_emulator(tmp_path: Path) -> None:
    """status says there is none, with exit code 1, and down has nothing to do."""
    ended = _command("local", "status", "--work", str(tmp_path))
    assert (1, "no local AWS is running: start one with dual-pipeline local up\n") == (ended.returncode, ended.stdout)
    assert 0 == _command("local", "down", "--work", str(tmp_path)).returncode


def test_up_outside_a_checkout_says_where_to_go(tmp_path: Path) -> None:
    """Called from a folder without the project it names that folder."""
    ended = _command("local", "up", cwd=tmp_path)
    assert 2 == ended.returncode
    assert f"error: no cdk.json in {tmp_path}" in ended.stderr


def test_settings_of_the_shell_are_ignored_and_named(tmp_path: Path) -> None:
    """Credentials in the shell are named as ignored, never printed."""
    ended = _command(
        "local", "status", "--work", str(tmp_path), AWS_PROFILE="production", AWS_ACCESS_KEY_ID="AKIASECRET"
    )
    assert "a local run never uses your AWS settings: ignored AWS_ACCESS_KEY_ID, " in ended.stderr
    assert "AWS_PROFILE" in ended.stderr
    assert "AKIASECRET" not in ended.stderr + ended.stdout
