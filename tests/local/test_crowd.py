"""Two hundred files at once, for real: one run, then one trailing run, and every row in some snapshot."""

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow.parquet as pq
import pytest

from local_shell import CENSUS, Shell, deployed, synthesized
from waiting import until

pytestmark = [
    pytest.mark.local,
    pytest.mark.spark,
    pytest.mark.xdist_group("local-run"),
    pytest.mark.timeout(600),
]

FILES, ROWS = 200, 3


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A local AWS with `dev` deployed, apart from every other, for this spends some of the day's runs."""
    made = [tmp_path_factory.mktemp(name) for name in ("home", "checkout", "assembly")]
    with deployed(made[0], made[1], synthesized(made[2])) as shell:
        yield shell


def file_of(number: int) -> bytes:
    """Three rows that no other file has: the capital gain tells which they are."""
    with CENSUS.open(newline="") as stream:
        header, *rows = list(csv.reader(stream))[: ROWS + 1]
    place, text = header.index("capital-gain"), io.StringIO()
    marked = [[*row[:place], str(number * ROWS + at), *row[place + 1 :]] for at, row in enumerate(rows)]
    csv.writer(text).writerows([header, *marked])
    return text.getvalue().encode()


def ended(shell: Shell) -> list[dict[str, Any]]:
    """The project's executions, if none runs any more and one was there for each file."""
    states = shell.aws.client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=shell.deployment["StateMachineArn"])
    found = [each for page in pages for each in page["executions"]]
    return found if len(found) >= FILES and all(each["status"] != "RUNNING" for each in found) else []


def test_a_crowd_of_files_loses_no_row(shell: Shell) -> None:
    """Of 200 triggers one run is admitted, one trailing run follows, the others say why they did not."""
    aws, deployment = shell.aws, shell.deployment
    s3 = aws.client("s3")
    bucket, prefix = deployment.raw_data
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda at: s3.put_object(Bucket=bucket, Key=f"{prefix}{at}.csv", Body=file_of(at)), range(FILES)))
    executions = until(lambda: ended(shell), seconds=300)
    assert executions, "some run goes on"

    states = aws.client("stepfunctions")
    outputs = {}
    for each in executions:
        told = states.describe_execution(executionArn=each["executionArn"])
        assert told["status"] == "SUCCEEDED", told.get("cause")
        outputs[each["name"]] = json.loads(told["output"])
    trained = {name for name, output in outputs.items() if output["outcome"] == "blocked"}
    trailing = {name for name in outputs if name.startswith("trailing-")}
    # 600 rows are too few for the rules: every run that was admitted says so. One follows the first; a machine so busy that
    # a run ends before the last trigger has come may admit one or two more.
    assert (2 <= len(trained) <= 4, len(trailing) >= 1) == (True, True), (trained, trailing)
    reasons = {output["reason"] for name, output in outputs.items() if name not in trained}
    kept = "is training; the trigger is kept as pending and one trailing run follows"
    overtaken = "another run was admitted meanwhile and reads what this one was started for"
    assert reasons <= {overtaken, *(f"run {holder} {kept}" for holder in trained)}
    assert {name for name, output in outputs.items() if output["reason"] == overtaken} <= trailing

    rows = set()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="census/snapshots/"):
        for item in page.get("Contents", []):
            if "/data/" in item["Key"]:
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                rows |= set(pq.read_table(io.BytesIO(body))["capital_gain"].to_pylist())
    assert rows == set(range(FILES * ROWS))
