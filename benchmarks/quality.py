"""Detection beside the usual peers, one-class: half of the normals fit, the rest and all anomalies
are scored.

    python -m benchmarks.quality [--data FOLDER] [--only WORD,WORD] [--seeds 0,1,2]

Without `--data`: breast cancer, digits and wine, which ship with scikit-learn; each class of
digits and wine is the normal one in turn. FOLDER adds a folder of ADBench's .npz files. Peers have
the defaults of their libraries on standardised features. They alarm from a quantile of their own
fit scores, which is what `contamination` does in scikit-learn and PyOD; vaewatch by its p-values.
PyOD's VAE has capacity=0 by default, which clamps its KL term to nothing: it is a noisy
autoencoder.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyod.models.vae import VAE
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from benchmarks.results import write_section
from vaewatch.training.detector import VAEDetector

Floats = NDArray[np.float64]
CAP = 20_000
NEIGHBOURS = 5
PYOD_BATCH = 32  # its default
VARIANCE = 0.9  # that PCA keeps


@dataclass(frozen=True)
class Scored:
    """Test scores of one method on one split, higher is more anomalous, and its test alarms."""

    scores: Floats
    alarms: NDArray[np.bool_]
    fit_seconds: float
    score_seconds: float


Method = Callable[[Floats, Floats, float, int], Scored]
Scorer = Callable[[Floats], Floats]


def vaewatch(model: str) -> Method:
    def run(fit: Floats, test: Floats, alpha: float, seed: int) -> Scored:
        started = time.perf_counter()
        detector = VAEDetector(alpha=alpha, model=model, random_state=seed).fit(fit)
        fitted = time.perf_counter()
        scores = -detector.score_samples(test)
        ended = time.perf_counter()
        return Scored(scores, detector.predict(test) == -1, fitted - started, ended - fitted)

    return run


def peer(make: Callable[[Floats, int], tuple[Floats, Scorer]]) -> Method:
    """`make` gives the fit records' scores and what scores others."""

    def run(fit: Floats, test: Floats, alpha: float, seed: int) -> Scored:
        started = time.perf_counter()
        scaler = StandardScaler().fit(fit)
        own, score = make(scaler.transform(fit), seed)
        fitted = time.perf_counter()
        scores = score(scaler.transform(test))
        ended = time.perf_counter()
        alarms = scores > np.quantile(own, 1 - alpha)
        return Scored(scores, alarms, fitted - started, ended - fitted)

    return run


def pca(x: Floats, seed: int) -> tuple[Floats, Scorer]:
    model = PCA(VARIANCE, svd_solver="full").fit(x)

    def score(x: Floats) -> Floats:
        return ((x - model.inverse_transform(model.transform(x))) ** 2).sum(1)

    return score(x), score


def isolation_forest(x: Floats, seed: int) -> tuple[Floats, Scorer]:
    model = IsolationForest(random_state=seed).fit(x)
    return -model.score_samples(x), lambda x: -model.score_samples(x)


def knn(x: Floats, seed: int) -> tuple[Floats, Scorer]:
    model = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x)
    own = model.kneighbors()[0][:, -1]  # without a record itself
    return own, lambda x: model.kneighbors(x)[0][:, -1]


def pyod_vae(x: Floats, seed: int) -> tuple[Floats, Scorer]:
    # its last, partial batch is dropped, so that fewer records than one batch cannot be fitted
    model = VAE(random_state=seed, verbose=0, batch_size=min(PYOD_BATCH, len(x))).fit(x)
    return model.decision_scores_, model.decision_function


METHODS: dict[str, Method] = {
    "vaewatch": vaewatch("vae"),
    "vaewatch, model=ae": vaewatch("ae"),
    "PCA": peer(pca),
    "isolation forest": peer(isolation_forest),
    "kNN": peer(knn),
    "PyOD VAE (capacity=0: no KL)": peer(pyod_vae),
}


def shipped() -> Iterator[tuple[str, Floats, NDArray[np.bool_]]]:
    """Yield (group, records, which are anomalies)."""
    cancer = load_breast_cancer()
    yield "breast cancer", cancer.data, cancer.target == 0
    for name, data in (("digits", load_digits()), ("wine", load_wine())):
        for normal in np.unique(data.target):
            yield name, data.data, data.target != normal


def adbench(folder: Path) -> Iterator[tuple[str, Floats, NDArray[np.bool_]]]:
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=True) as data:
            yield path.stem, np.asarray(data["X"], dtype=np.float64), np.asarray(data["y"]) == 1


def split(
    x: Floats, anomaly: NDArray[np.bool_], seed: int
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return fit records, test records, and which of the latter are anomalies."""
    rng = np.random.default_rng(seed)
    if len(x) > CAP:
        keep = rng.choice(len(x), CAP, replace=False)
        x, anomaly = x[keep], anomaly[keep]
    normal = rng.permutation(np.flatnonzero(~anomaly))
    half = round(0.5 * len(normal))
    test = np.concatenate([normal[half:], np.flatnonzero(anomaly)])
    return x[normal[:half]], x[test], anomaly[test]


def measure(
    sets: Iterator[tuple[str, Floats, NDArray[np.bool_]]], seeds: list[int], alpha: float
) -> Iterator[dict[str, object]]:
    for name, x, anomaly in sets:
        for seed in seeds:
            fit, test, wrong = split(x, anomaly, seed)
            for method, run in METHODS.items():
                found = run(fit, test, alpha, seed)
                yield {
                    "data": name,
                    "method": method,
                    "AUROC": 100 * roc_auc_score(wrong, found.scores),
                    "AUPRC": 100 * average_precision_score(wrong, found.scores),
                    "alarms on normals": 100 * found.alarms[~wrong].mean(),
                    "recall": 100 * found.alarms[wrong].mean(),
                    "fit s": found.fit_seconds,
                    "score s": found.score_seconds,
                }
            print(name, "seed", seed, "done", flush=True)


def table(rows: pd.DataFrame) -> str:
    """Average over seeds and classes per data set, then over data sets."""
    by_set = rows.groupby(["data", "method"], sort=False).mean().reset_index()
    overall = by_set.drop(columns="data").groupby("method", sort=False).mean().reset_index()
    overall.insert(0, "data", f"mean of {by_set['data'].nunique()}")
    whole = pd.concat([overall, by_set])
    lines = ["| " + " | ".join(whole.columns) + " |", "|---" * len(whole.columns) + "|"]
    for row in whole.itertuples(index=False):
        shown = [f"{v:.1f}" for v in row[2:6]] + [f"{v:.2f}" for v in row[6:]]
        lines.append("| " + " | ".join([row[0], row[1], *shown]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of ADBench's .npz files")
    parser.add_argument("--only", default="", help="sets whose names have one of these words")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # the peers', about small batches and constant columns
    seeds = [int(seed) for seed in args.seeds.split(",")]
    words = args.only.split(",")
    every = chain(shipped(), adbench(args.data) if args.data else ())
    sets = (found for found in every if any(word in found[0] for word in words))
    found = list(measure(sets, seeds, args.alpha))
    title = "Beside peers, with ADBench" if args.data else "Beside peers"
    head = (
        f"AUROC, AUPRC, false alarms on test normals and recall in per cent, at alpha "
        f"{args.alpha:g} ({100 * args.alpha:g} % asked); means over {len(seeds)} seeds, and over "
        "the classes of digits and wine. Peers alarm from a quantile of their own fit scores. "
        "PyOD's VAE has capacity=0 by default, which clamps its KL term to nothing: it is a noisy "
        "autoencoder.\n\n"
    )
    write_section(args.out, "Detection", title, head + table(pd.DataFrame(found)))


if __name__ == "__main__":
    main()
