"""The committed definition: fresh, of the configured structure, rendered for an environment, and saying what it needs."""

import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from compiled import compile_everything
from dual_pipeline.definition import (
    all_steps,
    compact,
    definition_hash,
    definition_lock,
    in_network,
    load_definition,
    render_definition,
    steps_of,
)
from dual_pipeline.errors import ConfigError, StaleDefinition
from dual_pipeline.hyperparameters import FloatRange, Hyperparameter
from dual_pipeline.model_project import (
    ExternalCheck,
    Gates,
    Instances,
    Limits,
    OptionalSteps,
    Rollout,
    Training,
    Tuning,
)
from dual_pipeline.placeholders import placeholders_in
from environments import ENVIRONMENTS
from pipeline_code.census.project import CENSUS, TUNING

pytestmark = pytest.mark.xdist_group("compile")


@pytest.fixture(scope="module")
def everything() -> str:
    """The definition with every optional step."""
    return compile_everything()


@pytest.fixture
def project_copy(census_folder: Path, tmp_path: Path) -> Path:
    """A copy of the census project with the modules beside it."""
    package = tmp_path / "pipeline_code"
    shutil.copytree(census_folder, package / "census")
    for module in census_folder.parent.glob("*.py"):
        shutil.copy(module, package)
    return package / "census"


def values_for(definition: str) -> dict[str, str]:
    """A value for every placeholder of a definition."""
    return {name: f"<{name}>" for name in placeholders_in(definition)} | {"data_bucket": "<data_bucket>"}


def test_the_committed_definition_is_fresh(census_folder: Path) -> None:
    """What is committed loads."""
    assert json.loads(load_definition(census_folder))["Version"] == "2020-12-01"


@pytest.mark.parametrize("name", ["pipeline.py", "contract.py", "../sagemaker_jobs.py", "../policy_check.py"])
def test_an_edit_makes_the_definition_stale(project_copy: Path, name: str) -> None:
    """Editing what compiling reads is refused with what to do."""
    path = project_copy / name
    path.write_text(path.read_text() + " \n")
    with pytest.raises(StaleDefinition, match=r"does not match census's pipeline code any more; run `make compile`"):
        load_definition(project_copy)


@pytest.mark.parametrize(
    ("status", "got"),
    [
        ("Approved", "'Approved'"),
        ("PendingManualApproval", "'PendingManualApproval'"),
        ({"Get": "Parameters.RunId"}, "{'Get': 'Parameters.RunId'}"),
        (None, "None"),
    ],
)
def test_a_pipeline_cannot_approve_its_own_model(project_copy: Path, status: Any, got: str) -> None:
    """A status that the pipeline chooses itself would pass for a person's answer."""
    path = project_copy / "definition.json"
    document = json.loads(path.read_text())
    register = next(step for step in all_steps(document["Steps"]) if step["Type"] == "RegisterModel")
    register["Arguments"]["ModelApprovalStatus"] = status
    if status is None:
        del register["Arguments"]["ModelApprovalStatus"]
    path.write_text(json.dumps(document))
    lock = definition_lock(CENSUS, project_folder=project_copy, definition=path.read_text())
    (project_copy / "definition.lock").write_text(lock)
    said = f"step Register of {path} registers models with ModelApprovalStatus {got}"
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_definition(project_copy)


def test_an_edited_definition_is_refused(project_copy: Path) -> None:
    """The compiled file is no place for edits."""
    path = project_copy / "definition.json"
    path.write_text(path.read_text().replace("P30D", "P90D"))
    with pytest.raises(StaleDefinition, match="is not what was compiled; run `make compile` instead of editing it"):
        load_definition(project_copy)


def test_a_broken_lock_is_refused(project_copy: Path) -> None:
    """A lock of an older kind, or a merge's leavings, is named."""
    (project_copy / "definition.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(StaleDefinition, match=r"definition.lock is not what `make compile` writes; run it"):
        load_definition(project_copy)


def test_a_change_of_the_rollout_does_not_make_it_stale(project_copy: Path) -> None:
    """What is no structure reaches the pipeline as parameter defaults, without compiling."""
    path = project_copy / "project.py"
    path.write_text(path.read_text() + "\n# edited\n")
    load_definition(project_copy)


def test_a_project_without_definition_is_refused(tmp_path: Path) -> None:
    """A new project says what to run first."""
    with pytest.raises(StaleDefinition, match=r"has no compiled definition.json .* run `make compile`"):
        load_definition(tmp_path)


def test_an_environment_renders_its_own_values(census_folder: Path) -> None:
    """Gates, instances and budgets of an environment become the pipeline's defaults; no placeholder is left."""
    project = replace(
        CENSUS,
        gates=Gates(min_auc=0.6, segments=CENSUS.gates.segments),
        instances=Instances(training="ml.m5.large"),
        tuning=replace(TUNING, max_jobs=3),
    )
    committed = load_definition(census_folder)
    text = render_definition(project, project_folder=census_folder, placeholders=values_for(committed))
    defaults = {item["Name"]: item.get("DefaultValue") for item in json.loads(text)["Parameters"]}
    assert (0.6, "ml.m5.large", 3) == tuple(
        defaults[name] for name in ("MinAuc", "TrainingInstanceType", "TuningMaxJobs")
    )
    assert "placeholder" not in text


def test_a_package_remembers_the_definition_that_made_it(census_folder: Path) -> None:
    """The hash in the package's metadata is that of the committed text, whatever the environment."""
    committed = load_definition(census_folder)
    values = {name: value for name, value in values_for(committed).items() if name != "definition_hash"}
    text = render_definition(CENSUS, project_folder=census_folder, placeholders=values)
    register = next(step for step in all_steps(json.loads(text)["Steps"]) if step["Name"] == "Register")
    assert definition_hash(committed) == register["Arguments"]["CustomerMetadataProperties"]["definition_hash"]


def test_the_shipped_environments_differ_in_values_only(census_folder: Path) -> None:
    """Every environment deploys the one committed structure."""
    values = values_for(load_definition(census_folder))
    for environment in ENVIRONMENTS:
        for project in environment.projects:
            render_definition(project, project_folder=census_folder, placeholders=values)


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"tuning": None}, "tuning.ranges"),
        ({"tuning": Tuning(ranges={"eta": FloatRange(low=0.1, high=0.2)})}, "tuning.ranges"),
        ({"tuning": replace(TUNING, strategy="Random")}, "tuning.strategy"),
        ({"training": Training(spot=True)}, "training.spot"),
        ({"instances": Instances(training="ml.c5.xlarge")}, r"instances.training \(class\)"),
        ({"optional_steps": OptionalSteps(external_check=ExternalCheck())}, "optional_steps.external_check"),
        ({"gates": Gates(segments=("gender",))}, "gates.segments"),
        ({"hyperparameters": {**CENSUS.hyperparameters, "gamma": 0.5}}, "hyperparameters"),
        ({"hyperparameters": {**CENSUS.hyperparameters, "eta": Hyperparameter(default=0.1)}}, "hyperparameters"),
        ({"experiments": True}, "experiments"),
    ],
)
def test_an_environment_cannot_change_the_structure(census_folder: Path, changed: dict[str, Any], setting: str) -> None:
    """What shapes the pipeline is refused in an environment, with where to set it instead."""
    with pytest.raises(ConfigError, match=rf"configured with {setting} = .* set .* in pipeline_code/census/project.py"):
        render_definition(replace(CENSUS, **changed), project_folder=census_folder, placeholders={})


@pytest.mark.parametrize(
    "changed",
    [
        {"limits": Limits(job=timedelta(hours=1))},
        {"rollout": Rollout(instance_count=3)},
        {"hyperparameters": {**CENSUS.hyperparameters, "eta": Hyperparameter(default=0.2, limits=FloatRange(low=0.001, high=1.0))}},
    ],
)  # fmt: skip
def test_values_are_no_structure(census_folder: Path, changed: dict[str, Any]) -> None:
    """Limits, rollout and a hyperparameter's default may differ between environments."""
    text = load_definition(census_folder)
    assert definition_lock(CENSUS, project_folder=census_folder, definition=text) == definition_lock(
        replace(CENSUS, **changed), project_folder=census_folder, definition=text
    )


def test_the_code_that_a_definition_needs_follows_from_it(census_folder: Path, everything: str) -> None:
    """Each step folder with the kind of bundle it wants."""
    usual = {"baseline": "processing", "evaluate": "processing", "preprocess": "processing", "train": "training"}
    assert usual == steps_of(load_definition(census_folder))
    assert {**usual, "decide": "function", "profile": "spark"} == steps_of(everything)


def test_every_job_and_model_goes_into_the_network(everything: str) -> None:
    """Processing, training, tuning and models run in the VPC; whatever else has no such setting."""
    text = in_network(everything, subnet_ids=["subnet-1"], security_group_ids=["sg-1"])
    placed = [step["Name"] for step in all_steps(json.loads(text)["Steps"]) if "sg-1" in json.dumps(_own(step))]
    assert ["Baseline", "CreateModel", "Evaluate", "Preprocess", "Profile", "Train", "Tune"] == sorted(placed)


def _own(step: dict[str, Any]) -> dict[str, Any]:
    return {} if step["Type"] == "Condition" else step


def test_white_space_is_all_that_compacting_loses(everything: str) -> None:
    """The compact text is the same document, and a third smaller."""
    assert json.loads(everything) == json.loads(compact(everything))
    assert len(compact(everything)) < 0.67 * len(everything)
