"""The app of an environment whose project trains in one job and has a workflow of its own; run by `python`."""

import aws_cdk as cdk

from dual_pipeline.environment import Environment
from everything import ALONE
from stacks.stage import EnvironmentStage

app = cdk.App()
EnvironmentStage(app, "Dev", environment=Environment(name="dev", region="eu-west-1", projects=(ALONE,)))
app.synth()
