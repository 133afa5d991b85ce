"""What whole entities are worth, where these were held out to calibrate."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class WholeEntities(Struct, frozen=True):
    """Entities that the fit never saw, and what their records are worth: one's are alike."""

    count: Annotated[int, Meta(gt=1, description="Entities.")]
    records: Annotated[int, Meta(gt=1, description="Their records.")]
    blocks: Annotated[int, Meta(gt=0, description="How many independent records these are worth.")]

    @property
    def alike(self) -> float:
        """How many of their records are worth one."""
        return self.records / self.blocks
