"""Raw files of a small contract, and the ingest job over them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from dual_pipeline.data_contract import Column, DataContract
from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.ingest.logic import ingest

HEADER = ",age,job,wage,income"
GOOD = f"{HEADER}\n0,39, clerk,1.5, low\n1,50, ?,-2e3, high\n2,50,,, high\n"


def contract(**changes: Any) -> dict[str, Any]:
    """A contract of four columns, as the job reads it."""
    values: dict[str, Any] = {
        "columns": (
            Column(name="age", type="integer"),
            Column(name="job", type="string"),
            Column(name="wage", type="double"),
            Column(name="income_level", type="string", source="income"),
        ),
        "label": "income_level",
        "positive": "high",
        "negative": "low",
        "dropped": ("",),
    }
    parsed: dict[str, Any] = json.loads(DataContract(**(values | changes)).to_json())
    return parsed


class Lake:
    """A folder of raw files and one of snapshots."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.raw, self.snapshots = spark, folder / "raw", folder / "snapshots"
        self.raw.mkdir(parents=True)

    def put(self, name: str, content: str | bytes) -> None:
        """Deliver a raw file."""
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def put_table(self, name: str, columns: dict[str, Any]) -> None:
        """Deliver a Parquet file."""
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)

    def key(self, name: str) -> str:
        """The key of a raw file."""
        return str(self.raw / name).lstrip("/")

    def ingest(self, *, files: Files | None = None, trigger: str = "", **changes: Any) -> dict[str, Any]:
        """Run the job."""
        return ingest(
            self.spark,
            files or Files(self.spark),
            raw=self.raw.as_uri() + "/",
            snapshots=self.snapshots.as_uri() + "/",
            contract=contract(**changes),
            trigger=trigger,
        )

    def reasons(self, result: dict[str, Any]) -> dict[str, str]:
        """Why each refused file was refused, by its name."""
        return {Path(file["key"]).name: file["reason"] for file in result["rejected"]}

    def rows(self, result: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a result's snapshot."""
        table = pq.read_table(self.snapshots / result["snapshot_id"] / "data")
        return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=repr)
