"""Recalibrating on traffic: is a drift followed, and is an attack not? From outside, over HTTP.

    python -m benchmarks.following [--seeds 2] [--traffic orders sensors] [--segments] [--out FILE]

For each kind of traffic an artifact is trained at alpha 0.01 and served by `vaewatch serve`, whose
clock stands still until it is told the time: a day of traffic is posted in minutes. Every span of
ten minutes is one request. At the end of a scenario a proposal is asked for; if it is not refused
it is applied, and new normal records and new anomalies show what has become of the budget and of
detection. With `--segments` the records come from four regions, and what changes does so in one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl

from benchmarks import regions
from benchmarks.moving import (
    ALPHA,
    DAY,
    EACH,
    FIT,
    FRESH,
    SPAN,
    STEPS,
    TRAFFIC,
    Service,
    World,
    anomalies,
    serving,
)
from benchmarks.regions import Region
from benchmarks.results import spread, write_section
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

MINUTES, SHARES = (10, 40, 120), (0.01, 0.1, 0.5)


@dataclass(frozen=True)
class Outcome:
    """What a scenario came to. Rates are those of fresh records after it.

    why: the codes of the refusal; empty if the proposal was applied.
    """

    why: str
    normal: tuple[float, float]  # alarm rate by the old calibration, and by the one that answers
    found: tuple[float, float]  # anomalies that alarm, alike


def run(
    world: World,
    service: Service,
    seconds: float,
    moved: Callable[[float], float],
    attack: Callable[[float], float],
) -> None:
    """Post traffic for so long: `moved` and `attack` say how far normal records have moved at a
    time, and which share of the records are anomalies.
    """
    rng = world.rng
    for at in range(0, int(seconds), SPAN):
        service.set_clock(at)
        odd = int(rng.binomial(EACH, attack(at)))
        rows = world.draw(rng, EACH - odd, moved(at)).to_dicts()
        service.score(rows + (anomalies(world.draw, rng, odd).to_dicts() if odd else []))
    service.set_clock(seconds)


def judge(world: World, service: Service, moved: float, why: str) -> Outcome:
    """Compare the calibration that answers now with the first one on fresh records."""
    rng = np.random.default_rng([world.seed, 8])
    rows = world.draw(rng, FRESH, moved).to_dicts(), anomalies(world.draw, rng, FRESH).to_dicts()
    scorer = Scorer.load(world.artifact)
    before = [float(scorer.score(part, explain=0).is_anomaly.mean()) for part in rows]
    after = [fmean(service.score(part)) for part in rows]
    return Outcome(why, (before[0], after[0]), (before[1], after[1]))


def asked(world: World, service: Service, last: str, moved: float) -> Outcome:
    """Ask for a proposal, apply it if it is not refused, and judge what answers then."""
    return agreed(world, service, service.propose(last), moved)


def agreed(world: World, service: Service, proposal: Any, moved: float) -> Outcome:
    """Apply a proposal if it is not refused, and judge what answers then."""
    why = "+".join(sorted(reason["code"] for reason in proposal["refusals"]))
    if not why:
        service.apply(proposal)
    return judge(world, service, moved, why)


def still(at: float) -> float:
    return 0.0


def drifted(world: World) -> Iterator[tuple[str, Outcome]]:
    """A drift over a day, followed by a proposal every four hours over the last two."""
    rng = world.rng
    with serving(world.artifact) as service:
        for at in range(0, DAY, SPAN):
            service.set_clock(at)
            service.score(world.draw(rng, EACH, at / DAY).to_dicts())
            if at and at % (4 * 3600) == 0:
                proposal = service.propose("2h")
                if proposal["state"] == "proposed":
                    service.apply(proposal)
        service.set_clock(DAY)
        yield (
            "drift over a day, asked every 4 h for the last 2 h",
            asked(world, service, "2h", 1.0),
        )


def changed(world: World) -> Iterator[tuple[str, Outcome]]:
    """Changes that stay or come back, and none."""
    with serving(world.artifact) as service:
        run(world, service, DAY, still, still)
        yield "no change, last 24 h", asked(world, service, "24h", 0.0)
    with serving(world.artifact) as service:
        run(world, service, 6 * 3600, lambda at: 1.0, still)
        yield "all records moved at once, 6 h ago, last 6 h", asked(world, service, "6h", 1.0)
    with serving(world.artifact) as service:
        run(world, service, DAY, lambda at: 1.0 if at > 18 * 3600 else 0.0, still)
        yield "the same, last 24 h", asked(world, service, "24h", 1.0)
    with serving(world.artifact) as service:
        run(world, service, DAY, still, lambda at: 0.005)
        yield "0.5 % anomalies all day, last 24 h", asked(world, service, "24h", 0.0)
    with serving(world.artifact) as service:
        run(world, service, 2 * DAY, lambda at: 0.6, still)
        yield (
            "a weekend of other traffic, asked on Sunday, last 24 h",
            asked(world, service, "24h", 0.6),
        )
        yield "the Monday after, before it is reverted", judge(world, service, 0.0, "")


def mixed(world: World) -> Iterator[tuple[str, Outcome]]:
    """A third of the records is of another kind from some moment on."""

    def both(rng: np.random.Generator, n: int, moved: float) -> pl.DataFrame:
        other = int(0.3 * n)
        return pl.concat([world.draw(rng, n - other, 0.0), world.draw(rng, other, moved)])

    mix = replace(world, draw=both)
    with serving(world.artifact) as service:
        run(mix, service, 6 * 3600, lambda at: 1.0, still)
        yield "30 % of another kind, last 6 h", asked(mix, service, "6h", 1.0)


def flooded(world: World) -> Iterator[tuple[str, Outcome]]:
    """Floods that end when it is asked: over a day that holds one, and over the flood alone."""
    for minutes in MINUTES:
        for share in SHARES:
            yield from _flood(world, minutes, share)


def _flood(world: World, minutes: int, share: float) -> Iterator[tuple[str, Outcome]]:
    begin = DAY - 60 * minutes
    with serving(world.artifact) as service:
        run(world, service, DAY, still, lambda at: share if at >= begin else 0.0)
        proposals = [("only it", service.propose(f"{minutes}m")), ("24 h", service.propose("24h"))]
        for time, proposal in proposals:
            yield (
                f"flood of {minutes} min at {share:.0%}, {time}",
                agreed(world, service, proposal, 0.0),
            )
            if not proposal["refusals"]:
                service.post(f"/v1/recalibrate/{proposal['id']}/revert", {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--traffic", nargs="+", choices=[*TRAFFIC], default=[*TRAFFIC])
    parser.add_argument("--segments", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    if args.segments:
        title, text = (
            "Following segments",
            regions.text(_measure_regions(args), args.traffic, args.seeds),
        )
    else:
        title, text = "Following traffic", _text(_measure(args), args.traffic, args.seeds)
    write_section(args.out, "The alarm budget", title, text)


def _measure(args: argparse.Namespace) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = defaultdict(list)
    for world in _worlds(args):
        for scenarios in (drifted, changed, mixed, flooded):
            for title, outcome in scenarios(world):
                found[title].append(outcome)
                print(world.name, world.seed, title, outcome, file=sys.stderr, flush=True)
    return found


def _measure_regions(args: argparse.Namespace) -> dict[str, list[Region]]:
    found: dict[str, list[Region]] = defaultdict(list)
    for world in _worlds(args):
        for title, outcome in regions.scenarios(world):
            found[title].append(outcome)
            print(world.name, world.seed, title, outcome, file=sys.stderr, flush=True)
    return found


def _worlds(args: argparse.Namespace) -> Iterator[World]:
    """Train an artifact for each kind of traffic, and yield it with each seed."""
    options: dict[str, Any] = {"alpha": ALPHA, "report": False, "steps": STEPS, "members": 4}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.traffic:
            draw, artifact = TRAFFIC[name], Path(folder, name)
            rng = np.random.default_rng(1)
            if args.segments:
                options["segment"] = "region"
                frame = regions.regional(draw, rng, FIT, {}, {})
            else:
                frame = draw(rng, FIT, 0.0)
            train(frame, artifact, served=2, **options)
            for seed in range(args.seeds):
                yield World(name, draw, artifact, seed)


def _text(found: dict[str, list[Outcome]], traffic: list[str], seeds: int) -> str:
    head = (
        f"Traffic: {', '.join(traffic)}; {seeds} seeds each, alpha {ALPHA:g}, "
        f"{EACH * DAY // SPAN:,} records a day. Alarm rates of fresh normal records and of fresh "
        "anomalies, by the first calibration and by the one that answers in the end; means, and "
        "for normal records the range.\n\n"
        "| scenario, and the time asked for | refused | why | normal alarms, first | in the end "
        "| anomalies found, first | in the end |\n|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(_row(name, outcomes) for name, outcomes in found.items())


def _row(name: str, outcomes: list[Outcome]) -> str:
    refused = [outcome for outcome in outcomes if outcome.why]
    codes = sorted({code for outcome in refused for code in outcome.why.split("+")})
    normal = [spread([outcome.normal[i] for outcome in outcomes]) for i in (0, 1)]
    detected = [f"{fmean(outcome.found[i] for outcome in outcomes):.1%}" for i in (0, 1)]
    cells = [f"{len(refused)} of {len(outcomes)}", ", ".join(codes), *normal, *detected]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
