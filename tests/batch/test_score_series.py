"""Files scored by an artifact with a window: each record with those of its machine before it."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.batch.series import START, STEP, WINDOW, added, by_time, make_machines
from tests.batch.test_score_resume import command, small_steps
from tests.conftest import Done, call
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.incidents import incident_starts

N = 400
WARMING = WINDOW - 1


@pytest.fixture(scope="module")
def machines(machines_path: Path) -> Scorer:
    return Scorer.load(machines_path)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """New records of the machines, of which one jumps for a while."""
    frame = make_machines(N, seed=1)
    odd = (pl.col("machine") == "m1") & pl.int_range(pl.len()).is_between(N + 200, N + 230)
    return frame.with_columns(pressure=pl.when(odd).then(3.0).otherwise("pressure"))


def score(artifact: Path, *words: object) -> Done:
    done = call("score", artifact, *words)
    assert done.returncode == 0, done.stderr
    return done


def score_in_steps(artifact: Path, *words: object) -> Done:
    with small_steps():
        return score(artifact, *words)


def same(found: pl.DataFrame, wanted: pl.DataFrame) -> bool:
    """Whether verdicts are the same; windows that are judged together round in another way."""
    if found["history"].to_list() != wanted["history"].to_list():
        return False
    scores = (each["anomaly_score"].to_numpy() for each in (found, wanted))
    return bool(np.allclose(*scores, rtol=1e-4, atol=1e-5, equal_nan=True))


def test_each_record_is_judged_with_those_before_it(
    machines_path: Path, machines: Scorer, frame: pl.DataFrame, tmp_path: Path
):
    frame.write_csv(tmp_path / "in.csv")
    done = score(machines_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    found, verdicts = added(tmp_path / "out.csv"), machines.score(frame)
    assert found.columns[-2:] == ["model_version", "history"]
    assert found["history"].to_list() == list(verdicts.history or ())
    assert found["anomaly_score"].to_numpy() == pytest.approx(verdicts.score, nan_ok=True)
    empty = found.filter(pl.col("history") != "full")
    assert len(empty) == 3 * WARMING
    assert empty["p_value"].null_count() == empty["is_anomaly"].null_count() == 3 * WARMING
    assert f"{3 * N:,} records: {3 * (N - WARMING):,} judged, {3 * WARMING} warming" in done.stderr
    jumped = found["is_anomaly"].to_numpy()[N + 200 : N + 230]
    assert jumped.sum() > 5


def test_records_by_time_get_the_verdicts_of_records_by_machine(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    frame.write_csv(tmp_path / "a.csv")
    by_time(frame).write_csv(tmp_path / "b.csv")
    for name in ("a", "b"):
        score_in_steps(
            machines_path, tmp_path / f"{name}.csv", "--out", tmp_path / f"{name}.out.csv"
        )
    found = added(tmp_path / "b.out.csv").sort("machine", "ts")
    assert same(found, added(tmp_path / "a.out.csv"))


def test_a_file_goes_on_where_the_one_before_it_ended(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    ordered = by_time(frame)
    ordered[:500].write_csv(tmp_path / "0.csv")
    ordered[500:].write_csv(tmp_path / "1.csv")
    ordered.write_csv(tmp_path / "whole.csv")
    score(machines_path, tmp_path / "[01].csv", "--out", tmp_path / "two.out")
    score(machines_path, tmp_path / "whole.csv", "--out", tmp_path / "one.out")
    assert same(added(tmp_path / "two.out"), added(tmp_path / "one.out"))


@pytest.mark.parametrize("sort", [(), ("--sort",)])
def test_bytes_do_not_depend_on_threads(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, sort: tuple[str, ...]
):
    jump = pl.col("ts").is_between(START + 150 * STEP, START + 250 * STEP)
    few = pl.concat([frame, make_machines(N, 4, 2, first=3)]).filter(jump)
    by_time(few).write_csv(tmp_path / "in.csv")
    for threads in (1, 2, 3):
        words = (machines_path, tmp_path / "in.csv", "--out", tmp_path / f"{threads}.csv")
        with small_steps(1 << 13):  # each takes three chunks: reasons of windows take long
            score(*words, "--threads", threads, "--explain", 1, *sort)
    one = (tmp_path / "1.csv").read_bytes()
    assert one == (tmp_path / "2.csv").read_bytes() == (tmp_path / "3.csv").read_bytes()


def test_late_and_repeated_records_are_counted_and_the_first_is_named(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    ordered = by_time(frame)
    late, twice = ordered[30:31], ordered[60:61]
    pl.concat([ordered[:60], twice, ordered[60:90], late, ordered[90:]]).write_csv(
        tmp_path / "in.csv"
    )
    words = (tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    score_in_steps(machines_path, *words, "--summary", tmp_path / "summary.json")
    series = json.loads((tmp_path / "summary.json").read_text())["series"]
    assert (series["late"], series["repeated"]) == (1, 1)
    assert series["first_out_of_order"] == {"file": str(tmp_path / "in.csv"), "line": 63}
    found = added(tmp_path / "out.csv")
    assert found["history"][91] == "late" and found["history"][61] == "repeated"
    assert found["anomaly_score"][91] is None
    ordered.write_csv(tmp_path / "ordered.csv")
    score(machines_path, tmp_path / "ordered.csv", "--out", tmp_path / "ordered.out")
    kept = found.filter(~pl.col("history").is_in(["late", "repeated"]))
    assert same(kept, added(tmp_path / "ordered.out"))


def test_a_warning_says_what_to_do_about_records_out_of_order(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    frame.reverse().write_csv(tmp_path / "in.csv")
    score(machines_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv", "--quiet")
    said, none = (each.getMessage() for each in caplog.records)
    assert f"{3 * (N - 1):,} records are older" in said and "--sort" in said
    assert "no record was judged" in none
    assert f"'{tmp_path / 'in.csv'}', line 3" in said


@pytest.mark.parametrize("ending", ["csv", "ndjson", "parquet"])
def test_sorted_records_come_out_in_the_order_of_the_input(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, ending: str
):
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=1)
    write = {
        "csv": pl.DataFrame.write_csv,
        "ndjson": pl.DataFrame.write_ndjson,
        "parquet": pl.DataFrame.write_parquet,
    }[ending]
    for at, some in enumerate((mixed[:700], mixed[700:])):
        write(some, tmp_path / f"{at}.{ending}")
    words = (tmp_path / f"[01].{ending}", "--sort", "--to", "csv", "--out", tmp_path / "out.csv")
    score_in_steps(machines_path, *words)
    found = added(tmp_path / "out.csv")
    assert found["ts"].to_list() == mixed["ts"].to_list()
    frame.write_csv(tmp_path / "ordered.csv")
    score(machines_path, tmp_path / "ordered.csv", "--out", tmp_path / "ordered.out")
    assert same(found.sort("machine", "ts"), added(tmp_path / "ordered.out"))


def test_a_moment_that_comes_twice_is_judged_once_when_sorted(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    pl.concat([frame, frame[5:7]]).write_csv(tmp_path / "in.csv")
    score(machines_path, tmp_path / "in.csv", "--sort", "--out", tmp_path / "out.csv")
    found = added(tmp_path / "out.csv")
    assert found["history"].to_list()[-2:] == ["repeated"] * 2
    assert "2 records are of a moment" in caplog.text


@pytest.mark.parametrize("sort", [(), ("--sort",)])
def test_a_bad_row_stays_out_of_the_history(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, sort: tuple[str, ...]
):
    lines = frame.write_csv().splitlines()
    bad = ["ragged", lines[40].replace("m0", ""), lines[40].replace(lines[40].split(",")[2], "x")]
    (tmp_path / "in.csv").write_text("\n".join([*lines[:50], *bad, *lines[50:]]) + "\n")
    frame.write_csv(tmp_path / "sound.csv")
    out, rejects = tmp_path / "out.csv", tmp_path / "bad.csv"
    score(machines_path, tmp_path / "in.csv", "--out", out, "--rejects", rejects, *sort)
    score(machines_path, tmp_path / "sound.csv", "--out", tmp_path / "sound.out")
    assert same(added(out), added(tmp_path / "sound.out"))
    assert [int(line.split(",")[1]) for line in rejects.read_text().splitlines()[1:]] == [
        51,
        52,
        53,
    ]
    assert call("score", machines_path, tmp_path / "in.csv", "--out", out).returncode == 3


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "ndjson", "parquet", "stdin"])
@pytest.mark.parametrize("to", ["csv", "ndjson", "parquet"])
def test_every_format_has_the_history(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, kind: str, to: str
):
    source, out = tmp_path / f"in.{kind}", tmp_path / f"out.{to}"
    text = frame.write_csv().encode()
    if kind == "csv.gz":
        source.write_bytes(gzip.compress(text))
    elif kind == "ndjson":
        frame.write_ndjson(source)
    elif kind == "parquet":
        frame.write_parquet(source)
    else:
        source.write_bytes(text)
    if kind == "stdin":
        asked = command(machines_path, "-", "--out", out, "--to", to)
        subprocess.run(asked, input=text, check=True, capture_output=True, timeout=120)
    else:
        score(machines_path, source, "--out", out, "--to", to)
    read = {"csv": added, "ndjson": pl.read_ndjson, "parquet": pl.read_parquet}[to]
    found = read(out)
    words = [*["warming_up"] * WARMING, *["full"] * (N - WARMING)] * 3
    assert found["history"].to_list() == words
    assert found["anomaly_score"].null_count() == found["is_anomaly"].null_count() == 3 * WARMING


def test_columns_reasons_and_anomalies_alone(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    frame.write_csv(tmp_path / "in.csv")
    words = ("--only-anomalies", "--columns", "ts,machine", "--explain", 2, "--prefix", "v_")
    score(machines_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv", *words)
    found = pl.read_csv(tmp_path / "out.csv")
    assert found.columns[:3] == ["ts", "machine", "v_anomaly_score"]
    assert found["v_is_anomaly"].all() and set(found["v_history"]) == {"full"}
    assert found["v_score_reconstruction"].null_count() == 0
    assert found["v_top_reasons"].str.contains("pressure").any()


def test_shards_are_whole_machines(machines_path: Path, frame: pl.DataFrame, tmp_path: Path):
    ordered = by_time(pl.concat([frame, make_machines(N, 4, 2, first=3)]))
    lines = ordered.write_csv().splitlines()
    (tmp_path / "0.csv").write_text("\n".join([*lines[:900], "ragged"]) + "\n")
    (tmp_path / "1.csv").write_text("\n".join([lines[0], *lines[900:]]) + "\n")
    rejects = ("--rejects", tmp_path / "bad.csv")
    score(machines_path, tmp_path / "[01].csv", "--out", tmp_path / "whole.out", *rejects)
    shards = []
    for i in range(2):
        out, bad = tmp_path / f"{i}.out", tmp_path / f"{i}.bad"
        words = ("--shard", f"{i}/2", "--out", out, "--rejects", bad)
        score(machines_path, tmp_path / "[01].csv", *words)
        shards.append(added(out))
        assert len(bad.read_text().splitlines()) == 2 - i
    assert not set(shards[0]["machine"]) & set(shards[1]["machine"])
    assert all(len(each) for each in shards)
    found = pl.concat(shards).sort("ts", "machine")
    assert same(found, added(tmp_path / "whole.out").sort("ts", "machine"))


def test_one_series_has_no_shards(one_series_path: Path, frame: pl.DataFrame, tmp_path: Path):
    frame[:N].drop("machine").write_csv(tmp_path / "in.csv")
    done = call("score", one_series_path, tmp_path / "in.csv", "--shard", "0/2")
    assert done.returncode == 2 and "--shard takes an artifact with an entity" in done.stderr
    whole = score(one_series_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    assert f"{N - WARMING} judged, {WARMING} warming up" in whole.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fdr", "0.1"), "--fdr takes an artifact that judges each record by itself"),
        (("--sort", "-"), "--sort reads its input twice"),
    ],
)
def test_what_windows_cannot_do_is_refused(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, words: tuple[str, ...], said: str
):
    frame.write_csv(tmp_path / "in.csv")
    done = call("score", machines_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv", *words)
    assert done.returncode == 2 and said in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_records_that_are_judged_by_themselves_need_no_order(artifact_path: Path, tmp_path: Path):
    (tmp_path / "in.csv").write_text("order\n")
    done = call("score", artifact_path, tmp_path / "in.csv", "--sort")
    assert done.returncode == 2 and "--sort takes an artifact with a window" in done.stderr


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_history_is_bounded_and_those_that_leave_are_counted(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path, most: int
):
    by_time(frame).write_csv(tmp_path / "in.csv")
    words = ("--max-entities", most, "--summary", tmp_path / "summary.json")
    for threads in (1, 2):
        out = tmp_path / f"{threads}.csv"
        score_in_steps(
            machines_path, tmp_path / "in.csv", "--out", out, *words, "--threads", threads
        )
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    series = json.loads((tmp_path / "summary.json").read_text())["series"]
    assert bool(series["evicted"]) == (most < 3)
    assert series["entities"] == series["evicted"] + most
    assert (series["judged"] == 3 * (N - WARMING)) == (most == 3)


def test_gaps_and_incidents_are_counted_and_published(
    machines_path: Path, machines: Scorer, frame: pl.DataFrame, tmp_path: Path
):
    later = pl.when(pl.int_range(pl.len()) % N < 300).then("ts").otherwise(pl.col("ts") + 90_000)
    paused = frame.with_columns(ts=later)
    by_time(paused).write_csv(tmp_path / "in.csv")
    small = (tmp_path / "summary.json", tmp_path / "m.prom")
    words = ("--out", tmp_path / "out.csv", "--summary", small[0], "--metrics-file", small[1])
    done = score(machines_path, tmp_path / "in.csv", *words)
    verdicts, window = machines.score(paused), machines.artifact.window
    assert window is not None
    at = np.flatnonzero(verdicts.is_anomaly)
    names, moments = paused["machine"].to_list(), paused["ts"].to_numpy() * 1_000_000
    starts = incident_starts([names[i] for i in at.tolist()], moments[at], window)
    series = json.loads(small[0].read_text())["series"]
    assert series["incidents"] == starts.sum() > 1
    assert series["gaps"] == 3 and series["entities"] == 3
    assert series["warming_up"] == 6 * WARMING
    assert series["entity_days"] == pytest.approx(series["judged"] * STEP / 86_400)
    told = machines.artifact.manifest.series
    assert told is not None
    assert series["incidents_per_day_foretold"] == told.incidents_per_day["0.05"]
    assert f"{series['incidents']} incidents: " in done.stderr and "3 gaps" in done.stderr
    found = {
        (sample.name, sample.labels.get("verdict")): sample.value
        for family in text_string_to_metric_families(small[1].read_text())
        for sample in family.samples
    }
    assert found[("vaewatch_batch_records", "warming_up")] == 6 * WARMING
    assert found[("vaewatch_batch_incidents", None)] == series["incidents"]
    assert found[("vaewatch_batch_gaps", None)] == 3
    records = sum(value for (name, _), value in found.items() if name == "vaewatch_batch_records")
    assert records == 3 * N


def test_a_file_without_records_and_one_without_full_windows(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    for n in (0, WARMING):
        frame[:n].write_csv(tmp_path / f"{n}.csv")
        for sort in ((), ("--sort",)):
            words = ("--out", tmp_path / "out.csv", "--summary", tmp_path / "s.json", *sort)
            done = score(machines_path, tmp_path / f"{n}.csv", *words)
            assert len(added(tmp_path / "out.csv")) == n
            wanted = "no record had a full window" if n else "there were no records"
            assert f"no alarms: {wanted}" in done.stderr.replace("\n", " ")
            assert json.loads((tmp_path / "s.json").read_text())["anomaly_rate"] == 0


def test_odd_histories_are_outcomes_and_no_errors(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    """A gap of a year, all machines at one instant, missing values for longer than a window, a
    machine for each record, and a name that is too long.
    """
    year = (
        pl.when(pl.int_range(pl.len()) % N < 200).then("ts").otherwise(pl.col("ts") + 31_536_000)
    )
    blank = pl.when(pl.int_range(pl.len()).is_between(50, 90)).then(None).otherwise("pressure")
    cases = {
        "year": (frame.with_columns(ts=year), {"gaps": 3, "warming_up": 6 * WARMING}),
        "instant": (
            frame.with_columns(ts=frame["ts"][0]),
            {"warming_up": 3, "repeated": 3 * N - 3},
        ),
        "blank": (frame.with_columns(pressure=blank), {"warming_up": 3 * WARMING}),
        "alone": (
            frame.with_columns(machine=pl.format("m{}", pl.int_range(pl.len()))),
            {"entities": 3 * N, "warming_up": 3 * N, "judged": 0},
        ),
    }
    for name, (odd, wanted) in cases.items():
        odd.write_csv(tmp_path / f"{name}.csv")
        summary = tmp_path / f"{name}.json"
        words = ("--out", tmp_path / "out.csv", "--summary", summary)
        score(machines_path, tmp_path / f"{name}.csv", *words)
        series = json.loads(summary.read_text())["series"]
        assert {key: series[key] for key in wanted} == wanted, name
    long = frame[:20].with_columns(machine=pl.lit("x" * 10_000))
    long.write_csv(tmp_path / "long.csv")
    done = call("score", machines_path, tmp_path / "long.csv", "--out", tmp_path / "out.csv")
    assert done.returncode == 3 and "name of at most 1,000 characters" in done.stderr


def test_files_of_which_nothing_is_judged_are_no_all_clear(
    machines_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    few = make_machines(WINDOW - 1, seed=1)
    few.write_csv(tmp_path / "in.csv")
    score(machines_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    assert "no record was judged, so none could alarm" in caplog.text
    caplog.clear()
    make_machines(WINDOW, seed=1).write_csv(tmp_path / "in.csv")
    score(machines_path, tmp_path / "in.csv", "--out", tmp_path / "more.csv")
    assert "no record was judged" not in caplog.text
