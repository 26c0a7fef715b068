"""A step of a definition."""

from dataclasses import dataclass

from dual_pipeline_local.sagemaker.api import Record


@dataclass(frozen=True)
class Branch:
    """The side of a Condition step on which a step lies."""

    condition: str
    outcome: bool


@dataclass(frozen=True)
class Step:
    """One step, with the steps that must have succeeded before it and the branch it lies on."""

    name: str
    type: str
    arguments: Record
    source: Record
    branch: Branch | None
    needs: frozenset[str] = frozenset()

    @property
    def caching(self) -> Record:
        """Its CacheConfig."""
        config: Record = self.source.get("CacheConfig", {})
        return config
