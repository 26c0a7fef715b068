"""What made a model, and what would be different today, from what AWS's APIs answer."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline_cli.environment import EnvironmentClient, EnvironmentTrouble
from dual_pipeline_cli.lineage import Change, Recipe, changes, released, trace

EXECUTION = "arn:aws:sagemaker:eu-west-1:1:pipeline/dev-census/execution/abc"
PACKAGE = "arn:aws:sagemaker:eu-west-1:1:model-package/dev-census/3"
TRAIN: dict[str, Any] = {
    "StepName": "Train",
    "StepStatus": "Succeeded",
    "StartTime": datetime(2026, 6, 1, tzinfo=UTC),
    "Metadata": {"TrainingJob": {"Arn": "arn:aws:sagemaker:eu-west-1:1:training-job/train-1"}},
}
GATE = {**TRAIN, "StepName": "Gate", "Metadata": {"Condition": {"Outcome": "True"}}}
MANIFEST = json.dumps({"rows": 32561, "sources": ["census.csv"]}).encode()
EVALUATION = {
    "binary_classification_metrics": {"auc": {"value": 0.93}, "confusion_matrix": {"0": {}}},
    "champion": {"sentence": "better than the champion by 0.002"},
    "tuning": None,
}
OBJECTS = {
    "s3://data/snapshots/aaa/manifest.json": MANIFEST,
    "s3://artifacts/abc/evaluation.json": json.dumps(EVALUATION).encode(),
}


def _definition(*, code: str = "c1.tar.gz", eta: float = 0.1) -> str:
    parameters = [
        {"Name": "SnapshotUri", "Type": "String"},
        {"Name": "HyperEta", "Type": "Float", "DefaultValue": eta},
    ]
    metadata = {"run_id": {"Get": "Parameters.SnapshotUri"}, "code_train": code, "definition_hash": "d1"}
    step = {"Name": "Register", "Type": "RegisterModel", "Arguments": {"CustomerMetadataProperties": metadata}}
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters, "Steps": [step]})


def _object(**request: str) -> dict[str, Any]:
    return {"Body": io.BytesIO(OBJECTS[f"s3://{request['Bucket']}/{request['Key']}"])}


class Aws:
    """Clients that answer what is written down, by operation; a table of answers or a function of the request."""

    def __init__(self, **answers: Any) -> None:
        package = {
            "ModelPackageArn": PACKAGE,
            "ModelApprovalStatus": "Approved",
            "CustomerMetadataProperties": {
                "run_id": "run-1",
                "reason": "data",
                "snapshot_uri": "s3://data/snapshots/aaa/",
                "champion_uri": "s3://none.json",
                "code_train": "c1.tar.gz",
                "definition_hash": "d1",
            },
            "MetadataProperties": {"GeneratedBy": EXECUTION},
            "InferenceSpecification": {"Containers": [{"ModelDataUrl": "s3://artifacts/abc/model.tar.gz"}]},
            "ModelMetrics": {"ModelQuality": {"Statistics": {"S3Uri": "s3://artifacts/abc/evaluation.json"}}},
        }
        self._answers: dict[str, Any] = {
            "describe_model_package": package,
            "describe_pipeline_definition_for_execution": {"PipelineDefinition": _definition()},
            "describe_pipeline": {"PipelineDefinition": _definition()},
            "list_pipeline_parameters_for_execution": [
                {"PipelineParameters": [{"Name": "SnapshotUri", "Value": "s3://data/snapshots/aaa/"}]}
            ],
            "list_pipeline_execution_steps": [{"PipelineExecutionSteps": [TRAIN, GATE]}],
            "describe_training_job": {"ModelArtifacts": {"S3ModelArtifacts": "s3://artifacts/abc/train/model.tar.gz"}},
            "list_model_packages": [
                {"ModelPackageSummaryList": [{"ModelPackageArn": PACKAGE, "ModelPackageVersion": 3}]}
            ],
            "describe_endpoint": {"EndpointConfigName": "config"},
            "describe_endpoint_config": {"ProductionVariants": [{"ModelName": "model"}]},
            "describe_model": {"Containers": [{"ModelPackageName": PACKAGE}]},
            "get_item": self._item,
            "query": [{"Items": [{"sk": {"S": "RUN#run-1"}, "snapshot_uri": {"S": "s3://data/snapshots/aaa/"}}]}],
            "get_object": _object,
            **answers,
        }
        self._items = {
            "RUN#run-1": {"Item": {"outcome": {"S": "released"}, "reason": {"S": "the model serves"}}},
            "CHAMPION#dev-census": {},
        }

    def _item(self, **request: Any) -> Any:
        return self._items.get(request["Key"]["sk"]["S"], {})

    def client(self, _service: str, /) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        pages = self._answers[operation]
        return type("Pages", (), {"paginate": lambda _self, **_: pages})()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        answer = self._answers[operation]
        return answer if callable(answer) else lambda **_: answer


def _environment(**answers: Any) -> EnvironmentClient:
    return EnvironmentClient(
        environment="dev",
        project="census",
        outputs={
            "PipelineName": "dev-census",
            "ModelPackageGroupName": "dev-census",
            "LedgerTableName": "ledger",
            "EndpointName": "dev-census",
        },
        region="eu-west-1",
        local=False,
        aws=Aws(**answers),
        where="a test",
    )


@pytest.mark.parametrize("name", [PACKAGE, "3", "dev-census/3", "dev-census"])
def test_whole_ancestry(name: str) -> None:
    """Package, version and endpoint lead to the same data, code, parameters, run and metrics."""
    told = trace(_environment(), name).document()
    assert ("Approved", PACKAGE) == (told["model"]["status"], told["model"]["package"])
    assert ("run-1", EXECUTION, "released") == tuple(
        told["run"][fact] for fact in ("run id", "pipeline execution", "outcome")
    )
    assert (32561, hashlib.sha256(MANIFEST).hexdigest()) == (told["data"]["rows"], told["data"]["manifest sha256"])
    assert {"code_train": "c1.tar.gz", "definition_hash": "d1"} == told["code"]
    assert {"SnapshotUri": "s3://data/snapshots/aaa/", "HyperEta": 0.1} == told["parameters"]
    assert {"auc": 0.93, "champion": "better than the champion by 0.002"} == told["evaluation"]
    assert {
        "model": "s3://artifacts/abc/model.tar.gz",
        "evaluation": "s3://artifacts/abc/evaluation.json",
        "Train": "s3://artifacts/abc/train/model.tar.gz",
    } == told["artifacts"]
    assert {"Train": TRAIN["Metadata"]["TrainingJob"]["Arn"]} == told["jobs"]


def test_today_differs_by_code_and_parameters() -> None:
    """What the deployed definition has otherwise is told with both values."""
    deployed = {"PipelineDefinition": _definition(code="c2.tar.gz", eta=0.3)}
    today = trace(_environment(describe_pipeline=deployed), "3").today
    assert Change(what="code of train", then="c1.tar.gz", now="c2.tar.gz") in today
    assert Change(what="parameter HyperEta", then="0.1", now="0.3") in today


def test_recipes_alike_have_no_changes() -> None:
    """Nothing different is nothing to tell, whatever only a run decides."""
    given, other = {"RunId": "1", "TriggerDetail": "ada: again"}, {"RunId": "2", "TriggerDetail": ""}
    recipe = Recipe(metadata={"commit": "a"}, parameters=given, snapshot_uri="s", champion_uri="c")
    again = Recipe(metadata={"commit": "a"}, parameters=other, snapshot_uri="s", champion_uri="c")
    assert [] == list(changes(recipe, again))


def test_newer_data_and_champion_are_changes() -> None:
    """The latest snapshot and the present champion count."""
    then = Recipe(snapshot_uri="s3://a", champion_uri="")
    now = Recipe(snapshot_uri="s3://b", champion_uri="s3://model")
    assert [
        Change(what="snapshot", then="s3://a", now="s3://b"),
        Change(what="champion", then="none", now="s3://model"),
    ] == list(changes(then, now))


def _refuse(message: str) -> Callable[..., Any]:
    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "Describe")

    return refuse


@pytest.mark.parametrize(
    ("name", "answers", "sentence"),
    [
        ("7", {}, "model package group dev-census has no version 7"),
        ("nowhere", {"describe_endpoint": _refuse("Could not find endpoint")}, "no endpoint nowhere in a test"),
        ("dev-census", {"describe_model": {"PrimaryContainer": {}}}, "serves a model that is from no package"),
        (
            PACKAGE,
            {"describe_model_package": {"ModelPackageArn": PACKAGE}},
            "was not made by a pipeline: it names no execution",
        ),
    ],
)
def test_what_has_no_lineage_is_told(name: str, answers: dict[str, Any], sentence: str) -> None:
    """A model that is not there, or came from elsewhere, is one sentence."""
    with pytest.raises(EnvironmentTrouble, match=sentence):
        trace(_environment(**answers), name)


def test_a_released_model_is_found_without_an_endpoint() -> None:
    """By the endpoint's name, or by the champion where models score in batch; before a release a sentence says so."""
    assert "dev-census" == released(_environment())
    outputs = {"LedgerTableName": "ledger", "ScoresUri": "s3://artifacts/census/scores/"}
    champion = {"Item": {"model_package_arn": {"S": PACKAGE}, "run_id": {"S": "run-1"}}}
    assert PACKAGE == released(replace(_environment(get_item=champion), outputs=outputs))
    with pytest.raises(EnvironmentTrouble, match="census in dev has no champion yet: name a package's ARN or version"):
        released(replace(_environment(get_item={}), outputs=outputs))
