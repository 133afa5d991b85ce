"""a chunk of a file -> the bytes that it adds to the output, its rejects, and its counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.encode import Encoder
from vaewatch.batch.job import Counts, Job
from vaewatch.scoring.budget.calibration import count_severities
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.records import Records, Source
from vaewatch.scoring.files.rejects import Reject
from vaewatch.scoring.scorer import Scorer, Verdicts
from vaewatch.scoring.table import Table


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


@dataclass(frozen=True)
class Stage:
    """The work on each chunk, which travels between processes. sizes: bytes of each file."""

    scorer: Scorer
    job: Job
    encoder: Encoder
    sizes: tuple[int, ...]

    def score(self, taken: FileChunk) -> ScoredChunk:
        """Parse, score and encode a chunk."""
        records = taken.source.parse(taken.chunk)
        end, rejects = taken.chunk.end, records.rejects
        share = taken.source.share(end, self.sizes[taken.at])
        if not len(records.table):
            counts = Counts(rejected=len(rejects))
            return ScoredChunk(taken.at, end, b"", rejects, counts, share)
        job = self.job
        verdicts = self.scorer.score_table(records.table, alpha=job.alpha, explain=job.explain)
        wanted = records.good & verdicts.is_anomaly if job.only_anomalies else records.good
        rows = np.flatnonzero(wanted)
        data = self.encoder.encode(taken.source, records, verdicts, rows)
        counts = self._counts(records, verdicts, rows)
        return ScoredChunk(taken.at, end, data, rejects, counts, share)

    def _counts(self, records: Records, verdicts: Verdicts, rows: NDArray[np.int64]) -> Counts:
        good, table = np.flatnonzero(records.good), records.table
        if len(good) < len(table):  # drift needs no texts
            table = Table(table.schema, table.numbers[good], table.codes[good], ())
        return Counts(
            scored=len(good),
            written=len(rows),
            anomalies=int(verdicts.is_anomaly[good].sum()),
            rejected=len(records.rejects),
            severities=count_severities(verdicts.severity[good]),
            drift=self.scorer.artifact.drift.count(table),
        )
