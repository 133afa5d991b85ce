"""What labels of a few alarms are worth when `train --feedback` learns what a score's parts weigh.

    python -m benchmarks.feedback --data FOLDER [--suite adbench|oddbench] [--kept DIR]

FOLDER holds ADBench's or OddBench's .npz files, split as the suites' protocols say. Half of the
test records are seen: K of their alarms, drawn at random, are labelled. The other half is scored
with the weights that these labels give, and with those of no feedback; the budget is that of the
same normal records either way. With `best`, the weights that suit the other half's own labels
best, of a grid within the same bounds: what there is to gain. DIR keeps what was fitted, to
measure it again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.quality import adbench, split
from benchmarks.results import write_section
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.network import Network
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.config import TrainConfig
from vaewatch.training.feedback.learn import FittedTo, PartsOf
from vaewatch.training.feedback.matched import Keys, match
from vaewatch.training.feedback.weights import MOST, Examples, Factors, Marked, learn
from vaewatch.training.pipeline import fit
from vaewatch.training.vae.threads import computing_on

ALPHA = 0.05
LABELS = (5, 20, 100)
DRAWS = 4  # of the half that is seen, and of its alarms
FIGURES = ("AUROC", "AUPRC", "recall", "false alarms")

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Fitted:
    """The (N, 3) parts of the records that calibrate and of the test records, and which of these
    are anomalies.
    """

    calibrating: Floats
    test: Floats
    anomaly: Bools

    def figures(self, factors: Factors, rows: Bools) -> Floats:
        """Return FIGURES of these test records, in per cent."""
        scores, anomaly = factors.total(self.test[rows]), self.anomaly[rows]
        alarm = self.alarms(factors)[rows]
        areas = [roc_auc_score(anomaly, scores), average_precision_score(anomaly, scores)]
        return 100 * np.array([*areas, alarm[anomaly].mean(), alarm[~anomaly].mean()])

    def alarms(self, factors: Factors) -> Bools:
        calibration = calibrate(factors.total(self.calibrating), ALPHA, "split")
        return calibration.alarms(calibration.p_values(factors.total(self.test)))

    def best(self, rows: Bools) -> Factors:
        """Return the factors with the largest AUPRC on these test records."""
        test, anomaly = self.test[rows], self.anomaly[rows]
        steps = np.exp(np.linspace(-np.log(MOST), np.log(MOST), 5)).tolist()
        return max(
            (Factors(*pair) for pair in product(steps, steps)),
            key=lambda each: float(average_precision_score(anomaly, each.total(test))),
        )


def kept(folder: Path | None, name: str, make: Callable[[], Fitted]) -> Fitted:
    """Return what was fitted, from a folder if it is there."""
    path = None if folder is None else folder / f"{name}.npz"
    if path is not None and path.exists():
        with np.load(path) as data:
            return Fitted(data["calibrating"], data["test"], data["anomaly"])
    found = make()
    if path is not None:
        np.savez_compressed(path, **asdict(found))
    return found


def fitted(train: pl.DataFrame, test: pl.DataFrame, anomaly: Bools, seed: int) -> Fitted:
    with computing_on(1):
        learned = fit(train, TrainConfig(alpha=ALPHA, seed=seed))
    parts_of = PartsOf(Network(learned.graph), learned.vectorizer, learned.rule)
    whole = FittedTo(learned.table, learned.split, learned.evidence)
    judged = whole.judged(match((), train, Keys(None, None, "UTC", None)), parts_of)
    table = checked_table(learned.table.schema, test)
    return Fitted(judged.parts[judged.calibrates], parts_of(table), anomaly)


def oddbench(path: Path) -> tuple[pl.DataFrame, pl.DataFrame, Bools]:
    with np.load(path) as data:
        frames = [pl.DataFrame(data[key], _names(data[key])) for key in ("X_train", "X_test")]
        names = data["names"].tolist() if "names" in data else []
        anomaly = data["y_test"].astype(int) == 1
    categories = [f"f{i}" for i, name in enumerate(names) if str(name).startswith("cat_")]
    texts = [("c" + pl.col(name).cast(pl.String)).alias(name) for name in categories]
    train, test = (frame.with_columns(texts) for frame in frames)
    return train, test, anomaly


def _names(x: NDArray[np.float64]) -> list[str]:
    return [f"f{i}" for i in range(x.shape[1])]


def tables(
    folder: Path, suite: str, seed: int
) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame, Bools]]:
    """Yield the name, the fit records and the test records of each set, and its anomalies."""
    if suite == "oddbench":
        for path in sorted(folder.glob("*.npz")):
            yield path.stem, *oddbench(path)
        return
    for name, x, wrong in adbench(folder):
        known, new, anomaly = split(x, wrong, seed)
        yield name, *(pl.DataFrame(part, _names(part)) for part in (known, new)), anomaly


def trials(found: Fitted, labels: int) -> Iterator[tuple[Floats, Floats, Floats, bool]]:
    """Yield the figures without feedback, with it, and at best, and whether weights changed."""
    n, usual = len(found.anomaly), found.alarms(Factors())
    for draw in range(DRAWS):
        rng = np.random.default_rng([draw, labels])
        seen = np.zeros(n, bool)
        seen[rng.permutation(n)[: n // 2]] = True
        if not found.anomaly[~seen].any():
            continue
        shown = rng.permutation(np.flatnonzero(seen & usual))[:labels]
        if not len(shown):
            continue
        marks = np.arange(len(shown))
        true = found.anomaly[shown]
        examples = Examples(
            Marked(found.test[shown[true]], marks[true]),
            Marked(found.test[shown[~true]], marks[~true]),
            found.calibrating,
        )
        learnt = learn(examples, Factors())
        every = (Factors(), learnt.factors, found.best(~seen))
        before, after, best = (found.figures(factors, ~seen) for factors in every)
        yield before, after, best, learnt.taken


def text(rows: dict[int, dict[str, list[tuple[Floats, Floats, Floats, bool]]]]) -> str:
    head = "| labels | sets | weights changed | without | with | gain | at best | worst set |\n"
    lines = [head + "|---" * 8 + "|"]
    for labels, by_set in rows.items():
        each = [[np.mean(part, 0) for part in zip(*own, strict=True)] for own in by_set.values()]
        before, after, best, taken = (np.array(part) for part in zip(*each, strict=True))
        for i, figure in enumerate(FIGURES):
            gain = after[:, i] - before[:, i]
            lines.append(
                f"| {labels}, {figure} | {len(each)} | {taken.mean():.0%} "
                f"| {before[:, i].mean():.2f} | {after[:, i].mean():.2f} | {gain.mean():+.2f} "
                f"| {(best[:, i] - before[:, i]).mean():+.2f} | {gain.min():+.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of .npz files")
    parser.add_argument("--suite", choices=["adbench", "oddbench"], default="adbench")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--kept", type=Path, help="a folder to keep what is fitted in")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    rows: dict[int, dict[str, list[tuple[Floats, Floats, Floats, bool]]]] = {}
    for seed in seeds:
        for name, train, test, anomaly in tables(args.data, args.suite, seed):
            if ALPHA * (len(train) + 1) < 1:
                continue
            make = partial(fitted, train, test, anomaly, seed)
            found = kept(args.kept, f"{name}-{seed}", make)
            for labels in LABELS:
                if own := list(trials(found, labels)):
                    rows.setdefault(labels, {}).setdefault(name, []).extend(own)
            print(name, "seed", seed, "done", flush=True)
    head = (
        "Half of the test records are seen, and so many of their alarms labelled, at alpha "
        f"{ALPHA:g}; figures of the other half, in per cent, means over {len(seeds)} seeds, "
        f"{DRAWS} draws and the sets. At best: by the grid's weights that suit that half most.\n\n"
    )
    title = f"Labels of alarms, {'ADBench' if args.suite == 'adbench' else 'OddBench'}"
    write_section(args.out, "Feedback", title, head + text(rows))


if __name__ == "__main__":
    main()
