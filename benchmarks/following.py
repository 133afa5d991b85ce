"""Recalibrating on traffic: is a drift followed, and is an attack not? From outside, over HTTP.

    python -m benchmarks.following [--seeds 2] [--traffic orders sensors] [--out FILE]

For each kind of traffic an artifact is trained at alpha 0.01 and served by `vaewatch serve`, whose
clock stands still until it is told the time: a day of traffic is posted in minutes. Every span of
ten minutes is one request. At the end of a scenario a proposal is asked for; if it is not refused
it is applied, and new normal records and new anomalies show what has become of the budget and of
detection.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
import numpy as np
import polars as pl

from benchmarks.results import write_section
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

# the service as the command starts it, but for its clock, which is a file
CLOCKED = """
import sys, time
clock, sys.argv = sys.argv[1], ["vaewatch", *sys.argv[2:]]
time.time = lambda: float(open(clock).read())
from vaewatch.__main__ import main
main()
"""
ALPHA, FIT, STEPS = 0.01, 20_000, 1500
SPAN, DAY, EACH = 600, 86_400, 200  # seconds of a request, of a day; records of a request
FRESH = 6000  # records that show what a recalibration has done
START = 1_800_000_000
MINUTES, SHARES = (10, 40, 120), (0.01, 0.1, 0.5)

Rows = list[dict[str, Any]]
Draw = Callable[
    [np.random.Generator, int, float], pl.DataFrame
]  # of so many records, how far moved


def orders(rng: np.random.Generator, n: int, moved: float) -> pl.DataFrame:
    """Orders of a shop: amounts follow the basket; as they move, everything is dearer."""
    size = rng.normal(size=n) * (1 + 0.3 * moved)
    country = rng.choice(["NL", "DE", "FR", "BE"], n, p=[0.5, 0.3, 0.15, 0.05])
    return pl.DataFrame(
        {
            "amount": np.exp(3.5 + 0.6 * size + 0.15 * rng.normal(size=n) + 0.1 * moved),
            "items": 1 + rng.poisson(np.exp(0.8 + 0.4 * size)),
            "weight": np.exp(0.5 * size + 0.3 * rng.normal(size=n) * (1 + 0.3 * moved)),
            "country": country,
            "express": rng.random(n) < np.where(country == "NL", 0.4, 0.1),
        }
    )


def sensors(rng: np.random.Generator, n: int, moved: float) -> pl.DataFrame:
    """A machine's sensors: six that share two causes; as they move, it wears and they spread."""
    cause = rng.normal(size=(n, 2))
    mix = np.random.default_rng(5).normal(size=(2, 6))
    values = cause @ mix + (0.3 + 0.12 * moved) * rng.normal(size=(n, 6)) + 0.2 * moved
    return pl.DataFrame({f"s{i}": column for i, column in enumerate(values.T)})


def requests(rng: np.random.Generator, n: int, moved: float) -> pl.DataFrame:
    """A web server's log, with heavy tails; as it moves, answers grow and take longer."""
    kind = rng.choice(["page", "image", "search"], n, p=[0.5, 0.4, 0.1])
    sent = np.where(kind == "image", 11.0, 9.0) + (0.8 + 0.15 * moved) * rng.standard_t(6, size=n)
    took = 0.4 * sent + np.where(kind == "search", 2.0, 0.0) + rng.normal(size=n) + 0.3 * moved
    return pl.DataFrame(
        {
            "kind": kind,
            "bytes": np.exp(sent).round(),
            "milliseconds": np.exp(took).round(2),
            "status": rng.choice(["ok", "cached", "missing"], n, p=[0.9, 0.08, 0.02]),
            "hops": rng.poisson(3, n),
        }
    )


TRAFFIC: dict[str, Draw] = {"orders": orders, "sensors": sensors, "requests": requests}


def anomalies(draw: Draw, rng: np.random.Generator, n: int) -> pl.DataFrame:
    """Records whose numbers do not belong together, and are far out in one of them."""
    rows = draw(rng, n, 0.0)
    numeric = [name for name, kind in rows.schema.items() if kind.is_numeric()]
    far = {name: float(rows[name].quantile(0.98) or 0) for name in numeric}
    mixed = rows.with_columns(pl.col(name).shuffle(int(rng.integers(1 << 30))) for name in numeric)
    one = rng.integers(len(numeric), size=n)
    return mixed.with_columns(
        pl.when(pl.Series(one == i))
        .then(far[name] * 2.5 + 2)
        .otherwise(pl.col(name))
        .cast(rows.schema[name])
        .alias(name)
        for i, name in enumerate(numeric)
    )


@dataclass
class Service:
    """A running service with a clock that is set from here."""

    url: str
    clock: Path
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120))

    def set_clock(self, seconds: float) -> None:
        draft = self.clock.with_suffix(".draft")
        draft.write_text(str(START + seconds))
        draft.rename(self.clock)

    def post(self, path: str, body: object) -> Any:
        answer = self.client.post(self.url + path, json=body)
        answer.raise_for_status()
        return answer.json()

    def score(self, rows: Rows) -> list[bool]:
        found = self.post("/v1/score", {"records": rows})["results"]
        self.client.get(f"{self.url}/metrics")  # counts what was kept back, at the present time
        return [result["is_anomaly"] for result in found]

    def propose(self, last: str) -> Any:
        return self.post("/v1/recalibrate", {"last": last})

    def apply(self, proposal: Any) -> None:
        self.post(f"/v1/recalibrate/{proposal['id']}/apply", {})


@contextmanager
def serving(artifact: Path) -> Iterator[Service]:
    """Serve a copy of an artifact, at time 0."""
    with tempfile.TemporaryDirectory() as folder:
        copy, clock = shutil.copytree(artifact, Path(folder, "model")), Path(folder, "clock")
        clock.write_text(str(START))
        words = [str(clock), "serve", str(copy), "--port", "0", "--max-records", "20000"]
        process = subprocess.Popen(
            [sys.executable, "-c", CLOCKED, *words],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "VAEWATCH_DRAIN_SECONDS": "0", "VAEWATCH_LOG_LEVEL": "error"},
        )
        assert process.stderr is not None
        try:
            said = next(line for line in process.stderr if line.startswith("listening on "))
            yield Service(said.split()[-1], clock)
        finally:
            process.terminate()
            process.communicate(timeout=60)


@dataclass(frozen=True)
class World:
    """One kind of traffic, its artifact, and the seed of a run."""

    name: str
    draw: Draw
    artifact: Path
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 7])


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
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    found: dict[str, list[Outcome]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.traffic:
            draw, artifact = TRAFFIC[name], Path(folder, name)
            frame = draw(np.random.default_rng(1), FIT, 0.0)
            train(frame, artifact, alpha=ALPHA, report=False, steps=STEPS, members=4, served=2)
            for seed in range(args.seeds):
                world = World(name, draw, artifact, seed)
                for scenarios in (drifted, changed, mixed, flooded):
                    for title, outcome in scenarios(world):
                        found[title].append(outcome)
                        print(name, seed, title, outcome, file=sys.stderr, flush=True)
    write_section(
        args.out, "The alarm budget", "Following traffic", _text(found, args.traffic, args.seeds)
    )


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
    normal = [_spread([outcome.normal[i] for outcome in outcomes]) for i in (0, 1)]
    detected = [f"{fmean(outcome.found[i] for outcome in outcomes):.1%}" for i in (0, 1)]
    cells = [f"{len(refused)} of {len(outcomes)}", ", ".join(codes), *normal, *detected]
    return f"| {name} | {' | '.join(cells)} |"


def _spread(rates: list[float]) -> str:
    return f"{fmean(rates):.2%} ({min(rates):.2%} to {max(rates):.2%})"


if __name__ == "__main__":
    main()
