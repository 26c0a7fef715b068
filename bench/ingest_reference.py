"""What ingest does, written with pandas as one would who knows it: the measure of its cost.

It checks and types the columns, makes missing what is written as missing, orders the rows by a hash of their content,
and writes them under a folder named by them. All rows are in memory at once; a bad file ends it, with no reason.
"""

import argparse
import hashlib
import json
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped]


def main() -> None:
    """Make one snapshot of a folder of CSV files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_raw", type=Path, required=True)
    parser.add_argument("--output_snapshots", type=Path, required=True)
    parser.add_argument("--contract", type=json.loads, required=True)
    options = parser.parse_args()
    columns = options.contract["columns"]
    kinds = {"integer": "Int32", "double": "float64", "string": "category"}
    parts = [
        pd.read_csv(
            path,
            usecols=[column["header"] for column in columns],
            dtype={column["header"]: kinds[column["type"]] for column in columns},
            na_values=options.contract["missing"],
            skipinitialspace=True,
        )
        for path in sorted(options.input_raw.glob("*.csv"))
    ]
    frame = pd.concat([part.astype(dict.fromkeys(part.select_dtypes("category"), "object")) for part in parts])
    del parts
    frame = frame.rename(columns={column["header"]: column["name"] for column in columns})
    frame = frame[[column["name"] for column in columns]]
    hashes = pd.util.hash_pandas_object(frame, index=False)
    frame = frame.iloc[hashes.argsort(kind="stable")]
    name = hashlib.sha256(hashes.sort_values().to_numpy().tobytes()).hexdigest()[:32]
    folder = options.output_snapshots / name / "data"
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "part-00000.parquet", index=False, row_group_size=1_000_000)
    print(json.dumps({"snapshot_id": name, "rows": len(frame)}))


if __name__ == "__main__":
    main()
