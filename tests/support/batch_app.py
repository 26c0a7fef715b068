"""The app of an environment whose models score records in batch; run by `python`."""

from dataclasses import replace

import aws_cdk as cdk

from dual_pipeline.environment import Environment
from dual_pipeline.hyperparameters import Hyperparameter, IntegerRange
from everything import IN_BATCH
from pipeline_code.census.project import TUNING
from stacks.stage import EnvironmentStage

# Few rounds and one trial: what becomes of the model matters here, not how good it is.
ROUNDS = Hyperparameter(default=60, limits=IntegerRange(low=1, high=5_000))
QUICK = replace(
    IN_BATCH,
    smoke_training=None,
    hyperparameters={**IN_BATCH.hyperparameters, "num_round": ROUNDS},
    tuning=replace(TUNING, max_jobs=1, max_parallel_jobs=1),
)

app = cdk.App()
EnvironmentStage(app, "Dev", environment=Environment(name="dev", region="eu-west-1", projects=(QUICK,)))
app.synth()
