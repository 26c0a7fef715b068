"""Compiling: offline, the same everywhere, quick, and refusing what SageMaker would refuse."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compiled import compile_everything, compile_files
from dual_pipeline.errors import StaleDefinition
from dual_pipeline.images import IMAGES_FILE

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.xdist_group("compile")


@pytest.fixture
def root(census_folder: Path, tmp_path: Path) -> Path:
    """A copy of pipeline_code to be spoilt."""
    shutil.copytree(census_folder.parent, tmp_path / "pipeline_code", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def spoil(root: Path, name: str, old: str, new: str) -> None:
    """Replace a piece of the copied project's code."""
    path = root / "pipeline_code" / "census" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run_elsewhere(*command: str, **environment: str) -> str:
    """What a python prints that has next to nothing of this process's environment."""
    path = os.pathsep.join(str(folder) for folder in (ROOT, ROOT / "constructs", ROOT / "tests" / "support"))
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, **environment}
    done = subprocess.run(
        [sys.executable, *command], cwd=environment["HOME"], env=variables, capture_output=True, text=True
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_the_committed_files_are_what_compiling_writes_anywhere(tmp_path: Path) -> None:
    """Another home, region, profile and SDK configuration change no byte; nothing is called."""
    settings = tmp_path / "config.yaml"
    settings.write_text(
        "SchemaVersion: '1.0'\nSageMaker:\n  TrainingJob:\n    RoleArn: arn:aws:iam::111122223333:role/x\n"
    )
    printed = run_elsewhere(
        "-m",
        "pipeline_code.compile",
        "--check",
        HOME=str(tmp_path),
        AWS_DEFAULT_REGION="ap-south-1",
        AWS_PROFILE="does-not-exist",
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(settings),
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert "1 project(s) up to date\n" == printed


def test_two_machines_compile_the_same_bytes(tmp_path: Path) -> None:
    """Home, time zone, language, hash seed and working folder leave no trace in a definition of every step type."""
    printed = run_elsewhere(
        "-c",
        "import sys, compiled, everything; sys.stdout.write(compiled.compile_here(everything.EVERYTHING))",
        HOME=str(tmp_path),
        TZ="Asia/Tokyo",
        LANG="tr_TR.UTF-8",
        LC_ALL="tr_TR.UTF-8",
        PYTHONHASHSEED="42",
    )
    assert compile_everything() == printed


def test_a_missing_project_is_named() -> None:
    """The error says where it looked and what there is."""
    done = compile_files("--check", "nosuch", root=ROOT)
    assert 1 == done.returncode
    assert "pipeline_code/nosuch has no pipeline.py; projects are ['census']" in done.stderr


def test_what_is_out_of_date_is_shown_value_by_value(root: Path) -> None:
    """A stale definition is reported with each path that changed, and nothing is written."""
    spoil(root, "pipeline.py", '"--seed=17"', '"--seed=18"')
    definition = root / "pipeline_code" / "census" / "definition.json"
    before = definition.read_bytes()
    done = compile_files("--check", root=root)
    assert 1 == done.returncode
    path = "Steps[CheckParameters].Arguments.IfSteps[Preprocess].Arguments.AppSpecification.ContainerArguments[6]"
    assert f'{path}: "--seed=17" -> "--seed=18"' in done.stderr
    assert f"{StaleDefinition.__name__}: these files are out of date; run `make compile`" in done.stderr
    assert before == definition.read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("channels=channels)\n    tune", "channel=channels)\n    tune", "does not compile: TypeError"),
        ("from .project import CENSUS", "from .project import NOBODY", "cannot be read: ImportError"),
        ('jobs.training("Train"', 'jobs.training("Learn"', "has a step 'learn', whose code"),
        ('"Baseline",\n        image', '"Base line",\n        image', "step name 'Base line' must match"),
    ],
)  # fmt: skip
def test_a_broken_pipeline_is_named_with_its_mistake(root: Path, old: str, new: str, problem: str) -> None:
    """A mistake in pipeline.py ends in one sentence and leaves the committed file as it was."""
    spoil(root, "pipeline.py", old, new)
    definition = root / "pipeline_code" / "census" / "definition.json"
    before = definition.read_bytes()
    done = compile_files(root=root)
    assert 1 == done.returncode
    assert problem in done.stderr
    assert before == definition.read_bytes()


def test_a_second_project_is_a_copied_folder(root: Path) -> None:
    """A copy with another name compiles beside the first, to its own prefixes and tags, with nothing else edited."""
    folder = root / "pipeline_code" / "credit_risk"
    shutil.copytree(root / "pipeline_code" / "census", folder)
    (folder / "project.py").write_text(
        (folder / "project.py").read_text().replace('name="census"', 'name="credit-risk"')
    )
    done = compile_files("credit_risk", root=root)
    assert (0, "") == (done.returncode, done.stderr)
    text = (folder / "definition.json").read_text()
    assert "placeholder-artifact-bucket/credit-risk/" in text
    assert "placeholder-artifact-bucket/census" not in text


def test_images_are_compiled_too() -> None:
    """The committed table holds an image of each framework for a region that has them all."""
    table = json.loads(IMAGES_FILE.read_text())
    assert ["sklearn", "spark", "xgboost"] == [name for name in sorted(table) if "eu-west-1" in table[name]]
