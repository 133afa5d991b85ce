"""Windows -> WindowFit: the model of windows, and what normal windows measure that it did not see.

All windows that end in one block of time are a fold. A fold is judged by the member that saw
neither its windows nor any that share a record with them, and by the kept windows of which the
same is true. Where the budget is to hold for entities that the fit never saw, too, the members
that judge leave out some entities as well: these are judged by what saw none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.series.directions import Directions
from vaewatch.scoring.series.promise import LEAST_WANTED
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.form import DAY
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.config import ENTITIES, TrainConfig
from vaewatch.training.progress import Progress, silent
from vaewatch.training.series.kernels import Kernels
from vaewatch.training.series.model import (
    KERNEL_LIMIT,
    Floats,
    Scales,
    Shape,
    Views,
    WindowModel,
    courses_of,
)
from vaewatch.training.series.record import RecordView
from vaewatch.training.series.windows import Windows
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.checkpoint import Checkpoint
from vaewatch.training.vae.fit import Drawn, Fitted, fit_vae
from vaewatch.training.vae.folds import Folds, served_members
from vaewatch.training.vae.laggards import without_laggards

FITTED = 60_000  # windows that the VAE sees; its steps would not see more
KEPT = 4000  # windows that others are compared with
LEAST_KEPT, MOST_NUMBERS = 500, 1 << 27  # fewer of wide windows, so that they fit into memory
NEAREST = 3
JUDGED = 40_000  # windows that calibrate, unless it takes more
BLOCK = 8  # windows' lengths that are judged in a row
DIRECTIONS = 48
# the second view of a window's shape: its last quarter, but no fewer records than kernels need
SHORTER, SHORTEST = 4, 8
BETA = 0.1  # light: a window's places are many, and the KL would blur them
NOISE = 0.1  # of a place's own deviation: more would hide what a window does
LEAST_DEVIATION = 1e-4
CHUNK = 2048
LEAST_CHUNK, MOST_IN_CHUNK = 64, 1 << 23  # windows, and their numbers
MOST_STEPS = 1 << 14  # of windows whose convolutions are computed together


@dataclass(frozen=True)
class OutOfFold:
    """J fit windows, in order, the fold of each, (J,), and what they measure, by what did not see
    it.
    """

    windows: NDArray[np.int64]
    folds: NDArray[np.int64]
    views: Views


@dataclass(frozen=True)
class WindowFit:
    """The model, and the fit windows that judged it.

    Attributes:
        judged: by what saw their entity, at other times.
        of_new: by what saw none of their entity; None where it is not asked for.
    """

    model: WindowModel
    fitted: Fitted
    judged: OutOfFold
    of_new: OutOfFold | None


def fit_windows(
    windows: Windows,
    config: TrainConfig,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
    judged: int = JUDGED,
) -> WindowFit:
    """Fit the model to clipped windows, of which at most `judged` calibrate.

    Raises:
        CalibrationError: there are too few windows to judge any.
    """
    rng = stream(config.seed, Stream.WINDOWS)
    config = replace(config, beta=BETA * config.beta)
    folds, groups = _folds(windows, config)
    kept = np.sort(rng.permutation(len(windows))[: _kept(windows)])
    _require_apart(_some(folds, kept), windows.size)
    bank = windows.take(kept)
    sizes: tuple[int, ...] = (windows.size, max(SHORTEST, windows.size // SHORTER))
    shapes = tuple(
        _shape(windows, bank, s, config.seed) for s in dict.fromkeys(sizes) if s <= windows.size
    )
    directions, unit = _directions(bank, config.seed)
    chosen = np.sort(rng.permutation(len(windows))[:FITTED])
    x = np.concatenate(
        [directions.places(some.reshape(len(some), -1)) for some in _taken(windows, chosen)]
    )
    x /= np.float32(unit)
    own = _some(folds, chosen)
    _require_apart(own, windows.size)
    noise = (NOISE * x.std(0)).astype(np.float32)
    fitted = fit_vae(x, config, progress, checkpoint, None, Drawn(own, noise))
    fitted = without_laggards(fitted, x)
    progress("calibrating", 0, 0)
    model = WindowModel(
        size=windows.size,
        shapes=shapes,
        courses=_bank(courses_of(bank), config.seed),
        directions=directions,
        unit=unit,
        vae=fitted.vae.only(fitted.folds.serving),
        scales=Scales.plain(len(shapes), 0)[0],  # until it is known what is usual
        paced=windows.paced,
        record=RecordView.of(bank[:, -2:], windows.column_of) if windows.columns > 1 else None,
    )
    judges = replace(folds, judges=fitted.folds.judges, serving=fitted.folds.serving)
    some = _blocks(len(windows), BLOCK * windows.size, judged, rng)
    judge = partial(_judge, windows, model, fitted, kept=kept)
    if groups is None:
        of_known, of_new = judge(judges, some), None
    else:
        of_known = judge(judges, some[folds.of[some] != groups[some]])
        of_new = judge(replace(judges, of=groups, beside=None), some)
    model = replace(model, scales=Scales.of(of_known.views, directions.mean.size))
    return WindowFit(model, fitted, of_known, of_new)


def _shape(windows: Windows, bank: NDArray[np.float32], size: int, seed: int) -> Shape:
    """Fit the view of the last `size` records of each window to the kept windows, (K, W, D)."""
    kernels = Kernels.draw(size, bank.shape[2], seed, paced=windows.paced).fitted(
        [run.values for run in windows.runs]
    )
    before = windows.size - size
    features = np.concatenate([kernels.features(some[:, before:].copy()) for some in _few(bank)])
    means, deviations = features.mean(0), features.std(0)
    deviations = np.where(deviations > LEAST_DEVIATION, deviations, 1.0).astype(np.float32)
    scaled = np.clip((features - means) / deviations, -KERNEL_LIMIT, KERNEL_LIMIT)
    return Shape(before, kernels, means, deviations, _bank(scaled.astype(np.float32), seed))


def _folds(windows: Windows, config: TrainConfig) -> tuple[Folds, NDArray[np.int64] | None]:
    """Return the folds, and the group of entities, (M,), of which each window is one, where the
    judge of a fold leaves out the group of its number, too.
    """
    assert config.served is not None
    serving = served_members(config.members, config.served)
    judges = np.setdiff1d(np.arange(config.members), serving)
    of, groups = windows.folds(len(judges)), None
    beside = windows.beside(of, len(judges))
    if config.calibrate == ENTITIES:
        groups = windows.folds_of_entities(len(judges), config.seed)
        inside = groups[:, None] == np.arange(len(judges))
        beside |= inside & (of != groups)[:, None]
    return Folds(of, judges, serving, config.members, beside), groups


def _kept(windows: Windows) -> int:
    """Return how many windows others are compared with, at most."""
    return max(LEAST_KEPT, min(KEPT, MOST_NUMBERS // _numbers(windows)))


def _some(folds: Folds, rows: NDArray[np.int64]) -> Folds:
    """Return the folds of some windows."""
    beside = None if folds.beside is None else folds.beside[rows]
    return replace(folds, of=folds.of[rows], beside=beside)


def _apart(folds: Folds, fold: int) -> NDArray[np.bool_]:
    """(N,) whether a window shares no record with those of a fold."""
    apart = folds.of != fold
    if folds.beside is not None:
        apart &= ~folds.beside[:, fold]
    return np.asarray(apart)


def _require_apart(folds: Folds, size: int) -> None:
    """Refuse windows of which too few share no record with those of a fold: nothing could judge
    these.
    """
    count = len(folds.judges)
    least = min(int(_apart(folds, fold).sum()) for fold in range(count))
    if least <= NEAREST:
        raise CalibrationError(
            f"there must be more than {NEAREST} windows of {size} records that share none with a "
            f"block of time of {count} that they judge, got {least}. Use a smaller --window, or "
            "more records."
        )


def _few(windows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """(K, W, D) -> a few of these windows at a time, of which each has convolutions of its own."""
    most = max(1, MOST_STEPS // windows.shape[1])
    return (windows[start : start + most] for start in range(0, len(windows), most))


def _taken(windows: Windows, chosen: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    most = _chunk(windows)
    return (windows.take(chosen[start : start + most]) for start in range(0, len(chosen), most))


def _leading(rows: NDArray[np.float32], seed: int) -> tuple[Floats, Floats]:
    """(K, D) -> the singular values and the (D, Q) directions in which the rows reach furthest."""
    from sklearn.utils.extmath import randomized_svd

    rank = min(DIRECTIONS, *rows.shape)
    _, strength, directions = randomized_svd(rows, rank, n_iter=4, random_state=seed)
    return strength.astype(np.float64), directions.T.astype(np.float64)


def _bank(rows: NDArray[np.float32], seed: int) -> Bank:
    return Bank.of(rows, NEAREST, _leading(rows, seed)[1])


def _directions(bank: NDArray[np.float32], seed: int) -> tuple[Directions, float]:
    """(K, W, D) -> the leading directions, and the unit in which windows lie along them."""
    flat = bank.reshape(len(bank), -1)
    mean = flat.mean(0)
    strength, basis = _leading(flat - mean, seed)
    unit = float(np.sqrt((strength**2).mean() / len(flat))) or 1.0
    return Directions(mean, basis.astype(np.float32)), unit


def to_judge(config: TrainConfig, window: Window) -> int:
    """Return how many windows calibrate at most: more than JUDGED where the alpha or the incidents
    asked for take more.
    """
    wanted = config.incidents_per_day
    days = 0.0 if wanted is None else LEAST_WANTED / wanted
    needed = max(math.ceil(1 / config.alpha), math.ceil(days * DAY / window.step))
    return max(JUDGED, needed + 2 * BLOCK * window.size)  # whole blocks, of which one is cut short


def _blocks(n: int, length: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most so many of n windows, as whole blocks of neighbours, in order."""
    starts = np.arange(0, n, length)
    if n > most:
        starts = np.sort(rng.permutation(starts)[: max(1, most // length)])
    return np.concatenate([np.arange(s, min(s + length, n)) for s in starts.tolist()])


def _judge(
    windows: Windows,
    model: WindowModel,
    fitted: Fitted,
    folds: Folds,
    judged: NDArray[np.int64],
    *,
    kept: NDArray[np.int64],
) -> OutOfFold:
    """Measure the judged windows, each fold by what did not see it."""
    found = np.empty((2 + sum(model.measures), len(judged)))
    for fold, judge in enumerate(folds.judges.tolist()):
        at = np.flatnonzero(folds.of[judged] == fold)
        apart = _apart(folds, fold)[kept]
        alone = replace(
            model,
            shapes=tuple(shape.only(apart) for shape in model.shapes),
            courses=model.courses.only(apart),
            record=model.record and model.record.only(apart),
            vae=fitted.vae.only([judge]),
        )
        for rows, records in _together(windows, judged[at]):
            found[:, at[rows]] = alone.views(records, windows.take(judged[at][rows])).stacked()
    return OutOfFold(judged, folds.of[judged], Views.unstacked(found, len(model.shapes)))


def _together(
    windows: Windows, chosen: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the places of some of (n,) windows in order, and their records, (B, T, D): stretches
    of as many windows each that follow one another.
    """
    most = _chunk(windows)
    runs = windows.run_of[chosen]
    parts = np.flatnonzero((np.diff(chosen) != 1) | (np.diff(runs) != 0)) + 1
    alike: dict[int, list[int]] = {}  # the first places of stretches, by their windows
    for start, end in pairwise([0, *parts.tolist(), len(chosen)]):
        for first in range(start, end, most):
            alike.setdefault(min(most, end - first), []).append(first)
    for n, firsts in alike.items():
        count = max(1, most // n)
        for k in range(0, len(firsts), count):
            some = firsts[k : k + count]
            records = [_records(windows, int(chosen[first]), n) for first in some]
            yield np.add.outer(some, np.arange(n)).reshape(-1), np.stack(records)


def _records(windows: Windows, window: int, n: int) -> NDArray[np.float32]:
    """Return the records of n windows that follow one another, (n + W - 1, D)."""
    run = int(windows.run_of[window])
    first = window - int(windows.starts[run])
    return windows.runs[run].values[first : first + n + windows.size - 1]


def _chunk(windows: Windows) -> int:
    """Return how many windows are measured at a time."""
    return max(LEAST_CHUNK, min(CHUNK, MOST_IN_CHUNK // _numbers(windows)))


def _numbers(windows: Windows) -> int:
    return int(windows.size * windows.runs[0].values.shape[1])
