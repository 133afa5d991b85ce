"""`vaewatch score --fdr`: the discoveries of a whole file, through the real command line."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.batch.test_score import error_of, score
from tests.batch.test_score_resume import run, stop
from tests.conftest import make_frame
from vaewatch.batch.job import Job
from vaewatch.batch.pipeline import run as run_job
from vaewatch.scoring.scorer import Scorer

Q = 0.2
READ = {
    "csv": pl.read_csv,
    "parquet": pl.read_parquet,
    "ndjson": pl.read_ndjson,
}


def planted(rows: int, every: int, seed: int = 7) -> pl.DataFrame:
    """Records of which every so many-th is absurd."""
    absurd = pl.int_range(pl.len()) % every == 0
    return make_frame(rows, seed=seed).with_columns(
        pl.when(absurd).then(1e6).otherwise("amount").alias("amount")
    )


def write(frame: pl.DataFrame, path: Path) -> Path:
    getattr(frame, f"write_{path.suffix[1:]}")(path)
    return path


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return planted(2000, 8)


@pytest.fixture(scope="module")
def found(frame: pl.DataFrame, scorer: Scorer) -> list[bool]:
    wanted = scorer.score(frame).discoveries(Q).tolist()
    assert 250 <= sum(wanted) < 400
    return wanted


@pytest.mark.parametrize("kind", READ)
def test_a_record_is_an_anomaly_if_it_is_a_discovery(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, found: list[bool], kind: str
):
    source, out = write(frame, tmp_path / f"in.{kind}"), tmp_path / f"out.{kind}"
    done = score(artifact_path, source, "--fdr", str(Q), "--out", out)
    assert done.returncode == 0, done.stderr
    scored = READ[kind](out)  # type: ignore[operator]
    assert scored["is_anomaly"].to_list() == found
    assert scored["top_reasons"].is_not_null().to_list() == found
    assert f"\n{sum(found):,} discoveries at a false discovery rate of 0.2 (p-value up to " in (
        done.stderr.decode()
    )


def test_the_summary_and_the_metrics_say_how_many_are_false(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, found: list[bool]
):
    source, summary, metrics = (tmp_path / name for name in ("in.csv", "sum.json", "x.prom"))
    write(frame, source)
    asked = ("--summary", summary, "--metrics-file", metrics, "--out", tmp_path / "out.csv")
    done = score(artifact_path, source, "--fdr", str(Q), "--only-anomalies", *asked)
    assert done.returncode == 0, done.stderr
    got = json.loads(summary.read_text())
    assert got["anomalies"] == got["written"] == got["fdr"]["found"] == sum(found)
    assert got["alpha"] is None and got["expected"] is None
    assert got["fdr"]["q"] == Q and got["fdr"]["records"] == 2000
    assert got["fdr"]["false"] == pytest.approx(Q * sum(found))
    assert got["fdr"]["words"] in done.stderr.decode().replace(":\n", ": ")
    out = pl.read_csv(tmp_path / "out.csv")
    assert len(out) == sum(found) and out["p_value"].max() == pytest.approx(got["fdr"]["p_value"])
    families = {f.name: f for f in text_string_to_metric_families(metrics.read_text())}
    (gauge,) = families["vaewatch_batch_alarms_expected"].samples
    assert gauge.value == pytest.approx(Q * sum(found))


def test_a_discovery_depends_on_the_whole_job_not_on_its_file(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, found: list[bool]
):
    for i, part in enumerate((frame[:1000], frame[1000:])):
        write(part, tmp_path / f"{i}.csv")
    done = score(artifact_path, tmp_path / "*.csv", "--fdr", str(Q), "--to", "ndjson")
    assert done.returncode == 0, done.stderr
    got = [json.loads(line)["is_anomaly"] for line in done.stdout.splitlines()]
    assert got == found


def test_nothing_found_is_no_anomaly_and_says_what_it_takes(
    tmp_path: Path, artifact_path: Path, scorer: Scorer
):
    frame = planted(3000, 1000)
    assert not scorer.score(frame).discoveries(0.05).any()
    source = write(frame, tmp_path / "in.csv")
    for options in ([], ["--explain", "1"]):
        done = score(artifact_path, source, "--fdr", "0.05", *options)
        assert done.returncode == 0, done.stderr
        scored = pl.read_csv(done.stdout)
        assert not scored["is_anomaly"].any()
        assert scored["top_reasons"].is_not_null().any() == bool(options)
    text = " ".join(done.stderr.decode().split())
    assert "no discoveries at a false discovery rate of 0.05: " in text
    assert "the lowest p-value that the calibration can give, but among 3,000 it takes " in text


def test_anomalies_that_the_calibration_cannot_resolve_are_an_error(
    tmp_path: Path, artifact_path: Path
):
    source, out = write(planted(3000, 10), tmp_path / "in.csv"), tmp_path / "out.csv"
    done = score(artifact_path, source, "--fdr", "0.05", "--out", out)
    assert done.returncode == 3
    assert "a false discovery rate of 0.05 takes more calibration records than " in error_of(done)
    assert not out.exists() and sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fdr", "0.1", "--alpha", "0.05"], "--fdr and --alpha must not be given together"),
        (["--fdr", "0.1", "--shard", "0/2"], "--fdr takes all files of a job"),
        (["--fdr", "0"], "must be above 0 and below 1, got 0"),
        (["--fdr", "1"], "must be above 0 and below 1, got 1"),
        (["--fdr", "0.0001"], "a false discovery rate of 0.0001 takes at least 9,999 calibration"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, options: list[str], words: str
):
    write(frame, tmp_path / "in.csv")
    write(frame, tmp_path / "in2.csv")
    done = score(artifact_path, tmp_path / "in*.csv", "--out", tmp_path / "out.csv", *options)
    assert done.returncode != 0 and words in error_of(done)
    assert not (tmp_path / "out.csv").exists()


def test_a_stream_is_refused_as_it_cannot_be_read_twice(artifact_path: Path, frame: pl.DataFrame):
    done = score(artifact_path, "-", "--fdr", "0.1", stdin=frame.write_csv().encode())
    assert done.returncode == 2 and "--fdr reads its input twice" in error_of(done)


def test_a_bad_row_stops_the_job_or_is_set_aside_once(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, found: list[bool]
):
    source = tmp_path / "in.csv"
    source.write_text(frame.write_csv() + "short,row\n")
    stopped = score(artifact_path, source, "--fdr", str(Q), "--out", tmp_path / "out.csv")
    assert stopped.returncode == 3 and "line 2002" in error_of(stopped)
    bad = tmp_path / "bad.csv"
    done = score(artifact_path, source, "--fdr", str(Q), "--rejects", bad)
    assert done.returncode == 0 and len(bad.read_text().splitlines()) == 2
    assert pl.read_csv(done.stdout)["is_anomaly"].to_list() == found


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_threads_and_a_kill_change_no_byte(tmp_path: Path, artifact_path: Path, kind: str):
    source = write(planted(20_000, 8), tmp_path / f"in.{kind}")
    whole, target = tmp_path / f"whole.{kind}", tmp_path / f"out.{kind}"
    assert run(artifact_path, source, "--out", whole, "--fdr", str(Q)).returncode == 0
    one = tmp_path / f"one.{kind}"
    alone = run(artifact_path, source, "--out", one, "--fdr", str(Q), "--threads", "1")
    assert alone.returncode == 0 and one.read_bytes() == whole.read_bytes()
    asked = (artifact_path, source, "--out", target, "--fdr", str(Q))
    assert stop(signal.SIGKILL, tmp_path / f".out.{kind}.journal", *asked) == -signal.SIGKILL
    assert not target.exists()
    other = run(*asked[:-1], "0.1", "--resume")
    assert other.returncode == 3 and b"the settings have changed" in other.stderr
    done = run(*asked, "--resume", "--summary", tmp_path / "sum.json")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == whole.read_bytes()
    got = json.loads((tmp_path / "sum.json").read_text())
    assert 0 < got["records_of_earlier_runs"] < got["records"] == got["fdr"]["records"]
    anomalies = READ[kind](target)["is_anomaly"].sum()  # type: ignore[operator]
    assert got["anomalies"] == got["fdr"]["found"] == anomalies


def test_a_job_without_it_has_the_identity_that_earlier_releases_gave_it():
    assert not {"fdr", "prefix"} & Job(("a",), "b").identity().keys()
    assert Job(("a",), "b", fdr=0.1).identity()["fdr"] == 0.1


def test_both_passes_are_one_progress(
    tmp_path: Path, scorer: Scorer, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vaewatch.scoring.files.chunks.CHUNK_BYTES", 1 << 13)
    source, shares = write(frame, tmp_path / "in.csv"), list[float]()

    def progress(counts: object, share: float | None) -> None:
        if share is not None:
            shares.append(share)

    job = Job((str(source),), str(tmp_path / "out.csv"), fdr=Q)
    counts = run_job(scorer, job, progress)
    assert counts.anomalies == pl.read_csv(tmp_path / "out.csv")["is_anomaly"].sum()
    assert np.all(np.diff(shares) > 0) and shares[-1] == 1.0 and 0.5 in shares
