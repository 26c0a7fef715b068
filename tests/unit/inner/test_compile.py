"""Compiling: offline, the same everywhere, and refusing what SageMaker would refuse."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline.placeholders import canonical
from pipeline_code.compile import definition_problems
from pipeline_code.request_check import check_request

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.xdist_group("compile")


@pytest.fixture
def document(census_folder: Path) -> dict[str, Any]:
    """The committed definition, to be spoilt."""
    parsed: dict[str, Any] = json.loads((census_folder / "definition.json").read_text())
    return parsed


def compile_(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, since it imports the SDK."""
    command = [sys.executable, "-m", "pipeline_code.compile", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})


def test_the_committed_files_are_what_compiling_writes_anywhere(tmp_path: Path) -> None:
    """Another home, region, profile and SDK configuration change no byte; nothing is called."""
    settings = tmp_path / "config.yaml"
    settings.write_text(
        "SchemaVersion: '1.0'\nSageMaker:\n  TrainingJob:\n    RoleArn: arn:aws:iam::111122223333:role/x\n"
    )
    done = compile_(
        "--check",
        HOME=str(tmp_path),
        AWS_DEFAULT_REGION="ap-south-1",
        AWS_PROFILE="does-not-exist",
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(settings),
        PYTHONHASHSEED="7",
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert (0, "", "1 project(s) up to date\n") == (done.returncode, done.stderr, done.stdout)


def test_a_missing_project_is_named() -> None:
    """The error says where it looked and what there is."""
    done = compile_("--check", "nosuch")
    assert 1 == done.returncode
    assert "pipeline_code/nosuch has no pipeline.py; projects are ['census']" in done.stderr


def test_the_committed_definition_has_no_problems(document: dict[str, Any]) -> None:
    """It would be accepted."""
    assert [] == definition_problems(document, canonical(document))


def spoil(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The document with a value set somewhere below its first step's arguments."""
    *parents, last = path.split(".")
    node = document["Steps"][0]["Arguments"]
    for name in parents:
        node = node[int(name) if name.isdigit() else name]
    node[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("RolArn", "x", "step Preprocess: CreateProcessingJob.RolArn is not known"),
        ("RoleArn", "x", "step Preprocess: CreateProcessingJob.RoleArn is 'x'; allowed is 20 to 2048"),
        ("RoleArn", "arn:aws:iam::111122223333:role/mine", "'arn:aws' belongs to one account or region"),
        ("ProcessingResources.ClusterConfig.InstanceType", "ml.m5.tiny", "InstanceType is 'ml.m5.tiny', none of"),
        ("ProcessingResources.ClusterConfig.InstanceCount", "1", "InstanceCount must be a integer, got '1'"),
        ("ProcessingInputs.0.S3Input.S3Uri", "s3://mine/code", "'s3://m' belongs to one account or region"),
        ("Environment", {"REGION": "eu-west-1"}, "'eu-west-1' belongs to one account or region"),
    ],
)
def test_each_mistake_is_found(document: dict[str, Any], path: str, value: Any, problem: str) -> None:
    """A typo, a wrong type or value, and what belongs to one account only."""
    spoilt = spoil(document, path, value)
    assert any(problem in found for found in definition_problems(spoilt, canonical(spoilt)))


def test_the_contract_of_the_loops_is_held(document: dict[str, Any]) -> None:
    """A parameter that the outer loop passes must be declared."""
    document["Parameters"] = [item for item in document["Parameters"] if item["Name"] != "TriggerReason"]
    problems = definition_problems(document, canonical(document))
    assert ["the outer loop passes parameter TriggerReason, which the pipeline does not declare"] == problems


def test_limits_of_the_service_are_held(document: dict[str, Any]) -> None:
    """Too many parameters, a bad step name."""
    document["Parameters"] += [{"Name": f"P{at}", "Type": "String", "DefaultValue": "x"} for at in range(200)]
    document["Steps"][0]["Name"] = "Pre process"
    problems = definition_problems(document, canonical(document))
    assert any("parameters, at most 200 are allowed" in problem for problem in problems)
    assert any("step name 'Pre process' must match" in problem for problem in problems)


def test_requests_are_checked_more_strictly_than_botocore_does() -> None:
    """Patterns, enums and maxima of nested members."""
    request = {"ModelPackageGroupName": "a b", "Tags": [{"Key": "k", "Value": "v"}] * 51}
    problems = list(check_request("CreateModelPackageGroup", request))
    assert any("ModelPackageGroupName is 'a b', which does not match" in problem for problem in problems)
    assert any(problem.endswith("allowed is 0 to 50") for problem in problems)
