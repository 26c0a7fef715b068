"""What preprocess is measured against does the same job."""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import preprocess_reference
from pipeline_code.census.contract import CATEGORICAL, FEATURES
from snapshots import FOLDERS, HOST, census, preprocess, preprocess_arguments, write_snapshot


def test_it_writes_the_same_columns_of_about_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types, shares and categories agree, though the hash that splits is another; equal features stay together."""
    snapshot = write_snapshot(tmp_path / "snapshot", census())
    ours = preprocess(snapshot, tmp_path / "ours")
    monkeypatch.setattr(sys, "argv", ["", *preprocess_arguments(snapshot, tmp_path / "theirs")])
    preprocess_reference.main()
    homes: dict[str, set[str]] = {}
    for name in FOLDERS[:3]:
        mine, other = (
            pq.read_table(work / name / f"part-{HOST}.parquet", read_dictionary=list(CATEGORICAL))
            for work in (ours, tmp_path / "theirs")
        )
        text = pa.dictionary(pa.int32(), pa.string())
        assert mine.schema.names == other.schema.names
        assert mine.schema.remove_metadata() == pa.schema(
            [field.with_type(text) if field.name in CATEGORICAL else field for field in other.schema]
        )
        assert mine.num_rows == pytest.approx(other.num_rows, rel=0.1)
        for row in other.select(list(FEATURES)).to_pylist():
            homes.setdefault(repr(row), set()).add(name)
    assert {1} == {len(names) for names in homes.values()}
    encodings = [
        json.loads((work / "encoding" / f"part-{HOST}.json").read_text()) for work in (ours, tmp_path / "theirs")
    ]
    assert encodings[0].keys() == encodings[1].keys()
    assert encodings[0]["categories"].keys() == encodings[1]["categories"].keys()
