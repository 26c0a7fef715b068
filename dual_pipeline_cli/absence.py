"""How AWS says that something does not exist: each service in its own words."""

from __future__ import annotations

from botocore.exceptions import ClientError

_CODES = (
    "404",
    "EntityNotFoundException",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFoundException",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "StateMachineDoesNotExist",
)
# SageMaker says it of many kinds in the text of a ValidationException.
_WORDS = ("could not find", "does not exist")


def is_absent(error: ClientError) -> bool:
    """Whether AWS refused a call only because what it names does not exist."""
    message = error.response["Error"].get("Message", "").lower()
    return error.response["Error"].get("Code", "") in _CODES or any(each in message for each in _WORDS)
