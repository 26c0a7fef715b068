"""Step code runs in containers: old Python, few packages, nothing of the platform's."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3] / "pipeline_code"
STEPS = ("preprocess", "train", "evaluate")
# What the XGBoost image ships of what is not the standard library, and what Glue does.
IMAGE = {"numpy", "pyarrow", "xgboost"}
GLUE = {"pyspark"}


def projects() -> list[Path]:
    """Every project's folder."""
    return sorted(path.parent for path in ROOT.glob("*/pipeline.py"))


def step_files(project: Path) -> list[Path]:
    """What containers run of a project."""
    files = [file for step in STEPS for file in (project / step).rglob("*.py")]
    return [*files, project / "contract.py", project / "inference.py"]


def imports(file: Path) -> set[str]:
    """The absolute imports of a module by top-level package, and the relative ones by their target."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ",".join(alias.name for alias in node.names)
            found.add("." * node.level + module if node.level else module.partition(".")[0])
    return found


@pytest.mark.parametrize("project", projects(), ids=lambda path: path.name)
def test_step_code_runs_on_the_containers_python(project: Path) -> None:
    """The syntax and library of Python 3.10 suffice."""
    command = [
        str(Path(sys.executable).with_name("vermin")),
        "--target=3.10-",
        "--eval-annotations",
        "--no-tips",
        "--violations",
    ]
    done = subprocess.run([*command, *map(str, step_files(project))], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("project", projects(), ids=lambda path: path.name)
def test_step_code_imports_its_folder_the_contract_and_the_image(project: Path) -> None:
    """Anything else would not be there; train may also import the inference that it packs."""
    for file in step_files(project):
        step = file.parent.name if file.parent != project else ""
        allowed = {"..contract", ".logic"} | ({"..inference"} if step == "train" else set())
        foreign = {name for name in imports(file) if name.startswith(".")} - allowed
        packages = {name for name in imports(file) if not name.startswith(".")} - IMAGE - sys.stdlib_module_names
        assert (set(), set()) == (foreign, packages), file


def test_platform_jobs_import_themselves_and_spark() -> None:
    """Glue ships PySpark; the jobs know no project."""
    for file in (ROOT / "platform_jobs").rglob("*.py"):
        packages = imports(file) - GLUE - sys.stdlib_module_names
        assert packages <= {"pipeline_code"}, file
        assert "pipeline_code.census" not in file.read_text()
