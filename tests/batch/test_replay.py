"""`vaewatch replay`, against a count made with polars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageColor

from benchmarks.alerts import sliding_sum
from tests.batch.test_score import ROOT, error_of
from tests.conftest import SMALL, call, make_frame
from vaewatch.batch.replay import changed
from vaewatch.batch.replay.alerts import ALERTS, Traffic, bursts
from vaewatch.batch.replay.plot import COLOURS, HEIGHT, PIXELS, WIDTH
from vaewatch.batch.replay.times import read_times
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

START = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)


def replay(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vaewatch", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days; in hours 30 to 33 every fifth amount is absurd; one time is missing."""
    frame = make_frame(3600, seed=3)
    at = pl.Series([START + timedelta(seconds=72 * i) for i in range(len(frame))])
    hour = pl.int_range(pl.len()) // 50
    absurd = hour.is_between(30, 33) & (pl.int_range(pl.len()) % 5 == 0)
    frame = frame.with_columns(
        pl.when(absurd).then(1e6).otherwise("amount").alias("amount"),
        at.dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("at"),
    )
    path = tmp_path_factory.mktemp("timed") / "in.csv"
    lines = frame.write_csv().splitlines()
    lines[7] = lines[7].rsplit(",", 1)[0] + ","
    path.write_text("\n".join([*lines[:1], *reversed(lines[1:]), "ragged"]))
    return path


def test_alarms_are_counted_by_hour_and_day(timed: Path, artifact_path: Path, scorer: Scorer):
    done = replay(artifact_path, timed, "--time", "at", "--alphas", "0.05,0.01", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["records"], found["untimed"], found["rejected"]) == (3599, 1, 1)
    frame = pl.read_csv(timed, truncate_ragged_lines=True, schema_overrides={"at": pl.String})
    frame = frame.filter(pl.col("at").is_not_null() & pl.col("amount").is_not_null())
    p = scorer.score_records(frame.to_dicts()).p_value
    hours = frame.with_columns(pl.col("at").str.slice(0, 13), alarm=pl.Series(p <= 0.05))
    wanted = hours.group_by("at").agg(pl.len(), pl.col("alarm").sum()).sort("at")
    got = [(h["start"][:13], h["records"], h["alarms"][0]) for h in found["hours"]]
    assert got == wanted.rows()
    first = found["alphas"][0]
    assert first["alarms"] == int((p <= 0.05).sum())
    assert first["hourly_most"] == wanted["alarm"].max()
    expected = Expected.at(scorer.artifact.calibration, len(frame), 0.05)
    assert first["expected"] == asdict(expected)
    days = hours.group_by(pl.col("at").str.slice(0, 10)).agg(pl.col("alarm").sum())
    assert first["daily_most"] == days["alarm"].max()


def test_a_burst_is_found_and_reported(
    timed: Path, artifact_path: Path, scorer: Scorer, tmp_path: Path
):
    plot = tmp_path / "plot.svg"
    done = replay(artifact_path, timed, "--time", "at", "--alphas", "0.01", "--plot", plot)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "alpha 0.01" in text
    expected = Expected.at(scorer.artifact.calibration, 3599, 0.01)
    assert f"  by chance   {expected.number}: " in text
    assert "page        never, by VaewatchTooManyAlarmsFast" in text
    assert "by VaewatchTooManyAlarmsSlow; longest: " in text
    assert "min from 2026-03-03 0" in text
    assert "without time  1" in text and "rejected      1" in text
    lines = ElementTree.parse(plot).getroot().iter("{http://www.w3.org/2000/svg}polyline")
    assert [line.get("stroke") for line in lines] == ["#888888", COLOURS[0]]


def test_a_png_shows_what_the_svg_shows(timed: Path, artifact_path: Path, tmp_path: Path):
    asked = ("replay", artifact_path, timed, "--time", "at", "--alphas", "0.05,0.01")
    for ending in ("svg", "png"):
        assert call(*asked, "--plot", tmp_path / f"plot.{ending}").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["plot.png", "plot.svg"]
    image = Image.open(tmp_path / "plot.png").convert("RGB")
    assert image.size == (WIDTH * PIXELS, HEIGHT * PIXELS)
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    points = [str(line.get("points")).split() for line in lines]
    for i, line in enumerate(lines):
        wanted = ImageColor.getrgb(str(line.get("stroke")))
        hidden = {point for later in points[i + 1 :] for point in later}
        own = [point for point in points[i] if point not in hidden]
        assert any(wanted in _colours_near(image, point) for point in own)


def _colours_near(image: Image.Image, point: str) -> list[Any]:
    x, y = (round(float(part) * PIXELS) for part in point.split(","))
    return [c for _, c in image.crop((x - 3, y - 3, x + 4, y + 4)).getcolors() or []]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plot.pdf", "must be a file that ends in .svg or .png, got"),
        ("no/plot.svg", "could not be written: No such file or directory."),
    ],
)
def test_a_plot_that_cannot_be_drawn_is_refused(
    timed: Path, artifact_path: Path, tmp_path: Path, name: str, message: str
):
    done = call("replay", artifact_path, timed, "--time", "at", "--plot", tmp_path / name)
    assert done.returncode and message in done.stderr and not os.listdir(tmp_path)


M = 29_540_070  # the minute in which START is


@pytest.mark.parametrize(
    ("spelled", "minutes"),
    [
        (["2026-03-01T22:30:00Z", None], [M, None]),
        (["2026-03-01 22:30:00", "soon"], [M, None]),
        (["2026-03-01T22:30:59.250"], [M]),
        (["1772404200", ""], [M, None]),
        (["2026-03-02T00:30+02:00", "2026-03-02T00:30:00+02:00"], [M, M]),
        (["2026-03-02 00:30:00.123+02", "2026-03-01 22:30:00+00"], [M, M]),
        (["2026-03-01T22:30Z", "2026-03-01 22:30 UTC", "2026-03-01T19:00-0330"], [M, M, M]),
        (["20260301T223000Z", "20260302T003000+0200", "20260301T2230"], [M, M, M]),
        (["2026-03-01 22:30:00,250", "2026-03-01T22:30:00.250 +00:00"], [M, M]),
        (["2026-03-01", "2026-03-01T22:30"], [M - 22 * 60 - 30, M]),
        ([1772404200.5], [M]),
        ([START.replace(tzinfo=None)], [M]),
        ([1772404200_000, None], [M, None]),
        ([1772404200_000_000], [M]),
        ([1772404200_000_000_000], [M]),
        (["1772404200000", "1772404200"], [M, M]),
        ([0.0, 3600.0, float("nan"), float("inf")], [0, 60, None, None]),
        (["2026/03/01 22:30", "2026-03-01 22:30:00 UTC", "2026-03-01T22:30:00z"], [M, M, M]),
        ([20260301, 20260302], [M - 22 * 60 - 30, M + 90]),
        ([20260301223000, 20260301223000], [M, M]),
        (["3/1/2026 22:30", "03/13/2026 10:30 PM"], [M, M + 12 * 1440]),
        (["1.3.2026 22:30", "13.3.2026"], [M, M + 12 * 1440 - 22 * 60 - 30]),
        (["Sun, 01 Mar 2026 22:30:00 GMT", "Mar 1, 2026 10:30 pm"], [M, M]),
        (["29. März 2026", "Sun, 29 Mar 2026 20:00 CET", "2026-3-32"], [None] * 3),
        ([datetime(9999, 12, 31), datetime(1, 1, 1)], [None, None]),
    ],
)
def test_times_are_read_as_people_write_them(spelled: list[object], minutes: list[int | None]):
    assert read_times(pl.Series("at", spelled)).minutes.to_list() == minutes
    assert int(START.timestamp()) // 60 == M


@pytest.mark.parametrize("seed", range(20))
def test_sparse_bursts_are_those_of_a_walk_through_every_minute(seed: int):
    rng = np.random.default_rng(seed)
    minutes = np.unique(rng.integers(0, 3000, 700))
    records = rng.integers(1, 60, len(minutes)).astype(float)
    alarms = rng.binomial(records.astype(int), rng.choice([0.0, 0.9], len(minutes)) * 0.2)
    alarms = alarms + 40.0 * (rng.random(len(minutes)) < 0.02)
    severe = np.floor(alarms / 2)
    dense = np.zeros((4, 3000 + 400))
    dense[:, minutes] = records, alarms, 0.02 * records, severe
    for alert in ALERTS:
        on = np.zeros(3400, dtype=bool)
        for burst in bursts(alert, minutes, Traffic(records, alarms, 0.02 * records, severe)):
            on[burst.start : burst.end] = True
        np.testing.assert_array_equal(on, alert.on(Traffic(*dense), sliding_sum))
        assert on.any()


def test_an_attack_is_reported_as_a_page(artifact_path: Path, tmp_path: Path):
    frame = make_frame(2000, seed=3)
    at = pl.Series([START + timedelta(seconds=i) for i in range(len(frame))])
    late = pl.int_range(pl.len()) >= 1200
    frame = frame.with_columns(
        pl.when(late).then(1e6).otherwise("amount").alias("amount"),
        at.dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("at"),
    )
    frame.write_csv(tmp_path / "in.csv")
    done = replay(artifact_path, tmp_path / "in.csv", "--time", "at", "--json")
    page = json.loads(done.stdout)["alphas"][0]["alerts"][0]
    assert (page["name"], page["severity"], page["times"]) == (
        "VaewatchTooManyAlarmsFast",
        "page",
        1,
    )
    begin = datetime.fromisoformat(page["longest"]["start"])
    assert timedelta() <= begin - (START + timedelta(seconds=1200)) <= timedelta(minutes=1)


@pytest.mark.parametrize("unit", ["milliseconds", "microseconds", "nanoseconds"])
def test_a_finer_unit_than_seconds_is_recognised_and_named(
    artifact_path: Path, tmp_path: Path, unit: str
):
    step = {"milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}[unit]
    at = pl.Series([(int(START.timestamp()) + 600 * i) * step for i in range(300)])
    make_frame(300, seed=3).with_columns(at=at).write_csv(tmp_path / "in.csv")
    done = call("replay", artifact_path, tmp_path / "in.csv", "--time", "at")
    assert done.returncode == 0, done.stderr
    assert "300 in 51 hours" in done.stdout
    assert "from          2026-03-01 22:30 to 2026-03-04 00:20 UTC" in done.stdout
    assert f"read as {unit} since 1970" in done.stdout
    done = call("replay", artifact_path, tmp_path / "in.csv", "--time", "at", "--json")
    assert json.loads(done.stdout)["time_units"] == [unit]


@pytest.mark.parametrize("unread", [300, 160])
def test_a_file_without_times_is_no_all_clear(artifact_path: Path, tmp_path: Path, unread: int):
    days = [i % 28 + 1 for i in range(300)]
    at = [f"{day}. März" if i < unread else f"2026-03-{day:02}" for i, day in enumerate(days)]
    make_frame(300, seed=3).with_columns(at=pl.Series(at)).write_csv(tmp_path / "in.csv")
    for more in ((), ("--json",)):
        done = call("replay", artifact_path, tmp_path / "in.csv", "--time", "at", *more)
        assert done.returncode == 3 and not done.stdout
        assert f"got {unread} records without such a time, {300 - unread} with one" in done.stderr
        assert "must hold times such as 2026-03-29T20:00:00Z" in done.stderr


def test_dates_whose_order_nothing_tells_are_asked_about(artifact_path: Path, tmp_path: Path):
    at = pl.Series([f"{i % 12 + 1}/3/2026" for i in range(300)])
    make_frame(300, seed=3).with_columns(at=at).write_csv(tmp_path / "in.csv")
    done = call("replay", artifact_path, tmp_path / "in.csv", "--time", "at")
    assert done.returncode == 3 and "may begin with the day or the month" in done.stderr
    assert "write them as 2026-03-29" in done.stderr


def test_a_share_too_thin_for_the_other_alerts_raises_that_on_changed_traffic(tmp_path: Path):
    """Months at a record an hour, one in three absurd: nothing else would ever say so."""
    artifact_path = tmp_path / "it"
    train(make_frame(8000), artifact_path, alpha=0.05, id="order", report=False, **SMALL)
    frame = make_frame(4000, seed=3)
    at = pl.Series([START + timedelta(hours=i) for i in range(len(frame))])
    thin = pl.int_range(pl.len()) % 3 == 0
    frame = frame.with_columns(
        pl.when(thin).then(1e6).otherwise("amount").alias("amount"),
        at.dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("at"),
    )
    frame.write_csv(tmp_path / "in.csv")
    frame.sample(fraction=1, shuffle=True, seed=0).write_csv(tmp_path / "mixed.csv")
    done = call("replay", artifact_path, tmp_path / "in.csv", "--time", "at", "--json")
    found = json.loads(done.stdout)
    alert = found["traffic_changed"]
    assert alert["times"] >= 1 and alert["minutes_on"] > 60 * 24 * 30
    assert not any(alert["times"] for alert in found["alphas"][0]["alerts"])
    done = call("replay", artifact_path, tmp_path / "in.csv", "--time", "at")
    assert "by VaewatchTrafficChanged; longest: " in done.stdout
    done = call("replay", artifact_path, tmp_path / "mixed.csv", "--time", "at")
    assert "VaewatchTrafficChanged needs the records in order of time" in done.stdout


def test_quiet_traffic_does_not_raise_the_alert_on_changed_traffic(
    artifact_path: Path, tmp_path: Path
):
    at = pl.Series([START + timedelta(minutes=i) for i in range(3000)])
    make_frame(3000, seed=8).with_columns(at=at).write_csv(tmp_path / "in.csv")
    done = call("replay", artifact_path, tmp_path / "in.csv", "--time", "at")
    assert "ticket        never, by VaewatchTrafficChanged" in done.stdout, done.stdout


def test_the_alert_on_changed_traffic_is_that_of_the_rules():
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
    text = rules[rules.index(f"alert: {changed.NAME}") :].split("- alert")[0]
    assert f"vaewatch_exchangeability_log10) > {changed.LIMIT:g}\n" in text
    assert f"for: {changed.PENDING}m\n" in text and f"severity: {changed.SEVERITY}\n" in text


def test_what_replay_cannot_do_is_refused(timed: Path, artifact_path: Path):
    done = replay(artifact_path, timed, "--time", "when")
    assert done.returncode == 3 and "--time column 'when' must be in the input" in error_of(done)
    done = replay(artifact_path, timed, "--time", "at", "--alphas", "1e-6")
    assert done.returncode == 3 and "takes at least" in error_of(done)


def test_a_file_whose_times_have_another_form_says_that_its_records_are_rejected(tmp_path: Path):
    hours = pl.int_range(1000, eager=True) * 3600 + 1_700_000_000
    frame = make_frame(1000).with_columns(at=hours)
    train(frame, tmp_path / "timed", id="order", time="at", report=False, **SMALL)
    frame.with_columns(at=pl.lit("2026-03-29T20:00:00Z")).write_csv(tmp_path / "new.csv")
    done = call("replay", tmp_path / "timed", tmp_path / "new.csv")
    assert done.returncode == 3 and "but 1,000 of them were rejected" in done.stderr
    frame.clear().write_csv(tmp_path / "none.csv")
    done = call("replay", tmp_path / "timed", tmp_path / "none.csv")
    assert done.returncode == 3 and "must have records, got none" in done.stderr
