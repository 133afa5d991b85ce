"""a job of windows -> its chunks with their history, its incidents, and both as bytes to resume.

A job that is resumed must know of each entity what it knew after the last chunk that it wrote. By
then it has read further, so that the history after each chunk is kept until the chunk is written.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.inputs import Inputs, open_inputs
from vaewatch.batch.job import Counts, Job
from vaewatch.batch.journal import Journal, is_stream
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.batch.series.followed import Selection
from vaewatch.batch.series.in_order import InOrder
from vaewatch.batch.series.incidents import IncidentSpans, alarms_at
from vaewatch.batch.series.judging import JudgedChunk, WindowStage, judged
from vaewatch.batch.series.sorting import Sorted
from vaewatch.batch.stage import Engine, ScoredChunk, Stage
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.fdr import ALONE
from vaewatch.scoring.errors import OutputError, SettingError
from vaewatch.scoring.incidents.spans import Span
from vaewatch.scoring.series.history import History, Taken
from vaewatch.scoring.series.kept import KeptError, history_key, pack_history, unpack_history
from vaewatch.scoring.series.lasting import KeptEpisode, Lasting
from vaewatch.scoring.verdicts import Verdicts


def check_followed(job: Job, files: tuple[str, ...], artifact: Artifact) -> None:
    """Refuse a job that an artifact with a window, or one without, cannot do.

    Raises:
        SettingError: it is such a job.
    """
    if artifact.window is None:
        if job.sort:
            raise SettingError(
                "--sort takes an artifact with a window: this one judges each record by itself, "
                "in any order. Leave it out."
            )
        return
    if job.fdr is not None:
        raise SettingError(
            f"--fdr takes {ALONE} Use --alpha, or vaewatch train --incidents-per-day."
        )
    if job.entities is not None and artifact.schema.entity is None:
        raise SettingError(
            "--shard takes an artifact with an entity: one series cannot be split, since each "
            "record is judged with those before it. Leave --shard out."
        )
    for name in filter(is_stream, files if job.sort else ()):
        raise SettingError(
            f"--sort reads its input twice, so it must be files, got the stream '{name}'. Write "
            "it to a file first."
        )


class _State(msgspec.Struct, array_like=True):
    """What a job resumes from. history: as bytes, empty where records were sorted."""

    history: bytes
    spans: dict[str, list[Span]]
    episodes: dict[str, KeptEpisode] = {}


@dataclass
class Follower:
    """Follows the entities of a job from chunk to chunk."""

    follow: InOrder | Sorted
    incidents: IncidentSpans
    lasting: Lasting
    key: str

    @classmethod
    def of(cls, inputs: Inputs, journal: Journal, past: bytes, engine: Engine) -> Follower | None:
        """Return the follower of a job from where it stopped, with what `state` returned there;
        None if each record is judged by itself.
        """
        artifact, job = inputs.stage.scorer.artifact, inputs.stage.job
        if (window := artifact.window) is None:
            return None
        selection = Selection(artifact.vectorizer, job.entities)
        key = history_key(artifact.version, window)
        kept = _state(past) if past else _State(b"", {})
        incidents = IncidentSpans(window, kept.spans)
        lasting = Lasting(window, job.max_entities)
        if job.sort:
            with open_inputs(inputs.stage.scorer, job, journal) as ahead:
                found = Sorted.of(selection, inputs.stage, engine, ahead.chunks(None))
            return cls(found, incidents, lasting, key)
        lasting.keep(kept.episodes)
        history = History(window, job.max_entities)
        if kept.history:
            history = _unpacked(kept.history, key, history, artifact)
        return cls(InOrder(selection, history, journal.resumable), incidents, lasting, key)

    def scored(
        self, chunks: Iterator[FileChunk], engine: Engine, stage: Stage
    ) -> Generator[ScoredChunk]:
        """Score chunks, in order."""
        work, given = (
            WindowStage(stage.scorer, stage.job, stage.explain),
            self.follow.follow(chunks),
        )

        def score(taken: Iterable[Taken]) -> Generator[Verdicts]:
            return engine(taken, work)

        for one in judged(given, score, stage.scorer, self.lasting, work.cut):
            yield self._encoded(one, stage)

    def _encoded(self, one: JudgedChunk, stage: Stage) -> ScoredChunk:
        records, verdicts = one.records, one.verdicts
        if not stage.job.first_shard:
            records = replace(records, rejects=())
        if not len(records.table):
            return stage.encoded(one.chunk, records, None)
        scored = stage.encoded(one.chunk, records, verdicts)
        counts = replace(scored.counts, series=one.counts)
        alarms = np.flatnonzero(records.good & verdicts.is_anomaly)
        return replace(scored, counts=counts, alarms=alarms_at(records.table, alarms))

    def take(self, scored: ScoredChunk) -> Counts:
        """Take a chunk that was scored, in the order of the chunks; return what it adds."""
        if isinstance(self.follow, InOrder) and self.follow.keep:
            self.follow.written = self.follow.past.popleft()
        more = 0 if scored.alarms is None else self.incidents.add(scored.alarms)
        return Counts(series=SeriesCounts(incidents=more))

    def state(self) -> bytes:
        """Return what is known after the last chunk that was taken."""
        history = b""
        if isinstance(self.follow, InOrder) and self.follow.written is not None:
            history = pack_history(self.follow.written, self.key)
        state = _State(history, self.incidents.spans, self.lasting.kept())
        return msgspec.msgpack.encode(state)


def _state(content: bytes) -> _State:
    try:
        return msgspec.msgpack.decode(content, type=_State)
    except msgspec.MsgspecError as error:
        raise _damaged() from error


def _unpacked(content: bytes, key: str, history: History, artifact: Artifact) -> History:
    width = history.window.width(len(artifact.vectorizer.features))
    try:
        return unpack_history(content, key, history, width, len(artifact.schema.columns))
    except KeptError as error:
        raise _damaged() from error


def _damaged() -> OutputError:
    return OutputError(
        "the history beside the journal must be that of the job, but it is damaged. Run again "
        "without --resume to start from the beginning."
    )
