"""What the cache answers of census: each change reruns what depends on it, and nothing else."""

from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline.definition import load_definition
from dual_pipeline.placeholders import fill, placeholders_in
from dual_pipeline_cli.forecast import PastExecution, PastStep, Verdict, forecast
from dual_pipeline_local.sagemaker.pipelines.definition import Definition
from dual_pipeline_local.sagemaker.pipelines.expressions import Scope
from dual_pipeline_local.sagemaker.pipelines.jobs import named

CENSUS = Path(__file__).parents[3] / "pipeline_code" / "census"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
GIVEN = {"SnapshotUri": "s3://data/census/snapshots/aaa/"}
ALL = {"Preprocess", "Train", "Tune", "Baseline", "Evaluate"}


def _definition(**code: str) -> Definition:
    """The compiled definition as an environment has it; `code` renames the archives of steps."""
    text = load_definition(CENSUS)
    values = {name: f"value-of-{name}" for name in placeholders_in(text)}
    for name in values:
        step, _, part = name.rpartition("_code_")
        if part in ("uri", "file"):
            file = f"{code.get(step, step)}.zip"
            values[name] = f"s3://artifacts/census/code/{file}" if part == "uri" else file
    return Definition.parse(
        fill(
            text,
            {
                **values,
                "no_champion_uri": "s3://artifacts/no_champion.json",
                "no_verdict_uri": "s3://artifacts/no_verdict.json",
            },
        )
    )


@cache
def _past() -> PastExecution:
    """An execution of the deployed definition a day ago, its jobs as Describe shows them."""
    definition = _definition()
    values = definition.values(GIVEN)
    scope = Scope(values, lambda name: f"value-of-{name}", lambda uri: b"")
    for step in definition.steps:
        if step.name in ALL:
            shown: dict[str, Any] = named(scope.resolve(step.arguments))
            model = {"S3ModelArtifacts": f"s3://artifacts/past/{step.name}/model.tar.gz"}
            scope.steps[step.name] = shown | {"ModelArtifacts": model, "BestTrainingJob": {"TrainingJobName": "best"}}
    steps = {
        name: PastStep(finished=NOW - timedelta(days=1), properties=partial(scope.steps.__getitem__, name))
        for name in scope.steps
    }
    return PastExecution(arn="arn:past", run="past", definition=definition, values=values, steps=steps)


@pytest.mark.parametrize(
    ("code", "given", "runs"),
    [
        ({}, {}, set()),
        ({"preprocess": "new"}, {}, ALL),
        ({"baseline": "new"}, {}, {"Baseline", "Evaluate"}),
        ({"train": "new"}, {}, {"Train", "Tune", "Evaluate"}),
        ({"evaluate": "new"}, {}, {"Evaluate"}),
        ({}, {"SnapshotUri": "s3://data/census/snapshots/bbb/"}, ALL),
        ({}, {"ChampionUri": "s3://artifacts/champion/model.tar.gz"}, {"Evaluate"}),
        ({}, {"MinAuc": "0.91"}, {"Evaluate"}),
        ({}, {"HyperEta": "0.2"}, {"Train", "Evaluate"}),
        ({}, {"RunId": "another", "TriggerReason": "drift", "ProcessingInstanceCount": "2"}, set()),
    ],
)
def test_change_reruns_what_depends_on_it(code: dict[str, str], given: dict[str, str], runs: set[str]) -> None:
    """Code, data, champion, thresholds and hyperparameters; what only names a run or its instances reruns nothing."""
    definition = _definition(**code)
    found = forecast(definition, definition.values({**GIVEN, **given}), [_past()], now=NOW)
    assert ALL == {step.step for step in found}
    assert runs == {step.step for step in found if step.verdict is not Verdict.HIT}
    assert all(step.reasons for step in found if step.verdict is Verdict.MISS)
