"""a window -> reasons: which columns, and how many records ago, are unlike what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.vectorizer import Value, Vectorizer
from vaewatch.scoring.reasons import Reason, shown_apart
from vaewatch.scoring.schema import OTHER
from vaewatch.scoring.series.directions import Directions
from vaewatch.scoring.series.window import Window

LIMIT = 20.0  # standard deviations: the graph cuts what is further out, as odd as can be


@dataclass(frozen=True)
class SeriesReason(Reason):
    """A column whose course in the window is unlike what was expected.

    Attributes:
        contribution: the share of the column, over all records of the window, in the
            reconstruction part of the score.
        ago: how many records ago it is most unlike, which is what is observed and expected.
    """

    ago: int

    def __str__(self) -> str:
        observed, expected = shown_apart(self.observed, self.expected)
        if not self.ago:
            return f"{self.column} is {observed}, expected {expected}"
        records = "1 record" if self.ago == 1 else f"{self.ago} records"
        return f"{self.column}, {records} ago: {observed}, expected {expected}"


@dataclass(frozen=True)
class Unlike:
    """Windows and what was expected in their place.

    Attributes:
        observed, expected: (N, W, D) features.
        unseen: (N, W, C).
        parts: (N, 2) what the VAE, and unseen values, add to each score.
    """

    observed: NDArray[np.float32]
    expected: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    parts: NDArray[np.float64]


@dataclass(frozen=True)
class SeriesExplainer:
    """Shares the reconstruction part of a score out to columns and steps."""

    vectorizer: Vectorizer
    window: Window
    directions: Directions

    def reasons(self, unlike: Unlike, most: int) -> list[tuple[SeriesReason, ...]]:
        """Return at most `most` reasons for each of N windows, the largest contribution first."""
        shares = self._shares(unlike)
        return [tuple(self._of(unlike, i, shares[i], most)) for i in range(len(shares))]

    def _shares(self, unlike: Unlike) -> NDArray[np.float64]:
        """(N, W, C + 1): what each cell adds to the reconstruction part; last, the pace."""
        residual = np.clip(unlike.observed, -LIMIT, LIMIT) - unlike.expected
        squared = residual.astype(np.float64) ** 2
        columns = np.zeros((*squared.shape[:2], len(self.vectorizer.schema.names) + 1))
        d = len(self.vectorizer.features)
        columns[..., :-1] = squared[..., :d] @ self.vectorizer.column_map
        columns[..., -1] = squared[..., d:].sum(-1)
        total = columns.sum((1, 2), keepdims=True)
        shares = columns / np.maximum(total, 1e-12) * unlike.parts[:, :1, None]
        new = unlike.unseen / np.maximum(unlike.unseen.sum((1, 2), keepdims=True), 1)
        shares[..., :-1] += new * unlike.parts[:, 1:, None]
        return np.asarray(shares)

    def _of(
        self, unlike: Unlike, i: int, shares: NDArray[np.float64], most: int
    ) -> Iterator[SeriesReason]:
        """Yield the reasons of window i, given what its cells add, (W, C + 1)."""
        schema, by_column = self.vectorizer.schema, shares.sum(0)
        for column in np.argsort(-by_column, kind="stable")[:most].tolist():
            step = int(shares[:, column].argmax())
            ago = self.window.size - 1 - step
            if column == len(schema.names):
                observed, expected = self._pace(unlike, i, step)
                name = schema.time.column if schema.time else ""
            else:
                name = schema.names[column]
                observed, expected = (
                    self._value(features[i, step], name)
                    for features in (unlike.observed, unlike.expected)
                )
                if unlike.unseen[i, step, column]:
                    observed = OTHER
            if observed != expected:
                yield SeriesReason(name, observed, expected, float(by_column[column]), ago)

    def _value(self, features: NDArray[np.float32], column: str) -> Value:
        raw = self.vectorizer.raw(features[: len(self.vectorizer.features)].astype(np.float64))
        return self.vectorizer.by_column[column].expected(raw)

    def _pace(self, unlike: Unlike, i: int, step: int) -> tuple[Value, Value]:
        """Return the seconds since the record before, observed and expected."""
        pace = self.window.pace
        if pace is None:
            return None, None
        observed, expected = (
            pace.seconds(float(features[i, step, -1]), self.window.step)
            for features in (unlike.observed, unlike.expected)
        )
        return float(f"{observed:.4g}"), float(f"{expected:.4g}")
