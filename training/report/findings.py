"""Learned -> Findings <-> report.json: all that the report needs and scoring does not.

It is gathered while the fit records are at hand, so that the page can be made again without them.
Numbers are rounded: they are for plots and people.
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
from vaewatch.training.learned import Learned
from vaewatch.training.records.profile import ColumnProfile, profile_columns
from vaewatch.training.report.latent import Latent, Unit, look_at_latent
from vaewatch.training.report.odd import OddRecord
from vaewatch.training.report.reconstruction import (
    ColumnFit,
    Reliability,
    look_at_columns,
    look_at_events,
)
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.fit import Step

PROFILED = 20_000  # records that the columns are profiled on
RESIDUALS = 4_000  # records that the reconstruction is judged on
MEANS = 1_200  # records that are drawn in latent space
HIGHEST = 0.05  # of the out-of-bag scores, marked there
DIGITS = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """What the report shows of a fit.

    batch: records that a member sees in a step. seen: records that a served member sees in an
    epoch.

    high: (MEANS,) whether the out-of-bag score of a drawn record is in the highest twentieth.

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


def find(learned: Learned) -> Findings:
    """Collect the findings, from samples of the fit records that the seed draws."""
    config, evidence, vectorizer = learned.config, learned.evidence, learned.vectorizer
    vae, fit_rows = learned.fitted.vae, learned.split.fit
    rng = stream(config.seed, Stream.FINDINGS)
    profiled = np.sort(rng.permutation(len(fit_rows))[:PROFILED])
    judged = np.sort(rng.permutation(len(evidence.rows))[:RESIDUALS])
    drawn = judged[np.sort(rng.permutation(len(judged))[:MEANS])]
    x, residuals = evidence.x[evidence.rows[judged]], evidence.residuals[judged]
    shown = evidence.x[evidence.rows[drawn]]
    return Findings(
        profiled=len(profiled),
        columns=profile_columns(learned.table.take(fit_rows[profiled])),
        log=learned.fitted.log,
        batch=config.batch,
        seen=len(evidence.x),
        latent=look_at_latent(vae, shown, vectorizer, kl=config.model == "vae"),
        high=evidence.scores[drawn] >= np.quantile(evidence.scores, 1 - HIGHEST),
        judged=len(judged),
        fits=look_at_columns(x, residuals, vectorizer),
        reliability=look_at_events(x, residuals, vectorizer),
    )


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
