"""frame -> which records are fitted to, which are held out, and the folds of the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.schema import Schema
from vaewatch.scoring.series.entity import numbered
from vaewatch.scoring.time.frames import check_moments
from vaewatch.training.calibration.played import set_aside
from vaewatch.training.config import RECENT, TrainConfig
from vaewatch.training.learned import Continued
from vaewatch.training.records.entities import entities_of
from vaewatch.training.records.schema import segment_groups
from vaewatch.training.split.entities import in_a_row, split_by_entity
from vaewatch.training.split.order import ranks
from vaewatch.training.split.segments import hold_out_segments
from vaewatch.training.split.split import Split, split_later, split_records
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.fit import Drawn
from vaewatch.training.vae.folds import Folds

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Whence:
    """Which of N records are alike by where they come from.

    times: (N,) their moments; None without a time. entities: (N,) the number of each one's entity;
    None unless whole ones calibrate.
    """

    times: Ints | None
    entities: Ints | None

    @classmethod
    def of(cls, frame: pl.DataFrame, schema: Schema | None, config: TrainConfig) -> Whence:
        """Raises ColumnError where a record names no entity."""
        time = None if schema is None else schema.time
        times = None if time is None else check_moments(time, frame[time.column]).moments
        if config.entity is None or not config.by_entity:
            return cls(times, None)
        config.require_named(frame.columns)
        return cls(times, numbered(entities_of(frame, config.entity)))


def divide(
    frame: pl.DataFrame, whence: Whence, config: TrainConfig, continued: Continued | None
) -> Split:
    """Return which records are fitted to; a fit that is continued has seen some already.

    Raises:
        SchemaError: there are too few, or a column that is named is not there.
        CalibrationError: those that can be held out are too few.
    """
    known = continued.known if continued and continued.known.any() else None
    if whence.entities is not None:
        return split_by_entity(whence.entities, frame.width, config, known)
    if known is None:
        split = split_records(*frame.shape, config, whence.times)
    else:
        split = split_later(known, config, whence.times)
    if config.segment is None:
        return split
    config.require_named(frame.columns)
    groups = segment_groups(frame, config.segment)
    return hold_out_segments(split, groups, config, known, whence.times)


def draw_folds(
    whence: Whence, split: Split, config: TrainConfig, continued: Continued | None
) -> Drawn | None:
    """Make the folds blocks of time, or whole entities: what judges a fold has then seen nothing
    that is alike only because it came with it. None where chance draws them.
    """
    if config.served is None:
        return None
    if whence.times is not None:
        order = ranks(whence.times[split.fit], stream(config.seed, Stream.ORDER))
    elif whence.entities is not None:
        order = in_a_row(whence.entities[split.fit], config.seed)
    else:
        return None
    folds = Folds.in_order(order, config.members, config.served)
    if whence.times is None or config.calibrate == RECENT:
        return Drawn(folds)
    return Drawn(set_aside(folds, whence.times, split, config, continued))
