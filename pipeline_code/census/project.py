"""The census project: predict from a census record whether a person earns more than 50,000 dollars a year."""

from dual_pipeline.data_contract import Column, DataContract
from dual_pipeline.model_project import Gates, ModelProject

from . import contract
from .rules import RULESET

_SOURCES = {name: header for header, name in contract.RENAMED.items()}

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
    gates=Gates(min_auc=0.88, min_accuracy=0.82),
    hyperparameters={
        "num_round": 300,
        "early_stopping_rounds": 30,
        "max_depth": 6,
        "eta": 0.1,
        "subsample": 1.0,
        "min_child_weight": 1.0,
    },
)
