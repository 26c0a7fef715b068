"""The registries that AWS keeps SageMaker's images in, beside the account's own, which is ministack's.

An image exists that images.json names; its digest is made of its name, for nothing is ever pulled.
Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from dual_pipeline.images import IMAGES_FILE

from . import ministack


def install() -> None:
    """Answer BatchGetImage of AWS's own registries."""
    service = ministack.load("services.ecr")
    own, answer = service._batch_get_image, ministack.load("core.responses").json_response

    def batch_get_image(request: dict[str, Any]) -> Any:
        registry, repository = request.get("registryId", ""), request.get("repositoryName", "")
        if not any(image.startswith(f"{registry}.") for image in _images()) or not registry:
            return own(request)
        return answer(_found(registry, repository, request.get("imageIds", [])))

    service._batch_get_image = batch_get_image


def digest(image: str) -> str | None:
    """The digest of one of AWS's images, or None for any other."""
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}" if image in _images() else None


def repository_arn(request: Mapping[str, Any], *, region: str, account: str) -> str:
    """The repository that a call is about, in the registry that it names."""
    registry = request.get("registryId") or account
    return f"arn:aws:ecr:{region}:{registry}:repository/{request.get('repositoryName', '*')}"


def _found(registry: str, repository: str, wanted: list[dict[str, str]]) -> dict[str, Any]:
    known = {image for image in _images() if image.startswith(f"{registry}.") and f"/{repository}:" in image}
    images, failures = [], []
    for each in wanted:
        image = next((image for image in known if image.endswith(f":{each.get('imageTag')}")), None)
        if image is None:
            failures.append(
                {"imageId": each, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
            )
        else:
            named = {"imageTag": each["imageTag"], "imageDigest": digest(image)}
            images.append(
                {"registryId": registry, "repositoryName": repository, "imageId": named, "imageManifest": "{}"}
            )
    return {"images": images, "failures": failures}


@functools.cache
def _images() -> frozenset[str]:
    table: dict[str, dict[str, str]] = json.loads(IMAGES_FILE.read_text(encoding="utf-8"))
    return frozenset(image for regions in table.values() for image in regions.values())
