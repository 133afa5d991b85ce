"""chunks with what became of their records -> their verdicts, in order.

The network's pass over windows takes the time, and may run anywhere. Whether an alarm only repeats
what lasts depends on the alarms before it, so that it is decided here: in order, and in one place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.job import Job
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.batch.series.followed import Followed
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.history import Standing, Taken
from vaewatch.scoring.series.lasting import Lasting
from vaewatch.scoring.series.settling import settled, with_texts
from vaewatch.scoring.verdicts import Verdicts

Score = Callable[[Iterable[Taken]], Generator[Verdicts]]


@dataclass(frozen=True)
class WindowStage:
    """The pass over the windows of a chunk, which travels between processes."""

    scorer: Scorer
    job: Job
    explain: int | None

    def score(self, taken: Taken) -> Verdicts:
        return self.scorer.score_taken(taken, alpha=self.job.alpha, explain=self.explain)

    @property
    def cut(self) -> float:
        """The largest p-value of an anomaly."""
        calibration = self.scorer.artifact.calibration
        return calibration.alpha if self.job.alpha is None else self.job.alpha


@dataclass(frozen=True)
class JudgedChunk:
    """A chunk, its records, of which those that are scored are good, and the verdicts on all."""

    chunk: FileChunk
    records: Records
    followed: Followed
    verdicts: Verdicts

    @property
    def counts(self) -> SeriesCounts:
        """Return how the records stand, by what the verdicts say of them, too."""
        words, good = np.array(self.verdicts.history), self.records.good
        lasting, new = (
            int(((words == each) & good).sum()) for each in (Standing.LASTING, Standing.NEW_ENTITY)
        )
        return replace(self.followed.counts, lasting=lasting, new=new)


def judged(
    chunks: Iterable[FileChunk], score: Score, scorer: Scorer, lasting: Lasting, cut: float
) -> Iterator[JudgedChunk]:
    """Yield the verdicts on chunks. `score`: makes the pass. `cut`: the largest p-value of an
    anomaly.
    """
    waiting = deque[tuple[FileChunk, Followed]]()

    def taken() -> Iterator[Taken]:
        for one in chunks:
            assert one.followed is not None  # a history has taken the records in
            waiting.append((one, one.followed))
            yield one.followed.taken

    with closing(score(taken())) as found:
        for verdicts in found:
            one, followed = waiting.popleft()
            records = replace(one.parsed(), good=followed.mine)
            table = records.table
            if followed.known is None:
                verdicts = settled(
                    scorer.artifact, verdicts, table.entities, table.times, lasting, cut
                )
            else:
                reasons, parts = verdicts.reasons, verdicts.parts
                verdicts = replace(followed.known, reasons=reasons, parts=parts)
            yield JudgedChunk(one, records, followed, with_texts(verdicts, table))
