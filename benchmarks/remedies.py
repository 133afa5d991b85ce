"""What brings the alarm budget back where the source changes? On real tables with a time.

    python -m benchmarks.remedies DATA [--steps 400] [--runs FILE] [--out FILE]

DATA/files/*.csv are taken that have a column of moments, and enough records. The first 60 % in
order of time are fitted to; the rest is parted in four, and the last three parts are counted. Each
remedy is what a user would do before a part, with the records before it. Broken: more alarms than
chance explains, with a probability below 0.01.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

import vaewatch
from benchmarks.budget import moments_among
from benchmarks.results import write_section
from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.scoring.errors import CalibrationError, ScoringError
from vaewatch.scoring.files.frames import checked_table, table_of_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.time.form import NO_TIME, Form
from vaewatch.scoring.time.frames import read_moments
from vaewatch.scoring.time.written import FORMS
from vaewatch.training.calibration.chance import budget_p_value
from vaewatch.training.config import TrainConfig
from vaewatch.training.recalibrate import Recalibration, recalibrate
from vaewatch.training.records.read import read_frame
from vaewatch.training.records.remarks.time import with_the_time
from vaewatch.training.records.schema import infer_schema

ALPHA = 0.05
PARTS, FITTED = 4, 0.6
LEAST, CAP = 20, 30_000  # records of a part, and of a table
RARE = 0.01


@dataclass(frozen=True)
class Count:
    """The alarms of one part of a table under one remedy. refused: a recalibration before it."""

    table: str
    remedy: str
    records: int
    alarms: int
    expected: float
    p_value: float
    refused: bool = False

    @property
    def broken(self) -> bool:
        return self.p_value < RARE and self.alarms > self.expected * self.records


@dataclass(frozen=True)
class Past:
    """A table in order of its `time`, and how to fit to the first records of it."""

    name: str
    frame: pl.DataFrame
    time: str
    cuts: list[int]
    ignore: tuple[str, ...]
    steps: int
    folder: Path

    def part(self, i: int) -> pl.DataFrame:
        return self.frame[self.cuts[i] : self.cuts[i + 1]]

    def fit(self, until: int, ignore: tuple[str, ...] = (), calibrate: str = "all") -> Scorer:
        """Fit to all records before a part."""
        return vaewatch.train(
            self.frame[: self.cuts[until]],
            self.folder / "fit",
            overwrite=True,
            report=False,
            keep=0,
            alpha=ALPHA,
            steps=self.steps,
            time=self.time,
            ignore=(*self.ignore, *ignore),
            calibrate=calibrate,
        )

    def trends(self) -> tuple[str, ...]:
        """Return the columns that `train` says to leave out, unless no other is left."""
        known = self.frame[: self.cuts[0]]
        config = TrainConfig(alpha=ALPHA, time=self.time, ignore=self.ignore)
        found = tuple(with_the_time(checked_table(infer_schema(known, config), known)))
        left = set(self.frame.columns) - {self.time, *self.ignore, *found}
        return found if left else ()


def once(past: Past, calibrate: str = "all") -> Iterator[tuple[Scorer, bool]]:
    scorer = past.fit(0, calibrate=calibrate)
    yield from ((scorer, False) for _ in range(1, PARTS))


def recalibrated(past: Past) -> Iterator[tuple[Scorer, bool]]:
    """Recalibrate on the part before; where that is refused, what answers stays."""
    past.fit(0)
    path = past.folder / "fit"
    for i in range(1, PARTS):
        refused, out = False, past.folder / f"{i}"
        try:
            recalibrate(path, past.part(i - 1), out, Recalibration(overwrite=True))
            path = out
        except CalibrationError:
            refused = True
        yield Scorer.load(path), refused


def anew(
    past: Past, calibrate: str = "all", *, without_trends: bool = False
) -> Iterator[tuple[Scorer, bool]]:
    ignore = past.trends() if without_trends else ()
    for i in range(1, PARTS):
        yield past.fit(i, ignore, calibrate), False


REMEDIES: dict[str, Callable[[Past], Iterator[tuple[Scorer, bool]]]] = {
    "none": once,
    "`--calibrate recent`, and then none": lambda past: once(past, "recent"),
    "`recalibrate` before each part, on the part before it": recalibrated,
    "`train` before each part, on all records before it": anew,
    "the same, without the columns that go with the time": lambda past: anew(
        past, without_trends=True
    ),
    "the same, with `--calibrate recent`": lambda past: anew(past, "recent", without_trends=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--runs", type=Path, help="NDJSON of counts; tables that it has are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    known = args.runs.read_text().splitlines() if args.runs and args.runs.exists() else []
    counts = [Count(**json.loads(line)) for line in known]
    for path in sorted((args.data / "files").glob("*.csv")):
        if path.stem in {count.table for count in counts}:
            continue
        try:
            counts += measured(path, args.steps)
        except ScoringError as error:
            print(f"{path.stem}: {error}", file=sys.stderr)
        if args.runs:
            args.runs.write_text("".join(json.dumps(asdict(c)) + "\n" for c in counts))
    if not counts:
        parser.error(f"{args.data}/files must hold a table with a time, got none")
    write_section(args.out, "The alarm budget", "What brings it back over time", _text(counts))


def measured(path: Path, steps: int) -> list[Count]:
    """Return the counts of all remedies on a table; none if it has no time or few records."""
    frame = read_frame(path)
    times = list(_times_of(frame))
    if not times:
        return []
    with TemporaryDirectory() as folder:
        past = _past(path.stem, frame, times[0], tuple(times[1:]), steps, Path(folder))
        if past is None:
            return []
        return [
            _count(past, remedy, i, scorer, refused=refused)
            for remedy, use in REMEDIES.items()
            for i, (scorer, refused) in enumerate(use(past), 1)
        ]


def _times_of(frame: pl.DataFrame) -> Iterator[str]:
    """Yield the columns that `train` takes for times, and R's own times of a series."""
    yield from moments_among(frame)
    if "time" in frame.columns:
        found = read_moments(frame["time"].cast(pl.Float64, strict=False))
        if found is not None and (found.forms == FORMS.index(Form.YEARS)).all():
            yield "time"


def _past(
    name: str, frame: pl.DataFrame, time: str, ignore: tuple[str, ...], steps: int, folder: Path
) -> Past | None:
    found = read_moments(frame[time])
    assert found is not None
    rows = np.flatnonzero(found.moments != NO_TIME)
    rows = rows[np.argsort(found.moments[rows], kind="stable")][:CAP]
    moments, frame = found.moments[rows], frame[rows]
    shares = [FITTED + (1 - FITTED) * i / PARTS for i in range(PARTS)]
    cuts = [int(np.searchsorted(moments, moments[int(len(rows) * share)])) for share in shares]
    cuts.append(len(rows))
    if min(np.diff([0, *cuts])) < LEAST:
        return None
    return Past(name, frame, time, cuts, ignore, steps, folder)


def _count(past: Past, remedy: str, i: int, scorer: Scorer, *, refused: bool) -> Count:
    records, _ = table_of_frame(scorer.artifact.schema, past.part(i))
    calibration = scorer.artifact.calibration
    alarms = int(calibration.alarms(scorer.score_table(records, explain=0).p_value, ALPHA).sum())
    expected = allowed_rank(ALPHA, calibration.n) / (calibration.n + 1)
    p_value = budget_p_value(alarms, len(records), calibration.rate_law(ALPHA))
    return Count(past.name, remedy, len(records), alarms, expected, p_value, refused)


def _text(counts: list[Count]) -> str:
    lines = [
        f"{len({count.table for count in counts})} tables, alpha {ALPHA}. The rate of a table is "
        "that of its three parts together.",
        "",
        "| what is done | parts broken | tables without one | rate of a table, median | mean | "
        "recalibrations refused |",
        "|---|---|---|---|---|---|",
    ]
    for remedy in REMEDIES:
        own = [count for count in counts if count.remedy == remedy]
        tables = [list(some) for _, some in groupby(own, lambda count: count.table)]
        rates = [sum(c.alarms for c in t) / sum(c.records for c in t) for t in tables]
        fine = sum(not any(count.broken for count in table) for table in tables)
        broken, refused = sum(c.broken for c in own), sum(c.refused for c in own)
        lines.append(
            f"| {remedy} | {broken} of {len(own)} | {fine} of {len(tables)} | {median(rates):.3f} "
            f"| {fmean(rates):.3f} | {refused or ''} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
