"""alarms of windows, chunk by chunk -> incidents at several alphas, beside those foretold."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.job import MAX_ENTITIES
from vaewatch.batch.replay.timeline import DAY, moment
from vaewatch.batch.replay.times import MINUTE
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.batch.series.followed import Selection
from vaewatch.batch.series.in_order import InOrder
from vaewatch.batch.series.incidents import Alarms, IncidentSpans
from vaewatch.batch.series.judging import JudgedChunk, judged
from vaewatch.batch.workers import Team, in_order
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import block_law
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.windows import Incidents, alike, expected_of_windows
from vaewatch.scoring.errors import SchemaError, SettingError
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.history import History, Taken
from vaewatch.scoring.series.lasting import Lasting
from vaewatch.scoring.series.window import SeriesSummary, Window
from vaewatch.scoring.verdicts import Verdicts


@dataclass(frozen=True)
class IncidentsReplay:
    """The incidents at one alpha; per_day and foretold: per entity and day."""

    incidents: int
    per_day: float | None
    foretold: float | None
    daily_mean: float
    daily_most: int
    words: str


@dataclass(frozen=True)
class SeriesReplay:
    """What a replay of windows counts beside the rest.

    starts: for each alpha, the minutes since 1970 at which incidents began, in order.
    """

    artifact: Artifact
    window: Window
    summary: SeriesSummary
    counts: SeriesCounts
    starts: tuple[NDArray[np.int64], ...]

    def expected(self, records: int, alpha: float) -> Expected:
        """Return the alarms that chance brings among so many judged records."""
        return expected_of_windows(self.artifact.calibration, self.summary, records, alpha)

    @property
    def alike(self) -> float:
        """How many neighbouring records are worth one independent record."""
        return alike(self.artifact.calibration, self.summary)

    def allowed(self, alpha: float) -> float:
        """Return the upper limit of the false-alarm rate."""
        return block_law(self.artifact.calibration, alpha, self.summary.blocks).interval()[1]

    def incidents(self, which: int, alpha: float, days: int) -> IncidentsReplay:
        """Return the incidents at the alpha with this index, in so many days with records."""
        starts = self.starts[which]
        found = Incidents.of(len(starts), self.counts.judged, self.summary, self.window, alpha)
        _, by_day = np.unique(starts // DAY, return_counts=True)
        return IncidentsReplay(
            incidents=len(starts),
            per_day=found.per_day,
            foretold=found.foretold,
            daily_mean=len(starts) / max(days, 1),
            daily_most=int(by_day.max(initial=0)),
            words=found.words,
        )

    def to_json(self) -> dict[str, Any]:
        counts = self.counts.to_json()
        del counts["incidents"], counts["first"]
        return {**counts, "incidents_by_day": [list(_by_day(starts)) for starts in self.starts]}


def _by_day(starts: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield each day that has incidents, of the minutes at which they began."""
    for day, n in zip(*np.unique(starts // DAY, return_counts=True), strict=True):
        yield {"day": f"{moment(day * DAY):%Y-%m-%d}", "incidents": int(n)}


@dataclass
class SeriesWatch:
    """Follows the entities of a replay from chunk to chunk, and joins alarms to incidents."""

    artifact: Artifact
    window: Window
    summary: SeriesSummary
    order: InOrder
    alpha: float
    spans: tuple[IncidentSpans, ...]
    counts: SeriesCounts = field(default_factory=SeriesCounts)

    @classmethod
    def of(cls, artifact: Artifact, time: str, alphas: Sequence[float]) -> SeriesWatch | None:
        """Return None where each record is judged by itself.

        Raises:
            SettingError: the time is not that by which windows are in order.
        """
        window, summary = artifact.window, artifact.manifest.series
        if window is None or summary is None:
            return None
        own = artifact.schema.time
        if own is None or time != own.column:
            raise SettingError(
                f"--time must be the artifact's, by which its windows are in order, got '{time}'. "
                "Leave it out."
            )
        order = InOrder(Selection(artifact.vectorizer), History(window, MAX_ENTITIES))
        spans = tuple(IncidentSpans(window) for _ in alphas)
        return cls(artifact, window, summary, order, alphas[0], spans)

    def judged(
        self, chunks: Iterable[FileChunk], scorer: Scorer, team: Team, *, explained: bool
    ) -> Iterator[JudgedChunk]:
        """Yield the verdicts on chunks, at the first alpha. `explained`: alarms have reasons."""
        work = partial(scorer.score_taken, alpha=self.alpha, explain=None if explained else 0)

        def score(taken: Iterable[Taken]) -> Generator[Verdicts]:
            return in_order(taken, work, team)

        lasting = Lasting(self.window, MAX_ENTITIES)
        return judged(self.order.follow(chunks), score, scorer, lasting, self.alpha)

    def take(self, alarms: Sequence[Alarms], counts: SeriesCounts | None) -> None:
        """Take the alarms of a chunk, at each alpha, and how its records stand."""
        for spans, some in zip(self.spans, alarms, strict=False):
            spans.add(some)
        self.counts += counts or SeriesCounts()

    def require_windows(self, judged: int) -> None:
        """Refuse files of which nothing could be judged, which would look like an all-clear."""
        if not judged:
            raise SchemaError(
                f"an entity must have at least {self.window.size:,} records without a gap to be "
                f"judged, but none has: {self.counts.warming_up:,} records are warming up, "
                f"{self.counts.late:,} late and {self.counts.repeated:,} repeated."
            )

    def replay(self) -> SeriesReplay:
        starts = tuple(spans.starts() // MINUTE for spans in self.spans)
        return SeriesReplay(self.artifact, self.window, self.summary, self.counts, starts)
