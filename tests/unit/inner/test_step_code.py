"""Step code runs in containers: old Python, few packages, nothing of the platform's."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from containers import IMAGES

ROOT = Path(__file__).resolve().parents[3] / "pipeline_code"
# What a step finds where it runs, beside the standard library.
PACKAGES = {
    "preprocess": IMAGES["xgboost"].packages,
    "train": IMAGES["xgboost"].packages,
    "alone": IMAGES["xgboost"].packages,
    "evaluate": IMAGES["xgboost"].packages,
    "baseline": IMAGES["sklearn"].packages,
    "profile": IMAGES["spark"].packages,
    "decide": {"boto3", "botocore"},  # https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
}
# Modules beside the steps that run in containers, and what the thinnest of these ships.
SHARED = {
    "__init__": set(),
    "contract": set(),
    "tables": {"numpy", "pyarrow"},
    # sagemaker_inference serves in the image; where the handlers only evaluate, they do without
    "inference": {"numpy", "sagemaker_inference", "xgboost"},
}
GLUE = {"awsglue", "awsgluedq", "py4j", "pyspark"}
# What judges data quality outside Glue; imported where it is chosen.
ELSEWHERE = {"duckdb", "pydeequ"}


def projects() -> list[Path]:
    """Every project's folder."""
    return sorted(path.parent for path in ROOT.glob("*/pipeline.py"))


def step_files(project: Path) -> list[Path]:
    """What containers run of a project."""
    return [
        *(file for step in PACKAGES for file in sorted((project / step).rglob("*.py"))),
        *(project / f"{name}.py" for name in SHARED),
    ]


def imports(file: Path) -> set[str]:
    """The absolute imports of a module by top-level package, and the relative ones by their target."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {"." * node.level + name for name in names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("project", projects(), ids=lambda path: path.name)
def test_every_step_is_known(project: Path) -> None:
    """A new step's folder is to be named above, with what its image ships."""
    assert set(PACKAGES) == {path.parent.name for path in project.glob("*/__init__.py")}


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
def test_step_code_imports_its_folder_what_steps_share_and_the_image(project: Path) -> None:
    """Anything else would not be there; train may also import the inference that it packs, and alone runs others."""
    for file in step_files(project):
        shared = file.parent == project
        allowed = {".contract"} if shared else {"..contract", "..tables"}
        allowed |= set() if shared else {f".{path.stem}" for path in file.parent.glob("*.py")}
        allowed |= {"..inference"} if file.parent.name == "train" else set()
        allowed |= {"..preprocess.__main__", "..train.__main__"} if file.parent.name == "alone" else set()
        ships = SHARED[file.stem] if shared else PACKAGES[file.parent.name]
        foreign = {name for name in imports(file) if name.startswith(".")} - allowed
        packages = {name for name in imports(file) if not name.startswith(".")} - ships - sys.stdlib_module_names
        assert (set(), set()) == (foreign, packages), file


@pytest.mark.parametrize("project", projects(), ids=lambda path: path.name)
def test_the_contract_and_the_inference_stand_alone(project: Path) -> None:
    """The contract is read where nothing is installed, and the inference travels in the model by itself."""
    assert imports(project / "contract.py") <= sys.stdlib_module_names
    assert not any(name.startswith(".") for name in imports(project / "inference.py"))


def test_platform_jobs_import_themselves_and_spark() -> None:
    """Glue ships PySpark and its own evaluator; the jobs know no project."""
    for file in (ROOT / "platform_jobs").rglob("*.py"):
        if file.parent.name == "drift":
            continue
        packages = (
            imports(file) - GLUE - (ELSEWHERE if file.parent.name == "quality" else set()) - sys.stdlib_module_names
        )
        assert packages <= {"pipeline_code"}, file
        assert "pipeline_code.census" not in file.read_text()


def test_the_drift_job_runs_in_the_xgboost_image() -> None:
    """Its folder, what the image ships with boto3, and Python 3.10: the job knows no project."""
    files = sorted((ROOT / "platform_jobs" / "drift").glob("*.py"))
    for file in files:
        siblings = {f".{path.stem}" for path in files}
        ships = IMAGES["xgboost"].packages | {"boto3", "botocore"}
        assert imports(file) - siblings - ships <= sys.stdlib_module_names, file
    command = [str(Path(sys.executable).with_name("vermin")), "--target=3.10-", "--eval-annotations", "--violations"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
