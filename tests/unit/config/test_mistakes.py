"""A mistake in the files that people edit is told in one line with its place; our own keep their traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
IMPORTS = """
from dual_pipeline.environment import Environment
from pipeline_code.census.project import CENSUS
"""


def app(tmp_path: Path, environments: str) -> subprocess.CompletedProcess[str]:
    """The app with another environments.py; it needs no CDK CLI to come this far."""
    for name in ("constructs", "stacks", "pipeline_code"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "app.py").write_text((ROOT / "app.py").read_text())
    (tmp_path / "environments.py").write_text(IMPORTS + environments)
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CDK_OUTDIR": str(tmp_path / "cdk.out")},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("environments", "told"),
    [
        (
            'DEV = Environment(\n  name="dev", region="eu-west-1", projects=(CENSUS,), monthly_budget_usd=-5,\n)',
            "environments.py:4: Environment.monthly_budget_usd must be a number from 1 to 1e+07, got -5",
        ),
        (
            'DEV = Environment(nmae="dev")',
            "environments.py:4: TypeError: Environment.__init__() got an unexpected keyword argument 'nmae'",
        ),
        ("\nDEV = Enviroment()", "environments.py:5: NameError: name 'Enviroment' is not defined"),
        ("from nowhere import X", "environments.py:4: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, environments: str, told: str) -> None:
    """It names file, line, what was got and what is allowed."""
    ended = app(tmp_path, environments)
    assert (1, f"error: {told}\n") == (ended.returncode, ended.stderr)


def test_an_error_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    """What fails in the platform's code is no mistake of who reads it."""
    ended = app(tmp_path, "ENVIRONMENTS = [7]")
    assert 1 == ended.returncode
    assert "Traceback" in ended.stderr
    assert "AttributeError" in ended.stderr
