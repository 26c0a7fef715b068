"""Which steps hit the cache, and in which words the others are told to miss."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_cli.differences import differences
from dual_pipeline_cli.forecast import PastExecution, PastStep, StepForecast, Verdict, duration, forecast
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.step import Step

NOW = datetime(2026, 6, 1, tzinfo=UTC)
VALUES = {"SnapshotUri": "s3://data/census/snapshots/aaa/", "ChampionUri": "s3://none.json", "HyperEta": 0.1}
CODE = {"preprocess": "1" * 64, "train": "2" * 64, "evaluate": "3" * 64}
CACHE = {"Enabled": True, "ExpireAfter": "P30D"}


def _input(name: str, uri: Any) -> dict[str, Any]:
    return {"InputName": name, "S3Input": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{name}"}}


def _processing(step: str, code: str, *, inputs: list[dict[str, Any]], arguments: list[Any]) -> dict[str, Any]:
    return {
        "AppSpecification": {
            "ImageUri": "account/xgboost:3",
            "ContainerEntrypoint": ["python3", f"/opt/ml/processing/input/code/{code}.zip"],
            "ContainerArguments": arguments,
        },
        "ProcessingInputs": [_input("code", f"s3://artifacts/census/code/{code}.zip"), *inputs],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": {
                            "Std:Join": {
                                "On": "/",
                                "Values": ["s3://artifacts", {"Get": "Execution.PipelineExecutionId"}, step],
                            }
                        }
                    },
                }
            ]
        },
    }


def _definition(*, code: Mapping[str, str] = CODE, expire: str = "P30D", depth: str = "6") -> Definition:
    cache = {"Enabled": True, "ExpireAfter": expire}
    prepared = {"Get": "Steps.Preprocess.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
    steps = [
        {
            "Name": "Preprocess",
            "Type": "Processing",
            "CacheConfig": cache,
            "Arguments": _processing(
                "preprocess",
                code["preprocess"],
                inputs=[_input("snapshot", {"Get": "Parameters.SnapshotUri"})],
                arguments=["--seed=17"],
            ),
        },
        {
            "Name": "Train",
            "Type": "Training",
            "CacheConfig": cache,
            "Arguments": {
                "AlgorithmSpecification": {"TrainingImage": "account/xgboost:3"},
                "HyperParameters": {
                    "eta": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.HyperEta"}]}},
                    "max_depth": depth,
                    "sagemaker_submit_directory": f"/opt/ml/input/data/code/{code['train']}.tar.gz",
                },
                "InputDataConfig": [
                    {"ChannelName": name, "DataSource": {"S3DataSource": {"S3Uri": uri}}}
                    for name, uri in (
                        ("code", f"s3://artifacts/census/code/{code['train']}.tar.gz"),
                        ("train", prepared),
                    )
                ],
            },
        },
        {
            "Name": "Evaluate",
            "Type": "Processing",
            "CacheConfig": cache,
            "Arguments": _processing(
                "evaluate",
                code["evaluate"],
                inputs=[
                    _input("model", {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}),
                    _input("champion", {"Get": "Parameters.ChampionUri"}),
                ],
                arguments=["--min-auc=0.8"],
            ),
        },
    ]
    parameters = [
        {"Name": name, "Type": "Float" if isinstance(value, float) else "String", "DefaultValue": value}
        for name, value in VALUES.items()
    ]
    return Definition.parse(json.dumps({"Version": "2020-12-01", "Parameters": parameters, "Steps": steps}))


def _past(
    run: str, *, days: float = 1, steps: tuple[str, ...] = ("Preprocess", "Train", "Evaluate"), **more: Any
) -> PastExecution:
    """An execution so many days ago, whose outputs lie under its name."""
    shown = {
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://artifacts/{run}/model.tar.gz"},
        "ProcessingOutputConfig": {"Outputs": {"out": {"S3Output": {"S3Uri": f"s3://artifacts/{run}/out"}}}},
    }
    return PastExecution(
        arn=f"arn:{run}",
        run=run,
        definition=more.get("definition", _definition()),
        values=more.get("values", VALUES),
        steps={name: PastStep(finished=NOW - timedelta(days=days), properties=lambda: shown) for name in steps},
        cached=frozenset(more.get("cached", ())),
    )


def _told(found: list[StepForecast]) -> dict[str, tuple[Verdict, tuple[str, ...]]]:
    return {one.step: (one.verdict, one.reasons) for one in found}


def _forecast(definition: Definition | None = None, *history: PastExecution, **values: Any) -> dict[str, Any]:
    return _told(forecast(definition or _definition(), {**VALUES, **values}, history or [_past("r1")], now=NOW))


HIT, MISS = Verdict.HIT, Verdict.MISS


def test_equal_run_hits_everywhere() -> None:
    """Nothing changed: every step is taken from the earlier execution, until it expires."""
    found = forecast(_definition(), VALUES, [_past("r1", days=1)], now=NOW)
    assert {HIT} == {one.verdict for one in found}
    assert {"r1"} == {one.source.run for one in found if one.source}
    assert {NOW + timedelta(days=29)} == {one.expires for one in found}


def test_changed_code_of_train() -> None:
    """Only what depends on train runs again, and the code's hashes are told."""
    assert {
        "Preprocess": (HIT, ()),
        "Train": (MISS, ("code of Train changed: 222222222222 -> 444444444444",)),
        "Evaluate": (MISS, ("because Train runs anew",)),
    } == _forecast(_definition(code={**CODE, "train": "4" * 64}))


def test_changed_hyperparameter() -> None:
    """A parameter and a constant are told with both values."""
    assert (MISS, ("hyperparameter eta 0.1 -> 0.2",)) == _forecast(HyperEta=0.2)["Train"]
    assert (MISS, ("hyperparameter max_depth 6 -> 8",)) == _forecast(_definition(depth="8"))["Train"]


def test_changed_snapshot_runs_everything() -> None:
    """Another snapshot is named by its last part, what follows by the step before it."""
    found = _forecast(SnapshotUri="s3://data/census/snapshots/bbb/")
    assert (MISS, ("another snapshot: aaa -> bbb",)) == found["Preprocess"]
    assert [(MISS, ("because Preprocess runs anew",)), (MISS, ("because Train runs anew",))] == [
        found["Train"],
        found["Evaluate"],
    ]


def test_changed_champion_runs_evaluate_only() -> None:
    """Another champion is a reason of its own."""
    found = _forecast(ChampionUri="s3://artifacts/r0/model.tar.gz")
    assert [HIT, HIT, MISS] == [verdict for verdict, _ in found.values()]
    assert ("another champion: none.json -> artifacts/r0/model.tar.gz",) == found["Evaluate"][1]


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ("s3://a/p/executions/r1/model.tar.gz", "s3://a/p/executions/r2/model.tar.gz", "r1 -> r2"),
        (
            "s3://a/p/code/none.json",
            "s3://a/p/executions/r2/model.tar.gz",
            "code/none.json -> executions/r2/model.tar.gz",
        ),
        ("s3://a/p", "s3://a/p/q", "p -> p/q"),
        ("s3://a/x/x/x", "s3://a/x/x", "x/x -> x"),
    ],
)
def test_uris_are_told_by_what_differs(then: str, now: str, told: str) -> None:
    """Of two URIs the parts are told in which they differ, never the same words twice."""
    step = Step(name="Evaluate", type="Processing", arguments={}, source={}, branch=None)
    (found,) = differences(
        step, *({"ProcessingInputs": [{"InputName": "champion", "S3Input": {"S3Uri": uri}}]} for uri in (then, now))
    )
    assert f"another champion: {told}" == found.sentence


def test_expired_run_says_when() -> None:
    """An equal run that is too old says how long it has been so."""
    found = _forecast(None, _past("r1", days=31.5))
    assert (MISS, ("its run of r1 expired 1 d 12 h ago",)) == found["Preprocess"]


def test_nearest_run_explains() -> None:
    """The reasons are those of the earlier run that differs least."""
    other = _past("r2", values={**VALUES, "HyperEta": 0.5, "SnapshotUri": "s3://data/x/"})
    found = _forecast(None, other, _past("r1"), HyperEta=0.2)
    assert (MISS, ("hyperparameter eta 0.1 -> 0.2",)) == found["Train"]


def test_step_after_another_run_of_its_source() -> None:
    """A step that never ran on what its source is taken from says so."""
    history = [_past("r2", steps=("Preprocess",)), _past("r1")]
    assert (MISS, ("Preprocess is taken from run r2, this step last ran after another one",)) == _forecast(
        None, *history
    )["Train"]


def test_only_runs_of_its_own_count() -> None:
    """A step that was itself taken from the cache is no source and does not prolong one."""
    found = forecast(
        _definition(), VALUES, [_past("r2", days=1, cached=("Preprocess",)), _past("r1", days=20)], now=NOW
    )
    assert ("r1", NOW + timedelta(days=10)) == (found[0].source and found[0].source.run, found[0].expires)


def test_first_execution_and_caching_off() -> None:
    """Without history there is nothing to hit; a step without CacheConfig says that caching is off."""
    found = _told(forecast(_definition(), VALUES, [], now=NOW))
    assert [
        (MISS, ("it has not succeeded before",)),
        (MISS, ("because Preprocess runs anew",)),
        (MISS, ("because Train runs anew",)),
    ] == list(found.values())
    document = json.loads(_definition().text)
    del document["Steps"][0]["CacheConfig"]
    found = _forecast(Definition.parse(json.dumps(document)))
    assert (Verdict.UNCACHED, ("caching is off",)) == found["Preprocess"]


def test_execution_id_in_an_input_defeats_caching() -> None:
    """An input that names the execution never hits, and the reason says so."""
    document = json.loads(_definition().text)
    place = {"Std:Join": {"On": "/", "Values": ["s3://data", {"Get": "Execution.PipelineExecutionId"}]}}
    document["Steps"][0]["Arguments"]["ProcessingInputs"][1]["S3Input"]["S3Uri"] = place
    definition = Definition.parse(json.dumps(document))
    sentence = "an argument names the execution itself (PipelineExecutionId), so it can never hit"
    assert (MISS, (sentence,)) == _forecast(definition, _past("r1", definition=definition))["Preprocess"]


@given(
    step=st.sampled_from(["preprocess", "train", "evaluate"]),
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
)
def test_changed_code_reruns_the_step_and_what_follows(step: str, digest: str) -> None:
    """For any code: the steps before hit, the step itself names its code, each later one has a reason."""
    if digest == CODE[step]:
        return
    order = ["preprocess", "train", "evaluate"]
    found = list(_forecast(_definition(code={**CODE, step: digest})).values())
    place = order.index(step)
    assert [HIT] * place + [MISS] * (3 - place) == [verdict for verdict, _ in found]
    assert f"code of {step.capitalize()} changed" in found[place][1][0]
    assert all(reasons for verdict, reasons in found if verdict is MISS)


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (timedelta(days=29, hours=4, minutes=5), "29 d 4 h"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(seconds=3), "less than a minute"),
    ],
)
def test_lengths_of_time(length: timedelta, told: str) -> None:
    """The two greatest units are told."""
    assert told == duration(length)
