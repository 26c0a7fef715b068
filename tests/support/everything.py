"""The census project with every optional part of its pipeline switched on, without any pipeline, and in batch."""

from dataclasses import replace

from dual_pipeline.model_project import BatchScoring, ExternalCheck, Limits, OptionalSteps, Training
from dual_pipeline.workflow import Workflow
from pipeline_code.census.project import CENSUS

EVERYTHING = replace(
    CENSUS,
    training=Training(spot=True),
    optional_steps=OptionalSteps(
        profile=True,
        external_check=ExternalCheck(instructions="ask the auditor"),
        decide=True,
        batch_scoring=BatchScoring(),
        refused="fail",
    ),
    experiments=True,
    limits=Limits(parallel_steps=4),
)

ALONE = replace(
    CENSUS,
    inner_loop=False,
    tuning=None,
    hyperparameters={**CENSUS.hyperparameters, "num_round": 20},
    workflows=(Workflow(name="train-save", file="examples/train-and-save/workflow.json", step="alone"),),
)

IN_BATCH = replace(CENSUS, target="batch")
