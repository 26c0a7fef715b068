"""The census project with every optional part of its pipeline switched on."""

from dataclasses import replace

from dual_pipeline.model_project import BatchScoring, ExternalCheck, Limits, OptionalSteps, Training
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
