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


def read_snapshot(folder: Path) -> Iterator[pa.RecordBatch]:
    """The rows of `data/part-*.parquet` in name order; nothing when this host got no part."""
    for path in sorted(folder.glob("data/part-*.parquet")):
        check_schema(pq.read_schema(path))
        with pq.ParquetFile(path, read_dictionary=[*CATEGORICAL, LABEL]) as file:
            yield from file.iter_batches(_BATCH, columns=list(COLUMNS))


class SplitFile:
    """One split as it is written, and the rows, positives and categories in it.

    All row groups but the last are equally long, and a dictionary holds the categories of its row group in order: the
    bytes depend on the rows alone, not on how the snapshot was cut into batches or encoded.
    """

    def __init__(self, path: Path, *, row_group: int = _ROW_GROUP) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.row_group = row_group
        self.rows = 0
        self.positives = 0
        self.categories: dict[str, set[str]] = {name: set() for name in CATEGORICAL}
        # Statistics help those who filter by value; every reader of a split wants all of it.
        self._writer = pq.ParquetWriter(path, EXAMPLES, write_statistics=False)
        self._waiting = EXAMPLES.empty_table()

    def append(self, examples: pa.RecordBatch) -> None:
        """Add examples behind those before."""
        self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([examples])])
        while self._waiting.num_rows >= self.row_group:
            self._write(self._waiting.slice(0, self.row_group))
            self._waiting = self._waiting.slice(self.row_group)

    def close(self) -> None:
        """Write what waits, and the file's end."""
        if self._waiting.num_rows:
            self._write(self._waiting)
        self._writer.close()

    def _write(self, table: pa.Table) -> None:
        table = table.unify_dictionaries().combine_chunks()
        self.rows += table.num_rows
        self.positives += pc.sum(table.column(LABEL)).as_py()
        for name, seen in self.categories.items():
            column = _in_order(table.column(name).chunk(0))
            seen.update(column.dictionary.to_pylist())
            table = table.set_column(table.column_names.index(name), name, column)
        self._writer.write_table(table)


def _in_order(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values by a dictionary of just these, sorted."""
    known = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
    position_of = {value: at for at, value in enumerate(known)}
    positions = pa.array([position_of.get(value) for value in column.dictionary.to_pylist()], pa.int32())
    return pa.DictionaryArray.from_arrays(positions.take(column.indices), pa.array(known, pa.string()))
