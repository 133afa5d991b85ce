"""a piece of a file -> the bytes that it adds to the output, its rejects, and its counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.encode import Encoder
from vaewatch.batch.job import Counts, Job
from vaewatch.scoring.calibration import count_severities
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.records import Records, Source
from vaewatch.scoring.files.rejects import Reject
from vaewatch.scoring.scorer import Scorer, Verdicts
from vaewatch.scoring.table import Table


@dataclass(frozen=True)
class Item:
    """A piece of the file that is number `at`; the source is `lean`."""

    at: int
    source: Source
    piece: Any


@dataclass(frozen=True)
class Scored:
    """A piece as it goes to the output."""

    at: int
    end: Place
    data: bytes
    rejects: tuple[Reject, ...]
    counts: Counts
    share: float | None  # of its file, up to its end


@dataclass(frozen=True)
class Stage:
    """What is done to each piece; it travels between processes. sizes: bytes of each file."""

    scorer: Scorer
    job: Job
    encoder: Encoder
    sizes: tuple[int, ...]

    def score(self, item: Item) -> Scored:
        """Parse, score and encode a piece."""
        records = item.source.parse(item.piece)
        end, rejects = item.piece.end, records.rejects
        share = item.source.share(end, self.sizes[item.at])
        if not len(records.table):
            counts = Counts(rejected=len(rejects))
            return Scored(item.at, end, b"", rejects, counts, share)
        job = self.job
        verdicts = self.scorer.score_table(records.table, alpha=job.alpha, explain=job.explain)
        wanted = records.good & verdicts.is_anomaly if job.only_anomalies else records.good
        rows = np.flatnonzero(wanted)
        data = self.encoder.encode(item.source, records, verdicts, rows)
        return Scored(item.at, end, data, rejects, self._counts(records, verdicts, rows), share)

    def _counts(self, records: Records, verdicts: Verdicts, rows: NDArray[np.int64]) -> Counts:
        good, table = np.flatnonzero(records.good), records.table
        if len(good) < len(table):  # without the texts, since they are not counted
            table = Table(table.schema, table.numbers[good], table.codes[good], ())
        return Counts(
            scored=len(good),
            written=len(rows),
            anomalies=int(verdicts.is_anomaly[good].sum()),
            rejected=len(records.rejects),
            severities=count_severities(verdicts.severity[good]),
            drift=self.scorer.artifact.drift.count(table),
        )
