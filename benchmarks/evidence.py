"""Normal windows alone -> tables: how many of their incidents have a chance of at most c?

    python -m benchmarks.evidence scores [--seeds 20]
    python -m benchmarks.evidence fits [--seeds 4]
    python -m benchmarks.evidence blocks DATA [--seeds 2]

The alarms of windows come together, so that a chance that holds for single records need not hold
for them. scores: sums of W neighbours of an autoregressive process stand for scores, with tails of
several laws; these calibrate, are counted and judged as the product does it. fits: the product is
fitted to autoregressive series, and judges four times as many new records of the same process.
blocks: series of DATA (train.parquet), fitted; each block of time is left out once, and its
incidents meet those of the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import structs
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import norm
from scipy.stats import t as student

from benchmarks.results import write_section
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.incidents.grouping import HIGH
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.rule import Membership, Rules
from vaewatch.scoring.incidents.stream import Stream
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.lasting import Lasting
from vaewatch.scoring.series.promise import Counting, alarm_blocks
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.package import Origin
from vaewatch.training.series.package import pack_series
from vaewatch.training.series.pipeline import LearnedSeries, fit_series

Floats = NDArray[np.float64]
LIMITS, BEFORE = (0.1, 0.03, 0.01, 0.003, 0.001), (0.1, 0.01)
SECOND, NEW = 1_000_000, 4  # microseconds; records that are judged for each that calibrates
START = np.datetime64("2026-03-01T00:00:00")
LAWS: Mapping[str, Callable[[Floats], Floats]] = {  # of a score, of what is normal
    "normal": lambda z: z,
    "exponential": lambda z: -norm.logsf(z),
    "Student, 5 degrees": lambda z: np.asarray(student.isf(norm.sf(z), 5)),
}


@dataclass(frozen=True)
class Setting:
    """alpha; records of a window; windows that calibrate; the coefficient of the process; records
    of which the level is its own, or 0.
    """

    alpha: float
    size: int
    windows: int
    memory: float
    level: int = 0


SETTINGS = (
    Setting(0.01, 16, 4_000, 0.0),
    Setting(0.01, 16, 40_000, 0.0),
    Setting(0.01, 16, 40_000, 0.9),
    Setting(0.01, 64, 40_000, 0.0),
    Setting(0.01, 64, 40_000, 0.99),
    Setting(0.01, 64, 40_000, 0.9, 2_000),
    Setting(0.05, 16, 4_000, 0.9),
    Setting(0.001, 16, 40_000, 0.9),
)
FITS = (
    Setting(0.01, 8, 6_000, 0.5),
    Setting(0.01, 16, 20_000, 0.9),
    Setting(0.05, 16, 6_000, 0.9),
    Setting(0.01, 32, 20_000, 0.99),
)


@dataclass(frozen=True)
class Found:
    """Incidents that calibrated, and the chances of those after them: by their peaks, and by the
    evidence of single records.
    """

    counted: int
    by_peak: list[float]
    by_records: list[float]


def process(setting: Setting, n: int, rng: np.random.Generator) -> Floats:
    """Return n standard normal numbers, each the mean of W neighbours of a process."""
    memory, size = setting.memory, setting.size
    noise = rng.normal(size=n + size + 1000)
    values = lfilter([(1 - memory**2) ** 0.5], [1, -memory], noise)
    lags = np.arange(1 - size, size)
    variance = float(((size - np.abs(lags)) * memory ** np.abs(lags)).sum())
    z = np.convolve(values, np.ones(size), "valid")[-n:] / variance**0.5
    if setting.level:
        levels = rng.normal(size=n // setting.level + 1).repeat(setting.level)[:n]
        z = (z + levels / 2) / 1.25**0.5
    return np.asarray(z)


def chances(artifact: Artifact, judged: JudgedRecords, counted: int) -> Found:
    """Return the chances of the incidents of records that were judged."""
    rules = Rules.of(artifact)
    before = replace(rules, rule=structs.replace(rules.rule, peaks=None))
    stream = Stream(rules)
    stream.take(judged.grouped(rules))
    found = list(stream.incidents())
    return Found(
        counted,
        [group.chance(rules.rule, one) for group, one in found],
        [group.chance(before.rule, one) for group, one in found],
    )


def of_scores(base: Artifact, setting: Setting, law: str, seed: int) -> Found:
    """Calibrate on simulated scores, and judge others."""
    rng = np.random.default_rng(seed)
    n, score = setting.windows, LAWS[law]
    scores, new = score(process(setting, n, rng)), score(process(setting, NEW * n, rng))
    window = Window(setting.size, 10 * SECOND, SECOND)
    calibration = Calibration(np.sort(scores), setting.alpha, SPLIT)
    counting = Counting(calibration, scores, None, SECOND * np.arange(n), window)
    blocks = alarm_blocks(calibration, scores, np.zeros(n, np.int64), setting.size)
    assert base.manifest.series is not None
    manifest = structs.replace(
        base.manifest, window=window, series=structs.replace(base.manifest.series, blocks=blocks)
    )
    peaks = counting.peaks()
    artifact = replace(base, manifest=manifest, calibration=calibration, incident_peaks=peaks)
    moments, p_values = SECOND * np.arange(len(new)), calibration.p_values(new)
    rows = np.flatnonzero(calibration.alarms(p_values))
    Lasting(window).settle(None, moments, rows, new, p_values)
    alarms = calibration.alarms(p_values)
    verdicts = Verdicts(new, p_values, -np.log10(p_values), alarms, [()] * len(new))
    every = np.ones(len(new), np.bool_)
    members = Membership(("",), np.zeros(len(new), np.int64))
    return chances(artifact, JudgedRecords(moments, members, verdicts, every), len(peaks))


def series(setting: Setting, n: int, rng: np.random.Generator, start: int = 0) -> pl.DataFrame:
    """Return records of four columns, which share a part of their noise."""
    noise = rng.normal(size=(n + 1000, 4)) + rng.normal(size=(n + 1000, 1))
    values = lfilter([(1 - setting.memory**2) ** 0.5], [1, -setting.memory], noise, axis=0)[-n:]
    at = START + (start + np.arange(n)).astype("timedelta64[s]")
    columns = {f"c{i}": values[:, i] for i in range(values.shape[1])}
    return pl.DataFrame({"time": np.datetime_as_string(at), **columns})


def fitted(frame: pl.DataFrame, config: TrainConfig) -> tuple[LearnedSeries, Artifact]:
    learned = fit_series(frame, config)
    return learned, pack_series(learned, Origin("benchmark", "", len(frame), 0.0)).artifact()


def of_fit(setting: Setting, seed: int) -> Found:
    """Fit the product to a series, and judge the time after it."""
    rng, n = np.random.default_rng(seed), setting.windows
    whole = series(setting, (1 + NEW) * n, rng)
    config = TrainConfig(
        alpha=setting.alpha, time="time", window=setting.size, steps=400, seed=seed
    )
    learned, artifact = fitted(whole.head(n), config)
    table = checked_table(artifact.schema, whole.tail(NEW * n))
    verdicts = Scorer(artifact).score_table(table, explain=0)
    assert table.times is not None
    every, members = np.ones(len(table), np.bool_), Membership(("",), np.zeros(len(table), int))
    judged = JudgedRecords(table.times, members, verdicts, every)
    return chances(artifact, judged, len(learned.judged.peaks()))


def of_blocks(data: Path, seed: int) -> Found:
    """Leave each block of time out once."""
    frame = pl.read_parquet(data / "train.parquet").drop("label", strict=False)
    learned, artifact = fitted(frame, TrainConfig(time="time", entity="entity", seed=seed))
    judged, folds = learned.judged, learned.fit.folds
    known = Rules.of(artifact).rule.peaks
    assert known is not None
    found: list[float] = []
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        own, others = (
            replace(
                judged.counting,
                scores=judged.scores[rows],
                moments=judged.moments[rows],
                entities=None
                if judged.entities is None
                else [judged.entities[i] for i in rows.tolist()],
            ).peaks()
            for rows in inside
        )
        peaks = replace(known, scores=tuple(others.tolist()))
        found += [peaks.chance(peak) / HIGH for peak in own.tolist()]
    return Found(len(judged.peaks()), found, [])


def shares(found: list[float]) -> str:
    return " | ".join(f"{np.mean(np.array(found) <= limit):.2%}" for limit in LIMITS)


def line(name: str, found: list[Found]) -> str:
    """Return a row of the table: the shares by the peak, and those without it."""
    by_peak = [chance for one in found for chance in one.by_peak]
    before = np.array([chance for one in found for chance in one.by_records])
    counted = np.mean([one.counted for one in found])
    old = " | ".join(f"{(before <= limit).mean():.2%}" if len(before) else "" for limit in BEFORE)
    return f"| {name} | {counted:.0f} | {len(by_peak):,} | {shares(by_peak)} | {old} |"


def heads(names: str) -> Iterator[str]:
    each = " | ".join(f"<= {limit:g}" for limit in LIMITS)
    old = " | ".join(f"before <= {limit:g}" for limit in BEFORE)
    yield f"| {names} | counted | incidents | {each} | {old} |"
    yield "|" + "---|" * (names.count("|") + 3 + len(LIMITS) + len(BEFORE))


def words_of(setting: Setting) -> str:
    level = f", levels of {setting.level:,}" if setting.level else ""
    return f"{setting.alpha:g} | {setting.size} | {setting.windows:,} | {setting.memory:g}{level}"


def scores_table(seeds: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    config = TrainConfig(alpha=0.05, time="time", window=8, steps=1)
    _, base = fitted(series(SETTINGS[0], 600, rng), config)
    yield from heads("law | alpha | W | windows | memory")
    for setting in SETTINGS:
        for law in LAWS:
            found = [of_scores(base, setting, law, seed) for seed in range(seeds)]
            yield line(f"{law} | {words_of(setting)}", found)


def fits_table(seeds: int) -> Iterator[str]:
    yield from heads("alpha | W | records | memory")
    for setting in FITS:
        yield line(words_of(setting), [of_fit(setting, seed) for seed in range(seeds)])


def blocks_table(data: Path, seeds: int) -> Iterator[str]:
    yield from heads("set")
    yield line(data.name, [of_blocks(data, seed) for seed in range(seeds)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["scores", "fits", "blocks"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    words = parser.parse_args()
    if words.what == "scores":
        title, lines = "Incidents of normal windows: scores", scores_table(words.seeds)
    elif words.what == "fits":
        title, lines = "Incidents of normal windows: fits", fits_table(words.seeds)
    else:
        title = f"Incidents of normal windows: blocks ({words.data.name})"
        lines = blocks_table(words.data, words.seeds)
    write_section(words.out, "Watching", title, "\n".join(lines))


if __name__ == "__main__":
    main()
