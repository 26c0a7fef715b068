"""What deploying a working tree would put in the place of the deployed pipeline."""

import io
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline.code_bundle import write_bundle
from dual_pipeline.definition import definition_hash, load_definition, render_definition, steps_of
from dual_pipeline.model_project import ModelProject
from dual_pipeline.placeholders import fill, placeholders_in
from dual_pipeline_cli.deployed_definition import as_deployed, learn_values
from dual_pipeline_cli.environment import EnvironmentClient, EnvironmentTrouble
from dual_pipeline_cli.working_tree import WorkingTree

ROOT = Path(__file__).parents[3]
CENSUS = ROOT / "pipeline_code" / "census"
TREE = WorkingTree(root=ROOT)


class Bucket:
    """S3 with the objects given by URI."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def client(self, service: str, /) -> Any:
        assert "s3" == service
        return self

    def get_object(self, **request: str) -> dict[str, Any]:
        uri = f"s3://{request['Bucket']}/{request['Key']}"
        if uri not in self._objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self._objects[uri])}


def _environment(objects: dict[str, bytes], *, project: str = "census") -> EnvironmentClient:
    return EnvironmentClient(
        environment="dev",
        project=project,
        outputs={"ArtifactBucketName": "artifacts"},
        region="eu-west-1",
        local=False,
        aws=Bucket(objects),
        where="a test",
    )


@dataclass(frozen=True, kw_only=True)
class Configured(WorkingTree):
    """This checkout with another configuration of census."""

    configured: ModelProject

    def project(self, name: str, *, environment: str) -> ModelProject:
        """The configuration that was given."""
        assert ("census", "dev") == (name, environment)
        return self.configured


@pytest.fixture(scope="module")
def compiled() -> str:
    return load_definition(CENSUS)


def _values(compiled: str) -> dict[str, str]:
    values = {name: f"value-of-{name}" for name in placeholders_in(compiled)}
    for step in steps_of(compiled):
        values |= {f"{step}_code_uri": f"s3://artifacts/census/code/{step}.zip", f"{step}_code_file": f"{step}.zip"}
    return values | {"definition_hash": definition_hash(compiled), "commit": TREE.commit()}


def _deployed(compiled: str) -> str:
    """The definition as deploying this checkout would leave it in dev."""
    project = TREE.project("census", environment="dev")
    return render_definition(project, project_folder=CENSUS, placeholders=_values(compiled))


def _objects(compiled: str, folder: Path) -> dict[str, bytes]:
    """The deployed code and compiled definition as they lie in the bucket."""
    code = {
        f"s3://artifacts/census/code/{step}.zip": write_bundle(CENSUS, step=step, kind=kind, folder=folder).read_bytes()
        for step, kind in steps_of(compiled).items()
    }
    return code | {f"s3://artifacts/census/code/{definition_hash(compiled)}.json": compiled.encode()}


def test_values_are_read_off_the_deployed_definition(compiled: str) -> None:
    """Every placeholder that the compiled definition uses is found again."""
    values = _values(compiled)
    assert values == learn_values(json.loads(compiled), json.loads(fill(compiled, values)))


def test_unchanged_checkout_renders_what_is_deployed(compiled: str, tmp_path: Path) -> None:
    """With the same code and configuration it is the deployed definition, the environment's own defaults included."""
    deployed = _deployed(compiled)
    environment = _environment(_objects(compiled, tmp_path))
    assert json.loads(deployed) == json.loads(as_deployed(environment, TREE, deployed))


def test_default_of_the_configuration_needs_no_compiling(compiled: str, tmp_path: Path) -> None:
    """A default that was changed in project.py alone is that of the parameter."""
    project = TREE.project("census", environment="dev")
    eta = replace(project.declared_hyperparameters["eta"], default=0.25)
    tree = Configured(root=ROOT, configured=replace(project, hyperparameters={**project.hyperparameters, "eta": eta}))
    rendered = json.loads(as_deployed(_environment(_objects(compiled, tmp_path)), tree, _deployed(compiled)))
    defaults = {each["Name"]: each.get("DefaultValue") for each in rendered["Parameters"]}
    assert 0.25 == defaults["HyperEta"]


def test_changed_code_gets_a_name_of_its_own(compiled: str, tmp_path: Path) -> None:
    """Only the step whose deployed code has other bytes is given another URI."""
    objects = _objects(compiled, tmp_path) | {"s3://artifacts/census/code/train.zip": b"older code"}
    rendered = as_deployed(_environment(objects), TREE, _deployed(compiled))
    assert "s3://artifacts/census/code/train.zip" not in rendered
    assert "s3://artifacts/census/code/preprocess.zip" in rendered
    assert set() == placeholders_in(rendered)


def test_project_that_is_not_here(compiled: str) -> None:
    """A checkout without the environment's project says where it looked."""
    with pytest.raises(EnvironmentTrouble, match=r"has no environment 'dev' with a project 'other'"):
        as_deployed(_environment({}, project="other"), TREE, compiled)


def test_configuration_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    """A mistake in a person's own environments.py is told with file and line."""
    (tmp_path / "environments.py").write_text("ENVIRONMENTS = (missing,)\n")
    code = (
        "from pathlib import Path; from dual_pipeline_cli.working_tree import WorkingTree;"
        " from dual_pipeline_cli.environment import answer;"
        " raise SystemExit(answer(lambda: WorkingTree(root=Path()).project('census', environment='dev')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 2 == ended.returncode
    assert "cannot be imported: NameError: name 'missing' is not defined (" in ended.stderr
    assert "environments.py, line 1)" in ended.stderr
