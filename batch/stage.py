"""a chunk of a file -> the bytes that it adds to the output, its rejects, and its counts."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.encode import Encoder
from vaewatch.batch.incidents.collector import Groups, groups_of
from vaewatch.batch.job import Counts, Job
from vaewatch.batch.series.incidents import Alarms
from vaewatch.scoring.budget.calibration import count_severities
from vaewatch.scoring.budget.fdr import Discoveries, PValueCounts
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.files.rejects import Reject
from vaewatch.scoring.incidents.rule import Rules
from vaewatch.scoring.scorer import REASONS, Scorer
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


@dataclass(frozen=True)
class ScoredChunk:
    """A chunk as it goes to the output, which it extends by `data`."""

    at: int
    end: Place
    data: bytes
    rejects: tuple[Reject, ...]
    counts: Counts
    share: float | None  # of its file that is before its end
    # of its sound records by the calibration that judged them, where the stage counts them
    p_values: tuple[PValueCounts, ...] = ()
    alarms: Alarms | None = None  # of an artifact with a window
    groups: Groups | None = None  # its alarms by themselves, where incidents are asked for


@dataclass(frozen=True)
class Stage:
    """The work on each chunk, which travels between processes.

    sizes: bytes of each file.
    found: the discoveries of the whole job, if they decide what an anomaly is.
    counting: whether p-values are only counted, to find the discoveries.
    rules: how alarms become incidents, where these are asked for.
    """

    scorer: Scorer
    job: Job
    encoder: Encoder
    sizes: tuple[int, ...]
    found: Discoveries | None = None
    counting: bool = False
    rules: Rules | None = None

    def score(self, taken: FileChunk) -> ScoredChunk:
        """Parse, score and encode a chunk."""
        records = taken.parsed()
        if not self.counting:
            verdicts = self._verdicts(records.table) if len(records.table) else None
            return self.encoded(taken, records, verdicts)
        scored = self.encoded(taken, records, None)
        p_values = self._p_values(records) if len(records.table) else ()
        counts = replace(scored.counts, scored=sum(each.records for each in p_values))
        return replace(scored, counts=counts, p_values=p_values)

    def _p_values(self, records: Records) -> tuple[PValueCounts, ...]:
        """Count the p-values of the sound records by the calibration that judged them."""
        p_values = self.scorer.score_table(records.table, explain=0).p_value[records.good]
        if (segments := self.scorer.artifact.segments) is None:
            return (PValueCounts.of(p_values),)
        slots = segments.slots(segments.codes(records.table))[records.good]
        every = range(len(segments.calibrations))
        return tuple(PValueCounts.of(p_values[slots == slot]) for slot in every)

    def encoded(
        self, taken: FileChunk, records: Records, verdicts: Verdicts | None
    ) -> ScoredChunk:
        """Encode the verdicts on a chunk; None where none of its records have any."""
        rejects = records.rejects
        share = taken.source.share(taken.chunk.end, self.sizes[taken.at])
        counts = Counts(rejected=len(rejects))
        scored = ScoredChunk(taken.at, taken.chunk.end, b"", rejects, counts, share)
        if verdicts is None:
            return scored
        groups = None
        if self.rules is not None:
            groups = groups_of(self.rules, self.scorer.artifact, taken, records, verdicts)
            verdicts = self._as_asked(verdicts)
        alarms = records.good & verdicts.is_anomaly
        rows = np.flatnonzero(alarms if self.job.only_anomalies else records.good)
        data = self.encoder.encode(taken.source, records, verdicts, rows)
        counts = self._counts(records, verdicts, len(rows), len(rejects))
        return replace(scored, data=data, counts=counts, groups=groups)

    def _verdicts(self, table: Table) -> Verdicts:
        job, found, explain = self.job, self.found, self.explain
        if found is None:
            return self.scorer.score_table(table, alpha=job.alpha, explain=explain)
        if found.found:
            return self.scorer.score_table(table, cut=found.p_value, explain=explain)
        verdicts = self.scorer.score_table(table, explain=job.explain or 0)
        return replace(verdicts, is_anomaly=np.zeros(len(table), np.bool_))

    @property
    def explain(self) -> int | None:
        """The reasons to look for: incidents take those of alarms, whatever the output has."""
        asked = self.job.explain
        if self.rules is None or asked is None:
            return asked
        return max(asked, REASONS) if asked else None

    def _as_asked(self, verdicts: Verdicts) -> Verdicts:
        """Leave out the reasons that only incidents take."""
        asked = self.job.explain
        if asked is None or asked >= REASONS:
            return verdicts
        return replace(verdicts, reasons=[found[:asked] for found in verdicts.reasons])

    def _counts(self, records: Records, verdicts: Verdicts, written: int, rejected: int) -> Counts:
        good, table = np.flatnonzero(records.good), records.table
        alarms = verdicts.is_anomaly[good]
        if len(good) < len(table):  # drift needs no texts
            table = Table(table.schema, table.numbers[good], table.codes[good], ())
        segments = self.scorer.artifact.segments
        counts = Counts(
            scored=len(good),
            written=written,
            anomalies=int(alarms.sum()),
            rejected=rejected,
            severities=count_severities(verdicts.severity[good][verdicts.judged[good]]),
            drift=self.scorer.artifact.drift.count(table),
        )
        if segments is None:
            return counts
        return replace(counts, segments=_by_segment(segments, table, alarms))


def _by_segment(segments: Segments, table: Table, alarms: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the records and the (N,) alarms of each segment, (codes, 2)."""
    codes = segments.codes(table)
    return np.stack([segments.count(codes), segments.count(codes[alarms])], axis=1)


class Work(Protocol[In, Out]):
    """The work on each of many things, which travels between processes."""

    @property
    def job(self) -> Job: ...

    def score(self, taken: In, /) -> Out: ...


class Engine(Protocol):
    """How things are worked on: in parallel, with the results in their order."""

    def __call__(self, things: Iterable[In], work: Work[In, Out], /) -> Generator[Out]: ...
