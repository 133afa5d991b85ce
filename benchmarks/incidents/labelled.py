"""Labelled streams, one attack at a time -> incidents beside labelled ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace as replaced

from benchmarks.incidents.overlapping import cubed
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.labelled import Grouped, compare, events_of
from vaewatch.scoring.incidents.rule import Rules, members_of
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.time.spans import microseconds
from vaewatch.training.records.labels import Labels, read_labels
from vaewatch.training.train import train

HOURS, APART, BEFORE, MOST, FEW = 24, 900, 300, 300, 5  # seconds; records of a kind of attack
DAY = np.datetime64("2026-03-01T00:00:00")
GAPS = ("5m", "1m", "20s")


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


@dataclass(frozen=True)
class Labelled:
    """Records that were scored, with their labels."""

    artifact: Artifact
    seen: JudgedRecords
    labels: Labels

    @classmethod
    def of(cls, scorer: Scorer, frame: pl.DataFrame, label: str) -> Labelled:
        artifact = scorer.artifact
        labels, table = read_labels(frame, label), checked_table(artifact.schema, frame)
        assert table.times is not None
        verdicts, every = scorer.score_table(table), np.ones(len(table), np.bool_)
        members = members_of(artifact, table)
        return cls(artifact, JudgedRecords(table.times, members, verdicts, every), labels)

    def line(self, name: str, gap: str | None) -> str:
        """Compare incidents with labelled ones."""
        rules = Rules.of(self.artifact, None if gap is None else microseconds(gap))
        anomaly, alarms = self.labels.anomaly, self.seen.verdicts.is_anomaly
        found = Grouped.of(rules, self.seen)
        labelled, events = events_of(rules, self.seen, anomaly, self.labels.kinds)
        labelled = labelled[found.rows]
        one, (whole, pure) = found.compared(labelled, events), cubed(found.incidents, labelled)
        return (
            f"| {name} | {alarms[anomaly].mean():.1%} | {alarms[~anomaly].mean():.2%} | "
            f"{one.labelled} | {one.found} | {one.rare} | {one.split} | {self._paused(rules)} | "
            f"{one.incidents} | {one.merged} | {one.false} | {one.false_rare} | {whole:.2f} | "
            f"{pure:.2f} |"
        )

    def _paused(self, rules: Rules) -> int:
        """Count the labelled incidents that pauses between their alarms split, as they would if
        there were no others and alarms joined whatever their reasons are.
        """
        anomaly, verdicts = self.labels.anomaly, self.seen.verdicts
        own = replace(verdicts, is_anomaly=verdicts.is_anomaly & anomaly)
        rules = replace(rules, rule=replaced(rules.rule, by_column=False))
        seen = replace(self.seen, verdicts=own)
        return compare(rules, seen, anomaly, self.labels.kinds).split


HEAD = (
    "| | records found | false alarms | labelled incidents | found | by a rare one | split | "
    "by pauses | incidents | merged wrongly | false | false and rare | whole | pure |\n|"
    + "---|"
    * 14
)


def attacks(data: Path) -> Iterator[str]:
    fit, stream = stream_of(data)
    yield HEAD
    with tempfile.TemporaryDirectory() as name:
        for alpha in (0.01, 0.05):
            out = Path(name) / f"artifact-{alpha}"
            train(fit, out, alpha=alpha, time="time", calendar="none")
            found = Labelled.of(Scorer.load(out), stream, "attack")
            for gap in GAPS:
                yield found.line(f"alpha {alpha:g}, merge gap {gap}", gap)


def series(data: Path) -> Iterator[str]:
    fit, test = pl.read_parquet(data / "train.parquet"), pl.read_parquet(data / "test.parquet")
    yield HEAD
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "artifact"
        fit = fit.drop("label", strict=False)
        train(fit, out, alpha=0.01, time="time", entity="entity", window="auto")
        found = Labelled.of(Scorer.load(out), test.sort("entity", "time"), "label")
        yield found.line(data.name, None)
