"""The committed definition: fresh, and rendered for an environment."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dual_pipeline.definition import load_definition, parameter_defaults, render_definition
from dual_pipeline.errors import StaleDefinition
from dual_pipeline.model_project import Gates, Instances
from dual_pipeline.placeholders import PLACEHOLDERS
from pipeline_code.census.project import CENSUS


@pytest.fixture
def project_copy(census_folder: Path, tmp_path: Path) -> Path:
    """A copy of the census project with the modules beside it."""
    package = tmp_path / "pipeline_code"
    shutil.copytree(census_folder, package / "census")
    for module in census_folder.parent.glob("*.py"):
        shutil.copy(module, package)
    return package / "census"


def test_the_committed_definition_is_fresh(census_folder: Path) -> None:
    """What is committed loads."""
    assert json.loads(load_definition(census_folder))["Version"] == "2020-12-01"


@pytest.mark.parametrize(
    "name", ["pipeline.py", "contract.py", "definition.json", "../sagemaker_jobs.py", "../compile.py"]
)
def test_an_edit_makes_the_definition_stale(project_copy: Path, name: str) -> None:
    """Editing what compiling reads, or the result itself, is refused with what to do."""
    path = project_copy / name
    path.write_text(path.read_text() + " \n")
    with pytest.raises(StaleDefinition, match="run `make compile`"):
        load_definition(project_copy)


def test_a_change_of_the_rollout_does_not_make_it_stale(project_copy: Path) -> None:
    """The project's configuration reaches the pipeline as parameter defaults, without compiling."""
    path = project_copy / "project.py"
    path.write_text(path.read_text() + "\n# edited\n")
    load_definition(project_copy)


def test_a_project_without_definition_is_refused(tmp_path: Path) -> None:
    """A new project says what to run first."""
    with pytest.raises(StaleDefinition, match=r"has no compiled definition.json .* run `make compile`"):
        load_definition(tmp_path)


def test_an_environment_renders_its_own_values(census_folder: Path) -> None:
    """Gates and instances of an environment become the pipeline's defaults, and no placeholder is left."""
    project = replace(CENSUS, gates=Gates(min_auc=0.6), instances=Instances(training="ml.c5.large"))
    text = render_definition(
        project, project_folder=census_folder, placeholders={name: f"<{name}>" for name in PLACEHOLDERS}
    )
    defaults = {item["Name"]: item.get("DefaultValue") for item in json.loads(text)["Parameters"]}
    assert (0.6, "ml.c5.large") == (defaults["MinAuc"], defaults["TrainingInstanceType"])
    assert "placeholder" not in text


def test_hyperparameters_are_pipeline_parameters() -> None:
    """Each hyperparameter of the project can be set per execution."""
    assert {"HyperMaxDepth": 6, "HyperEta": 0.1}.items() <= parameter_defaults(CENSUS).items()
