"""The pipeline of a checkout with an environment's values in it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline.code_bundle import write_bundle
from dual_pipeline.definition import definition_hash, load_definition, steps_of
from dual_pipeline.placeholders import fill, placeholders_in
from dual_pipeline_cli.environment import EnvironmentClient, EnvironmentTrouble
from dual_pipeline_cli.rendering import learn_values, render_checkout

ROOT = Path(__file__).parents[3]
CENSUS = ROOT / "pipeline_code" / "census"


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


@pytest.fixture(scope="module")
def compiled() -> str:
    return load_definition(CENSUS)


def _values(compiled: str) -> dict[str, str]:
    values = {name: f"value-of-{name}" for name in placeholders_in(compiled)}
    for step in steps_of(compiled):
        values |= {f"{step}_code_uri": f"s3://artifacts/census/code/{step}.zip", f"{step}_code_file": f"{step}.zip"}
    return values | {"definition_hash": definition_hash(compiled)}


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
    """With the same code the rendered definition is the deployed one, the environment's own defaults included."""
    deployed = fill(compiled, _values(compiled), parameter_defaults={"MinAuc": 0.91})
    environment = _environment(_objects(compiled, tmp_path))
    assert json.loads(deployed) == json.loads(render_checkout(environment, deployed, root=ROOT))


def test_changed_code_gets_a_name_of_its_own(compiled: str, tmp_path: Path) -> None:
    """Only the step whose deployed code has other bytes is given another URI."""
    deployed = fill(compiled, _values(compiled))
    objects = _objects(compiled, tmp_path) | {"s3://artifacts/census/code/train.zip": b"older code"}
    rendered = render_checkout(_environment(objects), deployed, root=ROOT)
    assert "s3://artifacts/census/code/train.zip" not in rendered
    assert "s3://artifacts/census/code/preprocess.zip" in rendered
    assert set() == placeholders_in(rendered)


def test_project_that_is_not_here(compiled: str) -> None:
    """A checkout without the environment's project says where it looked."""
    with pytest.raises(EnvironmentTrouble, match=r"no .*pipeline_code/other: run it in the project's checkout"):
        render_checkout(_environment({}, project="other"), compiled, root=ROOT)
