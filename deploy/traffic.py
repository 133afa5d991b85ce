"""CSV files of records -> requests to a service: normal traffic, with an attack now and then.

    python deploy/traffic.py records FOLDER
    python deploy/traffic.py send http://127.0.0.1:8000 FOLDER/new.csv --attack FOLDER/attack.csv

`records` makes orders of a shop: normal.csv to train from, new.csv and recent.csv of the same
source, attack.csv of stolen cards, labelled.csv of both, and last-month.csv, whose orders have a
time. `send` takes any CSV of records that the artifact can score. Standard library and vaewatch's
client only, so that it runs in the image that serves.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

from vaewatch.scoring.errors import ScoringError
from vaewatch.service.client import Client, ServiceError

NORMAL, NEW, ATTACK, RECENT, MONTH = 20_000, 50_000, 5_000, 5_000, 10_000  # records
LABELLED = (1_000, 200)  # normal and stolen ones
FIRST, STEP = datetime(2026, 10, 1), timedelta(minutes=4)  # of the month
COUNTRIES = {"NL": 0.5, "DE": 0.3, "BE": 0.15, "FR": 0.05}
PAYMENTS = {"transfer": 0.55, "card": 0.3, "invoice": 0.15}
ATTACK_SHARE = 0.5  # of the records sent while an attack lasts
PRINT_SECONDS = 60.0
AWAY_SECONDS = 5.0  # before a service that is down is tried again

Record = dict[str, Any]


def order(draw: random.Random, number: int) -> Record:
    """A normal order: expensive ones have more items, and known customers pay by invoice."""
    known = draw.random() < 0.7
    items = 1 + int(draw.expovariate(0.5))
    age = round(draw.gammavariate(2, 300)) if known else draw.randrange(3)
    payment = draw.choices(list(PAYMENTS), list(PAYMENTS.values()))[0]
    return {
        "order": f"o{number}",
        "amount": round(items * draw.lognormvariate(3, 0.4), 2),
        "items": items,
        "account_days": age if draw.random() > 0.02 else "",
        "country": draw.choices(list(COUNTRIES), list(COUNTRIES.values()))[0],
        "payment": payment if known or payment != "invoice" else "card",
        "express": str(draw.random() < 0.1).lower(),
    }


def stolen_card(draw: random.Random, number: int) -> Record:
    """An order of a new account: expensive, few items, express, by card, from anywhere."""
    record = order(draw, number)
    dear = round(draw.lognormvariate(6.5, 0.5), 2)
    changed = {"amount": dear, "items": 1, "account_days": 0, "payment": "card"}
    return {**record, **changed, "country": draw.choice([*COUNTRIES, "XX"]), "express": "true"}


def write_records(folder: Path, seed: int) -> None:
    """The files; the same seed gives the same records."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, size, make in (
        ("normal.csv", NORMAL, order),
        ("new.csv", NEW, order),
        ("attack.csv", ATTACK, stolen_card),
        ("recent.csv", RECENT, order),
    ):
        write(folder / name, [make(draw, number) for number in range(size)])
    good, bad = LABELLED
    rows = [{**order(draw, number), "is_fraud": 0} for number in range(good)]
    rows += [{**stolen_card(draw, good + number), "is_fraud": 1} for number in range(bad)]
    write(folder / "labelled.csv", rows)
    times = ((FIRST + number * STEP).isoformat() for number in range(MONTH))
    month = [{**order(draw, number), "created_at": at} for number, at in enumerate(times)]
    write(folder / "last-month.csv", month)


def write(path: Path, rows: Sequence[Record]) -> None:
    """Write records as CSV, all of them or none."""
    draft = path.with_name(f".{path.name}")
    with draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draft.rename(path)
    say(f"{path}: {len(rows):,} records")


def columns_of(schema: Mapping[str, Any]) -> dict[str, str]:
    """The kinds of the columns that a record names: the time, but not its hour and weekday."""
    named = {c["name"]: c["kind"] for c in schema["columns"] if c["kind"] != "circular"}
    time = schema.get("time")
    return named if time is None else {**named, time["column"]: "time"}


def read_records(path: Path, columns: Mapping[str, str]) -> list[Record]:
    """The columns of the model, as JSON carries them; an empty cell is missing."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not columns.keys() <= rows[0].keys():
        lacking = sorted(columns.keys() - (rows[0].keys() if rows else set()))
        sys.exit(f"error: '{path}' must hold records with the columns {', '.join(lacking)}.")
    return [{name: typed(row[name], kind) for name, kind in columns.items()} for row in rows]


def typed(text: str, kind: str) -> float | str | bool | None:
    if text == "":
        return None
    if kind == "boolean":
        return text.lower() in ("true", "1")
    return float(text) if kind == "numeric" else text


@dataclass(frozen=True)
class Plan:
    """The options of `send`."""

    url: str
    normal: Path
    attack: Path | None
    rate: float  # records a second
    batch: int  # records a request
    every: float  # seconds from attack to attack
    lasting: float  # seconds an attack lasts
    seconds: float  # 0: until a signal
    key_file: Path | None
    seed: int

    def attacks(self, seconds: float) -> bool:
        """Whether an attack is on: at the end of each `every`, for `lasting` seconds."""
        rest = self.every - self.lasting
        return self.attack is not None and seconds % self.every >= rest

    def is_over(self, seconds: float) -> bool:
        return 0 < self.seconds <= seconds


class Traffic:
    """Sends records at a rate, and prints once a minute how many were alarms."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.stop = plan, Event()
        key = plan.key_file.read_text().strip() if plan.key_file else None
        self.client = Client(plan.url, key)
        self.sent = self.alarms = 0

    def run(self) -> None:
        """Until a signal, or for as long as planned."""
        card = self.client.model()
        columns = columns_of(card["schema"])
        began = printed = due = time.monotonic()
        for batch, attack_begins in self._batches(columns, began):
            self._send(batch)
            now = time.monotonic()
            if now - printed >= PRINT_SECONDS or attack_begins:
                self._tell("an attack begins; " if attack_begins else "")
                printed = now
            due = max(due + self.plan.batch / self.plan.rate, now - 1.0)
            if self.plan.is_over(now - began) or self.stop.wait(max(0.0, due - now)):
                break
        self._tell("end; ")

    def _batches(
        self, columns: Mapping[str, str], began: float
    ) -> Iterator[tuple[list[Record], bool]]:
        """Records to send, and whether an attack begins with them."""
        normal = itertools.cycle(read_records(self.plan.normal, columns))
        attack = itertools.cycle(read_records(self.plan.attack or self.plan.normal, columns))
        draw, was_on = random.Random(self.plan.seed), False
        while True:
            on = self.plan.attacks(time.monotonic() - began)
            share = ATTACK_SHARE if on else 0.0
            picks = (draw.random() < share for _ in range(self.plan.batch))
            yield [next(attack if pick else normal) for pick in picks], on and not was_on
            was_on = on

    def _send(self, batch: list[Record]) -> None:
        try:
            verdicts = self.client.score(batch)
        except ServiceError as error:
            say(f"{error} Trying again.")
            self.stop.wait(AWAY_SECONDS)
            return
        self.sent += len(verdicts)
        self.alarms += sum(verdict.is_anomaly for verdict in verdicts)

    def _tell(self, what: str) -> None:
        share = self.alarms / self.sent if self.sent else 0.0
        say(f"{what}{self.sent:,} records sent, {self.alarms:,} alarms ({share:.2%})")


def say(text: str) -> None:
    print(text, flush=True)


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("records", help="make files of records")
    make.add_argument("folder", type=Path)
    make.add_argument("--seed", type=int, default=0)
    send = commands.add_parser("send", help="send records to a service")
    send.add_argument("url")
    send.add_argument("normal", type=Path, help="CSV of records")
    send.add_argument(
        "--attack", type=Path, help="CSV of records that are none of the normal ones"
    )
    send.add_argument("--rate", type=float, default=50.0, help="records a second")
    send.add_argument("--batch", type=int, default=10, help="records a request")
    send.add_argument("--every", type=float, default=900.0, help="seconds from attack to attack")
    send.add_argument("--lasting", type=float, default=60.0, help="seconds an attack lasts")
    send.add_argument("--seconds", type=float, default=0.0, help="0: until a signal")
    send.add_argument("--key-file", type=Path, help="file that holds the service's key")
    send.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main() -> None:
    words = vars(parsed())
    if words.pop("command") == "records":
        write_records(**words)
        return
    try:
        traffic = Traffic(Plan(**words))
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, lambda *_: traffic.stop.set())
        traffic.run()
    except (ScoringError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
