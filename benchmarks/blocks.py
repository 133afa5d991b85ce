"""Records in order of time: does `train` foretell whether its budget holds, and does it?

    python -m benchmarks.blocks [--out benchmarks/RESULTS.md]

Orders are made whose source stays the same, drifts all the time, changes at once in the last fifth
of the fit records, or changes as the normals of NSL-KDD do from one period to the next: other
shares of services, counts three times as large, and services that were never seen. Trains on the
first 6,000, with both ways to calibrate, and counts the alarms in four later blocks of 1,000.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.results import write_section
from vaewatch.scoring.budget.expected import Expected, State
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

ALPHA, SEEDS = 0.01, range(5)
FIT, LATER, BLOCK = 6_000, 4, 1_000
STEPS = 800
KINDS = ("stays", "drifts", "changes at once", "changes as NSL-KDD")
SAID = {State.ABOVE: "breaks", State.WITHIN: "holds", State.BELOW: "too few"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            for calibrate in ("all", "recent"):
                runs = [_run(Path(folder), kind, calibrate, seed) for seed in SEEDS]
                rows.append(_row(kind, calibrate, runs))
    write_section(args.out, "The alarm budget", "Over time (generated orders)", _text(rows))


def make_orders(kind: str, seed: int) -> pl.DataFrame:
    """Return FIT + LATER * BLOCK records in order of time, over 200 days."""
    rng = np.random.default_rng(seed)
    n = FIT + LATER * BLOCK
    share = np.arange(n) / FIT  # 1 where the fit records end
    late = share > 0.8
    hour = np.clip(rng.normal(13.5, 2.5, n), 7, 21.9)
    night = rng.random(n) < 0.1
    hour[night] = rng.uniform(0, 5, int(night.sum()))
    amount = np.where(hour < 6, rng.gamma(9, 0.6, n), rng.gamma(9, 20, n))
    moved = {"drifts": share, "changes at once": 3.0 * late}.get(kind, np.zeros(n))
    weight = rng.normal(size=n) + moved
    like_kdd = late if kind == "changes as NSL-KDD" else np.zeros(n, bool)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    days = np.floor(np.arange(n) / n * 200)
    at = [start + timedelta(days=d, hours=h) for d, h in zip(days, hour.tolist(), strict=True)]
    return pl.DataFrame(
        {
            "created_at": at,
            "amount": amount.round(2),
            "weight": weight.round(3),
            "half": (weight / 2 + rng.normal(0, 0.3, n)).round(3),
            "count": rng.geometric(np.where(like_kdd, 0.05, 0.15)),
            "service": _services(rng, like_kdd),
        }
    )


def _services(rng: np.random.Generator, changed: NDArray[np.bool_]) -> NDArray[np.str_]:
    before = rng.choice(["http", "smtp", "dns", "ftp"], len(changed), p=[0.6, 0.2, 0.15, 0.05])
    names = ["http", "smtp", "dns", "ftp", "imap", "ssh"]
    after = rng.choice(names, len(changed), p=[0.3, 0.15, 0.3, 0.15, 0.06, 0.04])
    return np.where(changed, after, before)


class _Found:
    """What `train` said, and what came."""

    def __init__(self, scorer: Scorer, later: pl.DataFrame) -> None:
        outlook = scorer.artifact.manifest.outlook
        assert outlook is not None
        self.said = SAID[outlook.state]
        self.foretold = outlook.lately.alarms / outlook.lately.records
        self.held = outlook.held
        alarms = scorer.score(later, explain=0).is_anomaly.reshape(LATER, BLOCK).sum(1)
        expected = Expected.at(scorer.artifact.calibration, BLOCK)
        self.rates = alarms / BLOCK
        self.inside = int(sum(expected.state(int(n)) is State.WITHIN for n in alarms))


def _run(folder: Path, kind: str, calibrate: str, seed: int) -> _Found:
    frame = make_orders(kind, seed)
    path = folder / f"{kind}-{calibrate}-{seed}"
    settings = {"time": "created_at", "calibrate": calibrate, "alpha": ALPHA, "seed": seed}
    scorer = train(frame.head(FIT), path, report=False, steps=STEPS, **settings)
    return _Found(scorer, frame.tail(LATER * BLOCK))


def _row(kind: str, calibrate: str, runs: list[_Found]) -> str:
    said = ", ".join(f"{runs_of} {word}" for word, runs_of in _counts([r.said for r in runs]))
    held = [run.held for run in runs if run.held is not None]
    days = f"{np.median(held):.1f} days" if held else "all the time"
    rates = " | ".join(f"{np.mean([run.rates[i] for run in runs]):.4f}" for i in range(LATER))
    inside = sum(run.inside for run in runs)
    foretold = np.mean([run.foretold for run in runs])
    return (
        f"| {kind} | {calibrate} | {said} | {days} | {foretold:.4f} | {rates} | "
        f"{inside} of {LATER * len(runs)} |"
    )


def _counts(words: list[str]) -> list[tuple[str, int]]:
    return [(word, words.count(word)) for word in dict.fromkeys(words)]


def _text(rows: list[str]) -> str:
    head = (
        f"{FIT:,} records of 120 days are fitted to, at alpha {ALPHA:g}, with {len(SEEDS)} seeds; "
        f"then come {LATER} blocks of {BLOCK:,} records of 20 days each. Foretold is the rate in "
        "the last three blocks that `train` plays through. A block is inside if its alarms are "
        "what chance allows (99 %).\n\n"
        "| the source | --calibrate | `train` says the budget | held | foretold | block 1 | 2 "
        "| 3 | 4 | inside |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows)


if __name__ == "__main__":
    main()
