"""the files of a job -> chunks, in order, for the stage that scores them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from vaewatch.batch.added import EXPLAINED, prefixed
from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.encode import Encoder
from vaewatch.batch.incidents.collector import rules_of
from vaewatch.batch.job import Job
from vaewatch.batch.journal import Entry, Journal, is_stream
from vaewatch.batch.stage import ScoredChunk, Stage
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.records import Source
from vaewatch.scoring.files.remote import is_url
from vaewatch.scoring.files.source import chunks_of, open_source
from vaewatch.scoring.scorer import Scorer


@contextmanager
def open_inputs(scorer: Scorer, job: Job, journal: Journal) -> Iterator[Inputs]:
    """Open the first file of a job, and check the others."""
    files = journal.files
    with _open(files[0], scorer, job) as first:
        encoder = Encoder.of(job, first, scorer.artifact)
        encoder.require_writable_types(first)
        sizes = tuple(int(journal.before.get(name, [0])[0]) for name in files)
        rules = rules_of(job, scorer.artifact, journal.found)
        stage = Stage(scorer, job, encoder, sizes, journal.found, rules=rules)
        inputs = Inputs(stage, files, first)
        inputs.check()
        yield inputs


def _open(name: str, scorer: Scorer, job: Job) -> AbstractContextManager[Source]:
    return open_source(
        name, scorer.artifact.schema, job.delimiter, prefixed(EXPLAINED, job.prefix)
    )


@dataclass(frozen=True)
class Inputs:
    """The files of a job; the first one is open."""

    stage: Stage
    files: tuple[str, ...]
    first: Source

    def check(self) -> None:
        """Refuse a file that cannot be read or has other columns before any is scored, not after
        hours. Objects are checked when it is their turn, since each check is a request or two.
        """
        for name in self.files[1:]:
            if not is_stream(name) and not is_url(name):
                with self._opened(name):
                    pass

    @contextmanager
    def _opened(self, name: str) -> Iterator[Source]:
        with _open(name, self.stage.scorer, self.stage.job) as source:
            self._require_same_columns(source)
            self.stage.encoder.require_writable_types(source)
            yield source

    def chunks(self, last: Entry | None) -> Iterator[FileChunk]:
        """The chunks of all files, from where an earlier job stopped."""
        for at in range(last.file if last else 0, len(self.files)):
            start = Place(last.offset, last.line) if last and at == last.file else None
            if at == 0:
                yield from self._chunks_of(at, self.first, start)
                continue
            with self._opened(self.files[at]) as source:
                yield from self._chunks_of(at, source, start)

    def _chunks_of(self, at: int, source: Source, start: Place | None) -> Iterator[FileChunk]:
        lean = source.lean()
        return (FileChunk(at, lean, chunk) for chunk in chunks_of(source, start))

    def _require_same_columns(self, source: Source) -> None:
        """Otherwise the output would have gaps; NDJSON names its columns in each record."""
        if "ndjson" in (source.format, self.first.format):
            return
        differ = sorted(set(source.columns) ^ set(self.first.columns))
        if differ:
            raise SchemaError(
                f"all files must have the same columns, but '{self.first.name}' and "
                f"'{source.name}' differ in '{differ[0]}'."
            )

    def share(self, scored: ScoredChunk) -> float | None:
        """The share of the input that is done; None if a packed file or a stream hides it."""
        sizes = self.stage.sizes
        done = sum(sizes[: scored.at])
        if scored.share is None:
            return None
        return min((done + scored.share * sizes[scored.at]) / max(sum(sizes), 1), 1.0)
