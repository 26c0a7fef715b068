"""Deploy, run, take down, deploy, run: nothing that costs stays but the data, and the next deployment goes on with it."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_local.safety import LocalAws
from local_shell import CENSUS, ROOT, Shell, deployed, synthesized

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(900)]

ROWS = 6_000
LISTS = (
    ("sagemaker", "list_endpoints", "Endpoints"),
    ("sagemaker", "list_endpoint_configs", "EndpointConfigs"),
    ("sagemaker", "list_models", "Models"),
    ("sagemaker", "list_pipelines", "PipelineSummaries"),
    ("cloudwatch", "describe_alarms", "MetricAlarms"),
    ("stepfunctions", "list_state_machines", "stateMachines"),
    ("scheduler", "list_schedules", "Schedules"),
    ("scheduler", "list_schedule_groups", "ScheduleGroups"),
    ("sqs", "list_queues", "QueueUrls"),
    ("sns", "list_topics", "Topics"),
    ("lambda", "list_functions", "Functions"),
)


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dev`, synthesized once for this module."""
    return synthesized(tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, assembly: Path) -> Iterator[Shell]:
    """A local AWS with `dev` deployed, in a checkout that holds the assembly and the CDK CLI."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("node_modules", "cdk.json"):
        (checkout / name).symlink_to(ROOT / name)
    (checkout / "cdk.out").symlink_to(assembly)
    with deployed(tmp_path_factory.mktemp("home"), checkout, assembly) as shell:
        yield shell


def part(folder: Path, number: int) -> Path:
    """A file with some rows of the data of its own."""
    header, *rows = CENSUS.read_text().splitlines(keepends=True)
    path = folder / f"part-{number}.csv"
    path.write_text("".join([header, *rows[number * ROWS : (number + 1) * ROWS]]))
    return path


def left(aws: LocalAws) -> dict[str, Any]:
    """What stands in the account, by kind; the CDK's own bootstrap holds none of it."""
    found = {}
    for service, operation, key in LISTS:
        answer = getattr(aws.client(service), operation)()
        found[operation] = [each for each in answer.get(key, []) if "'default'" not in str(each)]
    scaling = aws.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    stacks = aws.client("cloudformation").describe_stacks()["Stacks"]
    return {
        **found,
        "scalable_targets": scaling["ScalableTargets"],
        "stacks": [stack["StackName"] for stack in stacks if stack["StackName"] != "CDKToolkit"],
    }


def objects(aws: LocalAws, bucket: str) -> dict[str, str]:
    """The keys and ETags of a bucket's objects."""
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])}


def champion(aws: LocalAws, table: str) -> str:
    """The package that the ledger says serves."""
    item = aws.client("dynamodb").get_item(
        TableName=table, Key={"pk": {"S": "PROJECT#census"}, "sk": {"S": "CHAMPION#dev-census"}}
    )["Item"]
    name: str = item["model_package_arn"]["S"]
    return name


def rows_of(aws: LocalAws, table: str, package: str) -> int:
    """How many rows the run that made a package was given."""
    items = aws.client("dynamodb").scan(TableName=table)["Items"]
    (run,) = [
        item for item in items if item["sk"]["S"].startswith("RUN#") and item["model_package_arn"]["S"] == package
    ]
    return int(run["rows"]["N"])


def test_deploy_run_teardown_deploy_run(shell: Shell, assembly: Path, tmp_path: Path) -> None:
    """The model that served comes back by the line that is told; the next run trains on the data of both, against it."""
    first, summary = shell.release(part(tmp_path, 0))
    assert 0 == first.returncode, first.stdout + first.stderr
    before = dict(shell.deployment.outputs)
    data, table = before["DataBucketName"], before["LedgerTableName"]
    kept, served = objects(shell.aws, data), champion(shell.aws, table)
    assert summary["model_package_arn"] == served

    dry = shell.told("teardown", "dev", "--local", "--dry-run")
    assert "nothing was changed" in dry
    assert "InService" == shell.aws.client("sagemaker").describe_endpoint(EndpointName="dev-census")["EndpointStatus"]

    told = shell.told("teardown", "dev", "--local", "--yes")
    assert "removing endpoint dev-census" in told
    assert "switching off rule " in told
    (way_back,) = re.findall(r"dual-pipeline (rollback .*)", told)
    assert {name: [] for name in left(shell.aws)} == left(shell.aws)
    assert (kept, served) == (objects(shell.aws, data), champion(shell.aws, table))
    assert "no stack is deployed, and nothing is left" in shell.told("teardown", "dev", "--local", "--yes")

    adopted = shell.told("adopt", "dev", "--local")
    assert "took over 7 resources" in adopted
    assert way_back in adopted
    again = shell.command("deploy", "--app", assembly)
    assert 0 == again.returncode, again.stdout + again.stderr
    assert before == dict(shell.deployment.outputs)
    assert "nothing of dev waits to be taken over" in shell.told("adopt", "dev", "--local")

    again, summary = shell.release(part(tmp_path, 0))
    assert "suppressed" == summary["outcome"], again.stdout + again.stderr
    assert [] == left(shell.aws)["list_endpoints"]
    shell.told(*shlex.split(way_back), "--follow")
    assert served == champion(shell.aws, table)
    (endpoint,) = left(shell.aws)["list_endpoints"]
    assert ("dev-census", "InService") == (endpoint["EndpointName"], endpoint["EndpointStatus"])

    second, summary = shell.release(part(tmp_path, 1))
    assert 0 == second.returncode, second.stdout + second.stderr
    assert "released" == summary["outcome"]
    assert "the champion's on the same rows" in summary["champion"]
    assert champion(shell.aws, table) == summary["model_package_arn"] != served
    assert kept.keys() <= objects(shell.aws, data).keys()
    assert ROWS < rows_of(shell.aws, table, summary["model_package_arn"])


def test_plain_deployment_is_refused_where_the_models_are(shell: Shell, assembly: Path) -> None:
    """Without adopting, the group of the models is in the way, as CloudFormation says; adopting is the way out."""
    shell.told("teardown", "dev", "--local", "--yes", "--project", "census")
    assert {"Dev-Foundation", "Dev-Watch"} == set(left(shell.aws)["stacks"])
    shell.told("teardown", "dev", "--local", "--yes")
    assert [] == left(shell.aws)["stacks"]
    again = shell.command("deploy", "--app", assembly)
    assert 2 == again.returncode
    assert "Model Package Group already exists" in again.stdout + again.stderr


def test_group_that_is_gone_cannot_be_imported(shell: Shell) -> None:
    """CloudFormation fails the change set and says what it did not find."""
    cloudformation = shell.aws.client("cloudformation")
    arn = "arn:aws:sagemaker:eu-west-1:000000000000:model-package-group/absent"
    group = {
        "Type": "AWS::SageMaker::ModelPackageGroup",
        "DeletionPolicy": "Retain",
        "Properties": {"ModelPackageGroupName": "absent"},
    }
    cloudformation.create_change_set(
        StackName="Absent",
        ChangeSetName="import",
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps({"Resources": {"Group": group}}),
        ResourcesToImport=[
            {
                "ResourceType": group["Type"],
                "LogicalResourceId": "Group",
                "ResourceIdentifier": {"ModelPackageGroupArn": arn},
            }
        ],
    )
    described = cloudformation.describe_change_set(StackName="Absent", ChangeSetName="import")
    assert "FAILED" == described["Status"]
    assert f"with identifier '{arn}' was not found" in described["StatusReason"]


def test_full_bucket_is_not_deleted_with_its_stack(shell: Shell) -> None:
    """As on AWS the stack's deletion fails, and the object is there."""
    cloudformation, s3 = shell.aws.client("cloudformation"), shell.aws.client("s3")
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "full"}}
    cloudformation.create_stack(StackName="Full", TemplateBody=json.dumps({"Resources": {"Bucket": bucket}}))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="Full", WaiterConfig={"Delay": 1})
    s3.put_object(Bucket="full", Key="a", Body=b"1")
    cloudformation.delete_stack(StackName="Full")
    (stack,) = cloudformation.describe_stacks(StackName="Full")["Stacks"]
    assert ("DELETE_FAILED", b"1") == (stack["StackStatus"], s3.get_object(Bucket="full", Key="a")["Body"].read())
