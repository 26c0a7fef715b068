"""All scenarios by name. docs/scenarios.md tells them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from dual_pipeline.errors import DualPipelineError

from .acts import ChampionServes, DataIsKept, NothingServes, Ship, Upload, Wait, reject, stay_silent
from .data_variant import DataVariant, every_tenth_missing, older, shuffled
from .drift_acts import AlarmRetrains, Ask, Deliver, Measure, PauseNewData
from .project_copy import CodeChange
from .scenario import Scenario

# Longer than any cool-down of environments.py, so that no second run is put off.
_LATER = Wait(timedelta(hours=2))
_RELEASE = Upload(ends="released")

_AGES_MISSING = DataVariant(says="every tenth age is missing", changes=(("age", every_tenth_missing),))
_OLDER = DataVariant(says="people are fifteen years older", changes=(("age", older(15)),))
_NOISE = DataVariant(says="labels in an order that means nothing", changes=(("loan", shuffled),))

# The evaluation runs the same code, but not where the variable says that a model is served.
_INVERTED = CodeChange(
    file="inference.py",
    says="an inference.py that gives the other class's probability where it serves",
    appended='''

_probability = predict_fn


def predict_fn(rows: list[Row], model: Model) -> np.ndarray:
    """The probability that the site's gauges show."""
    import os

    answers = _probability(rows, model)
    return 1 - answers if "SAGEMAKER_SUBMIT_DIRECTORY" in os.environ else answers
''',
)

# /ping answers all the same: the model loads.
_CRASHING = CodeChange(
    file="inference.py",
    says="an inference.py that looks up a table which lies only where it was written",
    appended='''

_probability = predict_fn


def predict_fn(rows: list[Row], model: Model) -> np.ndarray:
    """The probability, once the table of regions has been read."""
    import os

    if "SAGEMAKER_SUBMIT_DIRECTORY" in os.environ:
        Path("/home/somebody/regions.csv").read_text()
    return _probability(rows, model)
''',
)


class UnknownScenario(DualPipelineError):
    """There is no scenario of the name asked for."""


def scenario(name: str) -> Scenario:
    """The scenario of a name.

    Raises UnknownScenario, naming all there are.
    """
    if name not in SCENARIOS:
        raise UnknownScenario(f"no scenario named {name!r}: there are {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


_ALL = (
    Scenario(
        name="good",
        shows="new data trains a model that is approved and answers on the endpoint",
        acts=(_RELEASE, ChampionServes()),
    ),
    Scenario(
        name="bad-data",
        shows="data that breaks a rule trains nothing: it is set apart, and the champion serves on",
        acts=(_RELEASE, _LATER, Upload(variant=_AGES_MISSING, ends="blocked"), DataIsKept(), ChampionServes()),
    ),
    Scenario(
        name="worse-model",
        shows="a model that is worse than its gates is never registered, and the champion serves on",
        acts=(_RELEASE, _LATER, Upload(variant=_NOISE, ends="below-gate"), ChampionServes()),
    ),
    Scenario(
        name="bad-canary",
        shows="a model that fails on the endpoint is sent back by SageMaker while it has only the canary traffic",
        acts=(_RELEASE, _LATER, Ship(change=_CRASHING, ends="rolled-back", per_second=20), ChampionServes()),
        environment="staging",
    ),
    Scenario(
        name="wrong-answers",
        shows="a model that serves other answers than it was judged by is sent back by the smoke test",
        acts=(_RELEASE, _LATER, Ship(change=_INVERTED, ends="rolled-back"), ChampionServes()),
    ),
    Scenario(
        name="drift",
        shows="people unlike those that the model learned from ring an alarm, and new labels make a new model",
        acts=(
            _RELEASE,
            PauseNewData(),
            Deliver(variant=_OLDER),
            Ask(variant=_OLDER),
            Measure(finds="retrain"),
            AlarmRetrains(ends="released"),
            ChampionServes(),
        ),
    ),
    Scenario(
        name="rejected",
        shows="a model that a person rejects is not released, and the reason stays with it",
        acts=(Upload(decision=reject, ends="rejected"), NothingServes()),
    ),
    Scenario(
        name="expired",
        shows="a model that nobody decides on is rejected at the deadline, after a reminder",
        acts=(Upload(decision=stay_silent, ends="expired"), NothingServes()),
    ),
)
SCENARIOS: Mapping[str, Scenario] = {each.name: each for each in _ALL}
