"""A story with a stated end."""

from __future__ import annotations

from dataclasses import dataclass

from ..run import DEFAULT_ENVIRONMENT
from .act import Act


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Acts one after another; `shows` is what they prove in one sentence, `environment` where they are played."""

    name: str
    shows: str
    acts: tuple[Act, ...]
    environment: str = DEFAULT_ENVIRONMENT
