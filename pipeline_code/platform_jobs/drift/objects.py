"""Objects of S3 as streams of bytes."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

_CHUNK = 1 << 20


class Found(NamedTuple):
    """An object and when it was last written."""

    key: str
    written: datetime


class Objects:
    """What lies below `uri`, `s3://<bucket>/<prefix>/`, read by a boto3 client."""

    def __init__(self, s3: Any, uri: str) -> None:
        self._s3 = s3
        place = urlsplit(uri)
        self._bucket, self.prefix = place.netloc, place.path.lstrip("/")

    def below(self, folder: str = "") -> Iterator[Found]:
        """Every object of a folder."""
        pages = self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self.prefix + folder):
            for each in page.get("Contents", ()):
                yield Found(each["Key"], each["LastModified"])

    def chunks(self, key: str) -> Iterator[bytes]:
        """An object's content in pieces; nothing if it was deleted meanwhile."""
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return
            raise
        yield from body.iter_chunks(_CHUNK)
