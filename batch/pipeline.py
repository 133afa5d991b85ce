"""chunks -> scored chunks, side by side and in order -> the output and the rejects file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from batch.reader import CsvFile, Records
from batch.rejects import HEADER, Reject
from batch.verdicts import ADDED, frame_of_verdicts, refuse_added
from batch.writer import Output
from scoring.delimited import Chunk
from scoring.scorer import Scorer, Verdicts

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Job:
    """What is asked for."""

    source: str
    out: str
    rejects: str | None = None
    delimiter: str | None = None
    alpha: float | None = None
    explain: int | None = None
    threads: int = 1


@dataclass(frozen=True)
class Counts:
    """Of records: each one is either scored or rejected."""

    scored: int = 0
    anomalies: int = 0
    rejected: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.scored + other.scored,
            self.anomalies + other.anomalies,
            self.rejected + other.rejected,
        )


@dataclass(frozen=True)
class Scored:
    """A chunk as it goes to the output."""

    data: bytes
    rejects: tuple[Reject, ...]
    counts: Counts


def run(scorer: Scorer, job: Job) -> Counts:
    """Score a file."""
    file = CsvFile.open(job.source, scorer.artifact.schema, job.delimiter)
    refuse_added(file.header.names)
    with Output(job.out) as out:
        if job.rejects is None:
            return _score(scorer, job, file, out, None)
        with Output(job.rejects) as rejects:
            rejects.write(HEADER)
            return _score(scorer, job, file, out, rejects)


def _score(scorer: Scorer, job: Job, file: CsvFile, out: Output, rejects: Output | None) -> Counts:
    header, counts = file.header, Counts()
    cells = [header.raw, *(name.encode() for name in ADDED)]
    out.write(header.delimiter.encode().join(cells) + header.line_end)
    chunks = file.chunks()
    for scored in in_order(chunks, lambda chunk: score(scorer, job, file, chunk), job.threads):
        for reject in scored.rejects:
            if rejects is None:
                raise reject.error()
            rejects.write(reject.to_csv())
        out.write(scored.data)
        counts += scored.counts
    return counts


def in_order(items: Iterable[In], work: Callable[[In], Out], threads: int) -> Iterator[Out]:
    """Work on items side by side; results in the items' order, and few of them in memory."""
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[Out]]()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def score(scorer: Scorer, job: Job, file: CsvFile, chunk: Chunk) -> Scored:
    """Parse, score and print the records of a chunk."""
    records = file.parse(chunk)
    verdicts = scorer.score_table(records.table, alpha=job.alpha, explain=job.explain)
    good = records.good
    counts = Counts(int(good.sum()), int(verdicts.is_anomaly[good].sum()), len(records.rejects))
    data = _append(records, verdicts, file.header.delimiter, scorer.artifact.version)
    return Scored(data, records.rejects, counts)


def _append(records: Records, verdicts: Verdicts, delimiter: str, version: str) -> bytes:
    """Each good row as it came, with the verdict's fields before its line end."""
    block = records.block
    frame = frame_of_verdicts(verdicts, version)
    added = frame.write_csv(include_header=False, separator=delimiter).encode().split(b"\n")
    comma, rows = delimiter.encode(), block.rows
    out: list[bytes] = []
    starts = [0, *block.ends[:-1].tolist()] if len(block) else []
    bare, ends = block.bare_ends().tolist(), block.ends.tolist()
    for i in np.flatnonzero(records.good).tolist():
        out += (rows[starts[i] : bare[i]], comma, added[i], rows[bare[i] : ends[i]])
    return b"".join(out)
