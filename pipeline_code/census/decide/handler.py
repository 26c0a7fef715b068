"""Refuse a model under which a segment of people fares worse than under the champion."""

import json
from typing import Any

import boto3

FILE = "evaluation.json"


class RefusedError(Exception):
    """The model must not be registered; the sentence is the step's FailureReason."""


def handler(event: dict[str, Any], context: object) -> dict[str, str]:  # noqa: ARG001 - Lambda passes it
    """Read the evaluation that the step names, and answer with a note, or raise to refuse.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html#step-type-lambda
    """
    bucket, key = location(event.get("evaluation_uri"))
    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return {"note": decide(body, f"s3://{bucket}/{key}")}


def location(uri: object) -> tuple[str, str]:
    """Bucket and key of evaluation.json, from its own URI or its folder's."""
    bucket, _, key = uri[5:].partition("/") if isinstance(uri, str) and uri.startswith("s3://") else ("", "", "")
    if not bucket or not key:
        raise ValueError(f"evaluation_uri must be s3://bucket/folder or s3://bucket/folder/{FILE}, got {uri!r}")
    return bucket, key if key.endswith(".json") else f"{key.rstrip('/')}/{FILE}"


def decide(body: bytes, uri: str) -> str:
    """The note on an evaluation without regressions; RefusedError names each segment that has one."""
    try:
        table = json.loads(body)["segments"]
        regressed = [f"{row['column']} {row['value'] or 'missing'}" for row in table if row["regression"] is not False]
        judged = sum(row["auc"] is not None for row in table)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{uri} is no evaluation with a table of segments; run Evaluate again") from error
    if regressed:
        raise RefusedError(
            f"the challenger is worse than the champion for {', '.join(regressed)}; "
            "see the segments in report.html, then change the model or leave the segment out of Gates.segments"
        )
    too_small = ", the others are too small" if judged < len(table) else ""
    return f"no segment regressed: {judged} of {len(table)} judged{too_small}"
