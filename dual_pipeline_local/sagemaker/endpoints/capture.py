"""Data capture: requests and answers of an endpoint as JSON lines in S3.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import random
import threading
import uuid
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.cloud import Cloud
from dual_pipeline_local.sagemaker.endpoints.invocation import Invocation
from dual_pipeline_local.sagemaker.model_server import Answer

_BATCH_S = 1.0
_MODES: Mapping[str, tuple[str, ...]] = {
    "Input": ("INPUT",),
    "Output": ("OUTPUT",),
    "InputAndOutput": ("INPUT", "OUTPUT"),
}


@dataclass(frozen=True)
class Place:
    """Where lines are written: a folder, as a role, under a key."""

    folder: str
    role: str
    key: str


class Capture:
    """Collects lines for a second and writes them in the background; what cannot be written is lost, as on AWS."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._lines: dict[Place, list[str]] = defaultdict(list)
        self._stopping = threading.Event()
        self._writer: threading.Thread | None = None

    def note(
        self,
        config: Record,
        endpoint: str,
        variant: str,
        role: str,
        request: Invocation,
        answer: Answer,
    ) -> None:
        """Capture one exchange, if it falls into the sample."""
        if not config.get("EnableCapture", True) or random.random() * 100 >= config["InitialSamplingPercentage"]:  # noqa: S311
            return
        place = Place(staging.join(config["DestinationS3Uri"], endpoint, variant), role, config.get("KmsKeyId", ""))
        line = captured(config, request, answer)
        with self._lock:
            self._lines[place].append(line)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="capture", daemon=True)
                self._writer.start()

    def stop(self) -> None:
        """Write nothing more."""
        self._stopping.set()

    def _write(self) -> None:
        while not self._stopping.wait(_BATCH_S):
            with self._lock:
                batch, self._lines = self._lines, defaultdict(list)
            for place, lines in batch.items():
                self._put(place, lines)

    def _put(self, place: Place, lines: list[str]) -> None:
        now = datetime.now(UTC)
        name = f"{now:%M-%S}-{now.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
        bucket, key = staging.parse(staging.join(place.folder, f"{now:%Y/%m/%d/%H}", name))
        encryption: dict[str, Any] = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": place.key} if place.key else {}
        try:
            self._cloud.client(place.role, "s3").put_object(
                Bucket=bucket, Key=key, Body="".join(lines).encode(), **encryption
            )
        except (ClientError, BotoCoreError, ApiError) as error:
            print(f"captured data could not be written to s3://{bucket}/{key}: {error}", flush=True)


def captured(config: Record, request: Invocation, answer: Answer) -> str:
    """One exchange as a line of JSON."""
    modes = {mode for option in config["CaptureOptions"] for mode in _MODES[option["CaptureMode"]]}
    headers = config.get("CaptureContentTypeHeader", {})
    data = {}
    sent, answered = (request.body, request.content_type), (answer.body, answer.content_type)
    for mode, name, (body, content_type) in (("INPUT", "endpointInput", sent), ("OUTPUT", "endpointOutput", answered)):
        if mode in modes:
            text, encoding = _text(body, _encoding(headers, content_type))
            data[name] = {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}
    event = {
        "eventId": str(uuid.uuid4()),
        **({"inferenceId": request.inference_id} if request.inference_id else {}),
        **({"customAttributes": [request.custom_attributes]} if request.custom_attributes else {}),
        "inferenceTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    return json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"}) + "\n"


def _text(body: bytes, encoding: str) -> tuple[str, str]:
    """A body as text and how it is encoded, which is as asked unless it is no text."""
    if encoding != "BASE64":
        with suppress(UnicodeDecodeError):
            return body.decode(), encoding
    return base64.b64encode(body).decode(), "BASE64"


def _encoding(headers: Record, content_type: str) -> str:
    kind = content_type.partition(";")[0].strip()
    known = {"CSV": headers.get("CsvContentTypes", []), "JSON": headers.get("JsonContentTypes", [])}
    return next((name for name, types in known.items() if kind in types), "BASE64")
