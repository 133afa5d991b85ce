"""A stream replayed at speed: over HTTP as from files, and on to the next artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import call
from tests.live import Live, serving, until
from tests.service.incidents.conftest import incidents, post, wait_for_alarms
from tests.training.test_time import make_orders

Json = dict[str, Any]
ATTACK = range(500, 540)


@pytest.fixture(scope="module")
def attacked() -> pl.DataFrame:
    """Five weeks of orders in order of time, with forty in one hour that cost far too much."""
    frame = make_orders(1000, seed=4, span=35).sort("created_at")
    day = frame["created_at"][500][:10]
    times = frame["created_at"].to_list()
    for i, row in enumerate(ATTACK):
        times[row] = f"{day}T12:{i:02}:00Z"
    amounts = [a + 9000 * (row in ATTACK) for row, a in enumerate(frame["amount"])]
    frame = frame.with_columns(created_at=pl.Series(times), amount=pl.Series(amounts))
    return frame.sort("created_at").with_columns(order=pl.format("w{}", pl.int_range(pl.len())))


def records_of(live: Live) -> dict[str, int]:
    return {one["id"]: one["records"] for one in incidents(live, limit=1000)}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service_makes_the_incidents_of_a_file(
    timed_path: Path, attacked: pl.DataFrame, tmp_path: Path, workers: str
):
    """In all that is shown of them: five weeks pass in a second."""
    attacked.write_csv(tmp_path / "in.csv")
    words = [tmp_path / "in.csv", "--out", tmp_path / "out.csv"]
    done = call("score", timed_path, *words, "--incidents", tmp_path / "i.ndjson")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "i.ndjson").read_text().splitlines()
    wanted = {one["id"]: one for one in map(json.loads, lines)}
    rare = [one for one in wanted.values() if one["chance"] < 1e-6]
    assert len(rare) == 1 and rare[0]["alarms"] >= 40

    records = attacked.to_dicts()
    store = f"sqlite:///{tmp_path}/it.sqlite"
    with serving(timed_path, "--store", store, "--workers", workers) as live:
        for i in range(0, len(records), 20):
            post(live, records[i : i + 20])
        wait_for_alarms(live, sum(one["alarms"] for one in wanted.values()))
        counts = {id: one["records"] for id, one in wanted.items()}
        until(lambda: records_of(live) == counts)  # those of the other worker come later
        found = {one["id"]: one for one in incidents(live, limit=1000)}
    last = max(one["last"] for one in wanted.values())
    for id, one in wanted.items():
        shown = {name: found[id][name] for name in one}
        if workers == "1":
            assert shown == {**one, "ongoing": shown["ongoing"]}
        assert (shown["chance"] < 1e-6) == (one in rare)
        assert shown["ongoing"] is False or shown["last"] == last


def test_what_people_say_of_incidents_goes_into_the_next_artifact(
    timed_path: Path, attacked: pl.DataFrame, tmp_path: Path
):
    """POST /v1/feedback, `vaewatch feedback export`, and --feedback of three commands."""
    store, marks, week = f"sqlite:///{tmp_path}/it.sqlite", tmp_path / "m.csv", tmp_path / "w.csv"
    attacked.write_csv(week)
    with serving(timed_path, "--store", store) as live:
        post(live, attacked.to_dicts())
        alarms = live.value("vaewatch_records_total", verdict="anomaly")
        wait_for_alarms(live, int(alarms))
        ordered = sorted(incidents(live, limit=1000), key=lambda one: float(one["chance"]))
        attack, other, *_ = ordered
        for one, label in ((attack, "confirmed"), (other, "false_alarm")):
            said = live.post("/v1/feedback", json={"incident": one["id"], "label": label})
            assert said.status_code == 200, said.text
        record = {"record": "w0", "label": "confirmed", "reason": 'a "known", one;\nline'}
        assert live.post("/v1/feedback", json=record).status_code == 200
    assert call("feedback", "export", "--store", store, "--out", marks).returncode == 0

    told = ("--feedback", marks)
    done = call("evaluate", timed_path, week, *told)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "of 2 marks are found" in shown and "1 of 1 marks still alarm" in shown
    left = f"2 confirmed ({attack['records'] + 1} records left out), 1 false alarm"
    words = ["--out", tmp_path / "next", "--accept-lost-detection"]
    done = call("recalibrate", timed_path, week, *words, *told)
    assert done.returncode == 0, done.stderr
    assert left in " ".join(done.stdout.split())
    options = ["--id", "order", "--time", "created_at", "--alpha", "0.05", "--steps", "50"]
    done = call("train", week, "--out", tmp_path / "new", *options, *told)
    assert done.returncode == 0, done.stderr
    assert left in " ".join((done.stdout + done.stderr).split())
