"""Labelled sets -> Pool: records that were scored once, from which streams are drawn.

Each pool has normal records and several kinds of anomaly: attacks of NSL-KDD, digits that the fit
never saw, or faults that are planted in columns of a set's normal records, each kind in columns of
its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.train import train

Floats = NDArray[np.float64]
ALPHAS = (0.01, 0.05)
MOST, FEW = 300, 5  # records of a kind of attack
CAP, LEAST, COLUMNS = 6000, 1400, 6  # normal records of a set, and columns to plant faults in
KINDS, SHOWN = 6, 0.7  # kinds of fault, and how often a record shows a column of its kind


@dataclass(frozen=True)
class Set:
    """Records to fit, (N, D), and labelled ones; the kind of the latter, (M,), is 0 if normal."""

    name: str
    fit: pl.DataFrame
    labelled: pl.DataFrame
    kinds: NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """Labelled records that were judged at the largest of ALPHAS.

    Attributes:
        normal: the rows of normal records; kinds: those of each kind of anomaly.
    """

    name: str
    artifact: Artifact
    verdicts: Verdicts
    normal: NDArray[np.int64]
    kinds: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, own: Set) -> Pool:
        with tempfile.TemporaryDirectory() as name:
            scorer = train(own.fit, Path(name) / "artifact", alpha=min(ALPHAS))
        table = checked_table(scorer.artifact.schema, own.labelled)
        verdicts = scorer.score_table(table, alpha=max(ALPHAS))
        rows = [np.flatnonzero(own.kinds == kind) for kind in range(int(own.kinds.max()) + 1)]
        kinds = tuple(some for some in rows[1:] if len(some) >= FEW)
        return cls(own.name, scorer.artifact, verdicts, rows[0], kinds)


def sets(data: Path) -> Iterator[Set]:
    """Yield the sets of a folder with `nsl-kdd`, `adbench` and `oddbench`, and digits."""
    yield nsl_kdd(data / "nsl-kdd")
    yield from digits()
    for path in sorted([*(data / "adbench").glob("*.npz"), *(data / "oddbench").glob("*.npz")]):
        if (found := planted(path)) is not None:
            yield found


def nsl_kdd(folder: Path) -> Set:
    labelled = pl.read_csv(folder / "labelled.csv", infer_schema=False).drop("label")
    attacks = labelled.filter(pl.col("attack") != "normal")
    normal = pl.read_csv(folder / "normal.csv", infer_schema=False)
    normal = normal.select(c for c in labelled.columns if c != "attack")
    normal = normal.sample(fraction=1.0, shuffle=True, seed=0)
    half = len(normal) // 2
    kinds = attacks["attack"].rank("dense").to_numpy().astype(np.int64)
    both = pl.concat([normal.tail(half), attacks.select(normal.columns)])
    return Set("nsl-kdd", normal.head(half), both, np.concatenate([np.zeros(half, int), kinds]))


def digits() -> Iterator[Set]:
    """Fit five of the ten digits; each of the others is a kind of anomaly."""
    x, y = load_digits(return_X_y=True)
    for name, usual in (("digits 0 to 4", y < 5), ("digits 5 to 9", y >= 5)):
        normal = np.random.default_rng(0).permutation(np.flatnonzero(usual))
        fit, rest = normal[: len(normal) // 2], normal[len(normal) // 2 :]
        odd = np.flatnonzero(~usual)
        kinds = np.concatenate([np.zeros(len(rest), np.int64), y[odd] - y[odd].min() + 1])
        yield Set(name, _frame(x[fit]), _frame(x[np.concatenate([rest, odd])]), kinds)


def planted(path: Path) -> Set | None:
    """Return a set with planted faults and its own anomalies; None if it is too small for it."""
    rng = np.random.default_rng(0)
    with np.load(path, allow_pickle=True) as data:
        if "X" in data:
            x, anomaly = np.asarray(data["X"], np.float64), np.asarray(data["y"]) == 1
        else:
            x = np.concatenate([data["X_train"], data["X_test"]]).astype(np.float64)
            anomaly = np.concatenate([np.zeros(len(data["X_train"])), data["y_test"]]) == 1
    normal, odd = rng.permutation(np.flatnonzero(~anomaly))[:CAP], np.flatnonzero(anomaly)
    columns = np.flatnonzero(np.nanstd(x[normal], axis=0) > 0)
    if len(normal) < LEAST or len(columns) < COLUMNS:
        return None
    fit, rest = x[normal[: len(normal) // 2]], x[normal[len(normal) // 2 :]]
    odd = rng.permutation(odd)[:MOST]
    parts = [rest, x[odd]]
    kinds = [np.zeros(len(rest), np.int64), np.ones(len(odd), np.int64)]
    own = np.array_split(rng.permutation(columns)[: 3 * KINDS], min(KINDS, len(columns) // 2))
    for kind, group in enumerate(own, 2):
        parts.append(_faulty(fit, rest[rng.integers(len(rest), size=MOST)], group, rng))
        kinds.append(np.full(MOST, kind))
    return Set(path.stem, _frame(fit), _frame(np.concatenate(parts)), np.concatenate(kinds))


def _faulty(
    fit: Floats, records: Floats, columns: NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Plant a fault in these columns, one manner for each: an offset, a wrong unit, or one value
    that hardly ever occurs. A record shows some of them, at least one.
    """
    out, n = records.copy(), len(records)
    shown = rng.random((n, len(columns))) < SHOWN
    shown[np.arange(n), rng.integers(len(columns), size=n)] = True
    for place, column in enumerate(columns.tolist()):
        own, usual = records[:, column], fit[:, column]
        spread, sign = float(np.nanstd(usual)), rng.choice([-1.0, 1.0])
        manner = rng.integers(3)
        if manner == 0:
            changed = own + sign * spread * rng.uniform(3, 6) * rng.uniform(0.7, 1.3, n)
        elif manner == 1:
            changed = own * 10.0 + sign * spread
        else:
            changed = np.full(n, np.nanmean(usual) + sign * spread * rng.uniform(3, 6))
        out[:, column] = np.where(shown[:, place], changed, own)
    return out


def _frame(x: Floats) -> pl.DataFrame:
    return pl.DataFrame({f"f{i}": x[:, i] for i in range(x.shape[1])})
