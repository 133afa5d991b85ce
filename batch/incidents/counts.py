"""What a job counts of its incidents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vaewatch.scoring.incidents.chance import RARE
from vaewatch.scoring.time.form import SECOND
from vaewatch.scoring.time.spans import span_text

CHAINED = 1.0  # alarms that chance brings in a gap, from which on most hang together by chance
MINUTE = 60 * SECOND
APART = 0.3  # few enough that most do not


@dataclass(frozen=True)
class IncidentCounts:
    """The incidents of a job.

    Attributes:
        alarms: that they hold, all together.
        rare: incidents that are rarer than RARE among those of chance; rare_alarms: in these.
        gap: the merge gap, in microseconds or records.
        by_chance_in_gap: alarms that chance brings in it.
    """

    incidents: int
    alarms: int
    rare: int
    rare_alarms: int
    gap: int
    by_chance_in_gap: float

    def words(self) -> str:
        """Return the numbers as one phrase."""
        if not self.incidents:
            return "no incidents"
        counted = f"{self.incidents:,} incident{'' if self.incidents == 1 else 's'}"
        one_in = f"1 in {1 / RARE:.0f} of those that chance brings"
        if not self.rare:
            return f"{counted}: none is rarer than {one_in}"
        return (
            f"{counted}: {self.rare:,}, with {self.rare_alarms:,} of the {self.alarms:,} alarms, "
            f"{'is' if self.rare == 1 else 'are'} rarer than {one_in}"
        )

    def remark(self, *, timed: bool) -> str | None:
        """Say what to do where the gap is so long that chance alone joins alarms."""
        if self.by_chance_in_gap < CHAINED:
            return None
        shorter = max(int(self.gap * APART / self.by_chance_in_gap), 1)
        if timed:
            unit = next((each for each in (MINUTE, SECOND) if shorter >= each), 1)
            shorter = shorter // unit * unit
        gap, better = (span_text(n) if timed else f"{n:,}" for n in (self.gap, shorter))
        kind = "" if timed else " records"
        return (
            f"chance alone brings about {self.by_chance_in_gap:,.1f} alarms in a merge gap of "
            f"{gap}{kind}, so that alarms with a main column in common hang together by chance. "
            f"--merge-gap {better} keeps them apart."
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "words": self.words()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> IncidentCounts:
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})
