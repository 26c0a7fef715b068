"""cfn-lint finds nothing in any template; .cfnlintrc.yaml says which checks are off and why."""

import subprocess
import sys
from pathlib import Path

import pytest

from stacks.stage import ROOT
from synthesis import Synthesis

pytestmark = pytest.mark.xdist_group("synthesis")


def test_templates_are_valid(synthesis: Synthesis) -> None:
    """Every template passes CloudFormation's schemas and the linter's rules."""
    linter = Path(sys.executable).with_name("cfn-lint")
    files = [str(file) for file in synthesis.files.values()]
    result = subprocess.run([linter, "--", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "" == result.stdout + result.stderr
    assert 0 == result.returncode
