"""30 days of normal traffic -> how often the alerts of the deploy folder page somebody.

    python -m benchmarks.alerts

Each deployment has a calibration of its own, so its true false-alarm rate is a draw from Beta(k,
n + 1 - k), and so has its rate of severe records; its records are a Poisson stream with a day and
a night. Counts are taken every 15 seconds, and the alerts looked at as often, as Prometheus does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import write_section
from vaewatch.batch.replay.alerts import FAST, SEVERE, SLOW, Steps, Traffic
from vaewatch.scoring.budget.calibration import RateLaw, allowed_rank

SCRAPE, A_MINUTE, DAY = 15, 4, 5760  # seconds; scrapes
QUIET_SHARE, QUIET_LEAST, QUIET_MINUTES, QUIET_FOR = 0.1, 15, 360, 15
BUDGETS = ((0.05, 238), (0.01, 99), (0.01, 1_000), (0.01, 13_449), (0.001, 10_000))
RATES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # records a second


@dataclass(frozen=True)
class Scene:
    """Deployments alike. `group`: so many records in a row alarm together. `breach`: the true rate
    is so many times what calibration gave.
    """

    alpha: float
    n: int
    rate: float
    group: int = 1
    breach: float = 1.0


@dataclass(frozen=True)
class Found:
    """How often each alert came on in one deployment, a column for each: (deployments,)."""

    fast: NDArray[np.int64]
    slow: NDArray[np.int64]
    quiet: NDArray[np.int64]

    @property
    def pages(self) -> NDArray[np.int64]:
        return self.fast + self.quiet


def simulate(scene: Scene, days: int, deployments: int, seed: int) -> Found:
    """Return the counts of normal traffic."""
    rng = np.random.default_rng(seed)
    counts = [_one(scene, days, rng) for _ in range(deployments)]
    return Found(*(np.array(column) for column in zip(*counts, strict=True)))


def _one(scene: Scene, days: int, rng: np.random.Generator) -> tuple[int, int, int]:
    low, high = RateLaw.of(scene.alpha, scene.n).interval()
    hour = np.arange(days * DAY) / DAY * 2 * np.pi
    groups = rng.poisson(scene.rate * SCRAPE * (1 + 0.8 * np.sin(hour)) / scene.group)
    alarming, severe = _true_rates(scene, rng)
    alarms = rng.binomial(groups, alarming)
    records, alarms, severe = (
        scene.group * counts.astype(np.float64)
        for counts in (groups, alarms, rng.binomial(alarms, severe / alarming if alarming else 0))
    )
    traffic = Traffic(records, alarms, high * records, severe)
    return (
        times_on(FAST.on(traffic, increase)),
        times_on(SLOW.on(traffic, increase)[::A_MINUTE]),
        times_on(too_quiet(alarms, low * records)[::A_MINUTE], QUIET_FOR),
    )


def _true_rates(scene: Scene, rng: np.random.Generator) -> tuple[float, float]:
    """Draw the true rates of alarms and severe records: order statistics of a calibration."""
    k = allowed_rank(scene.alpha, scene.n)
    alarming = scene.breach * rng.beta(k, scene.n + 1 - k)
    rarer = min(k, int(10**-SEVERE * (scene.n + 1)))
    severe = alarming * (rng.beta(rarer, k - rarer) if 0 < rarer < k else rarer / k)
    return float(alarming), float(severe)


def increase(counts: Steps, minutes: int) -> Steps:
    """As PromQL: four scrapes lie in a minute, three steps between them, stretched to four."""
    steps = minutes * A_MINUTE
    return sliding_sum(counts, steps - 1) * (steps / (steps - 1))


def sliding_sum(counts: Steps, steps: int) -> Steps:
    """(..., T): the sum of each step and those before it, `steps` in all."""
    total = np.cumsum(counts, axis=-1)
    total[..., steps:] = total[..., steps:] - total[..., :-steps].copy()
    return np.asarray(total)


def too_quiet(alarms: Steps, sure: Steps) -> NDArray[np.bool_]:
    """Return where VaewatchTooQuiet is true, before its wait."""
    seen, least = (increase(x, QUIET_MINUTES) for x in (alarms, sure))
    return np.asarray((seen < QUIET_SHARE * least) & (least >= QUIET_LEAST))


def times_on(on: NDArray[np.bool_], wait: int = 0) -> int:
    """Count how often a condition came on and stayed on for more than `wait` steps."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2] > wait).sum())


def scenes() -> Iterator[Scene]:
    for alpha, n in BUDGETS:
        for rate in RATES:
            yield Scene(alpha, n, rate)
    for group in (5, 10):
        for rate in (1.0, 10.0):
            yield Scene(0.01, 13_449, rate, group)


def table(days: int, deployments: int) -> str:
    lines = [
        f"{deployments} deployments of each kind, {days} days each. Pages and tickets a month are "
        "means over deployments. In the last rows normal records come in groups that alarm "
        "together, which the budget does not promise anything about.",
        "",
        "| alpha | calibration records | records/s | pages: too many alarms | pages: too quiet | "
        "most pages of one deployment | tickets |",
        "|---|---|---|---|---|---|---|",
    ]
    worst = 0.0
    for i, scene in enumerate(scenes()):
        found = simulate(scene, days, deployments, seed=i)
        month = 30 / days
        if scene.group == 1:
            worst = max(worst, float(found.pages.mean()) * month)
        rate = f"{scene.rate:g}" + (
            f", alarms in groups of {scene.group}" if scene.group > 1 else ""
        )
        lines.append(
            f"| {scene.alpha:g} | {scene.n:,} | {rate} | {found.fast.mean() * month:.3f} "
            f"| {found.quiet.mean() * month:.3f} | {found.pages.max()} "
            f"| {found.slow.mean() * month:.3f} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(
        [*lines, "", f"The worst kind of independent records has {worst:.3f} pages a month."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--deployments", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    words = parser.parse_args()
    text = table(words.days, words.deployments)
    write_section(words.out, "Watching", "False pages in a month of normal traffic", text)


if __name__ == "__main__":
    main()
