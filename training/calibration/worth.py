"""scores of records that are alike in groups -> how many independent ones they are worth."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, block_law, records_needed
from vaewatch.scoring.budget.entities import WholeEntities
from vaewatch.scoring.series.entity import numbered
from vaewatch.training.calibration.calibrate import calibrate

log = logging.getLogger("vaewatch.training")

SIDE = 0.975  # of an interval at 95%
TELLING = (0.05, 0.1, 0.2)  # rates at which alarms tell how alike entities are
ROUNDING = 1e-9


def entity_blocks(
    calibration: Calibration, scores: NDArray[np.float64], entities: Sequence[str]
) -> int:
    """Return how many independent records (n,) scores are worth for an entity that is not among
    their E: n over the design effect of entities as clusters, by the spread of their alarms
    (Liang & Zeger, 1986). A spread of few is itself uncertain: an interval that knew it would be
    as wide as Student's with E - 1 degrees of freedom makes it (Cameron & Miller, 2015).
    """
    from scipy.special import ndtri, stdtrit

    alarms = calibration.alarms(calibration.p_values(scores))
    place = numbered(entities)
    sizes, rate = np.bincount(place), float(alarms.mean())
    if len(sizes) < 2:
        return 1
    excess = np.bincount(place, alarms) - rate * sizes
    spread = float(excess @ excess) * len(sizes) / (len(sizes) - 1)
    worth = len(scores) if spread == 0 else rate * (1 - rate) * len(scores) ** 2 / spread
    wider = float(stdtrit(len(sizes) - 1, SIDE) / ndtri(SIDE)) ** 2
    return max(1, int(worth / wider))


def calibrate_entities(
    scores: NDArray[np.float64], entities: Sequence[str], alpha: float
) -> Calibration:
    """Make a Calibration of (n,) scores of records of entities that the fit never saw.

    Those of one entity are alike, so that a new one is not one of n + 1, but one of b + 1 if they
    are worth b: the highest of each b-th part of them is kept. (Distribution-free bounds for such
    records, by Dunn, Wasserman & Ramdas, 2023, count each entity as one.) Where b cannot certify
    alpha, as many as it takes are kept, so that only what scores above all of them alarms, and a
    warning says so.

    Returns:
        Calibration: of the larger of b and those that alpha takes.
    """
    every, n = calibrate(scores, alpha, SPLIT), len(scores)
    # of few entities hardly any alarms at a small alpha, so that these alone would not tell
    rates = [alpha, *(a for a in TELLING if a > alpha)]
    blocks = min(n, *(entity_blocks(replace(every, alpha=a), scores, entities) for a in rates))
    size = min(max(blocks, records_needed(alpha)), n)
    ends = np.ceil(n * np.arange(1, size + 1) / size - ROUNDING).astype(np.int64)
    whole = WholeEntities(len(set(entities)), n, blocks)
    calibration = Calibration(every.scores[ends - 1], alpha, SPLIT, whole)
    alike = "the records of an entity", "more entities", " of new entities"
    warn_of_few_blocks(calibration, blocks, *alike)
    return calibration


def warn_of_few_blocks(
    calibration: Calibration, blocks: int, alike: str, more: str, whose: str = ""
) -> None:
    """Say so where the blocks are too few for the rate that was asked for.

    Args:
        alike: what is alike in a block. more: what gives more blocks. whose: the normal records.
    """
    alpha = calibration.alpha
    if alpha * (blocks + 1) >= 1:
        return
    log.warning(
        "%s are so alike that these records are worth %s independent ones, and a rate of %g "
        "takes %s: up to %.2g of normal records%s may alarm. Give %s, or ask for a larger alpha.",
        *(alike, f"{blocks:,}", alpha, f"{math.ceil(1 / alpha) - 1:,}"),
        *(block_law(calibration, alpha, blocks).interval()[1], whose, more),
    )
