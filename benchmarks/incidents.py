"""Incidents beside labels, and those of chance -> tables.

    python -m benchmarks.incidents chance [--seeds 3]
    python -m benchmarks.incidents attacks DATA
    python -m benchmarks.incidents series DATA

chance: normal records alone, with p-values of an ideal calibration: how many of the incidents
have a chance of at most c? attacks: DATA holds NSL-KDD's normal.csv and labelled.csv (with
`attack`): 24 hours of normal records, one a second, then each kind of attack in a burst of its
own, a quarter of an hour apart, in the same traffic. series: DATA holds train.parquet and
test.parquet with `time`, `entity` and `label`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.results import write_section
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.incidents.grouping import Rule
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.labelled import Comparison, compare
from vaewatch.scoring.incidents.rule import Kind, Membership, Rules
from vaewatch.scoring.incidents.stream import Stream
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.time.spans import microseconds
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.records.labels import read_labels
from vaewatch.training.train import train

LIMITS = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0001)
ALARMS = 1500  # that are expected of a seed
HOURS, APART, BEFORE, MOST, FEW = 24, 900, 300, 300, 5  # seconds; records of a kind of attack
DAY = np.datetime64("2026-03-01T00:00:00")
GAPS = ("5m", "1m", "20s")


def chances(alpha: float, n: int, in_gap: float, columns: int, seed: int) -> list[float]:
    """Return the chance of each incident of normal records, of which so many alarm in a gap."""
    rng = np.random.default_rng(seed)
    gap, records, law = max(int(in_gap / alpha), 1), int(ALARMS / alpha), RateLaw.of(alpha, n)
    calibration = np.sort(rng.random(n))
    p_values = (1 + calibration.searchsorted(rng.random(records))) / (n + 1)
    alarms = p_values <= alpha
    weights = 1 / np.arange(1, columns + 1)
    first = rng.choice(columns, records, p=weights / weights.sum()).tolist()
    second, both = rng.integers(columns, size=records).tolist(), rng.random(records) < 0.5
    reasons: list[tuple[Reason, ...]] = [()] * records
    for row in np.flatnonzero(alarms).tolist():
        names = [first[row], second[row]] if both[row] else [first[row]]
        reasons[row] = tuple(Reason(f"c{name}", 1.0, 0.0, 5.0) for name in names)
    verdicts = Verdicts(p_values, p_values, -np.log10(p_values), alarms, reasons)
    rules = Rules(Kind.ALL, False, Rule(gap, True, law.mean, law.interval()[1]))
    stream = Stream(rules)
    for rows in np.array_split(np.arange(records), 50):
        members = Membership(("",), np.zeros(len(rows), np.int64))
        every = np.ones(len(rows), np.bool_)
        stream.take(JudgedRecords(rows, members, verdicts[rows], every).grouped(rules))
    return [group.chance(rules.rule, one) for group, one in stream.incidents()]


def chance(seeds: int) -> Iterator[str]:
    """Yield the lines of a table."""
    heads = [f"chance <= {limit:g}" for limit in LIMITS]
    yield f"| alpha | calibration | alarms in a gap | columns | incidents | {' | '.join(heads)} |"
    yield "|" + "---|" * (5 + len(LIMITS))
    for alpha, n in ((0.01, 10_000), (0.01, 100_000), (0.001, 100_000)):
        for in_gap in (0.1, 0.3, 1.0, 3.0):
            for columns in (1, 10):
                found = np.array(
                    [c for seed in range(seeds) for c in chances(alpha, n, in_gap, columns, seed)]
                )
                shares = " | ".join(f"{(found <= limit).mean():.3%}" for limit in LIMITS)
                yield f"| {alpha:g} | {n:,} | {in_gap:g} | {columns} | {len(found):,} | {shares} |"


def stream_of(data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return records to fit, of a week before, and the stream with a column `attack`."""
    labelled = pl.read_csv(data / "labelled.csv", infer_schema=False).drop("label")
    normal = pl.read_csv(data / "normal.csv", infer_schema=False)
    normal = normal.select(c for c in labelled.columns if c != "attack")
    normal = normal.sample(fraction=1.0, shuffle=True, seed=0)
    half, rng = len(normal) // 2, np.random.default_rng(0)
    counts = labelled.filter(pl.col("attack") != "normal")["attack"].value_counts()
    counts = counts.filter(pl.col("count") >= FEW).sort(["count", "attack"], descending=True)
    kinds = counts["attack"].to_list()
    seconds = HOURS * 3600 + APART * len(kinds) + BEFORE
    rest = normal.tail(half)[rng.integers(0, half, seconds)]
    parts = [_at(rest.with_columns(pl.lit("normal").alias("attack")), np.arange(seconds))]
    for i, kind in enumerate(kinds):
        rows = (
            labelled.filter(pl.col("attack") == kind).head(MOST).select(rest.columns + ["attack"])
        )
        parts.append(_at(rows, HOURS * 3600 + APART * i + BEFORE + np.arange(len(rows))))
    fit = _at(normal.head(half), np.sort(rng.integers(-7 * 86_400, 0, half)))
    return fit, pl.concat(parts).sort("time", maintain_order=True)


def _at(frame: pl.DataFrame, seconds: np.ndarray) -> pl.DataFrame:  # type: ignore[type-arg]
    moments = np.datetime_as_string(DAY + seconds.astype("timedelta64[s]"))
    return frame.insert_column(0, pl.Series("time", moments))


def compared(
    scorer: Scorer, frame: pl.DataFrame, label: str, gap: str | None
) -> tuple[Comparison, float, float]:
    """Return the incidents beside the labels, the recall, and the rate of false alarms."""
    artifact: Artifact = scorer.artifact
    labels, table = read_labels(frame, label), checked_table(artifact.schema, frame)
    verdicts = scorer.score_table(table)
    rules = Rules.of(artifact, None if gap is None else microseconds(gap))
    assert table.times is not None
    every = np.ones(len(table), np.bool_)
    judged = JudgedRecords(table.times, rules.members(artifact, table), verdicts, every)
    alarms = verdicts.is_anomaly
    recall, false = alarms[labels.anomaly].mean(), alarms[~labels.anomaly].mean()
    return compare(rules, judged, labels.anomaly, labels.kinds), float(recall), float(false)


HEAD = (
    "| | records found | false alarms | labelled incidents | found | by a rare one | split | "
    "incidents | merged wrongly | false | false and rare |\n|" + "---|" * 11
)


def line(name: str, found: tuple[Comparison, float, float]) -> str:
    one, recall, false = found
    return (
        f"| {name} | {recall:.1%} | {false:.2%} | {one.labelled} | {one.found} | {one.rare} | "
        f"{one.split} | {one.incidents} | {one.merged} | {one.false} | {one.false_rare} |"
    )


def attacks(data: Path) -> Iterator[str]:
    fit, stream = stream_of(data)
    yield HEAD
    with tempfile.TemporaryDirectory() as name:
        for alpha in (0.01, 0.05):
            out = Path(name) / f"artifact-{alpha}"
            train(fit, out, alpha=alpha, time="time", calendar="none")
            scorer = Scorer.load(out)
            for gap in GAPS:
                found = compared(scorer, stream, "attack", gap)
                yield line(f"alpha {alpha:g}, merge gap {gap}", found)


def series(data: Path) -> Iterator[str]:
    fit, test = pl.read_parquet(data / "train.parquet"), pl.read_parquet(data / "test.parquet")
    yield HEAD
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "artifact"
        fit = fit.drop("label", strict=False)
        train(fit, out, alpha=0.01, time="time", entity="entity", window="auto")
        found = compared(Scorer.load(out), test.sort("entity", "time"), "label", None)
        yield line(data.name, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["chance", "attacks", "series"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    words = parser.parse_args()
    if words.what == "chance":
        title, lines = "Incidents of normal records", chance(words.seeds)
    elif words.what == "attacks":
        title, lines = "Incidents and labelled attacks (NSL-KDD)", attacks(words.data)
    else:
        title, lines = f"Incidents and labelled events ({words.data.name})", series(words.data)
    write_section(words.out, "Watching", title, "\n".join(lines))


if __name__ == "__main__":
    main()
