"""How AWS says that something does not exist: each service in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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


_Answer = TypeVar("_Answer")


def unless_absent(read: Callable[[], _Answer]) -> _Answer | None:
    """What `read` answers; None if what it names does not exist."""
    try:
        return read()
    except ClientError as error:
        if not is_absent(error):
            raise
    return None


def is_absent(error: ClientError) -> bool:
    """Whether AWS refused a call only because what it names does not exist."""
    message = error.response["Error"].get("Message", "").lower()
    return error.response["Error"].get("Code", "") in _CODES or any(each in message for each in _WORDS)
