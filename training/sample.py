"""artifact -> records: z from the prior, through the decoder, back to the columns' own units.

A sample shows what the VAE takes for normal, and which values go together. A number is its
column's quantile at the rank of its draw, and an event has its column's share of the records (see
`vaewatch.training.marginals`). Corners of the data that the prior seldom reaches are rare here,
too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.disk.reading import read_artifact
from vaewatch.scoring.features.feature import MISSING_FLAG
from vaewatch.scoring.features.shared import first_of
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.schema import Column, Kind, code_name, missing_code, other_code
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.calendar import HOUR, calendar_of, on_circle
from vaewatch.scoring.time.form import DAY, SECOND
from vaewatch.scoring.time.local import to_local, to_utc
from vaewatch.scoring.time.parts import PERIODS, Part
from vaewatch.scoring.time.texts import moment_of_text
from vaewatch.scoring.time.time import Time
from vaewatch.scoring.time.values import spelled
from vaewatch.training.export.weights import load_served, load_unit
from vaewatch.training.marginals import Marginals, in_shares, load_marginals
from vaewatch.training.settings.checks import whole_number
from vaewatch.training.vae.threads import computing_on
from vaewatch.training.vae.vae import VAE

Floats = NDArray[np.float64]
LOOKED_BACK = 366 * 4  # days, among which each day of a month falls on each weekday
RANKED = 4096  # draws at least, so that their ranks are close to those of a large sample
TYPES = {Kind.BOOLEAN: pl.Boolean, Kind.CATEGORICAL: pl.String}


@dataclass(frozen=True)
class Decoded:
    """(N, D) standardised features: `mean` of p(x|z), and one `draw` from it.

    together: so many records in a row are of one window, and share their chance of an event.
    """

    mean: Floats
    draw: Floats
    together: int = 1

    def chance(self, rng: np.random.Generator) -> Floats:
        """Return (N,) draws from 0 to 1."""
        return np.repeat(rng.random(len(self.mean) // self.together), self.together)


def sample(path: Path, n: int, seed: int = 0) -> pl.DataFrame:
    """Draw n records of an artifact's schema, each from a served member that is drawn at random;
    of an artifact that judges windows, n windows of records.

    Raises:
        SettingError: n or the seed is not what it must be.
        ArtifactError: the artifact lacks its weights or marginals.
    """
    n, seed = whole_number("n", n, least=1), whole_number("seed", seed, least=0)
    artifact = read_artifact(path)
    if artifact.window is not None:
        return _windows(path, artifact, artifact.window, n, seed)
    with computing_on(1):
        decoded = decode_prior(load_served(path), max(n, RANKED), seed)
    rng = np.random.default_rng(seed)
    return records_of(artifact.vectorizer, load_marginals(path), decoded, rng).head(n)


def _windows(path: Path, artifact: Artifact, window: Window, n: int, seed: int) -> pl.DataFrame:
    """Draw n windows, one after another, each an entity of its own or apart by more than a gap.

    The VAE draws places along the leading directions, which make a window; a member decodes each.
    """
    directions = artifact.directions
    assert directions is not None
    with computing_on(1):
        drawn = decode_prior(load_served(path), max(n, -(-RANKED // window.size)), seed).mean
    flat = directions.windows((drawn * load_unit(path)).astype(np.float32)).astype(np.float64)
    records = flat.reshape(len(flat) * window.size, -1)[:, : len(artifact.vectorizer.features)]
    rng, both = np.random.default_rng(seed), Decoded(records, records, window.size)
    frame = records_of(artifact.vectorizer, load_marginals(path), both, rng)
    return _in_order(frame.head(n * window.size), artifact, window)


def _in_order(frame: pl.DataFrame, artifact: Artifact, window: Window) -> pl.DataFrame:
    """Give the records of drawn windows their entities, and times after those of the fit."""
    schema, rows = artifact.schema, np.arange(len(frame))
    assert schema.time is not None  # `check_window` refuses an artifact without
    which, step = rows // window.size, rows % window.size
    found = moment_of_text(schema.time.last)
    moments = (found[0] if found else 0) + window.gap + window.step * (step + 1)
    if schema.entity is None:
        moments += which * (window.gap + window.size * window.step)
    times = [spelled(schema.time, moment) for moment in moments.tolist()]
    columns = [pl.Series(schema.time.column, times)]
    if schema.entity is not None:
        columns.append(pl.Series(schema.entity, [f"drawn-{k + 1}" for k in which.tolist()]))
    values = frame.drop(schema.time.column, strict=False)
    return pl.DataFrame([*columns, *values.get_columns()])


def decode_prior(vae: VAE, n: int, seed: int) -> Decoded:
    """Decode n draws z ~ N(0, I)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, vae.latent, generator=generator)
    return decode(vae, z.expand(vae.members, -1, -1), generator)


@torch.no_grad()
def decode(vae: VAE, z: torch.Tensor, generator: torch.Generator) -> Decoded:
    """Decode z, (M, N, L), into N standardised records, each by one member drawn at random."""
    member = torch.randint(vae.members, (z.shape[1],), generator=generator)
    law = vae.decode(z)
    draw = law.sample(torch.randn(law.mean.shape, generator=generator))
    at = (member, torch.arange(z.shape[1]))
    return Decoded(law.mean[at].double().numpy(), draw[at].double().numpy())


def records_of(
    vectorizer: Vectorizer, marginals: Marginals, decoded: Decoded, rng: np.random.Generator
) -> pl.DataFrame:
    """Turn N decoded records into columns in their own units."""
    mean = np.array([f.mean for f in vectorizer.features])
    deviation = np.array([f.deviation for f in vectorizer.features])
    raw = Decoded(decoded.mean * deviation + mean, decoded.draw, decoded.together)
    schema = vectorizer.schema
    plain = [column for column in schema.columns if column.kind is not Kind.CIRCULAR]
    frame = pl.DataFrame([_column(vectorizer, marginals, c, raw, rng) for c in plain])
    if schema.time is None:
        return frame
    return frame.with_columns(times_of(schema.time, _parts(vectorizer, raw), len(raw.mean)))


def _parts(vectorizer: Vectorizer, raw: Decoded) -> dict[Part, Floats]:
    """Return the drawn direction of each circular column, (N,), in its own units."""
    mean, deviation = vectorizer.scale
    draws = raw.draw * deviation + mean
    found: dict[Part, Floats] = {}
    for column in vectorizer.schema.circular:
        circle = vectorizer.by_column[column.name].circle
        if circle is not None and column.part is not None:
            cosine, sine = draws[:, circle[0]], draws[:, circle[1]]
            found[column.part] = on_circle(cosine, sine, column.period or 1.0)
    return found


def times_of(time: Time, parts: Mapping[Part, Floats], n: int) -> pl.Series:
    """Return n times with these parts of the calendar, near the end of the fit data; what is not
    among the parts is that of the last time there.
    """
    found = moment_of_text(time.last)
    last = int(to_local(np.array([found[0] if found else 0], np.int64), time.zone)[0])
    days = last // DAY - np.arange(LOOKED_BACK)
    own, drawn = np.zeros(LOOKED_BACK), np.zeros(n)  # weekday and day, as one number
    for part, first, place in ((Part.WEEKDAY, 0, 100), (Part.DAY, 1, 1)):
        if part in parts:
            own += place * calendar_of(days * DAY, "UTC", part)
            drawn += place * ((np.rint(parts[part]) - first) % PERIODS[part] + first)
    wanted, which = np.unique(drawn, return_inverse=True)
    day = days[(own == wanted[:, None]).argmax(1)][which]
    hour = parts.get(Part.HOUR, np.full(n, (last % DAY) / HOUR))
    local = day * DAY + np.rint(hour * 3600).astype(np.int64) % 86_400 * SECOND
    moments = to_utc(local.astype(np.int64), time.zone)
    return pl.Series(time.column, [spelled(time, moment) for moment in moments.tolist()])


def _column(
    vectorizer: Vectorizer,
    marginals: Marginals,
    column: Column,
    raw: Decoded,
    rng: np.random.Generator,
) -> pl.Series:
    at = {f.code: i for i, f in enumerate(vectorizer.features) if f.column == column.name}
    constant = vectorizer.constants.get(column.name)
    n = len(raw.mean)
    if column.kind is not Kind.NUMERIC:
        if constant is not None:
            codes = np.full(n, int(constant))
        else:
            places = list(at.values())
            shares = np.array([vectorizer.features[i].mean for i in places])
            drawn = _draw_events(raw.mean[:, places], shares, raw.chance(rng))
            codes = np.array(list(at), dtype=np.int64)[drawn]
            codes = _named(column, codes, vectorizer.shared.get(column.name, ()), rng)
        return pl.Series(column.name, _values(column, codes), dtype=TYPES[column.kind])
    if constant is not None:
        numbers = np.full(n, constant)
    else:
        numbers = marginals.place(column.name, raw.draw[:, at[None]])
        numbers = np.round(numbers) if column.integer else numbers
    missing = np.zeros(n, dtype=bool)
    if MISSING_FLAG in at:
        flag = at[MISSING_FLAG]
        likely, share = raw.mean[:, flag], vectorizer.features[flag].mean
        given_or_not = np.stack([1 - likely, likely], axis=1)
        missing = _draw_events(given_or_not, np.array([1 - share, share]), raw.chance(rng)) == 1
    values = [None if gone else x for gone, x in zip(missing, numbers.tolist(), strict=True)]
    series = pl.Series(column.name, values, dtype=pl.Float64)
    return series.cast(pl.Int64) if column.integer else series


def _draw_events(means: Floats, shares: Floats, chance: Floats) -> NDArray[np.int64]:
    """Draw one of K events for each of N records: (N,) places. means: (N, K) indicators."""
    upto = np.cumsum(in_shares(np.clip(means, 0.0, 1.0), shares), axis=1)
    places: NDArray[np.int64] = (chance[:, None] > upto[:, :-1]).sum(1)
    return places


def _named(
    column: Column, codes: NDArray[np.int64], counts: Sequence[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a category for each of (N,) codes that stands for several, as often as it comes."""
    if not counts:
        return codes
    shares, drawn = np.array(counts) / sum(counts), codes == other_code(column)
    own = first_of(column, counts) + rng.choice(len(counts), int(drawn.sum()), p=shares)
    codes[drawn] = own
    return codes


def _values(column: Column, codes: NDArray[np.int64]) -> list[Any]:
    if column.kind is Kind.BOOLEAN:
        return [None if code == missing_code(column) else bool(code) for code in codes.tolist()]
    return [code_name(column, code) for code in codes.tolist()]
