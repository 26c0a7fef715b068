"""The snapshot's files in, a file per split out; never more than a few batches and row groups in memory."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..contract import CATEGORICAL, LABEL
from .logic import COLUMNS, EXAMPLES, check_schema

_BATCH = 2**16
_ROW_GROUP = 2**18
_PLAIN = pa.schema([(field.name, pa.string() if field.name in CATEGORICAL else field.type) for field in EXAMPLES])


def read_snapshot(folder: Path) -> Iterator[pa.RecordBatch]:
    """The rows of `data/part-*.parquet` in name order; nothing when this host got no part."""
    for path in sorted(folder.glob("data/part-*.parquet")):
        check_schema(pq.read_schema(path))
        with pq.ParquetFile(path, read_dictionary=[*CATEGORICAL, LABEL]) as file:
            yield from file.iter_batches(_BATCH, columns=list(COLUMNS))


class SplitFile:
    """One split as it is written, and the rows, positives and categories in it.

    All row groups but the last are equally long and hold plain text: the bytes depend on the rows alone, not on how the
    snapshot was cut into batches or encoded.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self.positives = 0
        self.categories: dict[str, set[str]] = {name: set() for name in CATEGORICAL}
        self._writer = pq.ParquetWriter(path, _PLAIN)
        self._waiting = EXAMPLES.empty_table()

    def append(self, examples: pa.RecordBatch) -> None:
        """Add examples behind those before."""
        self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([examples])])
        while self._waiting.num_rows >= _ROW_GROUP:
            self._write(self._waiting.slice(0, _ROW_GROUP))
            self._waiting = self._waiting.slice(_ROW_GROUP)

    def close(self) -> None:
        """Write what waits, and the file's end."""
        if self._waiting.num_rows:
            self._write(self._waiting)
        self._writer.close()

    def _write(self, table: pa.Table) -> None:
        table = table.combine_chunks()
        self.rows += table.num_rows
        self.positives += pc.sum(table.column(LABEL)).as_py()
        for name, seen in self.categories.items():
            seen.update(category for category in pc.unique(table.column(name)).to_pylist() if category is not None)
        self._writer.write_table(table.cast(_PLAIN))
