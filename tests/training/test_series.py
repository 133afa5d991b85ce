"""What training does with windows, beside the fit: what it says, reports, draws and renews."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import vaewatch
from tests.conftest import Done, call
from tests.training.telemetry import QUICK, TIMED, WORDS, series
from vaewatch.scoring.artifact import DIRECTIONS, NETWORK, WEIGHTS
from vaewatch.scoring.budget.calibration import block_law
from vaewatch.scoring.budget.in_words import days
from vaewatch.scoring.budget.windows import days_for_precision
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.promise import independent_blocks
from vaewatch.scoring.time.spans import span_text

SIZE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    series().write_csv(folder / "fit.csv")
    series(seed=1, start="2026-02-01").write_csv(folder / "new.csv")
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> Done:
    """Leaves `folder / "art"`."""
    words = ("--window", SIZE, "--alpha", 0.05, "--out", folder / "art")
    return call("train", folder / "fit.csv", *TIMED, *WORDS, *words)


@pytest.fixture(scope="module")
def renewed(folder: Path, trained: Done) -> Done:
    """Leaves `folder / "art-2"`."""
    return call("recalibrate", folder / "art", folder / "new.csv", "--out", folder / "art-2")


def facts(text: str) -> dict[str, str]:
    """Return the first line of each fact."""
    rows = [line.split(None, 1) for line in text.splitlines() if line and line[0] != " "]
    return {row[0]: row[1] for row in rows if len(row) > 1}


def test_train_says_what_a_window_is(trained: Done, folder: Path):
    assert trained.returncode == 0, trained.stderr
    said = facts(trained.stdout)
    assert said["window"] == "8 records (as asked), 80s at the usual step of 10s"
    assert said["series"] == "3 entities, by column 'machine'; none too short"
    assert said["incidents"].startswith("false ones per entity and day, counted on 0.102 entity-")
    assert said["p-value"].startswith("the share of normal records that score at least as high")
    manifest = read_manifest(folder / "art")
    assert manifest.series is not None
    blocks = manifest.series.blocks
    assert f"worth {blocks:,} independent blocks: the true rate lies between" in trained.stdout


def test_what_narrows_the_interval_is_said_in_days(trained: Done, folder: Path):
    """Records that are worth so many blocks, a record of each of 3 machines every 10 seconds."""
    manifest = read_manifest(folder / "art")
    assert manifest.series is not None and manifest.window is not None
    alike = manifest.calibration.n / manifest.series.blocks
    long = 1825 * alike * 10 / 86_400 / 3  # 1825: 1.96 ** 2 * 0.95 / (0.05 * 0.2 ** 2), rounded up
    assert f"within 20% of 0.05 takes {days(long)} of these 3 entities" in trained.stdout
    assert "calibration records\n" not in trained.stdout
    absurd = replace(manifest.calibration, records_for_20_percent=10**9)
    assert days_for_precision(absurd, manifest.series, manifest.window) is None


def test_the_interval_of_the_rate_is_that_of_the_blocks(trained: Done, folder: Path):
    scorer = Scorer.load(folder / "art")
    manifest = scorer.artifact.manifest
    assert manifest.series is not None and manifest.series.blocks < manifest.calibration.n
    low, high = block_law(scorer.artifact.calibration, 0.05, manifest.series.blocks).interval()
    assert manifest.calibration.rate_interval_95 == (low, high)
    row = next(line for line in trained.stdout.splitlines() if "asked for" in line[20:])
    assert f"{low:.2g} to {high:.2g}" in row
    assert f"{manifest.series.incidents_per_day['0.05']:.3g}" in row


def test_train_and_inspect_say_whether_the_budget_holds_over_time(trained: Done, folder: Path):
    outlook = read_manifest(folder / "art").outlook
    assert outlook is not None
    later = [block for block in outlook.blocks if block.start >= "2026-01-01T00:25"]
    assert later == list(outlook.blocks)  # of 50 minutes, one of two folds
    assert "over time     " in trained.stdout and "the budget holds over" in trained.stdout
    shown = call("inspect", folder / "art").stdout
    assert "over time" in shown and "too short a time to speak of next week" in shown


def test_a_recalibration_plays_the_later_half_through(renewed: Done, folder: Path):
    outlook = read_manifest(folder / "art-2").outlook
    assert outlook is not None and outlook.together.start >= "2026-02-01T00:25"
    assert "over time     " in renewed.stdout


def test_what_has_changed_is_named_where_the_budget_breaks(folder: Path, tmp_path: Path):
    late = pl.col("ts") >= "2026-01-01T01:30"
    changed = series(n=600).with_columns(flow=pl.col("flow") + 8 * late)
    changed.write_csv(tmp_path / "fit.csv")
    words = ("--window", SIZE, "--alpha", 0.1, "--no-report", "--out", tmp_path / "art")
    done = call("train", tmp_path / "fit.csv", *TIMED, *WORDS, *words)
    assert done.returncode == 0, done.stderr
    assert "the budget does not hold" in done.stdout and "since then: 'flow' (PSI" in done.stdout
    assert "'pressure'" not in done.stdout
    outlook = read_manifest(folder / "art").outlook
    assert outlook is not None and outlook.changed is UNSET


def test_few_blocks_are_warned_of(folder: Path, trained: Done):
    words = ("--window", SIZE, "--alpha", 0.002, "--no-report", "--quiet")
    done = call("train", folder / "fit.csv", *TIMED, *WORDS, *words, "--out", folder / "few")
    assert done.returncode == 0
    assert "are worth" in done.stderr and "and a rate of 0.002 takes 499" in done.stderr


def test_inspect_says_the_same(folder: Path, trained: Done):
    said, shown = facts(trained.stdout), facts(call("inspect", folder / "art").stdout)
    assert (shown["window"], shown["series"]) == (said["window"], said["series"])
    assert " at 0.05" in shown["incidents"]


def test_auto_says_after_how_many_records_values_come_back(folder: Path, tmp_path: Path):
    words = (*TIMED, *WORDS, "--no-report", "--alpha", 0.05, "--out", tmp_path / "art")
    done = call("train", folder / "fit.csv", *words)
    assert "window        13 records (auto: values repeat after 13 records)" in done.stdout
    manifest = read_manifest(tmp_path / "art")
    assert manifest.series is not None and manifest.series.period == 13


def test_an_alpha_for_incidents_gives_no_more_of_them(folder: Path, tmp_path: Path):
    words = (*TIMED, *WORDS, "--window", SIZE, "--no-report", "--incidents-per-day", 30)
    done = call("train", folder / "fit.csv", *words, "--out", tmp_path / "art")
    manifest = read_manifest(tmp_path / "art")
    assert manifest.series is not None
    assert manifest.series.incidents_per_day[f"{manifest.alpha:g}"] <= 30
    assert "for 30 false incidents per entity and day as asked" in done.stdout


def test_profile_says_what_the_records_are_as_series(folder: Path, tmp_path: Path):
    done = call("profile", folder / "fit.csv", *TIMED)
    assert (
        "series: 3 entities with 300 records each, one every 10s usually; after a pause of more "
        "than 100s a window begins anew\n" in done.stdout
    ), done.stderr
    one = call("profile", folder / "fit.csv", "--time", "ts", "--window", "auto", "--gap", "1m")
    assert "series: 1 entity with 900 records, one every 10s usually" in one.stdout, one.stderr
    assert "of more than 1m a window begins anew; 600 have a time that came before" in one.stdout
    series().with_columns(ts=pl.lit("2026-01-01T00:00:00")).write_csv(tmp_path / "one.csv")
    done = call("profile", tmp_path / "one.csv", *TIMED)
    assert "series: refused: a window takes records that follow one another" in done.stdout


@pytest.mark.parametrize(
    ("span", "text"),
    [(10_000_000, "10s"), (1_280_000_000, "1280s"), (90_000_000, "1.5m"), (86_400_000_000, "1d")],
)
def test_spans_are_written_in_few_digits(span: int, text: str):
    assert span_text(span) == text


def test_a_recalibration_has_the_same_weights_and_an_interval_by_blocks(
    folder: Path, renewed: Done
):
    assert renewed.returncode == 0, renewed.stderr
    for name in (NETWORK, WEIGHTS, DIRECTIONS):
        assert (folder / "art-2" / name).read_bytes() == (folder / "art" / name).read_bytes()
    old, new = read_manifest(folder / "art"), read_manifest(folder / "art-2")
    assert new.parent == old.version != new.version
    assert new.calibration.n == 3 * (300 - SIZE + 1) and new.calibration.rule == "split"
    assert new.series is not None and old.series is not None
    assert 0 < new.calibration.rate_interval_95[0] < 0.05 < new.calibration.rate_interval_95[1]
    assert "false ones per entity and day, by alpha:" in renewed.stdout
    assert "planted: far" in renewed.stdout
    assert new.series.entities == old.series.entities


def test_a_recalibration_is_of_the_new_scores(folder: Path, renewed: Done):
    """The same, by hand: a history for each machine, and the autocorrelation of its scores."""
    scorer, frame = Scorer.load(folder / "art-2"), pl.read_csv(folder / "new.csv")
    scores = np.concatenate(
        [
            scorer.score(own).score[SIZE - 1 :]
            for _, own in sorted(frame.group_by("machine"), key=lambda pair: str(pair[0]))
        ]
    )
    np.testing.assert_allclose(scorer.artifact.calibration.scores, np.sort(scores), rtol=1e-6)
    series_found = scorer.artifact.manifest.series
    assert series_found is not None
    stretches = np.repeat(np.arange(3), len(scores) // 3)
    alarms = scorer.artifact.calibration.alarms(scorer.artifact.calibration.p_values(scores))
    alike = independent_blocks(alarms.astype(float), stretches)
    assert series_found.blocks == min(alike, len(scores) // SIZE)


def test_a_recalibration_keeps_the_peaks_of_its_normal_incidents(folder: Path, renewed: Done):
    """By hand: alarms of a machine no further apart than a window."""
    scorer, frame = Scorer.load(folder / "art-2"), pl.read_csv(folder / "new.csv")
    window, peaks = scorer.artifact.window, scorer.artifact.incident_peaks
    assert window is not None and peaks is not None
    found: list[float] = []
    for _, own in frame.group_by("machine"):
        last = None
        moments = own["ts"].str.to_datetime().dt.epoch("us").to_list()
        scores = scorer.score(own).score
        p_values = scorer.artifact.calibration.p_values(np.nan_to_num(scores, nan=-np.inf))
        alarms = scorer.artifact.calibration.alarms(p_values)
        for row in np.flatnonzero(alarms).tolist():
            if last is None or moments[row] - last > window.size * window.step:
                found.append(-np.inf)
            found[-1], last = max(found[-1], float(scores[row])), moments[row]
    np.testing.assert_allclose(peaks, np.sort(found), rtol=1e-6)


def test_records_of_the_fit_do_not_calibrate(folder: Path, trained: Done, tmp_path: Path):
    both = pl.concat([series()[450:], series(seed=1, start="2026-02-01")])
    both.write_csv(tmp_path / "both.csv")
    done = call("recalibrate", folder / "art", tmp_path / "both.csv", "--out", tmp_path / "new")
    assert "left out      450 records that the network was fitted to" in done.stdout, done.stderr
    assert read_manifest(tmp_path / "new").calibration.n == 3 * (300 - SIZE + 1)
    series()[450:].write_csv(tmp_path / "old.csv")
    done = call("recalibrate", folder / "art", tmp_path / "old.csv", "--out", tmp_path / "none")
    assert done.returncode == 3
    assert "0 have a full window of 8 new ones, and 450 are of the entities and" in done.stderr
    again = call("recalibrate", folder / "art", folder / "fit.csv", "--out", tmp_path / "none")
    assert "got those of its training run" in again.stderr


def test_lost_detection_is_refused_and_a_fit_of_windows_begins_anew(
    folder: Path, trained: Done, tmp_path: Path
):
    """Pressures that leap at random, among which no fault is told any more."""
    rng = np.random.default_rng(2)
    wild = series(seed=1, start="2026-02-01").with_columns(
        pl.Series("pressure", rng.uniform(-50, 50, 900)),
        pl.Series("flow", rng.uniform(-50, 50, 900)),
    )
    wild.write_csv(tmp_path / "wild.csv")
    words = ("recalibrate", folder / "art", tmp_path / "wild.csv", "--out", tmp_path / "new")
    done = call(*words)
    assert done.returncode == 3 and not (tmp_path / "new").exists()
    assert "must still find anomalies" in done.stderr
    assert "Fit to old and new normals: vaewatch train OLD NEW. To write" in done.stderr
    done = call(*words, "--accept-lost-detection")
    assert done.returncode == 0, done.stderr
    assert "ones: vaewatch train OLD NEW. If not" in done.stderr


def test_the_latest_records_are_not_chosen_of_a_series(folder: Path, trained: Done):
    words = ("--calibrate", "recent", "--out", folder / "none")
    done = call("recalibrate", folder / "art", folder / "new.csv", *words)
    assert done.returncode == 2 and "cannot be used with a window" in done.stderr


def test_the_report_shows_windows_and_is_made_again(folder: Path, trained: Done):
    page = (folder / "art" / "report.html").read_text()
    for key in ("window-typical", "window-rare", "window-drawn", "time", "spans", "bound"):
        assert f'id="plot-{key}"' in page
    assert "Not learned: machine, which says whose a record is." in page
    assert "Records are judged one at a time" not in page
    done = call("report", folder / "art", "--out", folder / "again.html")
    assert done.returncode == 0, done.stderr
    assert (folder / "again.html").read_text() == page
    found = json.loads((folder / "art" / "report.json").read_text())
    assert sum(span["records"] for span in found["spans"]) == 3 * (300 - SIZE + 1)
    labelled = call("report", folder / "art", "--labelled", folder / "new.csv")
    assert labelled.returncode == 2 and "vaewatch evaluate" in labelled.stderr


def test_a_report_without_findings_has_fewer_sections(folder: Path, trained: Done, tmp_path: Path):
    words = ("--window", SIZE, "--alpha", 0.05, "--no-report", "--out", tmp_path / "art")
    call("train", folder / "fit.csv", *TIMED, *WORDS, *words)
    done = call("report", tmp_path / "art", "--out", tmp_path / "page.html")
    assert done.returncode == 0 and "holds no report.json" in (tmp_path / "page.html").read_text()


def test_a_sample_is_of_whole_windows_that_can_be_scored(folder: Path, trained: Done):
    done = call("sample", folder / "art", "--n", 5, "--out", folder / "drawn.csv")
    assert done.returncode == 0, done.stderr
    drawn = pl.read_csv(folder / "drawn.csv")
    assert drawn.columns == ["ts", "machine", "pressure", "flow"]
    assert drawn["machine"].unique(maintain_order=True).to_list() == [
        f"drawn-{k}" for k in range(1, 6)
    ]
    assert -1.5 < drawn["pressure"].min() < drawn["pressure"].max() < 1.5  # type: ignore[operator]
    verdicts = Scorer.load(folder / "art").score(drawn)
    assert verdicts.judged.tolist() == 5 * ([False] * (SIZE - 1) + [True])


def test_the_detector_scores_like_the_command(folder: Path, trained: Done):
    frame = series()
    detector = vaewatch.SeriesDetector(
        time="ts", entity="machine", window=SIZE, alpha=0.05, **QUICK
    )
    with pytest.raises(NotFittedError):
        detector.predict(frame)
    fitted = clone(detector).fit(frame)
    check_is_fitted(fitted)
    want = Scorer.load(folder / "art").score(frame)
    np.testing.assert_allclose(fitted.score_samples(frame), -want.score, rtol=1e-5)
    np.testing.assert_array_equal(fitted.predict(frame) == -1, want.is_anomaly)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(frame), fitted.score_samples(frame))
    np.testing.assert_array_equal(
        fitted.decision_function(frame)[want.judged] < 0, want.is_anomaly[want.judged]
    )


def test_the_detector_puts_records_in_order_and_answers_in_theirs(folder: Path):
    frame = series().to_pandas()
    detector = vaewatch.SeriesDetector(time="ts", entity="machine", window=SIZE, **QUICK)
    detector.set_params(alpha=0.05).fit(frame)
    mixed = np.random.default_rng(0).permutation(len(frame))
    np.testing.assert_array_equal(
        detector.score_samples(frame.iloc[mixed]), detector.score_samples(frame)[mixed]
    )
    assert np.isnan(detector.p_values(frame)).sum() == 3 * (SIZE - 1)


def test_the_detector_refuses_what_is_no_series():
    detector = vaewatch.SeriesDetector(time="ts", entity="machine", **QUICK)
    with pytest.raises(ValueError, match="takes a DataFrame with a column of times, got ndarray"):
        detector.fit(np.zeros((100, 3)))
    with pytest.raises(ValueError, match="For one series, pass entity=None"):
        detector.fit(series().drop("machine"))
    with pytest.raises(ValueError, match="must be auto or at least 2"):
        detector.set_params(window=1).fit(series())
