"""Recalibrating where one segment changes: the scenarios of `following --segments`.

Records come from four regions, each with a calibration of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl

from benchmarks.moving import (
    ALPHA,
    DAY,
    EACH,
    FRESH,
    SPAN,
    Draw,
    Service,
    World,
    anomalies,
    serving,
)
from benchmarks.results import spread
from vaewatch.scoring.scorer import Scorer

REGIONS = ("north", "south", "east", "west")
SHARES_OF_REGIONS = (0.4, 0.3, 0.2, 0.1)
LOCAL = ("north", "west")  # the largest region, and the smallest, in which something happens


@dataclass(frozen=True)
class Region:
    """What happens in one region, and what it came to.

    why: the codes of what was refused of the region, or of the whole in brackets.
    own, others: alarm rates of fresh normal records of the region, and of all others, by the first
    calibration and by the one that answers.
    found: anomalies of the region that alarm, alike.
    """

    why: str
    own: tuple[float, float]
    others: tuple[float, float]
    found: tuple[float, float]


def regional(
    draw: Draw, rng: np.random.Generator, n: int, moved: dict[str, float], odd: dict[str, float]
) -> pl.DataFrame:
    """Records of all regions: in some they have moved, in some a share of them are anomalies."""
    counts = rng.multinomial(n, SHARES_OF_REGIONS)
    parts = []
    for region, count in zip(REGIONS, counts.tolist(), strict=True):
        bad = int(rng.binomial(count, odd.get(region, 0.0)))
        rows = draw(rng, count - bad, moved.get(region, 0.0))
        if bad:
            rows = pl.concat([rows, anomalies(draw, rng, bad)])
        parts.append(rows.with_columns(pl.lit(region).alias("region")))
    return pl.concat(parts)


def run_regions(
    world: World,
    service: Service,
    moved: Callable[[float], dict[str, float]],
    odd: Callable[[float], dict[str, float]],
) -> Iterator[float]:
    """Post a day of traffic; yields the time after each request."""
    rng = world.rng
    for at in range(0, DAY, SPAN):
        service.set_clock(at)
        service.score(regional(world.draw, rng, EACH, moved(at), odd(at)).to_dicts())
        yield at
    service.set_clock(DAY)


def drift(
    world: World, service: Service, region: str, odd: Callable[[float], dict[str, float]]
) -> None:
    """Post a day in which one region moves, followed by a proposal every four hours."""
    for at in run_regions(world, service, lambda at: {region: at / DAY}, odd):
        if at and at % (4 * 3600) == 0:
            proposal = service.propose("4h")
            if proposal["state"] == "proposed":
                service.apply(proposal)


def agreed_on(
    world: World, service: Service, proposal: Any, region: str, moved: dict[str, float]
) -> Region:
    """Apply a proposal if it is not refused, and judge what answers in a region and elsewhere."""
    whole = "+".join(sorted(reason["code"] for reason in proposal["refusals"]))
    (line,) = (one for one in proposal["segments"] if one["segment"] == region)
    why = "+".join(sorted(reason["code"] for reason in line["refusals"] if line["kept"]))
    if not whole:
        service.apply(proposal)
    rng, scorer = np.random.default_rng([world.seed, 8]), Scorer.load(world.artifact)
    rows = regional(world.draw, rng, 2 * FRESH, moved, {})
    mine = pl.col("region") == region
    odd = anomalies(world.draw, rng, FRESH).with_columns(pl.lit(region).alias("region"))
    rates = []
    for part in (rows.filter(mine), rows.filter(~mine), odd):
        before = float(scorer.score(part.to_dicts(), explain=0).is_anomaly.mean())
        rates.append((before, fmean(service.score(part.to_dicts()))))
    return Region(f"({whole})" if whole else why, *rates)


def flooding(region: str, share: float, begin: float, at: float) -> dict[str, float]:
    return {region: share} if at >= begin else {}


def nowhere(at: float) -> dict[str, float]:
    return {}


def scenarios(world: World) -> Iterator[tuple[str, Region]]:
    """A drift in one region, floods in one, and both at once in two."""
    for region in LOCAL:
        size = f"{SHARES_OF_REGIONS[REGIONS.index(region)]:.0%} of traffic"
        with serving(world.artifact) as service:
            drift(world, service, region, nowhere)
            found = agreed_on(world, service, service.propose("4h"), region, {region: 1.0})
            yield f"drift over a day in one region, {size}, asked every 4 h for them", found
        for minutes, share in ((120, 0.1), (40, 0.5)):
            begin = DAY - 60 * minutes
            with serving(world.artifact) as service:
                flood = partial(flooding, region, share, begin)
                list(run_regions(world, service, nowhere, flood))
                title = f"flood of {minutes} min at {share:.0%} in one region, {size}"
                proposals = [("only it", service.propose(f"{minutes}m"))]
                proposals.append(("24 h", service.propose("24h")))
                for time, proposal in proposals:
                    yield f"{title}, {time}", agreed_on(world, service, proposal, region, {})
                    if not proposal["refusals"]:
                        service.post(f"/v1/recalibrate/{proposal['id']}/revert", {})
    with serving(world.artifact) as service:
        drift(world, service, "north", partial(flooding, "south", 0.1, DAY - 7200))
        proposal = service.propose("4h")
        for region, title in (("north", "the drift"), ("south", "the flood")):
            found = agreed_on(world, service, proposal, region, {"north": 1.0})
            yield f"both, drift in north and 120 min at 10% in south, every 4 h: {title}", found


def text(found: dict[str, list[Region]], traffic: list[str], seeds: int) -> str:
    head = (
        f"Traffic: {', '.join(traffic)}; {seeds} seeds each, alpha {ALPHA:g}, "
        f"{EACH * DAY // SPAN:,} records a day, from {len(REGIONS)} regions, each with a "
        "calibration of its own. Alarm rates of fresh normal records of the region where it "
        "happens and of all others, and of fresh anomalies of the region, by the first "
        "calibration and by the one in the end; means, and for normal records the range. A code "
        "in brackets: the whole was refused, not the region alone.\n\n"
        "| scenario, and the time asked for | not learned | why | there, first | in the end "
        "| elsewhere, first | in the end | anomalies found, first | in the end |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(_row(name, outcomes) for name, outcomes in found.items())


def _row(name: str, outcomes: list[Region]) -> str:
    refused = [outcome.why for outcome in outcomes if outcome.why]
    rates = [
        spread([pair[i] for pair in pairs])
        for pairs in ([o.own for o in outcomes], [o.others for o in outcomes])
        for i in (0, 1)
    ]
    detected = [f"{fmean(outcome.found[i] for outcome in outcomes):.1%}" for i in (0, 1)]
    count = f"{len(refused)} of {len(outcomes)}"
    cells = [count, ", ".join(sorted(set(refused))), *rates, *detected]
    return f"| {name} | {' | '.join(cells)} |"
