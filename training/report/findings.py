"""Findings <-> report.json: all that the report needs and scoring does not.

It is gathered while the fit records are at hand (see `vaewatch.training.report.find`), so that the
page can be made again without them, and without torch. Numbers are rounded: they are for plots and
people.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.damage import BROKEN
from vaewatch.scoring.intake.text import one_line
from vaewatch.training.progress import Step
from vaewatch.training.records.profile import ColumnProfile

PROFILED = 20_000  # records that the columns are profiled on
ACTIVE = 0.01  # of a unit's posterior mean, the variance over records (Burda et al., 2016)
BINS = 20  # of probability integral transforms
TENTHS = 10
CENTRAL = 0.9  # of a normal law, within 1.645 deviations
DIGITS = 5

Floats = NDArray[np.float64]

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """One latent dimension of the first member, moved from -2 to 2 with the others at rest.

    variance: of its posterior mean over records. kl: mean nats. moved: for the columns that it
    moves most, the value expected at either end.
    """

    index: int
    variance: float
    kl: float
    moved: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Latent:
    """The latent space of a stack.

    means: (N, 2) posterior means of the first member, rotated to their two widest directions; the
    prior stays N(0, I) under a rotation. active: the active units of each member, of `of`.
    variances: (L,) of the first member's units, widest first. effect: (units, columns) change of
    each column from one end of a traversal to the other, in the column's deviations.
    """

    means: Floats
    active: tuple[int, ...]
    of: int
    variances: Floats
    units: tuple[Unit, ...]
    effect: Floats


@dataclass(frozen=True)
class ColumnFit:
    """How well one column is reconstructed, out of bag.

    explained: 1 - squared residuals / variance; 1 is exact, 0 no better than the mean. central:
    the share of PITs in the middle 90%; None if the column is not numeric, or constant. pit:
    records in each of BINS equal bins.
    """

    name: str
    explained: float | None
    central: float | None
    pit: tuple[int, ...]


@dataclass(frozen=True)
class Reliability:
    """All events that have a probability (categories, booleans, missing values), (TENTHS,) bins.

    asked: how many were given a probability in the bin. given: its mean. happened: how many did.
    """

    asked: NDArray[np.int64]
    given: Floats
    happened: NDArray[np.int64]


@dataclass(frozen=True)
class OddRecord:
    """A fit record that scores high.

    place: where it stands in the input. id: None if there is no id column, or no id in it.
    score: out of bag, in nats. reasons: in words, by the network that serves.
    """

    place: str
    id: str | None
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """What the report shows of a fit.

    batch: records that a member sees in a step. seen: records that a served member sees in an
    epoch.

    high: of each record drawn in latent space, whether its out-of-bag score is in the highest
    twentieth.

    odd: the fit records that score highest; empty in what earlier releases wrote.
    """

    profiled: int
    columns: tuple[ColumnProfile, ...]
    log: tuple[Step, ...]
    batch: int
    seen: int
    latent: Latent
    high: NDArray[np.bool_]
    judged: int
    fits: tuple[ColumnFit, ...]
    reliability: Reliability | None
    odd: tuple[OddRecord, ...] = ()

    def to_bytes(self) -> bytes:
        return findings_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Findings:
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactError: it is not as this release writes it.
        """
        return read_findings(cls, content, _READ, _LATER)


def findings_bytes(findings: Any) -> bytes:
    """Return a dataclass of findings as report.json holds it."""
    text = json.dumps(plain(asdict(findings)), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def read_findings(
    kind: Callable[..., T],
    content: bytes,
    readers: Mapping[str, Callable[[Any], Any]],
    later: Collection[str] = (),
) -> T:
    """Read what `findings_bytes` wrote, each field by its reader; earlier releases did not write
    the `later` ones.

    Raises:
        ArtifactError: it is not as this release writes it.
    """
    try:
        data = json.loads(content)
        names = [name for name in readers if name in data or name not in later]
        return kind(**{name: readers[name](data[name]) for name in names})
    except BROKEN as error:
        raise ArtifactError(
            f"report.json must be as this release writes it, got {one_line(repr(error))}. "
            "Train again."
        ) from error


def plain(value: Any) -> Any:
    """Return a value as JSON carries it, floats with DIGITS digits."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def tuples(kind: Any) -> Any:
    """Return a reader of rows as dataclasses, lists in them as tuples."""

    def deep(value: Any) -> Any:
        return tuple(map(deep, value)) if isinstance(value, list) else value

    return lambda rows: tuple(kind(**{k: deep(v) for k, v in row.items()}) for row in rows)


def _latent(data: dict[str, Any]) -> Latent:
    arrays = {name: np.array(data[name], dtype=float) for name in ("means", "variances", "effect")}
    rest = {"active": tuple(data["active"]), "units": tuples(Unit)(data["units"])}
    return Latent(**{**data, **arrays, **rest})


def _reliability(data: dict[str, Any] | None) -> Reliability | None:
    if data is None:
        return None
    return Reliability(**{name: np.array(values) for name, values in data.items()})


_READ: dict[str, Any] = {
    "profiled": int,
    "columns": tuples(ColumnProfile),
    "log": tuples(Step),
    "batch": int,
    "seen": int,
    "latent": _latent,
    "high": lambda values: np.array(values, dtype=bool),
    "judged": int,
    "fits": tuples(ColumnFit),
    "reliability": _reliability,
    "odd": tuples(OddRecord),
}
_LATER = {"odd"}  # earlier releases did not write it
