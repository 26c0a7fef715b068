"""The compiled census pipeline fits the code and the files that it names."""

import copy
import json
import math
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sagemaker.core.shapes.model_card_shapes import ModelCardContent

from compiled import compile_census, compile_everything
from dual_pipeline import loop_contract
from dual_pipeline.code_bundle import write_bundle
from dual_pipeline.definition import all_steps, steps_of
from dual_pipeline.hyperparameters import FloatRange, Hyperparameter, IntegerRange
from dual_pipeline.instance_types import takes_volume_key
from dual_pipeline.model_project import Instances, SmokeTraining, Training
from dual_pipeline.placeholders import PLACEHOLDERS, canonical
from dual_pipeline_local.sagemaker.pipelines.conditions import holds
from dual_pipeline_local.sagemaker.pipelines.expressions import ExpressionError, Scope
from pipeline_code.census import contract, inference
from pipeline_code.census.decide import handler
from pipeline_code.census.evaluate.logic import Holdout, Policy, evaluation
from pipeline_code.census.project import CENSUS
from pipeline_code.census.train.hyperparameters import parser
from pipeline_code.definition_check import definition_problems, sample
from pipeline_code.request_check import check_request

pytestmark = pytest.mark.xdist_group("compile")

Json = dict[str, Any]


@pytest.fixture(scope="module")
def definition() -> str:
    """The definition with every optional step."""
    return compile_everything()


@pytest.fixture(scope="module")
def steps(definition: str) -> dict[str, Json]:
    """Its steps by name."""
    return {step["Name"]: step for step in all_steps(json.loads(definition)["Steps"])}


@pytest.fixture(scope="module")
def parameters(definition: str) -> dict[str, Json]:
    """Its parameters by name."""
    return {parameter["Name"]: parameter for parameter in json.loads(definition)["Parameters"]}


def resolve(node: Any, values: dict[str, str]) -> Any:
    """A node with each reference replaced by its value, joins joined."""
    if isinstance(node, dict) and node.keys() == {"Get"}:
        return values.get(node["Get"], "s3://bucket/some/where")
    if isinstance(node, dict) and node.keys() == {"Std:Join"}:
        return node["Std:Join"]["On"].join(str(resolve(value, values)) for value in node["Std:Join"]["Values"])
    if isinstance(node, dict):
        return {key: resolve(value, values) for key, value in node.items()}
    return [resolve(item, values) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", ["Preprocess", "Baseline", "Evaluate", "Profile"])
def test_every_step_takes_the_arguments_that_it_is_given(
    name: str, definition: str, steps: dict[str, Json], parameters: dict[str, Json], census_folder: Path, tmp_path: Path
) -> None:
    """The step's own parser knows each argument of its job, and misses none: only a nonsense one is refused."""
    kind = steps_of(definition)[name.lower()]
    bundle = write_bundle(census_folder, step=name.lower(), kind=kind, folder=tmp_path)
    given = sample(steps[name]["Arguments"]["AppSpecification"]["ContainerArguments"], parameters, steps)
    command = [sys.executable, str(bundle), *given, "--nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.endswith("error: unrecognized arguments: --nonsense\n"), done.stderr


def test_training_takes_its_hyperparameters(
    steps: dict[str, Json], parameters: dict[str, Json], census_folder: Path, tmp_path: Path
) -> None:
    """The train step's parser knows each hyperparameter, the device too."""
    given = sample(steps["Train"]["Arguments"]["HyperParameters"], parameters, steps)
    arguments = [f"--{name}={value}" for name, value in given.items() if not name.startswith("sagemaker_")]
    with tarfile.open(write_bundle(census_folder, step="train", kind="training", folder=tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    command = [sys.executable, str(tmp_path / "train.py"), *arguments, "--nonsense"]
    folders = {f"SM_CHANNEL_{name}": str(tmp_path) for name in ("TRAIN", "VALIDATION", "ENCODING")}
    environment = {"PATH": "/usr/bin:/bin", "SM_MODEL_DIR": str(tmp_path), **folders}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stderr.endswith("error: unrecognized arguments: --nonsense\n"), done.stderr


@pytest.mark.parametrize(("name", "hyperparameter"), CENSUS.declared_hyperparameters.items())
def test_training_takes_whatever_an_execution_may_ask_for(name: str, hyperparameter: Hyperparameter) -> None:
    """The ends of a hyperparameter's limits lie within those of the step itself."""
    defaults = {each: str(value.default) for each, value in CENSUS.declared_hyperparameters.items()}
    assert isinstance(hyperparameter.limits, IntegerRange | FloatRange)
    for end in (hyperparameter.limits.low, hyperparameter.limits.high):
        given = {**defaults, name: str(end)}
        parsed = parser(None).parse_args([f"--{each}={value}" for each, value in given.items()])
        assert end == getattr(parsed, name)


def test_what_the_gate_reads_is_what_evaluate_writes(steps: dict[str, Json]) -> None:
    """Every JsonGet finds a value of a type that can be compared in a real report."""
    generator = np.random.default_rng(1)
    labels = generator.random(400) < 0.3
    policy = Policy(
        floors={"auc": 0.6, "accuracy": 0.5}, max_auc_drop=0.005, compare_with_champion=True, segments={}, seed=17
    )
    holdout = Holdout(labels, labels * 0.4 + generator.random(400) * 0.6, baseline=generator.random(400))
    report = evaluation(holdout, policy=policy, source="default", baseline_description="a coin")
    written = json.loads(json.dumps(report))
    paths = re.findall(r'"Path": "([^"]+)"', json.dumps(steps["Gate"]))
    assert {
        "gate.passed",
        "binary_classification_metrics.auc.value",
        "binary_classification_metrics.accuracy.value",
    } == set(paths)
    for path in paths:
        value = written
        for part in path.split("."):
            value = value[part]
        assert isinstance(value, bool if path.startswith("gate") else float), path


@pytest.mark.parametrize("poison", [7.0, 1.01, 0.5, -1.0, "0.99", True, None, math.nan], ids=str)
@pytest.mark.parametrize("metric", ["auc", "accuracy"])
def test_no_impossible_metric_passes_the_gate(steps: dict[str, Json], metric: str, poison: Any) -> None:
    """Whatever a report says of itself, the condition holds for possible numbers above the floors alone."""
    good = {"gate": {"passed": True}, **_metrics(auc=0.93, accuracy=0.87)}
    assert _passes(steps["Gate"], good)
    forged = {"gate": {"passed": True}, **_metrics(**{"auc": 0.93, "accuracy": 0.87, metric: poison})}
    assert not _passes(steps["Gate"], forged)
    assert not _passes(steps["Gate"], {**good, "gate": {"passed": "true"}})


def _metrics(**values: Any) -> Json:
    return {"binary_classification_metrics": {name: {"value": value} for name, value in values.items()}}


def _passes(gate: Json, report: Json) -> bool:
    """Whether the compiled condition holds for a report, as the local SageMaker evaluates it."""
    scope = Scope(
        parameters={"MinAuc": CENSUS.gates.min_auc, "MinAccuracy": CENSUS.gates.min_accuracy},
        execution=str,
        read=lambda _: json.dumps(report).encode(),
        steps={
            "Evaluate": {"ProcessingOutputConfig": {"Outputs": {"evaluation": {"S3Output": {"S3Uri": "s3://b/e"}}}}}
        },
        property_files={("Evaluate", "EvaluationReport"): ("evaluation", "evaluation.json")},
    )
    try:
        return all(holds(condition, scope) for condition in gate["Arguments"]["Conditions"])
    except ExpressionError:
        return False


def test_loops_and_steps_give_files_the_same_names() -> None:
    """What the outer loop, the registry and the condition read is what the steps write."""
    shared = [name for name in vars(loop_contract) if name.endswith("_FILE")]
    kinds = ("DRIFT_BASELINE", "EVALUATION", "GOLDEN_REQUEST", "GOLDEN_ROWS", "REPORT", "SAMPLE_PAYLOAD")
    assert {f"{kind}_FILE" for kind in kinds} == set(shared)
    assert [getattr(loop_contract, name) for name in shared] == [getattr(contract, name) for name in shared]
    # These two stand alone: one travels in the model, one runs in Lambda.
    assert (contract.MODEL_FILE, contract.ENCODING_FILE) == (inference.MODEL_FILE, inference.ENCODING_FILE)
    assert contract.EVALUATION_FILE == handler.FILE


def test_tuning_trains_exactly_as_training_does(steps: dict[str, Json]) -> None:
    """Same code, data, disks, keys, checkpoints, limits and isolation; other hyperparameters and another place."""
    train, tuned = steps["Train"]["Arguments"], steps["Tune"]["Arguments"]["TrainingJobDefinition"]
    same = "CheckpointConfig EnableManagedSpotTraining EnableNetworkIsolation Environment ResourceConfig StoppingCondition RoleArn"
    assert {name: train[name] for name in same.split()} == {name: tuned[name] for name in same.split()}
    assert train["AlgorithmSpecification"] == tuned["AlgorithmSpecification"]
    sources = [[channel["DataSource"] for channel in each["InputDataConfig"]] for each in (train, tuned)]
    assert sources[0] == sources[1]
    searched = train["HyperParameters"].keys() - tuned["StaticHyperParameters"].keys()
    assert CENSUS.tuning is not None
    assert CENSUS.tuning.ranges.keys() == searched


def test_a_gpu_class_gets_its_image_device_and_no_volume_key() -> None:
    """XGBoost's image is one for both; local disks take no key, and the definition has no problem."""
    text = compile_census(
        replace(
            CENSUS,
            instances=Instances(training="ml.g5.xlarge"),
            training=Training(device="cuda"),
            smoke_training=SmokeTraining(instance="ml.g5.xlarge"),
        )
    )
    train = next(step for step in json.loads(text)["Steps"] if step["Name"] == "Train")["Arguments"]
    assert not takes_volume_key("ml.g5.xlarge")
    assert "VolumeKmsKeyId" not in train["ResourceConfig"]
    assert ("cuda", True) == (train["HyperParameters"]["device"], "xgboost-image" in json.dumps(train))


def test_the_package_remembers_within_the_limits(steps: dict[str, Json]) -> None:
    """Lineage of realistic length passes botocore's own model of the request."""
    arguments = copy.deepcopy(steps["Register"]["Arguments"])
    values = {
        "Parameters.RunId": "census-20261121-083000-9f8e7d6c",
        "Parameters.TriggerReason": "new data: s3://bucket/raw/census.csv",
        "Parameters.ChampionUri": "s3://bucket/census/executions/abc123def456/evaluate/model/",
        "Parameters.QualityVerdictUri": "s3://bucket/census/runs/5f3a9b1c-0000-4000-8000-000000000000_5f3a9b1c/verdict.json",
        "Parameters.ModelApprovalStatus": "PendingManualApproval",
        "Execution.PipelineExecutionId": "abc123def456",
    }
    request = resolve(arguments, values)
    assert [] == list(check_request("CreateModelPackage", request))
    wanted = {"run_id", "reason", "snapshot_uri", "champion_uri", "execution_id", "definition_hash", "commit", "image"}
    wanted.add("quality_verdict_uri")
    codes = {f"code_{step}" for step in ("baseline", "decide", "evaluate", "preprocess", "profile", "train")}
    assert wanted | codes == request["CustomerMetadataProperties"].keys()
    assert request["SamplePayloadUrl"].endswith("/sample_payload.tar.gz")
    assert request["DriftCheckBaselines"]["ModelDataQuality"]["Statistics"]["S3Uri"].endswith("/drift_baseline.json")
    assert request["ModelMetrics"]["ModelDataQuality"]["Statistics"]["S3Uri"].endswith("/verdict.json")
    assert request["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"].endswith("/evaluation.json")


def test_the_model_card_is_json_of_amazons_schema(steps: dict[str, Json]) -> None:
    """Joined with an execution's values it parses, fits the SDK's model of a card and the API's limit."""
    card = steps["Register"]["Arguments"]["ModelCard"]
    assert "Draft" == card["ModelCardStatus"]
    told = {"Parameters.TriggerReason": "person", "Parameters.TriggerDetail": r"a café opened,\n\"at last\""}
    text = resolve(card["ModelCardContent"], told)
    content = ModelCardContent.model_validate_json(text)
    assert content.additional_information is not None
    details = content.additional_information.custom_details or {}
    assert ("person", 'a café opened,\n"at last"') == (details["reason"], details["detail"])
    # A package's card knows no other members: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html
    assert {"model_artifact", "model_creator"} == json.loads(text)["model_overview"].keys()
    assert len(text) < 100_000


def test_free_text_reaches_the_model_card_alone(
    definition: str, steps: dict[str, Json], parameters: dict[str, Json]
) -> None:
    """What people write fits no metadata; no execution needs to give it."""
    free = '"Parameters.TriggerDetail"'
    card = json.dumps(steps["Register"]["Arguments"]["ModelCard"])
    assert (1, 1) == (definition.count(free), card.count(free))
    assert "" == parameters["TriggerDetail"]["DefaultValue"]


def test_the_verdict_on_the_data_reaches_the_package_alone(
    definition: str, steps: dict[str, Json], parameters: dict[str, Json]
) -> None:
    """It differs in every run, so that no cached step may see it; an execution by hand need not give it."""
    told = '"Parameters.QualityVerdictUri"'
    assert (2, 2) == (definition.count(told), json.dumps(steps["Register"]["Arguments"]).count(told))
    assert PLACEHOLDERS["no_verdict_uri"] == parameters["QualityVerdictUri"]["DefaultValue"]


def test_numbers_out_of_range_end_in_one_sentence(steps: dict[str, Json], parameters: dict[str, Json]) -> None:
    """Each ranged parameter is compared twice, and the failure names its range and the value got."""
    conditions = steps["CheckParameters"]["Arguments"]["Conditions"]
    compared = [condition["LeftValue"]["Get"].removeprefix("Parameters.") for condition in conditions]
    ranged = {name for name, each in parameters.items() if each["Type"] in ("Integer", "Float")}
    assert ranged == set(compared)
    assert all(2 == compared.count(name) for name in ranged)
    message = resolve(steps["BadParameters"]["Arguments"]["ErrorMessage"], {"Parameters.MinAuc": "0.2"})
    assert message.startswith("a parameter is out of its range: ProcessingInstanceCount from 1 to 100 (got ")
    assert "; MinAuc from 0.5 to 1 (got 0.2); " in message
    assert message.endswith(")")


def test_sharing_the_work_is_asked_for_where_it_is_shared(steps: dict[str, Json]) -> None:
    """Preprocess runs on many instances, each with its share of the snapshot and told which one it is."""
    arguments = steps["Preprocess"]["Arguments"]
    assert {"Get": "Parameters.ProcessingInstanceCount"} == arguments["ProcessingResources"]["ClusterConfig"][
        "InstanceCount"
    ]
    snapshot = arguments["ProcessingInputs"][1]["S3Input"]
    assert "ShardedByS3Key" == snapshot["S3DataDistributionType"]
    assert "--resource-config=/opt/ml/config/resourceconfig.json" in arguments["AppSpecification"]["ContainerArguments"]


def test_experiments_are_off_unless_asked_for(definition: str, census_folder: Path) -> None:
    """Switched on, the pipeline is the experiment and its execution the trial."""
    config = {
        "ExperimentName": {"Get": "Execution.PipelineName"},
        "TrialName": {"Get": "Execution.PipelineExecutionId"},
    }
    assert config == json.loads(definition)["PipelineExperimentConfig"]
    committed = json.loads((census_folder / "definition.json").read_text())
    assert "PipelineExperimentConfig" not in committed
    assert [] == definition_problems(committed, canonical(committed))
