"""the records that weights were fitted to -> Seen: which of other records are among them.

A record that the weights have seen looks too normal, so it must not calibrate; but users give
files that overlap: the last ninety days, every month. So an artifact keeps a hash of each fit
record. If more of those that came once come again than chance explains, the files overlap.

Chance: of n records, n2 of whose values came twice, a new record from the same source equals one
that came once with probability 2 n2 / n (Good, 1953). Not how many do is counted, but how many
different values they have: a value that was rare may have become frequent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from vaewatch.scoring.artifact import SEEN
from vaewatch.scoring.disk.reading import read_kept
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.intake.damage import BROKEN, damaged
from vaewatch.scoring.schema import Column, Kind, code_name, missing_code, other_code
from vaewatch.scoring.table import Table

CHANCE = 1e-6  # of so many records that come again: below it, they are the same records
SURE = 0.99  # that no more values come twice than the bound that chance is reckoned with
REPEATED = 0.05  # of the fit records: of more, too many cannot be told from new ones

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Seen:
    """The values of the records that weights have seen, and how many records had each.

    values: (V,) hashes of 32 bits, ascending. counts: (V,).
    """

    values: NDArray[np.uint32]
    counts: NDArray[np.uint32]

    @classmethod
    def of(cls, table: Table) -> Seen:
        """Return what is kept of the records of a fit."""
        return cls.of_hashes(hashes(table))

    @classmethod
    def of_hashes(cls, hashes: NDArray[np.uint32]) -> Seen:
        """Return what is kept of records that have these hashes, (N,)."""
        values, counts = np.unique(hashes, return_counts=True)
        return cls(values, counts.astype(np.uint32))

    def __add__(self, others: Seen) -> Seen:
        """Return what weights have seen that were fitted to these records and to others."""
        both = np.concatenate([self.values, others.values])
        values, place = np.unique(both, return_inverse=True)
        counts = np.bincount(place, np.concatenate([self.counts, others.counts]))
        return Seen(values, counts.astype(np.uint32))

    def find(self, table: Table) -> NDArray[np.bool_]:
        """Return which of N records are among those of the fit, (N,).

        Raises:
            CalibrationError: only some are, and so many are equal that it cannot be told which.
        """
        again = self.likely(table)
        records, single = int(self.counts.sum()), int((self.counts == 1).sum())
        if 0 < again.sum() < records and records - single > REPEATED * records:
            raise CalibrationError(
                "the records that calibrate must not be among those that the network was fitted "
                f"to, but up to {again.sum():,} of these {len(table):,} are. Which ones cannot be "
                "told, since many records equal one another. Leave out those of the fit; with "
                "train --from, you may give all of them."
            )
        return again

    def likely(self, table: Table) -> NDArray[np.bool_]:
        """Return which of N records may be among those of the fit, (N,); none if chance explains
        how many values come again. Of equal records, which one is makes no difference: as many are
        as the fit had, the first ones.
        """
        own, single = hashes(table), self.values[self.counts == 1]
        again = np.unique(own[np.isin(own, single)])
        if not self._too_many(single, again, len(table)):
            return np.zeros(len(table), np.bool_)
        return np.asarray(_place_among_equals(own) < self._count(own))

    def _count(self, own: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return how many records of the fit had each of these values, (N,)."""
        at = np.minimum(np.searchsorted(self.values, own), len(self.values) - 1)
        return np.where(self.values[at] == own, self.counts[at], np.uint32(0))

    def _too_many(
        self, single: NDArray[np.uint32], again: NDArray[np.uint32], records: int
    ) -> bool:
        """Whether so many of the values that came once would hardly come again by chance.

        If all of these are as probable, most of them are expected, so that is assumed.
        """
        if not len(again):
            return False
        from scipy.special import bdtrc, pdtri  # without the imports of scipy.stats

        pairs = pdtri(np.count_nonzero(self.counts == 2), 1 - SURE)  # Poisson's law
        each = 2 * pairs / self.counts.sum() / len(single) + 2.0**-32
        once_at_least = -np.expm1(-records * each)
        return bool(bdtrc(len(again) - 1, len(single), once_at_least) < CHANCE)  # binomial law

    def to_bytes(self) -> bytes:
        return save_tensors(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Seen:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError, TypeError, SafetensorError: it is something else.
        """
        seen = cls(**load_tensors(data))
        arrays = (seen.values, seen.counts)
        alike = all(a.ndim == 1 and a.dtype == np.uint32 for a in arrays)
        if not alike or len(seen.values) != len(seen.counts):
            raise ValueError("there must be one count for each hash")
        if (
            not len(seen.counts)
            or not seen.counts.all()
            or (seen.values[1:] <= seen.values[:-1]).any()
        ):
            raise ValueError("hashes must ascend, and have counts")
        return seen


def _place_among_equals(own: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return how many records before each one equal it, (N,)."""
    order = np.argsort(own, kind="stable")
    first = np.searchsorted(own[order], own[order], side="left")
    places = np.empty(len(own), np.int64)
    places[order] = np.arange(len(own)) - first
    return places


def hashes(table: Table) -> NDArray[np.uint32]:
    """Return a hash of each record's values, (N,), the same for any schema with these columns."""
    total = np.zeros(len(table), np.uint64)
    for name, values in sorted(_values(table), key=lambda pair: pair[0]):
        total = mixed(total ^ mixed(values + np.uint64(hashed(name))))
    return (total >> np.uint64(32)).astype(np.uint32)


def _values(table: Table) -> Iterator[tuple[str, Hashes]]:
    """Yield the name of each column, and its values as 64 bits, (N,)."""
    for j, column in enumerate(table.schema.numeric):
        numbers = table.numbers[:, j] + 0.0  # of -0.0, too
        yield column.name, np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    for j, column in enumerate(table.schema.discrete):
        codes = table.codes[:, j]
        values = np.array([hashed(name) for name in _names(column)], np.uint64)[codes]
        if column.kind is Kind.CATEGORICAL:
            for row in np.flatnonzero(codes == other_code(column)).tolist():
                values[row] = hashed(repr(str(table.texts[j][row])))
        yield column.name, values


def _names(column: Column) -> list[str]:
    codes = range(missing_code(column) + 1)
    return [repr(code_name(column, code)) for code in codes]


def hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def mixed(x: Hashes) -> Hashes:
    """Return SplitMix64 of each (Steele, Lea & Flood, 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def load_seen(path: Path) -> Seen | None:
    """Load the hashes of the fit records, which older artifacts do not have.

    Raises:
        ArtifactError: they are not as training writes them.
    """
    content = read_kept(path, SEEN)
    try:
        return None if content is None else Seen.from_bytes(content)
    except (*BROKEN, SafetensorError) as error:
        raise damaged(path, error) from error
