"""Copies between S3 and disk, as SageMaker stages the inputs and outputs of a job; `s3` is a boto3 client."""

import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

Shard: TypeAlias = tuple[int, int]
"""Which of how many equal shares of the objects: (0, 3) is the first of three."""

WHOLE: Final[Shard] = (0, 1)


class NothingStaged(Exception):
    """No object lies under the URI that was to be downloaded."""


def parse(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI."""
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"not an s3 uri: {uri}")
    return parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/")


def join(uri: str, *names: str) -> str:
    """A URI below another one."""
    return "/".join([uri.rstrip("/"), *names])


def download(s3: Any, uri: str, folder: Path, *, shard: Shard = WHOLE) -> list[Path]:
    """Download every object whose key begins with the URI's key (`S3DataType: S3Prefix`) and list the files.

    Of `shard`, only its share: objects are dealt round-robin in the order of their keys (`ShardedByS3Key`; how AWS
    deals them is not documented). A share may be empty.

    A key keeps its path below the prefix; when the prefix ends inside a name (a single object), the path after the
    prefix's last slash. Keys that end in a slash are the console's empty folders and are left out. A file keeps the
    time of its object, by which a job tells what is newer.

    Raises NothingStaged when no object matches and ValueError for a key that would leave the folder.
    Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingS3Input.html
    """
    bucket, prefix = parse(uri)
    number, shares = shard
    files = []
    objects = list(_objects(s3, bucket, prefix))
    for key, modified in objects[number::shares]:
        target = folder / _below(prefix, key)
        if not target.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"object key leaves its folder: {key}")
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(target))
        os.utime(target, (modified, modified))
        files.append(target)
    if not objects:
        raise NothingStaged(uri)
    return files


def upload(s3: Any, folder: Path, uri: str, *, ignored: str | None = None) -> list[str]:
    """Upload a folder's files, those of the `ignored` suffix left out, or one file; the URIs written."""
    bucket, prefix = parse(uri)
    written = []
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ignored]
    for file in sorted(files) if folder.is_dir() else [folder]:
        name = file.relative_to(folder).as_posix() if folder.is_dir() else file.name
        key = "/".join(part for part in (prefix.rstrip("/"), name) if part)
        s3.upload_file(str(file), bucket, key)
        written.append(f"s3://{bucket}/{key}")
    return written


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar.gz archive into a folder; raises ValueError for one that is none, is broken or leaves the folder."""
    try:
        with tarfile.open(archive, "r:gz") as opened:
            opened.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"not a tar.gz archive that can be unpacked: {error}") from error


def read(s3: Any, uri: str) -> bytes:
    """The bytes of one object."""
    bucket, key = parse(uri)
    data: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return data


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, float]]:
    """Keys, and when each was last written in epoch seconds."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):
                yield item["Key"], item["LastModified"].timestamp()


def _below(prefix: str, key: str) -> str:
    folder = prefix if prefix.endswith("/") else f"{prefix}/"
    if key.startswith(folder):
        return key.removeprefix(folder)
    return key[prefix.rfind("/") + 1 :]
