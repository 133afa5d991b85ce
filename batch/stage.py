"""a chunk of a file -> the bytes that it adds to the output, its rejects, and its counts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.encode import Encoder
from vaewatch.batch.job import Counts, Job
from vaewatch.scoring.budget.calibration import count_severities
from vaewatch.scoring.budget.fdr import Discoveries, PValueCounts
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.records import Records, Source
from vaewatch.scoring.files.rejects import Reject
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.history import History
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts


@dataclass(frozen=True)
class FileChunk:
    """A chunk of the job's file number `at`, from 0, with its lean source."""

    at: int
    source: Source
    chunk: Any


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


@dataclass(frozen=True)
class Stage:
    """The work on each chunk, which travels between processes.

    sizes: bytes of each file.
    found: the discoveries of the whole job, if they decide what an anomaly is.
    counting: whether p-values are only counted, to find the discoveries.
    history: the records before a chunk, of an artifact with a window. It is one for all chunks,
        which must come in order, and to this process alone.
    """

    scorer: Scorer
    job: Job
    encoder: Encoder
    sizes: tuple[int, ...]
    found: Discoveries | None = None
    counting: bool = False
    history: History | None = None

    def score(self, taken: FileChunk) -> ScoredChunk:
        """Parse, score and encode a chunk."""
        records = taken.source.parse(taken.chunk)
        end, rejects = taken.chunk.end, records.rejects
        share = taken.source.share(end, self.sizes[taken.at])
        if not len(records.table):
            counts = Counts(rejected=len(rejects))
            return ScoredChunk(taken.at, end, b"", rejects, counts, share)
        if self.counting:
            verdicts = self.scorer.score_table(records.table, explain=0, history=self.history)
            p_values = verdicts.p_value[records.good & verdicts.judged]
            counts = Counts(scored=len(p_values), rejected=len(rejects))
            counted = PValueCounts.of(p_values)
            return ScoredChunk(taken.at, end, b"", rejects, counts, share, counted)
        verdicts = self._verdicts(records.table)
        wanted = records.good & verdicts.is_anomaly if self.job.only_anomalies else records.good
        rows = np.flatnonzero(wanted)
        data = self.encoder.encode(taken.source, records, verdicts, rows)
        counts = self._counts(records, verdicts, rows)
        return ScoredChunk(taken.at, end, data, rejects, counts, share)

    def _verdicts(self, table: Table) -> Verdicts:
        job, found = self.job, self.found
        if found is None:
            return self.scorer.score_table(
                table, alpha=job.alpha, explain=job.explain, history=self.history
            )
        if found.found:
            return self.scorer.score_table(
                table, cut=found.p_value, explain=job.explain, history=self.history
            )
        verdicts = self.scorer.score_table(table, explain=job.explain or 0, history=self.history)
        return replace(verdicts, is_anomaly=np.zeros(len(table), np.bool_))

    def _counts(self, records: Records, verdicts: Verdicts, rows: NDArray[np.int64]) -> Counts:
        good, table = np.flatnonzero(records.good), records.table
        alarms = verdicts.is_anomaly[good]
        if len(good) < len(table):  # drift needs no texts
            table = Table(table.schema, table.numbers[good], table.codes[good], ())
        segments = self.scorer.artifact.segments
        more = {} if segments is None else {"segments": _by_segment(segments, table, alarms)}
        return Counts(
            scored=len(good),
            written=len(rows),
            anomalies=int(alarms.sum()),
            rejected=len(records.rejects),
            severities=count_severities(verdicts.severity[good][verdicts.judged[good]]),
            drift=self.scorer.artifact.drift.count(table),
            **more,
        )


def _by_segment(segments: Segments, table: Table, alarms: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the records and the (N,) alarms of each segment, (codes, 2)."""
    codes = segments.codes(table)
    return np.stack([segments.count(codes), segments.count(codes[alarms])], axis=1)


# how chunks are scored: each by the stage, in parallel, with the results in their order
Engine = Callable[[Iterable[FileChunk], Stage], Generator[ScoredChunk]]
