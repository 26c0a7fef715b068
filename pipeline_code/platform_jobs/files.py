"""Small files through Hadoop's FileSystem, so that s3:// and file:// URIs are read and written alike."""

import json
from typing import Any, NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession


class File(NamedTuple):
    """A file below a listed folder: its path, its key in the bucket, its size, when it was last written.

    `uri` is its path with odd characters escaped, as Spark names it in `_metadata.file_path`.
    """

    path: str
    key: str
    bytes: int
    modified_ms: int
    uri: str


class Files:
    """Hadoop's file systems as one session sees them."""

    def __init__(self, spark: SparkSession) -> None:
        jvm: Any = spark.sparkContext._jvm
        self._hadoop = jvm.org.apache.hadoop
        self._configuration = spark.sparkContext._jsc.hadoopConfiguration()

    def list(self, folder: str) -> list[File]:
        """Every file below a folder by path, without those that Hadoop takes for hidden; none if it is absent."""
        system, at = self._at(folder)
        if not system.exists(at):
            return []
        found = []
        statuses = system.listFiles(at, True)
        while statuses.hasNext():
            status = statuses.next()
            if not status.getPath().getName().startswith((".", "_")):
                path = status.getPath().toString()
                # Made of text, as Spark's are: of the status' own, `file:///x` would be no `file:/x`.
                uri = self._hadoop.fs.Path(path).toUri()
                key = uri.getPath().lstrip("/")
                found.append(File(path, key, status.getLen(), status.getModificationTime(), uri.toString()))
        return sorted(found)

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        system, at = self._at(path)
        return bool(system.exists(at))

    def head(self, path: str, size: int) -> bytes:
        """The first bytes of a file, `size` at most; raises FileNotFoundError when there is none."""
        system, at = self._at(path)
        try:
            stream = system.open(at)
            try:
                return bytes(stream.readNBytes(size))
            finally:
                stream.close()
        except Py4JJavaError as error:
            if error.java_exception.getClass().getName() == "java.io.FileNotFoundException":
                raise FileNotFoundError(path) from error
            raise

    def write_json(self, path: str, content: object) -> None:
        """Write a document over whatever is there."""
        system, at = self._at(path)
        stream = system.create(at, True)
        try:
            stream.write(bytearray(json.dumps(content, indent=1, sort_keys=True, allow_nan=False), "utf-8"))
        finally:
            stream.close()

    def fetch(self, folder: str, target: str) -> None:
        """Copy the files right below a folder into a folder of this machine, each under its name."""
        for file in self.list(folder):
            system, at = self._at(file.path)
            system.copyToLocalFile(False, at, self._hadoop.fs.Path(f"file://{target}/{at.getName()}"), True)

    def rename(self, path: str, new_path: str) -> None:
        """Move a file into a folder that is made if it is not there; raises OSError when the file system does not."""
        system, at = self._at(path)
        system.mkdirs(self._hadoop.fs.Path(new_path).getParent())
        if not system.rename(at, self._hadoop.fs.Path(new_path)):
            raise OSError(f"cannot rename {path} to {new_path}")

    def delete(self, folder: str) -> None:
        """Delete a folder and all below it, if it is there."""
        system, at = self._at(folder)
        system.delete(at, True)

    def _at(self, path: str) -> tuple[Any, Any]:
        at = self._hadoop.fs.Path(path)
        return at.getFileSystem(self._configuration), at
