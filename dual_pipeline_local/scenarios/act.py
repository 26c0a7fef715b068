"""One act of a scenario: what the world does, what is expected of the two loops, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .world import World


@dataclass(frozen=True, kw_only=True)
class Played:
    """What an act was to come to, and what it came to; `why` is a sentence or a number for people."""

    expected: str
    got: str
    why: str = ""

    @property
    def reached(self) -> bool:
        return self.expected == self.got


class Act(Protocol):
    """Something that happens in a world."""

    @property
    def title(self) -> str:
        """What happens, in a few words."""

    def play(self, world: World) -> Played:
        """Let it happen, and look at what came of it."""
