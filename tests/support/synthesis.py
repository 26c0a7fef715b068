"""One synthesis of every environment, shared by all tests that read templates.

Beside the shipped environments stand `Least`, which configures nothing that has a default, and `Most`, which switches
everything on. `Alone` serves a project without an inner loop, with a workflow of its own; `Batch` one whose models
score in batch.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from dual_pipeline.environment import Environment, VpcConfig
from dual_pipeline.model_project import Approval, Rollout, Watch
from environments import ENVIRONMENTS
from everything import ALONE, EVERYTHING, IN_BATCH
from pipeline_code.census.project import CENSUS
from stacks.stage import ROOT, EnvironmentStage

LEAST = Environment(name="least", region="eu-west-1", projects=(CENSUS,))
WITHOUT_INNER_LOOP = Environment(
    name="alone", region="eu-west-1", projects=(ALONE,), monthly_budget_usd=50, over_budget="warn"
)
BATCH = Environment(name="batch", region="eu-west-1", projects=(IN_BATCH,))
MOST = Environment(
    name="most",
    region="us-east-1",
    account="111122223333",
    cost_center="cc-42",
    projects=(
        replace(
            CENSUS,
            approval=Approval(mode="auto"),
            rollout=Rollout(
                strategy="canary",
                instance_count=2,
                max_instance_count=4,
                canary_percent=10,
                wait=timedelta(minutes=10),
            ),
            watch=Watch(quiet_endpoint=timedelta(hours=1), quiet_loop=None),
        ),
        replace(EVERYTHING, name="census-two", rollout=Rollout(strategy="linear", instance_count=4)),
    ),
    notification_email="ml-team@example.com",
    monthly_budget_usd=100,
    over_budget="ask",
    vpc=VpcConfig(
        vpc_id="vpc-0123456789abcdef0",
        subnet_ids=("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
        security_group_ids=("sg-0123456789abcdef0",),
    ),
    permissions_boundary="platform-boundary",
    existing_key_arn="arn:aws:kms:us-east-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef",
    existing_roles={"endpoint": "arn:aws:iam::111122223333:role/platform/model"},
    delete_data_on_destroy=True,
    confirm_delete_data="most",
)

Template = dict[str, Any]


@dataclass(frozen=True, kw_only=True, repr=False)
class Synthesis:
    """Templates by stack path (`Dev/Foundation`), the files they lie in, and what the validation plug-ins found."""

    templates: Mapping[str, Template]
    files: Mapping[str, Path]
    report: dict[str, Any]

    def resources(self, kind: str, *, stack: str | None = None) -> dict[str, dict[str, Any]]:
        """Resources of the CloudFormation type `kind` by `<stack path>/<logical id>`, of all stacks or of one."""
        return {
            f"{path}/{id_}": resource
            for path, template in self.templates.items()
            for id_, resource in template.get("Resources", {}).items()
            if resource["Type"] == kind and stack in (None, path)
        }


def joined(value: Any) -> str:
    """A string of a template with every intrinsic function replaced by a word."""
    if isinstance(value, dict) and "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(part if isinstance(part, str) else "token" for part in parts)
    return str(value)


def context() -> dict[str, Any]:
    """The feature flags of cdk.json, without which a bare App builds other templates."""
    loaded: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return loaded


def two_projects(root: Path) -> Path:
    """A root whose second project is a copy of the first one, compiled with every optional step."""
    shutil.copytree(ROOT / "pipeline_code", root / "pipeline_code", ignore=shutil.ignore_patterns("__pycache__"))
    second = root / "pipeline_code" / "census_two"
    shutil.copytree(ROOT / "pipeline_code" / "census", second)
    configured = "from dataclasses import replace\n\nfrom everything import ALONE, EVERYTHING\n\n"
    (second / "project.py").write_text(f'{configured}CENSUS = replace(EVERYTHING, name="census-two")\n')
    path = os.pathsep.join(map(str, (root, ROOT / "constructs", Path(__file__).parent)))
    command = [sys.executable, "-m", "pipeline_code.compile", second.name]
    subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True)
    return root


def synthesize(folder: Path) -> Synthesis:
    """Synthesize every environment into `folder` with cdk-nag's AwsSolutions attached."""
    app = cdk.App(outdir=str(folder), context=context())
    for environment in (*ENVIRONMENTS, LEAST, WITHOUT_INNER_LOOP, BATCH):
        EnvironmentStage(app, environment.name.capitalize(), environment=environment)
    EnvironmentStage(app, "Most", environment=MOST, root=two_projects(folder.with_name("code")))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        # Findings are judged by the tests; everything is written by then.
        if "ValidationFailed" not in str(error):
            raise
    files = {}
    for manifest in sorted(folder.glob("assembly-*/manifest.json")):
        for artifact in json.loads(manifest.read_text())["artifacts"].values():
            if artifact["type"] == "aws:cloudformation:stack":
                files[artifact["displayName"]] = manifest.parent / artifact["properties"]["templateFile"]
    return Synthesis(
        templates={path: json.loads(file.read_text()) for path, file in files.items()},
        files=files,
        report=json.loads((folder / "validation-report.json").read_text()),
    )
