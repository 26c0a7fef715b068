"""A model released to batch inference: deployed by the CDK CLI into a local AWS, trained, approved, and really scoring."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_cli.environment import connect
from dual_pipeline_cli.explain import explain
from dual_pipeline_cli.lineage import released, trace
from dual_pipeline_local import lifecycle
from dual_pipeline_local.deployment import read_deployment
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.safety import LocalAws
from local_shell import python
from pipeline_code.census import contract
from snapshots import census

pytestmark = [pytest.mark.local, pytest.mark.long]

ROOT = Path(__file__).parents[2]
ROWS = 300


def records() -> str:
    """Rows to score as CSV without header and label."""
    text = io.StringIO()
    rows = census().slice(0, ROWS).select(list(contract.FEATURES)).to_pylist()
    csv.writer(text, lineterminator="\n").writerows(row.values() for row in rows)
    return text.getvalue()


class Account:
    """The deployed environment after a run, with records that waited for a model."""

    def __init__(self, aws: LocalAws, work: Path) -> None:
        self.aws, self.work = aws, work
        self.deployment = read_deployment(aws, environment="dev", project="census")
        self.s3 = aws.client("s3")
        self.sagemaker = aws.client("sagemaker")

    def text(self, uri: str) -> str:
        """An object of S3."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body.decode()

    def champion(self) -> dict[str, str]:
        """The ledger's pointer."""
        key = {"pk": {"S": "PROJECT#census"}, "sk": {"S": "CHAMPION#dev-census"}}
        table = self.deployment["LedgerTableName"]
        item: dict[str, Any] = self.aws.client("dynamodb").get_item(TableName=table, Key=key).get("Item", {})
        return {name: str(next(iter(value.values()))) for name, value in item.items()}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A local AWS with the environment deployed, records in their place, and one run to its end."""
    workplace = Workplace(folder=tmp_path_factory.mktemp("local"))
    assembly = tmp_path_factory.mktemp("assembly") / "cdk.out"
    context = json.dumps(json.loads((ROOT / "cdk.json").read_text())["context"])
    python("tests/support/batch_app.py", CDK_OUTDIR=str(assembly), CDK_CONTEXT_JSON=context)
    work = workplace.folder
    try:
        python("-m", "dual_pipeline_cli", "local", "up", "--app", assembly, "--work", work, QUALITY_ENGINE="duckdb")
        emulator = lifecycle.find(workplace)
        assert emulator is not None
        account = Account(LocalAws(emulator.settings), work)
        bucket, _, prefix = account.deployment["RecordsUri"].removeprefix("s3://").partition("/")
        account.s3.put_object(Bucket=bucket, Key=f"{prefix}2026/people.csv", Body=records().encode())
        data = ROOT / "data" / "census.csv"
        python("-m", "dual_pipeline_cli", "local", "run", "--data", data, "--work", work)
        yield account
    finally:
        python("-m", "dual_pipeline_cli", "local", "down", "--work", work)


def test_every_record_has_its_score(account: Account) -> None:
    """The run is released, and line by line the scores are those of the records, as the model itself answers."""
    summary = json.loads((account.work / "summary.json").read_text())
    assert ("released", None, "") == (summary["outcome"], summary["prediction"], summary["endpoint_name"])
    champion = account.champion()
    assert champion["scores_uri"].startswith(account.deployment["ScoresUri"])
    assert f"the scores lie in {champion['scores_uri']}" in summary["reason"]
    scores = [float(line) for line in account.text(champion["scores_uri"] + "2026/people.csv.out").splitlines()]
    assert ROWS == len(scores)
    assert all(0 < score < 1 for score in scores)
    assert len(set(scores)) > ROWS / 4
    truth = census().slice(0, ROWS).column(contract.LABEL).to_pylist()
    right = sum((score > 0.5) == (label == contract.POSITIVE) for score, label in zip(scores, truth, strict=True))
    assert right / ROWS > 0.8


def test_the_golden_rows_were_answered_first(account: Account) -> None:
    """The check's answers are the evaluation's, and no endpoint was made on the way."""
    champion = account.champion()
    folder = champion["evaluation_uri"].rpartition("/")[0]
    golden = json.loads(account.text(f"{folder}/golden_rows.json"))
    answers = champion["scores_uri"].removesuffix("records/") + "golden/golden_rows.csv.out"
    assert golden["expected"] == pytest.approx(
        json.loads(account.text(answers))["predictions"], abs=golden["tolerance"]
    )
    jobs = account.sagemaker.list_transform_jobs(SortBy="CreationTime", SortOrder="Ascending")["TransformJobSummaries"]
    kinds = [job["TransformJobName"].removeprefix("dev-census-").partition("-")[0] for job in jobs]
    assert ["smoke", "score"] == kinds
    assert [] == account.sagemaker.list_endpoints()["Endpoints"]


def test_the_command_line_knows_the_champion(account: Account) -> None:
    """Without an endpoint a model's lineage begins at the champion, and a run is told in the words of batch."""
    client = connect("dev", aws=account.aws)
    lineage = trace(client, released(client))
    assert account.champion()["model_package_arn"] == lineage.model.arn
    assert "a new model is the champion and scores in batch" == explain(client).sections["run"]["what happened"]
