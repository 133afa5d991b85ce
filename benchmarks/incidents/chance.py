"""Normal records alone, with p-values of an ideal calibration -> the chances of incidents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.incidents.grouping import Rule
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.rule import Kind, Membership, Rules
from vaewatch.scoring.incidents.stream import Stream
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.verdicts import Verdicts

LIMITS = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0001)
ALARMS = 1500  # that are expected of a seed


def chances(alpha: float, n: int, in_gap: float, columns: int, seed: int) -> list[float]:
    """Return the chance of each incident of normal records, of which so many alarm in a gap."""
    rng = np.random.default_rng(seed)
    gap, records, law = max(int(in_gap / alpha), 1), int(ALARMS / alpha), RateLaw.of(alpha, n)
    calibration = np.sort(rng.random(n))
    p_values = (1 + calibration.searchsorted(rng.random(records))) / (n + 1)
    alarms = p_values <= alpha
    weights = 1 / np.arange(1, columns + 1)
    first = rng.choice(columns, records, p=weights / weights.sum()).tolist()
    second, both = rng.integers(columns, size=records).tolist(), rng.random(records) < 0.5
    reasons: list[tuple[Reason, ...]] = [()] * records
    for row in np.flatnonzero(alarms).tolist():
        names = [first[row], second[row]] if both[row] else [first[row]]
        reasons[row] = tuple(Reason(f"c{name}", 1.0, 0.0, 5.0) for name in names)
    verdicts = Verdicts(p_values, p_values, -np.log10(p_values), alarms, reasons)
    rules = Rules(Kind.ALL, False, Rule(gap, True, law.mean, law.interval()[1]))
    stream = Stream(rules)
    for rows in np.array_split(np.arange(records), 50):
        members = Membership(("",), np.zeros(len(rows), np.int64))
        every = np.ones(len(rows), np.bool_)
        stream.take(JudgedRecords(rows, members, verdicts[rows], every).grouped(rules))
    return [group.chance(rules.rule, one) for group, one in stream.incidents()]


def chance(seeds: int) -> Iterator[str]:
    """Yield the lines of a table."""
    heads = [f"chance <= {limit:g}" for limit in LIMITS]
    yield f"| alpha | calibration | alarms in a gap | columns | incidents | {' | '.join(heads)} |"
    yield "|" + "---|" * (5 + len(LIMITS))
    for alpha, n in ((0.01, 10_000), (0.01, 100_000), (0.001, 100_000)):
        for in_gap in (0.1, 0.3, 1.0, 3.0):
            for columns in (1, 10):
                found = np.array(
                    [c for seed in range(seeds) for c in chances(alpha, n, in_gap, columns, seed)]
                )
                shares = " | ".join(f"{(found <= limit).mean():.3%}" for limit in LIMITS)
                yield f"| {alpha:g} | {n:,} | {in_gap:g} | {columns} | {len(found):,} | {shares} |"
