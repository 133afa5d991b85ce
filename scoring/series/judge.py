"""records, history -> scores: each record with those before it, where its window is full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.score import NO_PARTS, Parts, ScoreRule
from vaewatch.scoring.series.history import STANDINGS, Arrivals, History, Taken
from vaewatch.scoring.series.network import PARTS, WindowForward, WindowNetwork
from vaewatch.scoring.series.reasons import (
    Explained,
    Look,
    SeriesExplainer,
    Unlike,
    squared_errors,
    usual_errors,
)
from vaewatch.scoring.series.window import hide_first_pace
from vaewatch.scoring.table import Table, table_of

Floats = NDArray[np.floating[Any]]

NO_UNSEEN = np.empty((0, 0), bool)


@dataclass(frozen=True)
class Judged:
    """What became of N records.

    Attributes:
        taken: the standing of each, and the runs of full windows.
        rows: (n,) the records with full windows, and their scores, (n,).
        forward: the parts of these scores, and what was expected.
        features: (n, 1), whether a value in a window is unseen, and how many of its newest record.
    """

    taken: Taken
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    forward: WindowForward
    features: Features

    def standings(self) -> list[str]:
        """Return how each record stands to the history of its entity, in a word."""
        return [STANDINGS[code].value for code in self.taken.standings.tolist()]


class WindowJudge:
    """The part of a Scorer that judges windows. Threads may share it; a history they may not.

    Raises:
        ArtifactError: the graph is not one that fits the artifact.
    """

    def __init__(self, artifact: Artifact, threads: int) -> None:
        window, directions = artifact.window, artifact.directions
        if window is None or directions is None:
            raise ArtifactError("an artifact of windows must have a window, but has none.")
        self.artifact, self.window = artifact, window
        self.network = WindowNetwork(artifact.graph, window.size, threads)
        width = window.width(len(artifact.vectorizer.features))
        sizes = self.network.sizes
        if (sizes.width, sizes.directions) != (width, directions.basis.shape[1]):
            raise ArtifactError(
                f"network.onnx must take the {width:,} numbers of a record of the manifest and "
                f"give {directions.basis.shape[1]:,} places, got {sizes.width:,} and "
                f"{sizes.directions:,}."
            )
        self._directions = directions

    def judge(self, table: Table, history: History) -> Judged:
        """Take a table's records into a history, and score those with full windows."""
        return self.judged(history.add(arrivals_of(self.artifact.vectorizer, table)))

    def judged(self, taken: Taken) -> Judged:
        """Score the records with full windows. What a history made of them is all that it takes,
        so that it may run anywhere, and in any order.
        """
        return judged(taken, self.network, self.artifact.rule)

    def all_parts(self, judged: Judged) -> list[Parts]:
        """Return the parts of each record's score; NaN for one without a full window."""
        out = [NO_PARTS] * len(judged.taken.standings)
        parts = self.artifact.rule.parts(judged.forward, judged.features)
        for row, own in zip(judged.rows.tolist(), parts, strict=True):
            out[row] = own
        return out

    def explained(
        self, judged: Judged, wanted: NDArray[np.bool_], most: int
    ) -> Iterator[tuple[int, Explained]]:
        """Yield the wanted rows, of (N,), that have full windows, and at most `most` reasons."""
        if wanted.any():
            for row, unlike in self._unlike(judged, wanted):
                yield row, self._explainer.explain(unlike, most)

    def sound_scores(self, table: Table, most: int) -> tuple[NDArray[np.int64], Floats]:
        """Return the rows of a table that have full windows, and their scores, or raise an
        ArtifactError unless the graph gives each part of each as a number.
        """
        judged = self.judge(table, History(self.window))
        for name in PARTS:
            part = getattr(judged.forward, name)
            if len(part) != len(judged.rows) or not np.isfinite(part).all():
                raise ArtifactError(
                    f"network.onnx must give a finite '{name}' for each window, but does not."
                )
        list(self.explained(judged, np.ones(len(table), bool), most))
        order = np.argsort(judged.rows)
        return judged.rows[order], judged.scores[order]

    @cached_property
    def _explainer(self) -> SeriesExplainer:
        """What is usual of each column is taken from the golden records."""
        artifact = self.artifact
        golden = table_of(artifact.schema, artifact.golden.records)
        judged = self.judge(golden, History(self.window))
        every = self._unlike(judged, np.ones(len(golden), bool))
        errors = [
            squared_errors(artifact.vectorizer, each.observed, each.expected) for _, each in every
        ]
        usual = usual_errors(errors, len(artifact.schema.names))
        return SeriesExplainer(artifact.vectorizer, self.window, self._look, artifact.rule, usual)

    def _unlike(self, judged: Judged, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Unlike]]:
        """Yield the wanted rows that have full windows, and these beside what was expected."""
        at = np.full(len(wanted), -1)
        at[judged.rows] = np.arange(len(judged.rows))
        for run in judged.taken.runs:
            for k, row in enumerate(run.rows.tolist()):
                if wanted[row]:
                    own = slice(k, k + self.window.size)
                    observed = run.values[own]
                    if self.window.pace is not None:
                        observed = observed.copy()
                        hide_first_pace(observed[None])
                    (expected,) = self._expected(judged.forward.expected[at[row]][None])
                    score = float(judged.scores[at[row]])
                    yield row, Unlike(observed, expected, run.unseen[own], score)

    def _look(self, windows: NDArray[np.float32]) -> Look:
        """Score windows that share no records, (N, W, D), but for what is unseen."""
        nothing = Features(np.empty((len(windows), 0), np.float32), NO_UNSEEN, False)
        forward = self.network.alone(windows)
        expected = self._expected(forward.expected)
        return Look(self.artifact.rule.total(forward, nothing), expected)

    def _expected(self, places: Floats) -> NDArray[np.float32]:
        """(N, Q) places along the directions -> (N, W, D), the windows that lie there."""
        flat = self._directions.windows(places.astype(np.float32))
        return flat.reshape(len(places), self.window.size, -1)


def judged(taken: Taken, network: WindowNetwork, rule: ScoreRule) -> Judged:
    """Score the records with full windows among those that a history took in."""
    rows, forward = network.forward(taken.runs)
    unseen = np.zeros(len(taken.standings), bool)
    newest = np.zeros(len(taken.standings), np.int64)
    for run in taken.runs:
        unseen[run.rows], newest[run.rows] = run.any_unseen(), run.newest_unseen()
    marked = unseen[rows][:, None]
    nothing = np.empty((len(rows), 0), np.float32)
    features = Features(nothing, marked, bool(marked.any()), newest[rows])
    return Judged(taken, rows, rule.total(forward, features), forward, features)


def arrivals_of(vectorizer: Vectorizer, table: Table) -> Arrivals:
    """Return a table's records as a history takes them."""
    if table.times is None:
        raise AssertionError("a window takes a time: `check_window` refuses an artifact without")
    features = vectorizer.transform(table)
    return Arrivals(table.entities, table.times, features.values, features.unseen)
