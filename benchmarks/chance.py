"""30 days in which nothing is wrong -> how often the alerts on requests and columns come on.

    python -m benchmarks.chance

Requests are a Poisson stream with a day and a night, each of so many records. Half a percent of
them are slow, fail, or break the schema; of the records half as many hold unseen categories, or
get another verdict from the shadow, as the rules accept. `benchmarks.alerts` has the alarm budget.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.alerts import A_MINUTE, DAY, SCRAPE, increase, times_on
from benchmarks.results import write_section
from vaewatch.scoring.drift import BINS, DriftReference
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code

MONTH, BAD = 30, 0.005  # days; share of requests
RATES = (0.003, 0.03, 0.3, 3.0, 30.0)  # requests a second
SIZES = (1, 100)  # records a request
GONE, GONE_FOR, LEAST_REQUESTS = 15, 5, 20
MUCH, WINDOW, COLUMNS = 0.25, 10_000, 2_000
CATEGORIES, CALIBRATIONS = (9, 29, 99), (99, 300, 1_000, 10_000)


@dataclass(frozen=True)
class Share:
    """An alert on a share: on while more than `factor` of all, and `more`, are bad in a window."""

    name: str
    minutes: int
    factor: float
    more: int
    wait: int = 0

    def times(self, bad: NDArray[np.float64], whole: NDArray[np.float64]) -> int:
        on = increase(bad, self.minutes) > self.factor * increase(whole, self.minutes) + self.more
        return times_on(on, self.wait * A_MINUTE)


ERRORS = Share("VaewatchServerErrors", 5, 0.01, 10)
SLOW = Share("VaewatchSlow", 5, 0.01, 10, 10)
REJECTED = Share("VaewatchMostRecordsRejected", 5, 0.5, 20, 5)
UNSEEN = Share("VaewatchUnseenCategories", 60, 0.05, 20)
SHADOW = Share("VaewatchShadowDisagrees", 60, 4 * 0.01, 20)  # at alpha 0.01


def requests(rate: float, days: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the number of arrivals in each scrape interval."""
    hour = np.arange(days * DAY) / DAY * 2 * np.pi
    return rng.poisson(rate * SCRAPE * (1 + 0.8 * np.sin(hour)))


def times_gone(came: NDArray[np.float64]) -> int:
    """Return where VaewatchNoTraffic is true, from the second day on."""
    seen = increase(came, GONE)
    day, week = seen[:-DAY], np.full(len(seen) - DAY, np.inf)
    week[6 * DAY :] = seen[: -7 * DAY]
    on = (seen[DAY:] == 0) & (day > LEAST_REQUESTS) & (week > LEAST_REQUESTS)
    return times_on(on, GONE_FOR * A_MINUTE)


def pages(rate: float, size: int, seed: int) -> dict[str, int]:
    """Count how often each alert came on in a month of one service."""
    rng = np.random.default_rng(seed)
    came = requests(rate, MONTH, rng)
    bad, whole = rng.binomial(came, BAD).astype(np.float64), came.astype(np.float64)
    return {
        "VaewatchNoTraffic": times_gone(whole),
        ERRORS.name: ERRORS.times(bad, whole),
        SLOW.name: SLOW.times(bad, whole),
        REJECTED.name: REJECTED.times(size * bad, size * whole),
        **{
            rule.name: rule.times(
                rng.binomial(size * came, rule.factor / 2).astype(np.float64), size * whole
            )
            for rule in (UNSEEN, SHADOW)
        },
    }


def drifted(
    categories: int, n: int, columns: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Shares of columns in which nothing has changed that are above MUCH: as they are, and less
    what chance gives.
    """
    column = Column("c", Kind.CATEGORICAL, categories=tuple(map(str, range(categories))))
    share = np.zeros(missing_code(column) + 1)
    share[:categories] = 1 / np.arange(1, categories + 1)
    share /= share.sum()
    nothing = np.zeros((0, BINS - 1))
    found = np.zeros(columns)
    for i in range(columns):
        reference = DriftReference(Schema((column,)), nothing, rng.multinomial(n, share)[None])
        found[i] = reference.psi(rng.multinomial(WINDOW, share)[None])[0]
    return float((found > MUCH).mean()), float(
        (found - reference.psi_by_chance(WINDOW)[0] > MUCH).mean()
    )


def request_table(services: int) -> list[str]:
    lines = []
    for rate in RATES:
        for size in SIZES:
            found = [pages(rate, size, seed) for seed in range(services)]
            if not lines:
                lines += [f"| requests/s | records each | {' | '.join(found[0])} |"]
                lines += ["|---" * (len(found[0]) + 2) + "|"]
            means = (sum(one[name] for one in found) / services for name in found[0])
            lines.append(f"| {rate:g} | {size} | {' | '.join(f'{m:.3f}' for m in means)} |")
    return lines


def column_table() -> list[str]:
    rng = np.random.default_rng(0)
    lines = ["| categories | calibration records | PSI alone | the alert |", "|---|---|---|---|"]
    for categories in CATEGORIES:
        for n in CALIBRATIONS:
            alone, alert = drifted(categories, n, COLUMNS, rng)
            lines.append(f"| {categories} | {n:,} | {alone:.2%} | {alert:.2%} |")
    return lines


REST = """
What chance cannot raise: VaewatchDown, VaewatchReloadRefused, VaewatchModelOld and
VaewatchBatchLate depend on a state, and VaewatchRecordsRejected on records that normal traffic
does not have. VaewatchTrafficChanged is bounded by Ville's inequality: an unchanged stream
passes 10^4 with a probability of at most 1 in 10,000, however long it is watched.
VaewatchOverloaded has the numbers of VaewatchSlow.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    words = parser.parse_args()
    text = [
        f"{words.services} services of each kind, {MONTH} days; times a month that an alert comes "
        f"on while {BAD:.1%} of requests are slow, fail, or break the schema, and of records half "
        "as many hold unseen categories or get another verdict from the shadow as are accepted.",
        "",
        *request_table(words.services),
        "",
        f"Of columns in which nothing has changed ({WINDOW:,} live records), those above {MUCH}:",
        "",
        *column_table(),
        REST,
    ]
    write_section(words.out, "Watching", "Other alerts while nothing is wrong", "\n".join(text))


if __name__ == "__main__":
    main()
