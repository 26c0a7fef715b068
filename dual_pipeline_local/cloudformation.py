"""CloudFormation resource types that ministack lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def install(sagemaker: Callable[[], Any]) -> None:
    """Add the resource types."""
