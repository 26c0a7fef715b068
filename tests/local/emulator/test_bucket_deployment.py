"""Files that a stack keeps: copied as the role of the function that AWS would run, and never removed."""

import io
import json
import time
import zipfile
from typing import Any

import pytest

pytestmark = [pytest.mark.local, pytest.mark.xdist_group("emulator")]

READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::assets/*"}
KEEP = {
    "Effect": "Allow",
    "Action": ["s3:PutObject", "s3:ListBucket"],
    "Resource": ["arn:aws:s3:::kept/*", "arn:aws:s3:::kept"],
}


@pytest.fixture(scope="module", autouse=True)
def buckets(emulator: Any) -> None:
    """A bucket of assets, and one to keep them in."""
    for bucket in ("assets", "kept"):
        emulator.client("s3").create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
    for name in ("one", "two"):
        emulator.client("s3").put_object(Bucket="assets", Key=f"{name}.zip", Body=name.encode())


def token(emulator: Any, name: str, *statements: dict[str, Any]) -> str:
    """A function whose role holds the statements; its ARN."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    raise AssertionError('not run here')\n")
    arn: str = emulator.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="index.handler",
        Role=emulator.role(name, "lambda.amazonaws.com", *statements),
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]
    return arn


def template(service_token: str, *keys: str, **more: object) -> str:
    properties = {
        "ServiceToken": service_token,
        "SourceBucketNames": ["assets" for _ in keys],
        "SourceObjectKeys": list(keys),
        "DestinationBucketName": "kept",
        "DestinationBucketKeyPrefix": "census/code/",
        "Extract": False,
        "Prune": False,
        "RetainOnDelete": True,
        **more,
    }
    resource = {"Type": "Custom::CDKBucketDeployment", "Properties": properties}
    return json.dumps({"Resources": {"Copies": resource}})


def kept(emulator: Any) -> dict[str, bytes]:
    s3 = emulator.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="kept").get("Contents", ())]
    return {key: s3.get_object(Bucket="kept", Key=key)["Body"].read() for key in keys}


def settled(emulator: Any, stack: str) -> None:
    """Wait until a stack rests or is gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = emulator.client("cloudformation").list_stacks()["StackSummaries"]
        if not any(s["StackName"] == stack and s["StackStatus"].endswith("_IN_PROGRESS") for s in found):
            return
        time.sleep(0.1)
    raise AssertionError(f"{stack} does not settle: {reasons(emulator, stack)}")


def reasons(emulator: Any, stack: str) -> str:
    events = emulator.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    return " ".join(event.get("ResourceStatusReason", "") for event in events)


def test_what_was_deployed_stays(emulator: Any) -> None:
    """Files lie under their own names; an update adds the new ones, and neither it nor a deletion removes any."""
    stacks, function = emulator.client("cloudformation"), token(emulator, "keeper", READ, KEEP)
    stacks.create_stack(StackName="code", TemplateBody=template(function, "one.zip"))
    settled(emulator, "code")
    assert kept(emulator) == {"census/code/one.zip": b"one"}
    stacks.update_stack(StackName="code", TemplateBody=template(function, "two.zip"))
    settled(emulator, "code")
    stacks.delete_stack(StackName="code")
    settled(emulator, "code")
    assert kept(emulator) == {"census/code/one.zip": b"one", "census/code/two.zip": b"two"}


@pytest.mark.parametrize(
    ("name", "statements", "missing"),
    [("reads-nothing", [KEEP], "GetObject"), ("keeps-nothing", [READ], "ListObjectsV2")],
)
def test_the_functions_role_is_asked(emulator: Any, name: str, statements: list[dict[str, Any]], missing: str) -> None:
    """A role that may not do its part fails the deployment and is told the call."""
    stacks = emulator.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=template(token(emulator, name, *statements), "one.zip"))
    settled(emulator, name)
    assert f"AccessDenied) when calling the {missing} operation" in reasons(emulator, name)


def test_extraction_is_refused(emulator: Any) -> None:
    """What is not modelled is named, not half done."""
    stacks, function = emulator.client("cloudformation"), token(emulator, "extractor", READ, KEEP)
    stacks.create_stack(StackName="extract", TemplateBody=template(function, "one.zip", Extract=True))
    settled(emulator, "extract")
    assert "Extract=true is not modelled by the local emulator" in reasons(emulator, "extract")
