"""entities -> Split: whole patients, machines or days are held out.

What comes of one entity is alike. A record of a patient whose others were fitted to costs less
than one of a new patient, so that records drawn at random would promise alpha for further records
of the same patients alone. Held out with all of their records, entities are to the fit as new ones
are, and the budget is that of those that come later, if they are like these.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import CalibrationError
from vaewatch.training.config import TrainConfig
from vaewatch.training.split.split import LAST_SHARE, Split, calibration_size, records_for
from vaewatch.training.streams import Stream, stream

LEAST = 4  # entities of which some can be held out, and others fitted to
ENOUGH = 30  # entities that are held out, if these are no more than LAST_SHARE of all
MOST = 1 / 2  # of the entities, where fewer have too few records to certify alpha

Entities = NDArray[np.int64]


def split_by_entity(
    entities: Entities, columns: int, config: TrainConfig, known: NDArray[np.bool_] | None = None
) -> Split:
    """Hold out whole entities, which chance draws, so that they are like any others.

    Args:
        entities: (N,) the number of each record's entity.
        known: (N,) records that a fit that is continued has seen; what has one is not held out.

    Raises:
        CalibrationError: the entities, or their records, are too few.
    """
    sizes = np.bincount(entities)
    free = sizes > 0
    if known is not None:
        free[entities[known]] = False
    drawn = stream(config.seed, Stream.SPLIT).permutation(np.flatnonzero(free))
    new = "" if known is None else " that the continued fit has not seen"
    if len(drawn) < LEAST:
        raise CalibrationError(
            f"--calibrate entities takes at least {LEAST} entities{new}, got {len(drawn)} in "
            f"column '{config.entity}': some are held out with all of their records. Give records "
            "of more, or leave it out."
        )
    most = drawn[: math.floor(len(drawn) * MOST)]
    needed, reached = records_for(1, config.alpha), np.cumsum(sizes[most])
    if reached[-1] < needed:
        raise CalibrationError(
            f"--calibrate entities takes at least {needed:,} records to calibrate at alpha "
            f"{config.alpha:g}, got {reached[-1]:,} of {len(most):,} entities, half of those"
            f"{new or ' there are'}. Give records of more entities, or ask for a larger alpha."
        )
    certifies = int(np.searchsorted(reached, needed)) + 1
    chosen = most[: max(_count(sizes[drawn], columns, config.alpha), certifies)]
    held_out = np.isin(entities, chosen)
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _count(sizes: NDArray[np.int64], columns: int, alpha: float) -> int:
    """Return how many of E entities of so many records, (E,), are held out: those that have as
    many records as are held out of others, and more where these are few entities.
    """
    wanted = calibration_size(int(sizes.sum()), alpha, columns) / float(sizes.mean())
    most = max(math.floor(len(sizes) * LAST_SHARE), 2)
    return min(max(math.ceil(wanted), ENOUGH), most)


def in_a_row(entities: Entities, seed: int) -> NDArray[np.int64]:
    """Return the places of N records, (N,), in an order in which those of each entity follow one
    another.
    """
    turn = stream(seed, Stream.ORDER).permutation(int(entities.max()) + 1)
    place = np.empty(len(entities), np.int64)
    place[np.argsort(turn[entities], kind="stable")] = np.arange(len(entities))
    return place
