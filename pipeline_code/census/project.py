"""The census project: predict from a census record whether a person earns more than 50,000 dollars a year."""

from dual_pipeline.data_contract import Column, DataContract
from dual_pipeline.hyperparameters import FloatRange, Hyperparameter, IntegerRange
from dual_pipeline.model_project import Gates, ModelProject, SmokeTraining, Tuning

from . import contract
from .rules import RULESET

_SOURCES = {name: header for header, name in contract.RENAMED.items()}

# An environment may spend more or less on it; what is searched is the same everywhere. The ranges lie about the
# default, for a few trials can beat it only near by; drawing rows (subsample) never helped on this data.
TUNING = Tuning(
    ranges={
        "max_depth": IntegerRange(low=3, high=7),
        "eta": FloatRange(low=0.02, high=0.2, scale="Logarithmic"),
        "min_child_weight": FloatRange(low=0.5, high=5.0, scale="Logarithmic"),
    },
    max_jobs=6,
    max_parallel_jobs=2,
)

CENSUS = ModelProject(
    name="census",
    description="Income above 50,000 dollars a year, from census records",
    contract=DataContract(
        columns=tuple(
            Column(
                name=name,
                type="integer" if name in contract.NUMERIC else "string",
                source=_SOURCES.get(name),
            )
            for name in (*contract.FEATURES, contract.LABEL)
        ),
        label=contract.LABEL,
        positive=contract.POSITIVE,
        negative=contract.NEGATIVE,
        dropped=contract.DROPPED,
        missing=contract.MISSING,
    ),
    ruleset=RULESET,
    gates=Gates(min_auc=0.88, min_accuracy=0.82, segments=("gender", "ethnicity")),
    hyperparameters={
        "num_round": Hyperparameter(default=1_000, limits=IntegerRange(low=1, high=5_000)),
        "early_stopping_rounds": Hyperparameter(default=30, limits=IntegerRange(low=1, high=500)),
        "max_depth": Hyperparameter(default=6, limits=IntegerRange(low=1, high=16)),
        "eta": Hyperparameter(default=0.1, limits=FloatRange(low=0.001, high=1.0)),
        "subsample": Hyperparameter(default=1.0, limits=FloatRange(low=0.1, high=1.0)),
        "min_child_weight": Hyperparameter(default=1.0, limits=FloatRange(low=0.0, high=100.0)),
    },
    smoke_training=SmokeTraining(hyperparameters={"num_round": 5}),
    tuning=TUNING,
)
