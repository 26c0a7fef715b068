"""Write a census snapshot of any size, `python -m bench.rows COUNT FOLDER`: for speed, never to be scored.

Each column is drawn by itself from the census data, so that values are as frequent as there and hardly a row repeats.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_code.census.contract import FEATURES, LABEL, MISSING, NUMERIC, RENAMED

ROOT = Path(__file__).parent.parent
PART = 1_000_000


def main() -> None:
    """Write the snapshot in parts of a million rows."""
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    with (ROOT / "data" / "census.csv").open(encoding="utf-8") as file:
        rows = [{RENAMED.get(name, name): text.strip() for name, text in row.items()} for row in csv.DictReader(file)]
    texts = {name: [None if row[name] in MISSING else row[name] for row in rows] for name in (*FEATURES, LABEL)}
    values = {
        name: pa.array(column).cast(pa.int32()) if name in NUMERIC else pa.array(column)
        for name, column in texts.items()
    }
    generator = np.random.default_rng(17)
    (folder / "data").mkdir(parents=True)
    for at, start in enumerate(range(0, count, PART)):
        size = min(PART, count - start)
        drawn = {name: column.take(generator.integers(0, len(rows), size)) for name, column in values.items()}
        pq.write_table(pa.table(drawn), folder / "data" / f"part-{at:05}.parquet")


if __name__ == "__main__":
    main()
