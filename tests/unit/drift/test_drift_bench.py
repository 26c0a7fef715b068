"""The limits of the drift job's cost are enforced, not only printed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench.drift import measure_drift

ROOT = Path(__file__).resolve().parents[3]
WITHIN = {
    **{f"{size}_cpu_s": 1.0 for size in ("small", "medium", "large")},
    **{f"{size}_peak_mb": 100 for size in ("small", "medium", "large")},
    "rows_per_s": 50_000,
    "growth": 1.0,
}


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: float) -> None:
    """Run the command with figures in place of a measurement."""
    monkeypatch.setattr(bench, "ROOT", folder)
    monkeypatch.setattr(bench, "measure_drift", lambda _: WITHIN | changes)
    monkeypatch.setattr(sys, "argv", ["bench", "drift"])
    bench.main()


def test_speed_memory_and_growth_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within the limits the command ends well and prints rows a second, peak memory and how cost grows."""
    run(monkeypatch, tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert all(part in printed for part in ("50000", "rows/s", "100 MB", "<= 1000", "<= 1.3"))
    assert WITHIN == json.loads((tmp_path / "build" / "bench.json").read_text())["drift"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"large_peak_mb": 1001}, "drift: large_peak_mb must be at most 1000, got 1001"),
        ({"growth": 1.31}, "drift: growth must be at most 1.3, got 1.31"),
        ({"growth": float("nan")}, "drift: growth must be at most 1.3, got nan"),
    ],
)
def test_a_missed_limit_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    """More than a gigabyte for a million rows, or a cost that grows faster than the rows, ends with status 1."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, tmp_path, **changes)
    # Python prints a text and ends with status 1.
    assert told == ended.value.code


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_million_rows_cost_what_is_promised(tmp_path: Path) -> None:
    """At most a gigabyte, and no more for a row than among a hundred thousand."""
    figures = measure_drift(tmp_path)
    print(figures)
    assert [] == list(bench.missed_limits({"drift": figures}))


@pytest.mark.parametrize(
    ("goals", "measured"),
    [(["bench"], "-m bench"), (["bench", "drift"], "-m bench drift"), (["drift"], "-m bench drift")],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_make_measures_what_is_named(tmp_path: Path, goals: list[str], measured: str, elsewhere: bool) -> None:
    """`make bench drift` runs the drift measure once and alone, from other folders too."""
    where = ["-f", str(ROOT / "Makefile")] if elsewhere else ["-C", str(ROOT)]
    command = ["make", "--dry-run", *where, *goals]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert [measured] == [line.partition(" ")[2].strip() for line in printed.splitlines() if " -m bench" in line]
