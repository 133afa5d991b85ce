"""Files scored by an artifact with a segment: columns, summary, resume and replay."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, call, make_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    frame = make_frame(700, seed=6)
    place = pl.int_range(pl.len())
    other = pl.when(place < 5).then(pl.lit("PT")).when(place < 8).then(None)
    return frame.with_columns(country=other.otherwise("country"))


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("to", ["csv", "ndjson", "parquet"])
def test_every_format_has_segment_and_calibration(
    segmented_path: Path, frame: pl.DataFrame, tmp_path: Path, kind: str, to: str
):
    source, out = tmp_path / f"in.{kind}", tmp_path / f"out.{to}"
    {"csv": frame.write_csv, "ndjson": frame.write_ndjson, "parquet": frame.write_parquet}[kind](
        source
    )
    words = ("score", segmented_path, source, "--out", out, "--to", to, "--quiet")
    done = call(*words, "--summary", tmp_path / "summary.json")
    assert done.returncode == 0, done.stderr
    read = {"csv": pl.read_csv, "ndjson": pl.read_ndjson, "parquet": pl.read_parquet}[to]
    found = read(out)
    assert found.columns[-3:] == ["model_version", "segment", "calibration"]
    verdicts = Scorer.load(segmented_path).score(frame, explain=0)
    assert found["segment"].to_list() == list(verdicts.segment or ())
    assert found["calibration"].to_list() == list(verdicts.calibration or ())
    assert found["segment"].to_list()[:8] == ["other"] * 5 + [None] * 3
    segments = json.loads((tmp_path / "summary.json").read_text())["segments"]
    assert sum(each["records"] for each in segments) == 700
    assert {each["segment"]: each["calibration"] for each in segments} == {
        "NL": "own",
        "DE": "own",
        "FR": "pooled",
        "other": "pooled",
        None: "pooled",
    }
    wanted = sum(v.is_anomaly and v.segment == "NL" for v in verdicts)
    assert segments[0]["segment"] == "NL" and segments[0]["anomalies"] == wanted


def test_the_table_of_segments_is_printed(
    segmented_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    frame.write_csv(tmp_path / "in.csv")
    done = call("score", segmented_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    lines = done.stderr.splitlines()
    assert any(line.startswith("NL ") and line.rstrip().endswith("own") for line in lines)
    assert any(line.startswith("(missing) ") for line in lines)


def test_a_file_may_have_columns_of_that_name_where_there_is_no_segment(
    artifact_path: Path, tmp_path: Path
):
    frame = make_frame(50).with_columns(segment=pl.lit("x"), calibration=pl.lit("y"))
    frame.write_csv(tmp_path / "in.csv")
    done = call("score", artifact_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert pl.read_csv(tmp_path / "out.csv")["segment"].to_list() == ["x"] * 50


@pytest.mark.parametrize("to", ["csv", "ndjson", "parquet"])
def test_a_segment_called_segment_is_not_written_twice(tmp_path: Path, to: str):
    frame = make_frame(600).rename({"country": "segment"})
    train(
        frame, tmp_path / "art", alpha=0.05, id="order", segment="segment", report=False, **SMALL
    )
    frame.write_csv(tmp_path / "in.csv")
    out = tmp_path / f"out.{to}"
    words = ("score", tmp_path / "art", tmp_path / "in.csv", "--to", to)
    done = call(*words, "--out", out)
    assert done.returncode == 0, done.stderr
    read = {"csv": pl.read_csv, "ndjson": pl.read_ndjson, "parquet": pl.read_parquet}[to]
    found = read(out)
    assert found.columns.count("segment") == 1 and found.columns[-1] == "calibration"
    assert found["segment"].to_list() == frame["segment"].to_list()
    done = call(*words, "--out", tmp_path / f"more.{to}", "--prefix", "v_")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / f"more.{to}").columns[-2:] == ["v_segment", "v_calibration"]


def test_replay_counts_by_segment_at_each_alpha(
    segmented_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    start = datetime(2026, 1, 1)
    at = [(start + timedelta(minutes=i)).isoformat() for i in range(700)]
    frame.with_columns(at=pl.Series(at)).write_csv(tmp_path / "in.csv")
    words = (
        "replay",
        segmented_path,
        tmp_path / "in.csv",
        "--time",
        "at",
        "--alphas",
        "0.05,0.01",
    )
    found = json.loads(call(*words, "--json").stdout)
    scorer = Scorer.load(segmented_path)
    for which, alpha in enumerate((0.05, 0.01)):
        verdicts = scorer.score(frame, alpha=alpha, explain=0)
        assert found["alphas"][which]["alarms"] == verdicts.is_anomaly.sum()
        for each in found["segments"]:
            own = [v.is_anomaly for v in verdicts if v.segment == each["segment"]]
            assert (each["records"], each["alarms"][which]) == (len(own), sum(own))
    head = next(line for line in call(*words).stdout.splitlines() if line.startswith("segment "))
    assert head.split() == [
        "segment",
        "records",
        "alpha",
        "0.05",
        "share",
        "alpha",
        "0.01",
        "share",
    ]


def test_discoveries_are_ranked_within_their_segments(
    segmented_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    """The same p-values decide that were counted, also where the cut is a small one."""
    odd = frame.with_columns(
        amount=pl.when(pl.int_range(pl.len()) % 7 == 0).then(1e6).otherwise("amount")
    )
    odd.write_csv(tmp_path / "in.csv")
    words = ("score", segmented_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    done = call(*words, "--fdr", "0.2")
    assert done.returncode == 0, done.stderr
    verdicts = Scorer.load(segmented_path).score(odd, explain=0)
    found = pl.read_csv(tmp_path / "out.csv")
    assert found["is_anomaly"].to_list() == verdicts.discoveries(0.2).tolist()
    assert found["is_anomaly"].sum() > 50
    assert found["p_value"].to_list() == verdicts.p_value.tolist()


def loud_rest(rows: int, absurd: int) -> pl.DataFrame:
    """Records of which FR, without a calibration of its own, are loud, and some NL absurd."""
    place, country = pl.int_range(pl.len()), pl.col("country")
    odd = (country == "FR") & (place % 2 == 0) | (country == "NL") & (place < absurd)
    amount = pl.when(odd).then(1e6).otherwise("amount")
    return make_frame(rows, seed=8).with_columns(amount=amount)


def test_what_the_pooled_calibration_judges_is_left_out_of_the_discoveries(
    segmented_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """By hand: Benjamini & Hochberg's choice among the records of segments with their own."""
    frame, q = loud_rest(1500, 900), 0.1
    frame.write_csv(tmp_path / "in.csv")
    out, summary = tmp_path / "out.csv", tmp_path / "sum.json"
    words = ("score", segmented_path, tmp_path / "in.csv", "--out", out, "--summary", summary)
    done = call(*words, "--fdr", str(q), "--quiet")
    assert done.returncode == 0, done.stderr
    scored = pl.read_csv(out)
    p_values = np.sort(scored.filter(pl.col("calibration") == "own")["p_value"].to_numpy())
    cut = max(p for i, p in enumerate(p_values) if p * len(p_values) <= q * (i + 1) * (1 + 1e-9))
    wanted = (scored["calibration"] == "own") & (scored["p_value"] <= cut)
    assert scored["is_anomaly"].to_list() == wanted.to_list() and wanted.sum() > 300
    assert scored["top_reasons"].is_not_null().to_list() == wanted.to_list()
    pooled = scored.filter(pl.col("calibration") == "pooled")
    assert (pooled["p_value"] <= cut).sum() > 10
    assert Scorer.load(segmented_path).score(frame).discoveries(q).tolist() == wanted.to_list()
    got = json.loads(summary.read_text())["fdr"]
    assert (got["records"], got["left_out"]) == (len(p_values), len(pooled))
    (warning,) = caplog.messages
    assert warning.startswith(f"warning: {len(pooled)} records are left out of the discoveries")
    assert warning.endswith("train without --segment.")


def test_where_all_are_left_out_nothing_is_found(
    segmented_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    frame = loud_rest(1500, 0).filter(pl.col("country") == "FR")
    frame.write_csv(tmp_path / "in.csv")
    words = ("score", segmented_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    done = call(*words, "--fdr", "0.5")
    assert done.returncode == 0, done.stderr
    assert f"warning: {len(frame)} records are left out" in caplog.text
    assert "all 0 records that took part may be normal" in " ".join(done.stderr.split())
    assert not pl.read_csv(tmp_path / "out.csv")["is_anomaly"].any()
    assert not Scorer.load(segmented_path).score(frame)[:5].discoveries(0.9).any()


def test_where_no_segment_has_its_own_calibration_the_pooled_one_finds_discoveries(
    segmented_path: Path,
):
    """At an alpha that none of them can certify, all are judged as a random record is."""
    verdicts = Scorer.load(segmented_path).score(loud_rest(1500, 900), alpha=0.011, explain=0)
    assert set(verdicts.calibration or ()) == {"pooled"}
    found, by = verdicts.discoveries(0.2), np.array(verdicts.segment)
    assert found[by == "FR"].any() and found[by == "NL"].any()


def test_anomalies_beyond_the_resolution_of_their_segment_are_no_normal_records(
    segmented_path: Path, tmp_path: Path
):
    """The pooled calibration would give lower p-values, but it does not judge them."""
    segments = Scorer.load(segmented_path).artifact.segments
    assert segments is not None
    n = segments.own[segments.labels.index("NL")].n
    assert n < segments.pooled.n
    country, absurd = pl.col("country"), pl.int_range(pl.len()) % 5 == 0
    frame = make_frame(3000, seed=8).filter(country == "NL")
    frame = frame.with_columns(amount=pl.when(absurd).then(1e6).otherwise("amount"))
    frame.write_csv(tmp_path / "in.csv")
    words = ("score", segmented_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    done = call(*words, "--fdr", f"{2 / (n + 1):.3g}")
    assert done.returncode == 3 and not (tmp_path / "out.csv").exists()
    assert f"takes more calibration records than {n} for this input" in done.stderr
    assert "have the lowest p-value that their segment's calibration can give" in done.stderr


def test_a_rate_that_no_judging_calibration_can_reach_is_refused(
    segmented_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    segments = Scorer.load(segmented_path).artifact.segments
    assert segments is not None
    largest = max(own.n for own in segments.own.values())
    q = (1 / (largest + 1) + 1 / (segments.pooled.n + 1)) / 2
    frame.write_csv(tmp_path / "in.csv")
    words = ("score", segmented_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    done = call(*words, "--fdr", f"{q}")
    assert done.returncode == 3 and f"calibration records, got {largest}" in done.stderr
