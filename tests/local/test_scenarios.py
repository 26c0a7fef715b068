"""Every scenario from nothing to its stated end, as `make local SCENARIO=` plays it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dual_pipeline_local.scenarios.catalog import SCENARIOS
from local_shell import ROOT, synthesized

pytestmark = [
    pytest.mark.local,
    pytest.mark.spark,
    pytest.mark.xdist_group("scenarios"),
    pytest.mark.timeout(900),
]

# How the runs of each story end, one after another.
ENDS = {
    "good": ["released"],
    "bad-data": ["released", "blocked"],
    "worse-model": ["released", "below-gate"],
    "bad-canary": ["released", "rolled-back"],
    "wrong-answers": ["released", "rolled-back"],
    "drift": ["released", "released"],
    "rejected": ["rejected"],
    "expired": ["expired"],
}
# The one that goes through most of both loops, and through the way back.
TELLING = "wrong-answers"


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Synthesized environments by name, as they are asked for."""
    return {}


def test_none_is_forgotten() -> None:
    """Each scenario of the catalog is played here."""
    assert list(SCENARIOS) == list(ENDS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == TELLING else [pytest.mark.long]) for name in ENDS]
)
def test_it_ends_as_stated(
    name: str, assemblies: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The command ends with 0, its runs have the stated outcomes, and the first of them ran the templates that ship."""
    environment = SCENARIOS[name].environment
    if environment not in assemblies:
        assemblies[environment] = synthesized(tmp_path_factory.mktemp(environment), environment=environment)
    assembly = assemblies[environment]
    command = [sys.executable, "-m", "dual_pipeline_local.scenarios", name, "--app", str(assembly)]
    ended = subprocess.run(
        [*command, "--work", str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    told = json.loads((tmp_path / "scenario.json").read_text())
    assert ENDS[name] == [run["outcome"] for run in told["runs"]]
    assert all(act["got"] == act["expected"] for act in told["acts"])
    assert len(SCENARIOS[name].acts) == len(told["acts"])
    files = sorted((assembly / f"assembly-{environment.capitalize()}").glob("*.template.json"))
    shipped = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert shipped == told["runs"][0]["template_sha256"]
    assert "AS STATED" in ended.stdout
