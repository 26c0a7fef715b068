"""The app of an environment whose project trains in one job and has a workflow of its own; run by `python`."""

from dataclasses import replace

import aws_cdk as cdk

from dual_pipeline.environment import Environment
from dual_pipeline.workflow import Workflow
from pipeline_code.census.project import CENSUS
from stacks.stage import EnvironmentStage

ALONE = replace(
    CENSUS,
    inner_loop=False,
    tuning=None,
    hyperparameters={**CENSUS.hyperparameters, "num_round": 20},
    workflows=(Workflow(name="train-save", file="examples/train-and-save/workflow.json", step="alone"),),
)
ENVIRONMENT = Environment(name="dev", region="eu-west-1", projects=(ALONE,))

if __name__ == "__main__":
    app = cdk.App()
    EnvironmentStage(app, "Dev", environment=ENVIRONMENT)
    app.synth()
