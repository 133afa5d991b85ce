"""seed -> random streams: an independent one for each thing that a run draws.

Streams have names so that a new draw cannot shift an old one: the default fit stays the same, bit
for bit, for a seed. A number is never used twice and never changes its meaning.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What is drawn from a stream."""

    NEIGHBOURS = 1  # the fit records that the bank keeps
    SPLIT = 2  # which records fit, and which are held out
    CALIBRATION = 3  # the fit records whose out-of-bag scores calibrate
    SAMPLE = 4  # the records that are read, of a file that has more than `max_records`
    PROBE = 5  # the records that the probe looks at
    FINDINGS = 6  # the records that the report shows
    TRIM = 7  # the records whose residuals shape the precision of a robust run's first fit
    ORDER = 12  # which of the records of one instant comes first
    PLANTED = 11  # the anomalies that are planted in new normals when an artifact is recalibrated
    SEGMENTS = 13  # the records that are held out for the calibrations of single segments
    KERNELS = 15  # the random convolutions of windows
    WINDOWS = 16  # the windows that a fit, its bank and its calibration take
    FEEDBACK = 17  # which marks are foretold by which others
    NOISE = 18  # the numbers that the noise of a step is read from, on a CPU
    ASIDE = 19  # the records beside the last fold of time that its judge does not see
    SUSPECTS = 14  # the suspects that are played through with the last fold of time


def stream(seed: int, which: Stream) -> np.random.Generator:
    """Return a fresh generator of a stream: the same seed and stream, the same numbers."""
    return np.random.default_rng([seed, int(which)])
