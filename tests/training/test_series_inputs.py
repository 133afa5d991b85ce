"""`vaewatch train --window`: records that have no place in a series, and odd settings."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import Done, call
from tests.training.telemetry import QUICK, TIMED, WORDS, series, shifted
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.train import train

ROWS = pl.int_range(pl.len())
HALF = ROWS >= 450


def fit(folder: Path, frame: pl.DataFrame, *words: object) -> Done:
    frame.write_csv(folder / "fit.csv")
    own = words if "--window" in words else ("--window", 8, *words)
    out = ("--out", folder / "art", "--overwrite", "--alpha", 0.05)
    timed = TIMED[:-2] if "--entity" in words else TIMED
    return call("train", folder / "fit.csv", *timed, *WORDS, "--no-report", *out, *own)


def test_a_record_without_a_time_is_refused_by_its_line(tmp_path: Path):
    frame = series().with_columns(pl.when(ROWS == 5).then(None).otherwise("ts").alias("ts"))
    done = fit(tmp_path, frame)
    assert done.returncode == 3
    assert (
        "column 'ts' must hold a time in each record, by which windows are in order, but 1 of 900 "
        "records break that (the first is line 7)." in done.stderr
    )


def test_records_without_a_time_or_a_name_are_set_aside(tmp_path: Path):
    frame = series().with_columns(
        pl.when(ROWS == 5).then(None).otherwise("ts").alias("ts"),
        pl.when(ROWS == 7).then(pl.lit("")).otherwise("machine").alias("machine"),
    )
    done = fit(tmp_path, frame, "--rejects", tmp_path / "rejects.csv")
    assert done.returncode == 0, done.stderr
    rejects = pl.read_csv(tmp_path / "rejects.csv")
    assert rejects["line"].to_list() == [7, 9]
    assert rejects["column"].to_list() == ["ts", "machine"]


@pytest.mark.parametrize("name", ["", "q" * 10_000], ids=["nothing", "10 kB"])
def test_a_record_without_a_name_of_its_entity_is_refused_by_its_line(tmp_path: Path, name: str):
    own = pl.when(ROWS == 5).then(pl.lit(name)).otherwise("machine").alias("machine")
    done = fit(tmp_path, series().with_columns(own))
    assert done.returncode == 3
    assert (
        "column 'machine' must name the entity of each record, in at most 1,000 characters, but 1 "
        "of 900 records break that (the first is line 7)." in done.stderr
    )


def test_times_of_two_formats_are_refused(tmp_path: Path):
    other = pl.col("ts").str.to_datetime().dt.strftime("%d/%m/%Y %H:%M:%S")
    frame = series().with_columns(pl.when(ROWS == 5).then(other).otherwise("ts").alias("ts"))
    done = fit(tmp_path, frame)
    assert done.returncode == 3
    assert (
        "1 of 900 records break that (the first is line 7: '01/01/2026 00:00:10')" in done.stderr
    )


def test_offsets_may_differ_but_some_times_may_not_lack_one(tmp_path: Path):
    """00:00Z and 02:00+02:00 are one moment."""
    zones = pl.when(ROWS % 2 == 0).then(pl.col("ts") + "Z").otherwise(pl.col("ts") + "+00:00")
    done = fit(tmp_path, series().with_columns(zones.alias("ts")))
    assert done.returncode == 0 and "0 sorted into time order" in done.stdout
    some = pl.when(ROWS == 5).then("ts").otherwise(pl.col("ts") + "Z").alias("ts")
    done = fit(tmp_path, series().with_columns(some))
    assert done.returncode == 3 and "ISO 8601 with an offset" in done.stderr


def test_a_clock_that_steps_back_is_put_in_order_and_counted(tmp_path: Path):
    done = fit(tmp_path, shifted(series(), HALF, timedelta(seconds=-305)))
    assert done.returncode == 0, done.stderr
    assert "0 records with a repeated time left out, 90 sorted into time order" in done.stdout


def test_repeated_times_are_left_out_and_counted(tmp_path: Path):
    frame = series()
    done = fit(tmp_path, pl.concat([frame, frame[:30]]))
    assert "30 records with a repeated time left out, 30 sorted" in done.stdout


def test_a_forgotten_entity_is_warned_of(tmp_path: Path):
    series().write_csv(tmp_path / "fit.csv")
    words = ("--time", "ts", "--window", 8, "--ignore", "machine", "--alpha", 0.05)
    done = call(
        "train", tmp_path / "fit.csv", *words, *WORDS, "--no-report", "--out", tmp_path / "art"
    )
    assert "600 of 900 records have a time that came before, and are left out" in done.stderr
    assert "name the column that says of which with --entity" in done.stderr


def test_an_entity_with_fewer_records_than_a_window_is_not_learned(tmp_path: Path):
    frame = series()
    done = fit(tmp_path, frame.filter((pl.col("machine") != "m2") | (ROWS < 20)))
    assert done.returncode == 0, done.stderr
    assert "3 entities, by column 'machine'; 1 of them too short for a window" in done.stdout


def test_a_window_longer_than_every_entity_is_refused(tmp_path: Path):
    done = fit(tmp_path, series(), "--window", 301)
    assert done.returncode == 3
    assert (
        "a window of 301 records must fit into the records of an entity without a pause of more "
        "than 100s, but the longest stretch has 300. Use a smaller --window, or a longer --gap."
        in done.stderr
    )


def test_pauses_that_leave_no_full_window_are_counted(tmp_path: Path):
    paused = series().filter(ROWS.over("machine") % 60 < 50)  # 110 s each time
    done = fit(tmp_path, paused, "--window", 64, "--gap", "60s")
    assert done.returncode == 3
    assert "but the longest stretch has 50. Use a smaller --window" in done.stderr


def test_reading_many_entities_of_one_record_grows_no_faster_than_they_do(tmp_path: Path):
    def work(n: int) -> float:
        """Read and refuse n of them, and fit beside them; returns the processor's time."""
        once = series(n // 100, 100).with_columns(machine=pl.format("once-{}", ROWS))
        started = time.process_time()
        alone = fit(tmp_path, once)
        assert alone.returncode == 3
        assert "column 'ts' has no two different times of one entity" in alone.stderr
        done = fit(tmp_path, pl.concat([series(), once]), "--overwrite")
        assert done.returncode == 0, done.stderr
        counted = f"{n + 3:,} entities, by column 'machine'; {n:,} of them too short"
        assert counted in done.stdout
        return time.process_time() - started

    assert work(100_000) < 8 * work(25_000)  # 16 times, if each were compared with each


@pytest.mark.parametrize("unit", ["ms", "seconds"])
def test_records_of_less_than_a_second_are_a_series(tmp_path: Path, unit: str):
    frame = series(machines=1).with_columns(at=pl.int_range(pl.len()) * 100 + 1_767_225_600_000)
    moments = pl.col("at") if unit == "ms" else pl.col("at") / 1000
    frame.with_columns(ts=moments).drop("at").write_csv(tmp_path / "fast.csv")
    words = ("--time", "ts", "--window", 8, "--alpha", 0.05, *WORDS, "--out", tmp_path / "art")
    done = call("train", tmp_path / "fast.csv", *words, "--no-report")
    assert done.returncode == 0, done.stderr
    assert "800ms at the usual step of 100ms" in done.stdout


def test_a_gap_of_a_year_begins_windows_anew(tmp_path: Path):
    done = fit(tmp_path, shifted(series(), HALF, timedelta(days=365)))
    assert done.returncode == 0, done.stderr
    assert "after a pause of more than 100s it begins anew, 3 times here" in done.stdout
    series_found = read_manifest(tmp_path / "art").series
    assert series_found is not None and series_found.windows == 3 * (300 - 2 * 7)


def test_records_of_one_instant_are_no_series(tmp_path: Path):
    done = fit(tmp_path, series().with_columns(ts=pl.lit("2026-01-01T00:00:00")))
    assert done.returncode == 3
    assert "a window takes records that follow one another" in done.stderr


def test_missing_values_for_longer_than_a_window_are_learned(tmp_path: Path):
    gone = pl.when(ROWS.is_between(200, 400)).then(None).otherwise("pressure").alias("pressure")
    frame = series().with_columns(gone)
    done = fit(tmp_path, frame)
    assert done.returncode == 0, done.stderr
    scores = Scorer.load(tmp_path / "art").score(frame)
    assert np.isfinite(scores.score[scores.judged]).all()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--window", 0), "setting 'window' must be at least 1, got 0."),
        (("--window", "abc"), "setting 'window' must be auto or a number of records, got 'abc'."),
        (("--window", 2000), "setting 'window' must be at most 1024, got 2000."),
        (("--gap", "soon"), "setting 'gap' must be a span of time such as 90s, 5m, 2h or 1d"),
        (("--gap", "0s"), "setting 'gap' must be a span of time"),
        (("--incidents-per-day", 0), "setting 'incidents_per_day' must be finite and above 0"),
        (("--incidents-per-day", -1), "setting 'incidents_per_day' must be finite and above 0"),
        (("--id", "machine"), "'machine' is that of setting 'id'"),
        (("--label", "machine"), "'machine' is that of setting 'label'"),
        (("--entity", "ts"), "'ts' is that of setting 'time'"),
        (("--entity", "machin"), "Did you mean 'machine'?"),
        (("--segment", "flow"), "or train an artifact for each value on its own records."),
        (("--calibrate", "recent"), "use vaewatch recalibrate on the latest records."),
        (("--contamination-robust",), "Take the times of known faults out of the input."),
        (("--neighbours", 9), "'neighbours' cannot be used with a window: how many"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(
    tmp_path: Path, words: tuple[object, ...], text: str
):
    done = fit(tmp_path, series(), *words)
    assert done.returncode in (2, 3) and text in done.stderr


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"entity": "machine"},
            "setting 'entity' takes a time, by which records are in order: name its column with "
            "--time, or pass --window 1 to judge each record by itself, or --calibrate entities "
            "to do so and keep the budget for entities that the fit never saw.",
        ),
        (
            {"window": "auto"},
            "setting 'window' takes a time, by which records are in order: name its column with "
            "--time.",
        ),
    ],
)
def test_what_lacks_a_time_is_named_as_it_was_given(settings: dict[str, Any], text: str):
    with pytest.raises(SettingError, match=f"^{re.escape(text)}$"):
        TrainConfig(**settings)


def test_fewer_incidents_than_the_records_can_show_are_refused(tmp_path: Path):
    done = fit(tmp_path, series(), "--incidents-per-day", 0.001)
    assert done.returncode != 0
    assert (
        "--incidents-per-day 0.001 takes 2,000 entity-days of normal records, in which 2 "
        "false incidents would be expected, got 0.102." in done.stderr
    )


def test_a_window_of_one_record_is_today_s_model(tmp_path: Path):
    """The entity is carried, not learned."""
    frame = series()
    rest = {"time": "ts", "alpha": 0.05, "report": False, **QUICK}
    alone = train(frame, tmp_path / "a", ignore=("machine",), **rest).score(frame)
    one = train(frame, tmp_path / "b", entity="machine", window=1, **rest).score(frame)
    assert one.history is None
    np.testing.assert_array_equal(one.score, alone.score)


def test_of_more_records_than_asked_for_the_newest_are_read(tmp_path: Path):
    done = fit(tmp_path, series(), "--max-records", 600)
    assert "600 of 900 records" in done.stdout, done.stderr
    time_found = read_manifest(tmp_path / "art").schema.time
    assert time_found is not None


def test_all_records_are_read_unless_a_number_is_given_be_it_the_usual_one(tmp_path: Path):
    """A sample of single records, of which 250,000 are read, would tear windows."""
    assert TrainConfig().max_records == 250_000 == TrainConfig(time="ts").max_records
    timed = {"time": "ts", "entity": "machine"}
    assert TrainConfig(**timed).max_records is None
    assert TrainConfig(**timed, window=1).max_records == 250_000
    assert TrainConfig(**timed, max_records=250_000).max_records == 250_000
    assert fit(tmp_path, series()).returncode == 0
    assert read_manifest(tmp_path / "art").training.max_records is None


def test_a_fit_of_windows_is_not_continued(tmp_path: Path):
    assert fit(tmp_path, series()).returncode == 0
    words = ("--from", tmp_path / "art", "--out", tmp_path / "next")
    done = call("train", tmp_path / "fit.csv", *words)
    assert done.returncode == 2
    assert (
        "--from continues a fit of single records, but 'art' judges windows: train on old and new "
        "records without --from." in done.stderr
    )


@pytest.mark.parametrize(
    ("asked", "least"), [(("--alpha", 0.002), 499), (("--incidents-per-day", 80), 216)]
)
def test_as_many_windows_calibrate_as_what_is_asked_for_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[object, ...], least: int
):
    """Of a smaller share, which is enough for larger alphas, the fit would end in a refusal."""
    monkeypatch.setattr("vaewatch.training.series.fit.JUDGED", 100)
    done = fit(tmp_path, series(), *asked)
    assert done.returncode == 0, done.stderr
    assert least <= read_manifest(tmp_path / "art").calibration.n < 879  # of all windows
    assert fit(tmp_path, series(), "--alpha", 0.1).returncode == 0
    assert read_manifest(tmp_path / "art").calibration.n < 200
