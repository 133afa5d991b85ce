"""Weeks of normal traffic -> how often an incident that chance does not explain pages somebody.

    python -m benchmarks.pages

Each deployment has a calibration of its own, so that its true false-alarm rate is a draw from
Beta(k, n + 1 - k); its records are a Poisson stream, and each alarm has one or two of ten columns
as main reasons. Groups are kept as the service keeps them. VaewatchIncident pages for an incident
whose chance is at most --notify-chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.results import write_section
from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.incidents.alarm import Alarm, Cause
from vaewatch.scoring.incidents.chance import RARE
from vaewatch.scoring.incidents.grouping import Group, Rule
from vaewatch.scoring.incidents.rule import GAP

RESULTS = Path(__file__).parent / "RESULTS.md"
BUDGETS = ((0.01, 1_000), (0.01, 13_449), (0.001, 10_000))
RATES = (0.1, 1.0, 10.0)  # records a second
HOUR, COLUMNS, DEPLOYMENTS = 3600 * 10**6, 10, 4
MOST_DAYS, MOST_RECORDS = 30.0, 3e6  # of a deployment


@dataclass(frozen=True)
class Scene:
    """Deployments alike: `rate` records a second."""

    alpha: float
    n: int
    rate: float

    @property
    def days(self) -> float:
        return min(MOST_DAYS, MOST_RECORDS / (self.rate * 86_400))


def chances(scene: Scene, seed: int) -> list[float]:
    """Return the chance of each incident of a deployment."""
    rng = np.random.default_rng(seed)
    law, calibration = RateLaw.of(scene.alpha, scene.n), np.sort(rng.random(scene.n))
    rule = Rule(GAP, True, min(law.mean, 1.0), law.interval()[1])
    true = calibration[math.floor(scene.alpha * (scene.n + 1)) - 1]
    group, found = Group(), list[float]()
    for hour in range(int(scene.days * 24)):
        moments = np.sort(rng.integers(0, HOUR, rng.poisson(scene.rate * 3600))) + hour * HOUR
        odd = moments[rng.random(len(moments)) < true].tolist()
        below = calibration.searchsorted(rng.random(len(odd)) * true)
        p_values = ((1 + below) / (scene.n + 1)).tolist()
        columns = rng.integers(0, COLUMNS, (len(odd), 2)).tolist()
        alarms = [
            Alarm(at, "", -math.log10(p), p, tuple(Cause(f"c{c}") for c in sorted(set(both))))
            for at, p, both in zip(odd, p_values, columns, strict=True)
        ]
        buckets, counts = np.unique(moments // rule.width, return_counts=True)
        group.add(rule, alarms, dict(zip(buckets.tolist(), counts.tolist(), strict=True)))
        ended = [one for one in group.incidents if one.last < (hour + 1) * HOUR - 4 * GAP]
        found += [group.chance(rule, one) for one in ended]
        group.incidents = [one for one in group.incidents if one not in ended]
    return found + [group.chance(rule, one) for one in group.incidents]


def line(scene: Scene) -> str:
    """Return a line of the table."""
    found = np.array([c for seed in range(DEPLOYMENTS) for c in chances(scene, seed)])
    days = DEPLOYMENTS * scene.days
    pages = [int((found <= limit).sum()) for limit in (0.1, RARE)]
    cells = f"{scene.alpha:g} | {scene.n:,} | {scene.rate:g} | {days:.0f}"
    return f"| {cells} | {len(found) / days:.1f} | {pages[0]} | {pages[1]} | {found.min():.2g} |"


def main() -> None:
    """Print the table, and put it into RESULTS.md."""
    head = "| alpha | calibrated on | records a second | days | incidents a day | chance <= 0.1 | "
    head += f"chance <= {RARE:g}: pages | least chance |\n|---|---|---|---|---|---|---|---|"
    lines = [line(Scene(alpha, n, rate)) for alpha, n in BUDGETS for rate in RATES]
    text = "\n".join([head, *lines])
    print(text)
    write_section(RESULTS, "Watching", "Pages of incidents in normal traffic", text)


if __name__ == "__main__":
    main()
