"""a number of the fit data, and one of a record -> whether they are the same, by whatever way the
second came.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import floats
from vaewatch.scoring.spelling.categories import half, is_half

FLOAT32_ROUNDING = 2.0**-23  # relative distance of neighbouring float32 numbers
FLOAT16_ROUNDING = 2.0**-10
LARGEST_SHORT = 2048  # up to it, whole numbers are float16 as they are


def same(
    values: NDArray[np.float64],
    known: NDArray[np.float64],
    tolerance: NDArray[np.float64],
    halves: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which values, (..., K), are the K known ones.

    A value is a known one if one of them is the float32 that the other rounds to: Parquet, NumPy
    and FP32 tensors carry 0.1 as 0.10000000149, and the same of float16, if its digits show that
    it was rounded. Values that no float32 tells apart are equal too, except whole numbers, such as
    the dates 20250104 and 20250105.

    Args:
        tolerance, halves: (K,) see `tolerance_of` and `halves_of`.
    """
    with np.errstate(over="ignore"):
        found = values.astype(np.float32) == known
        found |= values == known.astype(np.float32)
        found |= values == halves
        found |= (values.astype(np.float16) == known) & (halves == known)
    found |= np.abs(values - known) <= tolerance
    return np.asarray(found)


def tolerance_of(known: NDArray[np.float64], whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far from each of K numbers one may lie that equals it, (K,)."""
    return np.where(whole, 0.0, np.abs(known) * FLOAT32_ROUNDING)


def halves_of(known: Iterable[float]) -> NDArray[np.float64]:
    """Return the float16 that each of K numbers rounds to, (K,); NaN where that is a number of its
    own.
    """
    return floats(half(value) if is_half(half(value)) else np.nan for value in known)


def are_halves(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which numbers float16 holds, and so may be rounded to it."""
    with np.errstate(over="ignore"):
        return np.asarray(numbers.astype(np.float16) == numbers)


def show_halves(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which numbers that float16 holds are hardly such ones by chance."""
    return np.asarray((numbers != np.rint(numbers)) | (np.abs(numbers) > LARGEST_SHORT))
