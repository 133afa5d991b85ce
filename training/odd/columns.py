"""out-of-bag residuals -> ColumnView: how odd the oddest column of a record is.

The squared errors of a record add up, so that a column of many rare values, whose cost moves by
hundreds of nats among normal records, hides a column that is never wrong. So each column's cost is
also set beside what that column usually costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.precision import Floats, Precision
from vaewatch.training.odd.scale import OddScale

LEAST_RECORDS = 500  # whose costs show a column's tail
MOST_COLUMNS = 256
TAIL = 0.97  # the quantile of a column's costs at which its tail begins
BODY = 0.9  # the quantile that is a unit at least
LEAST_UNIT = 0.1  # nats: rounding is no tail
LEAST_SPREAD = 0.5  # units
BLOCK = 64  # features whose columns are judged in one product, about

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Some of the columns, C with K features.

    Attributes:
        columns: (C,). features: (K,) of the D. members: (K, C), 1 where a feature is of a column.
        own: (K, K), of whitened residuals of these features. rest: (R, K), of what all features
            are along the basis. Where the second product is subtracted from the first, half
            squared lengths are the costs.
    """

    columns: NDArray[np.int64]
    features: NDArray[np.int64]
    members: NDArray[np.float64]
    own: NDArray[np.float64]
    rest: NDArray[np.float64]

    @classmethod
    def of(cls, precision: Precision, column: NDArray[np.int64], some: Bools) -> Block:
        """Return the block of some of the D features, those of whole columns.

        column: (D,). some: (D,).
        """
        features = np.flatnonzero(some)
        columns, at = np.unique(column[features], return_inverse=True)
        roots = np.zeros((len(features),) * 2)  # of the covariances, given all other columns
        for each in range(len(columns)):
            own = np.flatnonzero(at == each)
            inverse = precision.among(features[own])
            roots[np.ix_(own, own)] = np.linalg.inv(np.linalg.cholesky(inverse)).T
        scaled = precision.scale[features, None] * roots
        members = np.eye(len(columns))[at]
        if not precision.is_full:
            return cls(columns, features, members, scaled, precision.basis[features].T @ scaled)
        whole = precision.whiten(np.eye(len(column)))
        return cls(columns, features, members, whole.T @ roots, np.empty((0, len(features))))


@dataclass(frozen=True)
class ColumnCosts:
    """What each of C columns costs, given the errors in the others.

    That is by how much 1/2 r' Sigma^-1 r falls if a column's own errors are those that go best
    with the errors in the other columns: 1/2 z_G' (Sigma^-1_GG)^-1 z_G of its features G, with
    z = Sigma^-1 r. Of a number it is half the squared error, in deviations of the error that the
    others leave open.

    Attributes:
        column: (D,) the column of each feature, from 0 to C - 1.
        basis: (D, R); where Sigma is full, R is 0 and there is one block.
    """

    column: NDArray[np.int64]
    basis: NDArray[np.float64]
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, precision: Precision, column_of: NDArray[np.int64]) -> ColumnCosts:
        """Return the costs of the columns that (D,) features are of."""
        column = np.unique(column_of, return_inverse=True)[1]
        if precision.is_full:
            every = np.ones(len(column), dtype=bool)
            return cls(column, np.empty((len(column), 0)), (Block.of(precision, column, every),))
        block = _blocks(column)[column]
        blocks = [Block.of(precision, column, block == each) for each in np.unique(block)]
        return cls(column, precision.basis * precision.shrink, tuple(blocks))

    def of_whitened(self, whitened: Floats) -> NDArray[np.float64]:
        """(..., D) whitened residuals -> (..., C) nats."""
        exact = whitened.astype(np.float64)
        along = exact @ self.basis
        costs = np.empty((*exact.shape[:-1], self.column.max() + 1))
        for block in self.blocks:
            rotated = exact[..., block.features] @ block.own - along @ block.rest
            costs[..., block.columns] = 0.5 * rotated**2 @ block.members
        return costs

    def of_members(self, whitened: Floats) -> NDArray[np.float64]:
        """(S, N, D) whitened residuals of S members -> (N, C) nats, their means."""
        return np.asarray(np.mean([self.of_whitened(own) for own in whitened], axis=0))


def _blocks(column: NDArray[np.int64]) -> NDArray[np.int64]:
    """(D,) the column of each feature -> (C,) the block of each column, in the order of their
    first features, so that most blocks are a range of features.
    """
    _, first, sizes = np.unique(column, return_index=True, return_counts=True)
    order = np.argsort(first)
    blocks = np.empty_like(order)
    blocks[order] = (np.cumsum(sizes[order]) - sizes[order]) // BLOCK
    return blocks


@dataclass(frozen=True)
class ColumnView:
    """How odd the oddest column is, and what a score is at least for it.

    Attributes:
        usual, unit: (C,) nats. Where a column's tail begins among normal records, and the mean by
            which what lies in the tail exceeds that; at least as much as most of them cost, since
            members differ in what they make of a value that all records share.
        most: nats; a column alone is worth no more than an unseen value in a usual record.
    """

    costs: ColumnCosts
    usual: NDArray[np.float64]
    unit: NDArray[np.float64]
    scale: OddScale
    most: float

    @classmethod
    def of(
        cls,
        costs: ColumnCosts,
        whitened: Floats,
        scores: NDArray[np.float64],
        unseen: float,
        served: Floats | None = None,
    ) -> ColumnView:
        """Fit the view to the (N, D) whitened residuals of normal records, each of a member that
        did not see it, and to the scores that they have without it, (N,).

        unseen: nats that an unseen value adds to a score.
        served: (S, N, D) those of the members that serve. These have seen the records; but if one
            of them is bad at a value that many records have, it shows here.
        """
        found = costs.of_whitened(whitened)
        usual, unit = tails(found)
        oddest = _oddest(found, usual, unit)
        if served is not None:
            oddest = np.maximum(oddest, _oddest(costs.of_members(served), usual, unit))
        most = float(np.median(scores)) + unseen
        return cls(costs, usual, unit, OddScale.of(oddest, scores, LEAST_SPREAD), most)

    def least(self, whitened: Floats) -> NDArray[np.float64]:
        """(S, N, D) whitened residuals of S members -> (N,) nats that a score is at least."""
        oddest = _oddest(self.costs.of_members(whitened), self.usual, self.unit)
        return np.minimum(self.scale.apply(oddest), self.most)


def tails(found: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, C) nats of normal records -> `usual` and `unit` of each column, see `ColumnView`."""
    body, usual = np.quantile(found, [BODY, TAIL], axis=0)
    beyond = np.maximum(found - usual, 0.0)
    mean = beyond.sum(0) / np.maximum((beyond > 0).sum(0), 1)
    return usual, np.maximum(np.maximum(mean, body), LEAST_UNIT)


def _oddest(
    costs: NDArray[np.float64], usual: NDArray[np.float64], unit: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, C) nats -> (N,) units by which the oddest column's cost exceeds what is usual of it."""
    return np.asarray(((costs - usual) / unit).max(1))


def may_view(records: int, column_of: NDArray[np.int64]) -> bool:
    """Say whether there is a view: of more than one column, of few enough that the oddest of them
    says something, and of enough records.
    """
    return 1 < len(np.unique(column_of)) <= MOST_COLUMNS and records >= LEAST_RECORDS
