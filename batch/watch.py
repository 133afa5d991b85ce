"""scored chunks, in order -> what a job must know of all before: entities, incidents, or both."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import msgspec

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.incidents.collector import Collector, counts_of
from vaewatch.batch.inputs import Inputs
from vaewatch.batch.job import Counts
from vaewatch.batch.journal import Entry, Journal
from vaewatch.batch.series.follower import Follower
from vaewatch.batch.stage import Engine, ScoredChunk, Stage
from vaewatch.scoring.errors import OutputError


@dataclass(frozen=True)
class Watch:
    """follower: of the entities, where records are judged with those before them. collector: of
    the incidents, where these are asked for.
    """

    follower: Follower | None
    collector: Collector | None

    @classmethod
    def of(cls, inputs: Inputs, journal: Journal, last: Entry | None, engine: Engine) -> Watch:
        """Begin, or go on after the last entry of a journal."""
        rules = inputs.stage.rules
        past = journal.past_of(last) if last is not None and last.past else b""
        mine, theirs = (past, b"") if rules is None else _parted(past)
        follower = Follower.of(inputs, journal, mine, engine)
        return cls(follower, None if rules is None else Collector.of(rules, theirs))

    def scored(
        self, chunks: Iterator[FileChunk], engine: Engine, stage: Stage
    ) -> Generator[ScoredChunk]:
        """Score chunks, in order."""
        if self.collector is not None:
            chunks = self.collector.chunks(chunks)
        if self.follower is None:
            return engine(chunks, stage)
        return self.follower.scored(chunks, engine, stage)

    def take(self, scored: ScoredChunk) -> Counts:
        """Take a chunk that was scored, in the order of the chunks; return what it adds."""
        if self.collector is not None and scored.groups:
            self.collector.stream.take(scored.groups)
        return Counts() if self.follower is None else self.follower.take(scored)

    def counts(self) -> Counts:
        """Return what is counted once all chunks were taken."""
        return (
            Counts()
            if self.collector is None
            else Counts(incidents=counts_of(self.collector.stream))
        )

    def state(self) -> bytes:
        """Return what is known after the last chunk that was taken, as bytes."""
        mine = b"" if self.follower is None else self.follower.state()
        if self.collector is None:
            return mine
        return msgspec.msgpack.encode((mine, self.collector.state()))


def _parted(past: bytes) -> tuple[bytes, bytes]:
    if not past:
        return b"", b""
    try:
        return msgspec.msgpack.decode(past, type=tuple[bytes, bytes])
    except msgspec.MsgspecError as error:
        raise OutputError(
            "what is beside the journal must be of the job, but it is damaged. Run again without "
            "--resume to start from the beginning."
        ) from error
