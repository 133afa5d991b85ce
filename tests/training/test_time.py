from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from benchmarks.r_tables import r_table
from tests.conftest import SMALL, call
from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.expected import State
from vaewatch.scoring.budget.in_words import rows_of, words
from vaewatch.scoring.errors import ArtifactError, RecordError, SchemaError, SettingError
from vaewatch.scoring.schema import Column, Kind, is_usual
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.time.blocks import Outlook, outlook
from vaewatch.scoring.time.counted import Counted
from vaewatch.scoring.time.form import DAY, NO_TIME, SECOND, Form
from vaewatch.scoring.time.frames import check_moments
from vaewatch.scoring.time.parts import PERIODS, Part
from vaewatch.scoring.time.zone import warn_of_offsets
from vaewatch.training.calibration.rehearsal import play
from vaewatch.training.config import TrainConfig
from vaewatch.training.detector import VAEDetector
from vaewatch.training.pipeline import fit
from vaewatch.training.records.profile import profile_frame
from vaewatch.training.records.time import learn_time, usual_arc
from vaewatch.training.report.sections.time import starts
from vaewatch.training.split.order import held_out_blocks, latest, ranks
from vaewatch.training.split.split import split_later, split_records
from vaewatch.training.train import train
from vaewatch.training.vae.folds import Folds

ALPHA = 0.02


def make_orders(n: int, seed: int = 0, change_at: float = 2.0, span: float = 100) -> pl.DataFrame:
    """Orders of a shop that is busy by day: at night they are few, and small. From `change_at` on,
    a share of the time, one of their numbers is another.
    """
    rng = np.random.default_rng(seed)
    share = np.sort(rng.random(n))
    hour = np.clip(rng.normal(13.5, 2.5, n), 7, 21.9)
    night = rng.random(n) < 0.1
    hour[night] = rng.uniform(0, 5, int(night.sum()))
    amount = np.where(hour < 6, rng.gamma(9, 0.6, n), rng.gamma(9, 20, n))
    weight = rng.normal(size=n) + 3 * (share > change_at)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    at = [
        start + timedelta(days=float(np.floor(s * span)), hours=float(h))
        for s, h in zip(share, hour, strict=True)
    ]
    return pl.DataFrame(
        {
            "order": np.arange(n),
            "created_at": [f"{t:%Y-%m-%dT%H:%M:%SZ}" for t in at],
            "amount": amount.round(2),
            "weight": weight.round(3),
            "half": (weight + rng.normal(0, 0.5, n)).round(3),
            "country": rng.choice(["NL", "DE", "FR"], n),
        }
    )


SETTINGS: dict[str, Any] = {"id": "order", "time": "created_at", "alpha": ALPHA, "steps": 400}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("time") / "orders"
    train(make_orders(4000), path, **SETTINGS)
    return path


def order(hour: str, **values: Any) -> dict[str, Any]:
    record = {"amount": 180.0, "weight": 0.0, "half": 0.0, "country": "NL"}
    return {**record, "created_at": f"2025-03-02T{hour}:00Z", **values}


def test_an_amount_that_is_normal_at_noon_alarms_at_night(orders: Path):
    verdicts = Scorer.load(orders).score(
        [order("12:10"), order("03:10"), order("03:10", amount=5.0)]
    )
    assert verdicts.is_anomaly.tolist() == [False, True, False]
    reasons = {reason.column: reason for reason in verdicts.reasons[1]}
    found = reasons.get("created_at.hour") or reasons["amount"]
    if found.column == "created_at.hour":
        assert re.fullmatch(
            r"created_at.hour: at 03:10 on a Sunday, usually \d\d:\d\d to \d\d:\d\d", str(found)
        )
        assert found.observed == 3.17


def test_a_reason_of_the_calendar_is_said_as_people_say_it(orders: Path):
    scorer = Scorer.load(orders)
    every = [
        str(reason)
        for verdict in scorer.score([order(f"{h:02}:10") for h in range(24)], explain=5)
        for reason in verdict.reasons
    ]
    hours = [text for text in every if text.startswith("created_at.hour")]
    assert any("at 03:10 on a Sunday, usually 0" in text or "23:10" in text for text in hours)


@pytest.mark.parametrize(
    ("part", "usual", "inside", "outside"),
    [
        (Part.HOUR, (8.4, 18.6), (8.0, 12.5, 19.0), (3.17, 19.1, 7.9)),
        (Part.HOUR, (22.5, 3.2), (22.0, 0.0, 4.0), (21.9, 12.0)),
        (Part.WEEKDAY, (0.0, 4.0), (0.0, 4.0), (5.0, 6.0)),
        (Part.HOUR, (3.0, 3.0), (3.0,), (3.1, 2.9)),
    ],
)
def test_a_usual_arc_is_named_only_beside_what_lies_outside(
    part: Part, usual: tuple[float, float], inside: tuple[float, ...], outside: tuple[float, ...]
):
    column = Column("at", Kind.CIRCULAR, period=PERIODS[part], usual=usual)
    assert all(is_usual(column, number) for number in inside)
    assert not any(is_usual(column, number) for number in outside)


def test_the_manifest_holds_the_time_and_its_blocks(orders: Path):
    manifest = Scorer.load(orders).artifact.manifest
    assert manifest.format_version == 3 and manifest.schema.time is not None
    assert [column.name for column in manifest.schema.circular] == [
        "created_at.hour",
        "created_at.weekday",
    ]
    found = manifest.outlook
    assert found is not None and len(found.blocks) == 10 and found.state is not State.ABOVE
    starts = [block.start for block in found.blocks]
    assert starts == sorted(starts) and starts[0] > "2025-03-10"  # the last fold alone


@pytest.mark.parametrize("ending", ["csv", "ndjson", "parquet"])
def test_files_get_the_verdicts_of_python(orders: Path, tmp_path: Path, ending: str):
    frame = make_orders(300, seed=5)
    wanted = Scorer.load(orders).score(frame).score
    source, out = tmp_path / f"in.{ending}", tmp_path / "out.parquet"
    if ending == "csv":
        frame.write_csv(source)
    elif ending == "ndjson":
        frame.write_ndjson(source)
    else:
        moments = pl.col("created_at").str.to_datetime(time_zone="UTC")
        frame.with_columns(moments).write_parquet(source)
    done = call("score", orders, source, "--out", out, "--quiet", "--threads", 1)
    assert done.returncode == 0, done.stderr
    scored = pl.read_parquet(out)
    np.testing.assert_allclose(scored["anomaly_score"].to_numpy(), wanted, rtol=1e-5)
    assert "created_at" in scored.columns and "created_at.hour" not in scored.columns


def test_the_report_the_card_and_the_page_speak_of_time(orders: Path):
    page = (orders / "report.html").read_text()
    assert "Does the budget hold over time?" in page and "created_at.hour" in page
    assert "Not learned: created_at, which says when a record was made." in page
    card = call("inspect", orders).stdout
    assert "created_at, 2025-01-01" in card and "over time" in card


def test_blocks_of_one_day_are_drawn_with_their_hours():
    times = ["2025-03-09T11:20:00Z", "2025-03-09T13:19:00Z", "2025-03-10T00:05:00Z"]
    assert starts(times[1:]) == ["2025-03-09", "2025-03-10"]
    assert starts(times) == ["03-09\n11:20", "03-09\n13:19", "03-10\n00:05"]


def test_a_sample_has_times_that_can_be_scored(orders: Path, tmp_path: Path):
    done = call("sample", orders, "--n", 200, "--out", tmp_path / "drawn.csv")
    assert done.returncode == 0, done.stderr
    drawn = pl.read_csv(tmp_path / "drawn.csv")
    assert "created_at" in drawn.columns and "created_at.hour" not in drawn.columns
    assert Scorer.load(orders).score(drawn).is_anomaly.mean() < 0.5
    hours = drawn["created_at"].str.to_datetime(time_zone="UTC").dt.hour()
    assert hours.is_between(7, 21).mean() > 0.6


def test_evaluate_says_whether_the_budget_holds_in_time(orders: Path, tmp_path: Path):
    frame = make_orders(1500, seed=3, change_at=0.8).with_columns(label=pl.lit(0))
    frame.write_csv(tmp_path / "in.csv")
    done = call("evaluate", orders, tmp_path / "in.csv", "--json")
    found = json.loads(done.stdout)["outlook"]
    assert found["held"] is not None and len(found["blocks"]) == 10
    assert sum(block["records"] for block in found["blocks"]) == 1500
    names = [changed["column"] for changed in found["changed"]]
    assert {"weight", "half"} <= set(names) and "country" not in names
    done = call("evaluate", orders, tmp_path / "in.csv")
    assert "changed most since then: 'weight' (PSI " in done.stdout
    assert "the budget does not hold" in done.stdout and "too many" in done.stdout


def test_replay_takes_the_time_of_the_artifact(orders: Path, tmp_path: Path):
    make_orders(600, seed=3).write_csv(tmp_path / "in.csv")
    done = call("replay", orders, tmp_path / "in.csv")
    assert done.returncode == 0, done.stderr
    assert "600 in" in done.stdout and "over time" in done.stdout


def test_a_file_in_any_order_is_read_by_its_times(orders: Path, tmp_path: Path):
    frame = make_orders(1500, seed=3, change_at=0.8).with_columns(label=pl.lit(0))
    found = []
    for name, one in (("a", frame), ("b", frame.sample(fraction=1.0, shuffle=True, seed=1))):
        one.write_csv(tmp_path / f"{name}.csv")
        done = call("evaluate", orders, tmp_path / f"{name}.csv", "--json")
        found.append(json.loads(done.stdout)["outlook"])
    assert found[0] == found[1]


def test_a_change_is_said_and_recent_records_bring_the_budget_back(tmp_path: Path):
    fit, new = make_orders(6000, seed=1, change_at=0.8), make_orders(3000, seed=2, change_at=-1)
    fit.write_csv(tmp_path / "fit.csv")
    words_of, rates = {}, {}
    for calibrate in ("all", "recent"):
        path = tmp_path / calibrate
        more = ("--id", "order", "--time", "created_at", "--alpha", ALPHA, "--steps", 400)
        more += ("--no-report", "--calibrate", calibrate)
        done = call("train", tmp_path / "fit.csv", "--out", path, *more)
        assert done.returncode == 0, done.stderr
        words_of[calibrate] = done.stdout
        rates[calibrate] = Scorer.load(path).score(new).is_anomaly.mean()
    assert "the budget does not hold" in words_of["all"]
    assert "too many" in words_of["all"] and "--calibrate recent" in words_of["all"]
    assert re.search(r" changed most .*: 'weight' \(PSI [2-9].*\), 'half' ", words_of["all"])
    assert rates["all"] > 2 * ALPHA
    law = Scorer.load(tmp_path / "recent").artifact.calibration.rate_law()
    low, high = law.interval(0.99)
    assert low * 0.7 <= rates["recent"] <= high * 1.3
    assert "the budget does not hold" not in words_of["recent"]
    assert "changed most" not in words_of["recent"]


def test_recalibration_takes_the_latest_records(orders: Path, tmp_path: Path):
    new = make_orders(4000, seed=7, change_at=0.5)
    new.write_csv(tmp_path / "new.csv")
    more = ("--out", tmp_path / "again", "--accept-lost-detection", "--calibrate", "recent")
    done = call("recalibrate", orders, tmp_path / "new.csv", *more)
    assert done.returncode == 0, done.stderr
    changed = make_orders(2000, seed=8, change_at=-1)
    scorer = Scorer.load(tmp_path / "again")
    assert scorer.artifact.calibration.n < 1000
    assert scorer.score(changed).is_anomaly.mean() < 2.5 * ALPHA
    assert "over time" in done.stdout


def test_a_segment_with_few_recent_records_is_pooled_and_what_to_do_is_said(tmp_path: Path):
    def shops(n: int, seed: int) -> pl.DataFrame:
        return make_orders(n, seed).with_columns(shop=pl.int_range(n) % 3)

    settings = {**SMALL, "alpha": ALPHA, "id": "order", "time": "created_at", "segment": "shop"}
    train(shops(3000, 0), tmp_path / "shops", report=False, **settings)
    shops(900, 7).write_csv(tmp_path / "new.csv")
    words = ("recalibrate", tmp_path / "shops", tmp_path / "new.csv", "--out")
    done = call(*words, tmp_path / "a")
    assert done.returncode == 0 and "pooled" not in done.stdout
    done = call(*words, tmp_path / "b", "--calibrate", "recent")
    assert done.returncode == 0 and "own -> pooled" in done.stdout
    assert done.stderr.endswith("Give more of them, or leave out --calibrate recent.\n")


def test_recalibration_on_recent_records_takes_a_time(artifact_path: Path, tmp_path: Path):
    make_orders(100).write_csv(tmp_path / "new.csv")
    more = ("--out", tmp_path / "again", "--calibrate", "recent")
    done = call("recalibrate", artifact_path, tmp_path / "new.csv", *more)
    assert done.returncode != 0


def test_a_fit_with_a_time_can_be_continued(orders: Path, tmp_path: Path):
    old, new = make_orders(4000), make_orders(1500, seed=9)
    scorer = train(
        pl.concat([old, new]), tmp_path / "next", continue_from=orders, steps=60, report=False
    )
    assert scorer.artifact.schema.time is not None
    assert scorer.artifact.manifest.parent_records


@pytest.mark.parametrize("option", [("calibrate", "recent"), ("calendar", "none")])
def test_a_fit_that_continues_has_the_time_of_its_artifact(
    orders: Path, tmp_path: Path, option: tuple[str, str]
):
    pl.concat([make_orders(4000), make_orders(1500, seed=9)]).write_csv(tmp_path / "all.csv")
    words = ("--from", orders, "--out", tmp_path / "next", f"--{option[0]}", option[1])
    done = call("train", tmp_path / "all.csv", *words, "--steps", 60, "--no-report", "--quiet")
    assert done.returncode == 0, done.stderr
    schema = Scorer.load(tmp_path / "next").artifact.schema
    assert schema.time is not None and (schema.circular == ()) is (option[1] == "none")
    wrong = call("train", tmp_path / "all.csv", *words[:-1], "noon", "--overwrite")
    assert wrong.returncode == 2 and option[0] in wrong.stderr


def refused(frame: pl.DataFrame, tmp_path: Path, *options: object) -> str:
    frame.write_csv(tmp_path / "in.csv")
    done = call("train", tmp_path / "in.csv", "--out", tmp_path / "a", *options)
    assert done.returncode in (2, 3) and not (tmp_path / "a").exists(), done.stdout
    assert done.stderr.count("\n") <= 3 and "Traceback" not in done.stderr
    return done.stderr


def test_a_timestamp_that_nobody_named_offers_time(tmp_path: Path):
    said = refused(make_orders(200), tmp_path, "--id", "order")
    assert "--time created_at" in said and "--ignore created_at" in said
    done = call("profile", tmp_path / "in.csv", "--id", "order")
    assert "--time created_at" in done.stdout
    seconds = make_orders(200).with_columns(
        pl.col("created_at").str.to_datetime(time_zone="UTC").dt.epoch("s")
    )
    seconds.write_csv(tmp_path / "seconds.csv")
    done = call("profile", tmp_path / "seconds.csv", "--id", "order")
    assert "--time 'created_at'" in done.stdout
    done = call("profile", tmp_path / "seconds.csv", "--id", "order", "--time", "created_at")
    assert "as seconds since 1970" in done.stdout and "created_at.weekday" in done.stdout


def test_a_time_column_that_is_not_there_is_refused(tmp_path: Path):
    said = refused(make_orders(200), tmp_path, "--time", "created")
    assert "time column 'created' must be in the input" in said and "created_at" in said


def test_an_unknown_zone_is_refused_before_anything_is_read(tmp_path: Path):
    more = ("--time", "created_at", "--time-zone", "Europe/Amsterdm")
    assert "Did you mean 'Europe/Amsterdam'" in refused(make_orders(20), tmp_path, *more)


@pytest.mark.parametrize("option", [("--calendar", "hour"), ("--calibrate", "recent")])
def test_settings_of_a_time_take_one(tmp_path: Path, option: tuple[str, str]):
    said = refused(make_orders(20), tmp_path, *option)
    assert "name its column with --time" in said


def test_an_unknown_part_of_the_calendar_is_refused(tmp_path: Path):
    for wrong in (5, None, [1]):
        with pytest.raises(SettingError, match="setting 'calendar' must be auto, none, or some"):
            TrainConfig(time="created_at", calendar=wrong)  # type: ignore[arg-type]
    said = refused(make_orders(20), tmp_path, "--time", "created_at", "--calendar", "minute")
    assert "must be auto, none, or some of hour, weekday, day" in said


@pytest.mark.parametrize(
    "other",
    [
        "1735689600",
        "01.02.2025 10:00",
        "2025-02-01",
        "2025-02-01T10:00:00",
        "2025-02-30T10:00:00Z",
    ],
)
def test_two_forms_in_one_column_are_refused_with_their_place(tmp_path: Path, other: str):
    frame = make_orders(200)
    times = [*frame["created_at"][:-1], other]
    said = refused(
        frame.with_columns(created_at=pl.Series(times)), tmp_path, "--time", "created_at"
    )
    assert "must be a time as most of it, ISO 8601 with an offset" in said
    assert "1 of 200 records break that (the first is line 201" in said


@pytest.mark.parametrize(
    ("spell", "such"),
    [
        ("%d/%b/%Y:%H:%M:%S +0000", "such as '01/Jan/2025:"),
        ("%B %d, %Y %H:%M", "such as 'January 01, 2025 "),
        ("%Y-%m-%d %H:%M", "ISO 8601, such as 2026-03-29T20:00:00"),
        ("%d.%m.%Y %H:%M", "day first, such as 29/03/2026 20:00"),
    ],
)
def test_what_most_times_are_like_is_told_as_they_are_written(
    tmp_path: Path, spell: str, such: str
):
    frame = make_orders(200)
    moments = frame["created_at"].str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    times = pl.Series([*moments.dt.strftime(spell)[:-1], "2025-02-01"])
    said = refused(frame.with_columns(created_at=times), tmp_path, "--time", "created_at")
    assert f"must be a time as most of it, {such}" in said
    assert "1 of 200 records break that (the first is line 201: '2025-02-01')" in said


def test_rows_of_another_form_are_set_aside(tmp_path: Path):
    frame = make_orders(400)
    times = [*frame["created_at"][:-1], "soon"]
    frame.with_columns(created_at=pl.Series(times)).write_csv(tmp_path / "in.csv")
    more = ("--time", "created_at", "--rejects", tmp_path / "bad.csv", "--alpha", 0.1)
    small = ["--no-report", *(word for k, v in SMALL.items() for word in (f"--{k}", v))]
    done = call("train", tmp_path / "in.csv", "--out", tmp_path / "a", *more, *small)
    assert done.returncode == 0, done.stderr
    assert "must be a time" in (tmp_path / "bad.csv").read_text()


def small(frame: pl.DataFrame, path: Path, **settings: Any) -> Scorer:
    return train(frame, path, **{**SETTINGS, **SMALL, "alpha": 0.1, "report": False, **settings})


@pytest.mark.parametrize("unit", ["seconds", "milliseconds", "microseconds", "nanoseconds"])
def test_epochs_are_read_in_their_unit(tmp_path: Path, unit: str):
    factor = {"seconds": 10**6, "milliseconds": 10**3, "microseconds": 1}.get(unit)
    at = pl.col("created_at").str.to_datetime(time_zone="UTC").dt.epoch("us")
    at = at * 1000 if factor is None else at // factor
    frame = make_orders(300).with_columns(created_at=at)
    for name, one in (("number", frame), ("text", frame.cast({"created_at": pl.String}))):
        time = small(one, tmp_path / name).artifact.schema.time
        assert time is not None and time.form == unit and time.first.startswith("2025-01-01")


def test_the_unit_of_an_epoch_is_said(tmp_path: Path):
    at = pl.col("created_at").str.to_datetime(time_zone="UTC").dt.epoch("ms")
    make_orders(300).with_columns(created_at=at).write_csv(tmp_path / "in.csv")
    words = ["--no-report", *(word for k, v in SMALL.items() for word in (f"--{k}", v))]
    more = ("--time", "created_at", "--alpha", 0.1, *words)
    done = call("train", tmp_path / "in.csv", "--out", tmp_path / "a", *more)
    assert "column 'created_at' is read as milliseconds since 1970" in done.stderr


def test_all_records_at_one_instant_have_no_calendar_and_no_blocks(tmp_path: Path):
    frame = make_orders(400).with_columns(created_at=pl.lit("2025-01-01T10:00:00Z"))
    scorer = small(frame, tmp_path / "a")
    time = scorer.artifact.schema.time
    assert time is not None and time.calendar == () and scorer.artifact.manifest.outlook is None
    with pytest.raises(SchemaError, match="--calendar hour: the hour of column"):
        small(frame, tmp_path / "b", calendar="hour")


@pytest.mark.parametrize("year", ["1970", "2262", "9999"])
def test_times_of_odd_years_are_times(tmp_path: Path, year: str):
    frame = make_orders(300)
    times = [*frame["created_at"][:-1], f"{year}-12-31T23:59:59Z"]
    scorer = small(frame.with_columns(created_at=pl.Series(times)), tmp_path / "a", report=True)
    time = scorer.artifact.schema.time
    assert time is not None and year in time.first + time.last


def test_a_few_days_have_no_weekday_and_dates_no_hour(tmp_path: Path):
    week = small(make_orders(300, span=5), tmp_path / "week").artifact.schema.time
    assert week is not None and week.calendar == ("hour",)
    day = small(make_orders(300, span=1), tmp_path / "day").artifact.schema.time
    assert day is not None and day.calendar == ()
    dates = make_orders(300).with_columns(pl.col("created_at").str.slice(0, 10))
    date = small(dates, tmp_path / "dates").artifact.schema.time
    assert date is not None and date.calendar == ("weekday",)
    chosen = small(make_orders(300), tmp_path / "chosen", calendar="day").artifact.schema
    assert [column.name for column in chosen.circular] == ["created_at.day"]
    none = small(make_orders(300), tmp_path / "none", calendar="none").artifact.schema
    assert none.circular == () and none.time is not None


def test_months_are_times_that_have_no_calendar(tmp_path: Path):
    months = make_orders(600, span=700).with_columns(pl.col("created_at").str.slice(0, 7))
    scorer = small(months, tmp_path / "months")
    time = scorer.artifact.schema.time
    assert time is not None and time.form is Form.MONTH and time.calendar == ()
    first = str(months["created_at"].min())
    assert time.first == f"{first}-01T00:00:00Z"
    record = {"amount": 180.0, "weight": 0.0, "half": 0.0, "country": "NL"}
    assert len(scorer.score([record | {"created_at": first}])) == 1
    with pytest.raises(RecordError, match="must be a time as in the fit data, a month, such as"):
        scorer.score([record | {"created_at": f"{first}-01"}])


@pytest.mark.parametrize(
    ("form", "hours"),
    [
        ("%d.%m.%Y", False),
        ("%m/%d/%Y", False),
        ("%d/%m/%y", False),
        ("%Y/%m/%d %H:%M:%S", True),
        ("%d-%b-%Y", False),
        ("%b %d, %Y %I:%M %p", True),
        ("%a, %d %b %Y %H:%M:%S +0000", True),
        ("%a %b %d %H:%M:%S %Y", True),
        ("%A, %d. %B %Y", False),
        ("%d/%b/%Y:%H:%M:%S +0000", True),
    ],
)
def test_times_as_they_are_written_are_those_of_iso(form: str, hours: bool):
    at = make_orders(300)["created_at"].str.to_datetime(time_zone="UTC").dt.replace_time_zone(None)
    at = at.dt.truncate("1m" if hours else "1d")
    written = pl.Series("at", pd.Series(at.to_pandas()).dt.strftime(form).tolist())
    plain = at.dt.strftime("%Y-%m-%dT%H:%M" if hours else "%Y-%m-%d").alias("at")
    ours, theirs = (learn_time(series, TrainConfig(time="at")) for series in (written, plain))
    found = check_moments(ours, written)
    assert not found.bad.any() and ours.calendar == theirs.calendar
    np.testing.assert_array_equal(found.moments, check_moments(theirs, plain).moments)


def test_records_with_an_offset_are_said_where_the_zone_was_assumed(tmp_path: Path):
    """By files and by single records; not where the zone was named, or no calendar was learned."""
    there = make_orders(400)
    local = there.with_columns(created_at=pl.col("created_at").str.strip_suffix("Z"))
    there.write_csv(tmp_path / "there.csv")
    local.write_csv(tmp_path / "local.csv")
    for name, settings, said in (
        ("assumed", {}, True),
        ("named", {"time_zone": "UTC"}, False),
        ("unlearned", {"calendar": "none"}, False),
    ):
        scorer = small(local, tmp_path / name, **settings)
        time = scorer.artifact.schema.time
        assert time is not None and time.assumed is said
        for file, expected in (("there", said), ("local", False)):
            warn_of_offsets.cache_clear()
            words = tmp_path / name, tmp_path / f"{file}.csv"
            done = call("score", *words, "--out", tmp_path / f"{name}-{file}.csv")
            told = "warning: the times of column 'created_at' have an offset from UTC, and those"
            assert (told in done.stderr) is expected, done.stderr
            replayed = call("replay", *words)
            assert replayed.returncode == 0 and told not in replayed.stderr  # once is enough
    for record, expected in (({**local.row(0, named=True)}, 0), (there.row(0, named=True), 1)):
        warn_of_offsets.cache_clear()
        Scorer.load(tmp_path / "assumed").score([record])
        assert warn_of_offsets.cache_info().currsize == expected


def trends(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "up or down with the time" in text]


def test_numbers_that_go_with_the_time_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Not those that come back, nor constants; and of entities, what goes up in each."""
    n = pl.int_range(pl.len())
    frame = (
        make_orders(400)
        .sort("created_at")
        .with_columns(
            total=n * 3 + 7,
            left=pl.when(n % 50 == 3).then(None).otherwise(-(n // 10)),
            noisy=n + 400 * pl.col("weight").rank() / pl.len(),
            late=(n >= 200).cast(pl.Int64),
            day=n % 100,
            one=pl.lit(5),
        )
    )
    frame = frame.sample(fraction=1.0, shuffle=True, seed=0)
    small(frame, tmp_path / "a", ignore=["half"])
    (said,) = trends(caplog)
    assert said.startswith("columns 'total', 'left' go up or down with the time: later values may")
    assert "--ignore 'total'" in said
    caplog.clear()
    far = [frame.with_columns(total=pl.col("total") + 10**6 * i, who=pl.lit(i)) for i in range(3)]
    words = {"entity": "who", "window": 4, "ignore": ["left", "noisy", "late", "day"]}
    small(pl.concat(far), tmp_path / "b", **words)
    (said,) = trends(caplog)
    assert said.startswith("column 'total' goes up or down with the time")
    odd = pl.when(n % 7 == 0).then(pl.lit("low")).otherwise(n.cast(pl.String))
    frame.with_columns(odd=odd).write_csv(tmp_path / "in.csv")
    done = call("profile", tmp_path / "in.csv", "--time", "created_at", "--id", "order")
    assert "odd: refused" in done.stdout  # what is refused hides no trend of others
    assert "created_at: trend: columns 'total', 'left' go up or down" in done.stdout


@pytest.mark.parametrize(
    ("days", "calendar", "said"), [(24, None, 1), (24, "none", 0), (90, None, 0)]
)
def test_records_of_few_moments_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: int, calendar: str | None, said: int
):
    n = np.arange(1200)
    start = np.datetime64("2025-01-31")
    frame = pl.DataFrame(
        {
            "paid": np.datetime_as_string(start + 15 * (n % days)),
            "hours": np.random.default_rng(0).normal(160, 8, len(n)),
        }
    )
    settings = {} if calendar is None else {"calendar": calendar}
    small(frame, tmp_path / "a", time="paid", id=None, **settings)
    words = [text for text in caplog.messages if "moments: what comes at one" in text]
    assert len(words) == said
    assert all(text.startswith("the 1,200 records are of 24 moments") for text in words)


def test_an_order_that_dates_do_not_tell_is_asked_for(tmp_path: Path):
    frame = make_orders(200, span=10).with_columns(
        pl.col("created_at").str.to_datetime(time_zone="UTC").dt.strftime("%d/%m/%Y %H:%M")
    )
    frame.write_csv(tmp_path / "in.csv")
    said = refused(frame, tmp_path, "--time", "created_at")
    assert "may begin with the day or the month, and none that tells. Say it with" in said
    scorer = small(frame, tmp_path / "a", date_order="day")
    assert scorer.artifact.manifest.training.date_order == "day"
    assert scorer.artifact.schema.time is not None
    assert scorer.artifact.schema.time.first.startswith("2025-01-0")
    small_words = ["--no-report", *(word for k, v in SMALL.items() for word in (f"--{k}", v))]
    words = ("train", tmp_path / "in.csv", "--out", tmp_path / "b", "--time", "created_at")
    done = call(*words, "--date-order", "month", "--alpha", 0.1, "--id", "order", *small_words)
    assert done.returncode == 0, done.stderr
    assert "are read with the month first: 2025-0" in done.stderr
    done = call("train", tmp_path / "in.csv", "--out", tmp_path / "c", "--date-order", "day")
    assert done.returncode == 2 and "'date_order' takes a time" in done.stderr
    replayed = call("replay", tmp_path / "b", tmp_path / "in.csv")
    assert replayed.returncode == 0, replayed.stderr
    assert "a day" in replayed.stdout


def test_an_order_is_not_said_of_dates_that_have_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    scorer = small(make_orders(200, span=10), tmp_path / "a", date_order="day")
    time = scorer.artifact.schema.time
    assert time is not None and time.order is None
    assert not [text for text in caplog.messages if "are read with the" in text]


def test_a_fit_that_continues_reads_dates_in_the_order_of_its_artifact(tmp_path: Path):
    at = pl.col("created_at").str.to_datetime(time_zone="UTC").dt.strftime("%m/%d/%Y %H:%M")
    orders = make_orders(600, span=40).with_columns(at)
    assert small(orders, tmp_path / "a").artifact.schema.time.order == "month"  # type: ignore[union-attr]
    few = make_orders(150, seed=1, span=10).with_columns(at)  # of days that are months, too
    scorer = small(few, tmp_path / "b", continue_from=tmp_path / "a", steps=20)
    time = scorer.artifact.schema.time
    assert time is not None and time.order == "month" and time.last.startswith("2025-01-1")


@pytest.mark.parametrize(("first", "years"), [(1500, True), (2001, True), (2002, False)])
def test_numbers_like_years_are_years(
    tmp_path: Path, first: int, years: bool, caplog: pytest.LogCaptureFixture
):
    numbers = pl.DataFrame({"created_at": range(first, first + 200), "amount": range(200)})
    time = small(numbers, tmp_path / "numbers", id=None).artifact.schema.time
    what = "years, such as 2026.25" if years else "seconds since 1970"
    assert f"column 'created_at' is read as {what}." in caplog.text
    assert time is not None and time.calendar == ()
    assert time.first.startswith(str(first) if years else "1970-")


def test_months_without_data_leave_blocks_of_records(tmp_path: Path):
    frame = make_orders(1000)
    months = frame["created_at"].str.slice(5, 2)
    scorer = small(frame.filter((months != "02").to_list()), tmp_path / "a")
    found = scorer.artifact.manifest.outlook
    assert found is not None and all(block.records > 0 for block in found.blocks)


def test_missing_times_are_missing_where_the_fit_data_lack_them(tmp_path: Path):
    frame = make_orders(600)
    times = [None if i % 10 == 0 else t for i, t in enumerate(frame["created_at"])]
    scorer = small(frame.with_columns(created_at=pl.Series(times)), tmp_path / "a")
    verdicts = scorer.score([order("12:10", created_at=None), order("12:10")])
    assert np.isfinite(verdicts.score).all()
    assert verdicts.score[0] < 10 * verdicts.score[1] + 20


def test_a_column_with_the_name_of_a_part_is_refused(tmp_path: Path):
    frame = make_orders(300).with_columns(pl.lit(1.0).alias("created_at.hour"))
    with pytest.raises(SchemaError, match=r"'created_at.hour' must not be in the input"):
        small(frame, tmp_path / "a")


def test_the_zone_moves_the_hour(tmp_path: Path):
    frame = make_orders(600)
    utc = small(frame, tmp_path / "a").artifact.schema.circular[0].usual
    there = small(frame, tmp_path / "b", time_zone="Asia/Tokyo").artifact.schema.circular[0].usual
    assert utc is not None and there is not None
    assert (there[0] - utc[0]) % 24 == pytest.approx(9, abs=0.01)


def test_the_last_minute_of_a_day_is_not_shown_as_the_first():
    times = [f"2025-01-{d:02}T{t}Z" for d in range(1, 29) for t in ("06:00:00", "23:59:50")]
    frame = pl.DataFrame({"at": times, "amount": np.arange(len(times)) % 7})
    found = {one.name: one.values for one in profile_frame(frame, TrainConfig(time="at"))}
    assert found["at.hour"].startswith("06:00 to 23:59")


def test_a_circle_that_is_full_has_no_usual_arc():
    assert usual_arc(np.linspace(0, 24, 500), 24.0) is None
    assert usual_arc(np.full(20, 3.0), 24.0) == (3.0, 3.0)


def test_too_few_records_cannot_hold_out_the_latest(tmp_path: Path):
    said = refused(make_orders(200), tmp_path, "--time", "created_at", "--calibrate", "recent")
    assert "--calibrate recent takes at least 400 records at alpha 0.01, got 200" in said


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda m: m["schema"]["time"].update(zone="Mars/Olympus"), "time zone of the schema"),
        (lambda m: m["schema"]["time"].update(calendar=["hour"]), "calendar of the schema"),
        (lambda m: m["schema"]["columns"].reverse(), "calendar of the schema"),
        (lambda m: m["schema"]["columns"][-1].update(period=5), "calendar of the schema"),
        (lambda m: m["schema"].pop("time"), "calendar of the schema"),
        (lambda m: m["schema"]["time"].update(form="sundial"), "is damaged"),
        (lambda m: m["schema"]["time"].update(last="\x1b[2J"), "no control characters"),
        (lambda m: m["outlook"].update(blocks=[]), "block of time"),
    ],
)
def test_a_time_that_training_cannot_have_written_is_refused(
    orders: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], object], rule: str
):
    copy = tmp_path / "copy"
    shutil.copytree(orders, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    spoil(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=rule):
        Scorer.load(copy)


# ---- the order of records


def test_ranks_are_a_permutation_by_time():
    times = np.array([5, 3, 3, NO_TIME, 9, 1], np.int64)
    for seed in range(20):
        rank = ranks(times, np.random.default_rng(seed))
        assert sorted(rank) == list(range(6))
        known = [rank[i] for i in (5, 1, 0, 4)]
        assert known == sorted(known)


@pytest.mark.parametrize(("n", "size"), [(1000, 125), (57, 7), (20_000, 2500), (30, 30)])
def test_blocks_that_are_held_out_have_the_size_asked_for(n: int, size: int):
    times = np.arange(n, dtype=np.int64) * DAY // 40
    chosen = held_out_blocks(times, size, np.random.default_rng(1))
    assert chosen.sum() == size
    edges = np.flatnonzero(np.diff(chosen.astype(int)))
    assert len(edges) <= 2 * 20  # few blocks, not single records
    recent = latest(times, size, np.random.default_rng(1))
    assert np.flatnonzero(recent).tolist() == list(range(n - size, n))


def test_records_without_a_time_are_not_the_latest():
    times = np.arange(100, dtype=np.int64)
    times[90:] = NO_TIME
    assert np.flatnonzero(latest(times, 20, np.random.default_rng(0))).tolist() == list(
        range(70, 90)
    )


@pytest.mark.parametrize("calibrate", ["all", "recent"])
def test_the_law_stays_exact_for_exchangeable_records(calibrate: str):
    """The held-out records are chosen by time alone: of n + 1, k alarm on average."""
    config = TrainConfig(alpha=0.05, time="at", calibrate=calibrate)
    rng, rates = np.random.default_rng(0), []
    for seed in range(300):
        times = rng.permutation(800).astype(np.int64) * SECOND
        split = split_records(800, 3, TrainConfig(**{**vars(config), "seed": seed}), times)
        scores = rng.random(800)
        held = np.sort(scores[split.held_out])
        k = int(0.05 * (len(held) + 1))
        rates.append(1 - held[len(held) - k])
    n = len(split.held_out)
    assert len(np.intersect1d(split.fit, split.held_out)) == 0
    mean, spread = k / (n + 1), np.sqrt(k * (n + 1 - k) / (n + 1) ** 2 / (n + 2) / 300)
    assert abs(np.mean(rates) - mean) < 4 * spread


def test_a_split_without_a_time_is_what_it_was():
    split = split_records(800, 3, TrainConfig(alpha=0.05))
    again = split_records(800, 3, TrainConfig(alpha=0.05, threads=2), None)
    assert np.array_equal(split.held_out, again.held_out)
    folds = Folds.draw(100, 8, 4, 3)
    assert np.bincount(folds.of).tolist() == [25] * 4


def test_folds_in_order_are_blocks():
    folds = Folds.in_order(np.arange(103), 8, 4)
    assert (np.diff(folds.of) >= 0).all() and set(folds.of) == {0, 1, 2, 3}
    assert max(np.bincount(folds.of)) - min(np.bincount(folds.of)) <= 1


# ---- the blocks


def test_blocks_hold_all_records_once_and_never_cut_an_instant():
    rng = np.random.default_rng(0)
    times = rng.integers(0, 60, 500) * SECOND * 1000
    found = outlook(Counted.of(times, rng.random(500) < 0.01), [RateLaw.of(0.01, 999)])
    assert found is not None and sum(block.records for block in found.blocks) == 500
    ends = [(block.start, block.end) for block in found.blocks]
    assert all(a[1] < b[0] for a, b in zip(ends, ends[1:], strict=False))


def test_one_instant_is_one_block():
    found = outlook(
        Counted.of(np.zeros(300, np.int64), np.zeros(300, bool)), [RateLaw.of(0.1, 99)]
    )
    assert found is not None and len(found.blocks) == 1 and found.days == 0
    assert words(found)
    assert (
        outlook(Counted.of(np.zeros(0, np.int64), np.zeros(0, bool)), [RateLaw.of(0.1, 9)]) is None
    )


def played(rng: np.random.Generator, shift: float) -> Outlook:
    scores = rng.normal(size=4000)
    scores[3200:] += shift
    times = np.arange(4000, dtype=np.int64) * DAY // 40
    found = play(scores[:3000], scores[3000:], times[3000:], 0.01)
    assert found is not None
    return found


def test_what_does_not_change_holds():
    """Of 200 that do not change, few are said to: the law is that of a calibration on the past."""
    rng = np.random.default_rng(4)
    found = [played(rng, 0.0) for _ in range(200)]
    assert sum(one.broken for one in found) <= 8
    assert sum(one.state is State.ABOVE for one in found) <= 6
    mean = np.mean([one.together.alarms for one in found])
    expected = np.mean([one.together.expected for one in found])
    assert mean == pytest.approx(expected, rel=0.1)


def test_what_changes_is_said_to_and_when():
    rng = np.random.default_rng(5)
    for _ in range(20):
        found = played(rng, 3.0)
        assert found.broken and found.held == pytest.approx(5.0, abs=2.6)  # days after the cut
        assert any("it held for" in text for text in words(found))


@pytest.mark.parametrize(
    ("alarms", "text"),
    [
        (0, "50 days\nfewer alarms came than normal traffic brings: anomalies may be missed\n"),
        (0, "\na calibration of the latest records (--calibrate recent) brings as many as"),
        (30, "the budget does not hold: 30 alarms, about 3.0 expected (0 to 9 by chance) in the"),
        (30, "an alarm in 10 normal records\nit held for 45 days: train again"),
        (300, "nearly all normal records"),
    ],
)
def test_the_words_follow_the_alarms(alarms: int, text: str):
    assert text in said_of(np.arange(1000 - alarms, 1000))


def said_of(alarms: NDArray[np.int64], rate: float = 0.01, n: int = 999) -> str:
    """What is said of 1,000 records of 50 days, of which some alarm."""
    times, flags = np.arange(1000, dtype=np.int64) * DAY // 20, np.zeros(1000, bool)
    flags[alarms] = True
    found = outlook(Counted.of(times, flags), [RateLaw.of(rate, n)])
    assert found is not None
    return "\n".join(words(found))


def test_what_all_blocks_show_counts_although_the_last_ones_show_it_less():
    every = said_of(np.arange(0, 1000, 38))  # 27 alarms, 8 of them in the last blocks
    assert "does not hold: 27 alarms, about 10 expected (1 to 24 by chance) in the last" in every
    again = said_of(np.concatenate([np.arange(40), [999]]))
    assert "was broken for a while, and holds again at the end" in again
    assert "a calibration of the time before broke within 5 days" in again
    holds = said_of(np.arange(50, 1000, 120))
    assert "holds in time: expect 1 to 24 alarms in as many records, if traffic stays" in holds
    assert "look again, or recalibrate, within 50 days, and sooner if traffic changes" in holds
    late = said_of(np.arange(710, 1000, 40), rate=0.02, n=100_000)
    assert "8 alarms, about 20 expected (10 to " in late
    assert "fewer alarms came than normal traffic brings, but lately as many as expected" in late


def test_no_words_say_that_it_held_where_it_did_not():
    """The last blocks alone have too many: a few, and so many together that chance allows them."""
    said = said_of(np.arange(700, 1000, 25))
    assert "the budget does not hold: 12 alarms" in said and "it held for 35 days" in said
    assert "look again" not in said


def test_records_of_less_than_an_hour_advise_nothing_by_the_minute():
    times = np.arange(2000, dtype=np.int64) * 10_000
    found = outlook(Counted.of(times, np.arange(2000) % 100 == 0), [RateLaw.of(0.01, 999)])
    assert found is not None
    assert (
        words(found)[-1] == "these records cover 20 seconds only: look again when there are more"
    )


def test_what_little_evidence_cannot_tell_is_no_promise():
    """Twenty calibration records explain a rate of a fifth as well as one of a twentieth."""
    times = np.arange(1000, dtype=np.int64) * DAY // 20
    found = outlook(Counted.of(times, np.zeros(1000, bool)), [RateLaw.of(0.05, 20)])
    assert found is not None and found.together.high > 4 * found.together.expected
    said = " ".join(words(found))
    assert f"that up to {found.together.high:,} alarms would be chance" in said
    assert "the budget holds as far as can be told" in said
    assert "traffic stays" not in said and said.endswith("look again when there are more records")


def test_four_times_the_alarms_that_chance_may_explain_are_not_called_a_budget_that_holds():
    times, alarms = np.arange(1000, dtype=np.int64) * DAY // 20, np.arange(1000) % 5 == 0
    found = outlook(Counted.of(times, alarms), [RateLaw.of(0.05, 20)])
    assert found is not None and found.state is State.WITHIN
    assert found.together.alarms > 4 * found.together.expected
    assert "whether the budget holds cannot be told: so few or so like" in "\n".join(words(found))


def test_blocks_of_less_than_a_minute_show_how_they_differ():
    times = np.arange(2000, dtype=np.int64) * 10_000  # 100 a second
    found = outlook(Counted.of(times, np.zeros(2000, bool)), [RateLaw.of(0.01, 999)])
    assert found is not None
    rows = rows_of(found)
    assert len({row[0] for row in rows}) == len(rows) > 1
    assert all(row[0] < row[1] for row in rows)


def robust(odd: NDArray[np.bool_]) -> tuple[int, Outlook]:
    """Fit robustly to orders of which some weigh too much; return how many are trimmed, and what
    the last fold of time shows.
    """
    weight = pl.Series(odd * np.random.default_rng(3).uniform(20, 40, len(odd)))
    frame = make_orders(len(odd)).with_columns(weight=pl.col("weight") + weight)
    config = TrainConfig(
        **SMALL, alpha=ALPHA, id="order", time="created_at", contamination_robust=True
    )
    learned = fit(frame, config)
    assert learned.outlook is not None
    return len(learned.split.trimmed), learned.outlook


def test_suspects_are_played_through_as_well():
    """They are like some of the records that calibrate. Without them the past would have none of
    its highest scores, and the last fold of a source that stays had three times too many alarms.
    """
    n = 3000
    often = np.random.default_rng(2).random(n) < 3 * ALPHA
    trimmed, found = robust(often)
    assert trimmed > ALPHA * n
    assert found.together.low <= found.together.alarms <= found.together.high
    at_the_end = (np.random.default_rng(2).random(n) < 5 * ALPHA) & (np.arange(n) > 0.9 * n)
    trimmed, found = robust(at_the_end)
    assert trimmed and found.lately.alarms > found.lately.high


def test_places_in_time_have_the_folds_of_the_records_there():
    folds = Folds.in_order(np.arange(100)[::-1].copy(), 8, 4)
    assert folds.at(np.array([0.0, 0.26, 0.74, 0.99, 1.0])).tolist() == [0, 1, 2, 3, 3]


# ---- real times


def test_a_match_at_an_hour_that_no_match_has_alarms(tmp_path: Path):
    """The German football league, from 1963 on: Saturdays in the afternoon, months without."""
    frame = r_table("Bundesliga").drop("Year", "Round")
    scorer = train(frame, tmp_path / "a", time="Date", alpha=0.01, steps=300, report=False)
    schema = scorer.artifact.schema
    assert schema.time is not None and schema.time.form == "local"
    assert schema.time.first.startswith("1963-08-24") and len(schema.circular) == 2
    usual = frame.tail(1).to_dicts()[0]
    odd = {**usual, "Date": "2005-03-01 03:10:00"}  # a Tuesday
    verdicts = scorer.score([odd], explain=4)
    assert verdicts.is_anomaly.all()
    words = [str(reason) for reason in verdicts.reasons[0]]
    assert any("Date.hour: at 03:10 on a Tuesday" in text for text in words)
    assert scorer.artifact.manifest.outlook is not None


def test_epochs_that_are_texts_in_ndjson_are_times(tmp_path: Path):
    seconds = pl.col("created_at").str.to_datetime(time_zone="UTC").dt.epoch("s").cast(pl.String)
    make_orders(300).with_columns(created_at=seconds).write_ndjson(tmp_path / "in.ndjson")
    settings = {**SETTINGS, **SMALL, "alpha": 0.1, "report": False}
    time = train(tmp_path / "in.ndjson", tmp_path / "a", **settings).artifact.schema.time
    assert time is not None and time.form == "seconds"


def test_a_later_fit_holds_out_the_latest_of_the_new_records():
    known = np.arange(1000) < 600
    times = np.arange(1000, dtype=np.int64) * SECOND
    config = TrainConfig(alpha=0.05, time="at", calibrate="recent")
    split = split_later(known, config, times)
    size = len(split.held_out)
    assert split.held_out.tolist() == list(range(1000 - size, 1000))
    blocks = split_later(known, TrainConfig(alpha=0.05, time="at"), times)
    assert len(blocks.held_out) == size and blocks.held_out.min() >= 600


def test_the_detector_takes_a_time_of_pandas():
    frame = make_orders(1500).to_pandas()
    moments = pd.to_datetime(frame.created_at, utc=True, format="ISO8601")
    frame["created_at"] = moments.dt.tz_convert("Europe/Amsterdam")
    small = {"steps": 40, "members": 4, "served": 2, "width": 16, "alpha": 0.05}
    detector = VAEDetector(time="created_at", time_zone="Europe/Amsterdam", **small).fit(frame)
    time = detector.artifact_.schema.time
    assert time is not None and time.zone == "Europe/Amsterdam"
    assert "created_at.hour" in detector.artifact_.schema.names
    assert (detector.predict(frame) == -1).mean() < 0.1
    assert clone(detector).get_params()["time"] == "created_at"


def test_a_fit_is_continued_with_the_time_it_had(orders: Path, tmp_path: Path):
    other = make_orders(500).rename({"created_at": "at"})
    with pytest.raises(SchemaError, match="time must be .* continued, 'created_at', got 'at'"):
        train(other, tmp_path / "next", continue_from=orders, time="at")
