"""a chunk of a file -> the bytes that it adds to the output, its rejects, and its counts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.encode import Encoder
from vaewatch.batch.incidents.collector import Groups, groups_of
from vaewatch.batch.job import Counts, Job
from vaewatch.batch.series.followed import Followed
from vaewatch.batch.series.incidents import Alarms, alarms_at
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


@dataclass(frozen=True)
class ScoredChunk:
    """A chunk as it goes to the output, which it extends by `data`."""

    at: int
    end: Place
    data: bytes
    rejects: tuple[Reject, ...]
    counts: Counts
    share: float | None  # of its file that is before its end
    p_values: PValueCounts | None = None  # of its sound records, where the stage counts them
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
        end, rejects = taken.chunk.end, records.rejects
        share = taken.source.share(end, self.sizes[taken.at])
        if taken.followed is not None:
            records = replace(records, good=taken.followed.mine)
            rejects = rejects if self.job.first_shard else ()
        if not len(records.table):
            counts = Counts(rejected=len(rejects))
            return ScoredChunk(taken.at, end, b"", rejects, counts, share)
        if self.counting:
            p_values = self.scorer.score_table(records.table, explain=0).p_value[records.good]
            counts = Counts(scored=len(p_values), rejected=len(rejects))
            counted = PValueCounts.of(p_values)
            return ScoredChunk(taken.at, end, b"", rejects, counts, share, counted)
        verdicts = self._verdicts(records.table, taken.followed)
        groups = None
        if self.rules is not None:
            groups = groups_of(self.rules, self.scorer.artifact, taken, records, verdicts)
            verdicts = self._as_asked(verdicts)
        alarms = records.good & verdicts.is_anomaly
        rows = np.flatnonzero(alarms if self.job.only_anomalies else records.good)
        data = self.encoder.encode(taken.source, records, verdicts, rows)
        counts = self._counts(records, verdicts, len(rows), len(rejects))
        scored = ScoredChunk(taken.at, end, data, rejects, counts, share, groups=groups)
        if taken.followed is None:
            return scored
        counts = replace(counts, series=taken.followed.counts)
        return replace(
            scored, counts=counts, alarms=alarms_at(records.table, np.flatnonzero(alarms))
        )

    def _verdicts(self, table: Table, followed: Followed | None) -> Verdicts:
        job, found, explain = self.job, self.found, self._explain
        if followed is not None:
            taken = followed.taken
            return self.scorer.score_taken(taken, alpha=job.alpha, explain=explain)
        if found is None:
            return self.scorer.score_table(table, alpha=job.alpha, explain=explain)
        if found.found:
            return self.scorer.score_table(table, cut=found.p_value, explain=explain)
        verdicts = self.scorer.score_table(table, explain=job.explain or 0)
        return replace(verdicts, is_anomaly=np.zeros(len(table), np.bool_))

    @property
    def _explain(self) -> int | None:
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


# how chunks are scored: each by the stage, in parallel, with the results in their order
Engine = Callable[[Iterable[FileChunk], Stage], Generator[ScoredChunk]]
