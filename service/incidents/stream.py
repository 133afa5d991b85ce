"""artifact -> Stream: what the alarms and the counts of a model belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.rule import Kind, Rules


@dataclass(frozen=True)
class Stream:
    """How the alarms of a model become incidents.

    scope: what the numbers of buckets depend on. Models that differ in nothing else go on with
        each other's incidents, as after a recalibration.
    """

    scope: str
    rules: Rules

    @classmethod
    def of(cls, artifact: Artifact, merge_gap: int | None = None) -> Stream:
        rules = Rules.of(artifact, merge_gap, by_clock=True)
        column = {Kind.ENTITY: artifact.schema.entity, Kind.SEGMENT: artifact.schema.segment}
        parts = (rules.kind, column.get(rules.kind) or "", str(rules.rule.gap))
        return cls(" ".join(parts).replace("\0", " "), rules)


@dataclass(frozen=True)
class Batch:
    """What a worker delivers at one time.

    number: from 1 on, of this worker; a batch that is delivered again has the same one.
    records: of each group, in each bucket; the alarms are among them.
    """

    number: int
    stream: Stream
    alarms: Sequence[Alarm]
    records: Mapping[str, Mapping[int, int]]
