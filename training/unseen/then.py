"""fit records of a past, records after it -> their features, as if nothing after it were known.

The features of a fit know all of its records: a text that comes twice has a category of its own,
and a number is unseen beyond all of theirs. For a record that is fitted to that is so by its own
doing, and for one that is held out it is not. So that both count alike, what makes a value rare,
or unseen, is taken from the past alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.schema import Kind, other_code
from vaewatch.scoring.table import Table
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import MIN_CATEGORY_COUNT


def features_then(table: Table, past: NDArray[np.int64], known: Vectorizer) -> Features:
    """Return the features of N records, if only the rows `past` of them had been fitted to.

    known: the features of the fit, which all members expect.
    """
    codes = table.codes.copy()
    for at, column in enumerate(table.schema.discrete):
        if column.kind is Kind.CATEGORICAL:
            rare = _rare(codes[past, at], other_code(column))
            codes[rare[codes[:, at]], at] = other_code(column)
    table = replace(table, codes=codes)
    then = fit_vectorizer(table.take(past))
    unseen = then.transform(table).unseen
    values = known.transform(table).values
    # The network gets the mean of what it cannot have met.
    values[_nameless(table, then, unseen)[:, known.column_of]] = 0.0
    return Features(values, unseen, bool(unseen.any()))


def _rare(codes: NDArray[np.int32], other: int) -> NDArray[np.bool_]:
    """Return which codes of a column share one, given those of its past: see `_categorical` in
    `vaewatch.training.records.schema`.
    """
    counts = np.bincount(codes, minlength=other + 2)
    own = counts[:other]
    rare = np.zeros(len(counts), np.bool_)
    rare[:other] = own < MIN_CATEGORY_COUNT
    if (own == 1).sum() + counts[other] == 1:  # a single one keeps its name
        rare[:other] &= own != 1
    return rare


def _nameless(table: Table, then: Vectorizer, unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the unseen values, (N, C), are no numbers that the network can place."""
    at = {name: i for i, name in enumerate(table.schema.names)}
    found = unseen.copy()
    for column, numbers in zip(table.schema.numeric, table.numbers.T, strict=True):
        if column.name not in then.constants:
            found[:, at[column.name]] &= np.isnan(numbers)
    return found
