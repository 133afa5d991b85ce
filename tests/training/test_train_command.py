"""`vaewatch train` as a user meets it: what it takes, what it refuses, and in which words."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import vaewatch
from tests.conftest import SMALL, VAEWATCH, call, make_frame, run
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.threads import cores

WITH_REPORT = [f"--{name}={value}" for name, value in SMALL.items()]
QUICK = [*WITH_REPORT, "--no-report"]  # which takes longer than such a fit


@pytest.fixture
def csv(tmp_path: Path, mixed_frame: pl.DataFrame) -> Path:
    mixed_frame.write_csv(tmp_path / "normal.csv")
    return tmp_path / "normal.csv"


def rows(n: int = 100) -> str:
    rng = np.random.default_rng(0)
    return "".join(f"{rng.normal():.3f},{'ABC'[i % 3]},{i % 7}\n" for i in range(n))


def test_a_file_becomes_an_artifact(csv: Path, tmp_path: Path):
    done = call("train", csv, "--out", tmp_path / "it", "--alpha", 0.05, "--id", "order", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "100 calibration records (split)" in done.stdout
    assert "700 of 800 records" in done.stdout
    assert "one false alarm in 20 normal records" in done.stdout
    assert "fit: step" in done.stderr
    manifest = json.loads((tmp_path / "it" / "manifest.json").read_text())
    assert [c["name"] for c in manifest["schema"]["columns"]] == [
        "amount", "items", "age", "country", "express", "currency", "version",
    ]  # fmt: skip
    kinds = {c["name"]: c["kind"] for c in manifest["schema"]["columns"]}
    assert kinds["country"] == "categorical" and kinds["express"] == "boolean"
    assert kinds["items"] == "numeric"


def test_every_way_in_gives_the_same_scores(csv: Path, tmp_path: Path, mixed_frame: pl.DataFrame):
    mixed_frame.write_parquet(tmp_path / "normal.parquet")
    with gzip.open(tmp_path / "normal.csv.gz", "wb") as file:
        file.write(csv.read_bytes())
    ways = [
        csv,
        tmp_path / "normal.parquet",
        tmp_path / "normal.csv.gz",
        mixed_frame,
        mixed_frame.to_pandas(),
    ]
    fresh = make_frame(50, seed=3).to_dicts()
    settings: Any = {**SMALL, "alpha": 0.05, "id": "order"}
    scores = []
    for i, data in enumerate(ways):
        scorer = vaewatch.train(data, tmp_path / f"a{i}", report=False, **settings)
        scores.append(scorer.score_records(fresh).score)
    for score in scores[1:]:
        np.testing.assert_allclose(score, scores[0], rtol=1e-5)


def test_several_files_are_one_set_of_records(tmp_path: Path):
    (tmp_path / "a.csv").write_text("x,c,k\n" + rows(60))
    (tmp_path / "b.csv").write_text(
        "k,x,c\n" + "".join(f"{i % 7},{i / 50},A\n" for i in range(40))
    )
    done = call(
        "train",
        tmp_path / "a.csv",
        tmp_path / "b.csv",
        "--out",
        tmp_path / "it",
        "--alpha=0.05",
        *QUICK,
    )
    assert done.returncode == 0 and "of 100 records" in done.stdout


def test_the_same_seed_gives_the_same_artifact(csv: Path, tmp_path: Path):
    clock = {
        **os.environ,
        "SOURCE_DATE_EPOCH": "0",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
    }
    for name in ("a", "b"):
        run(
            "train",
            csv,
            "--out",
            tmp_path / name / "it",
            "--alpha=0.05",
            "--id=order",
            *WITH_REPORT,
            "--steps=20",
            env=clock,
        )
    for path in (tmp_path / "a" / "it").iterdir():
        if path.name != "manifest.json":
            assert path.read_bytes() == (tmp_path / "b" / "it" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must start with a header row of column names, got nothing"),
        ("x,c,k\n", "the input must have records, got none"),
        ("x,c,k\n1,A,2\n", "training takes at least 8 normal records, got 1"),
        ("x,c,k\n" + rows() + "oops,A,1\n", "'x' must be a number, got a text in 1 of 101"),
        ("x,c,k\n" + rows() + "inf,A,1\n", "column 'x' must be finite, but 1 of 101 records"),
        ("x,c,k\n" + rows() + "1e400,A,1\n", "column 'x' must be finite, but 1 of 101 records"),
        ("x,c,k\n" + rows() + "1,A\n", "a row must have 3 fields, got 2 (line 102)"),
        ("x,c,k\n" + rows() + '1,"A,1\n', "a quote must be closed"),
        ("x,x,k\n" + rows(), "column names must differ, but 'x' is there 2 times"),
        ("x,,k\n" + rows(), "column 2 must have a name in the header, got none"),
        ("x,c,k\n" + ",,\n" * 100, "a value to learn from, but every cell is missing"),
        ("x,t\n" + "1,2024-01-01 10:00:00\n" * 100, "column 't' must not be a timestamp"),
        ("x,t\n" + "1,2024-01-01T10:00:00Z\n" * 100, "--ignore t"),
        ("x,c,k\n" + rows(19), "alpha 0.04 takes at least 24 calibration records, got 19"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(tmp_path: Path, content: str, message: str):
    (tmp_path / "bad.csv").write_text(content)
    done = call("train", tmp_path / "bad.csv", "--out", tmp_path / "it", "--alpha=0.04", *QUICK)
    assert done.returncode == 3
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x,c\n" + b"1,\xe9\n" * 50, "a row must be UTF-8 text, got other bytes (line 2)"),
        (b"x,c\n" + b"1,a\0\n" * 50, "a row must be text, got a NUL byte (line 2)"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "bad.csv").write_bytes(content)
    done = call("train", tmp_path / "bad.csv", "--out", tmp_path / "it", *QUICK)
    assert done.returncode == 3 and message in done.stderr


def test_a_parquet_file_named_csv_is_recognised(tmp_path: Path, mixed_frame: pl.DataFrame):
    mixed_frame.write_parquet(tmp_path / "it.csv")
    done = call("train", tmp_path / "it.csv", "--out", tmp_path / "it")
    assert done.returncode == 3 and "got a Parquet file; name it .parquet" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbfx,c,k\n" + rows().encode(), id="bom"),
        pytest.param(
            b"x,c,k\n".replace(b"\n", b"\r\n") + rows().replace("\n", "\r\n").encode(), id="crlf"
        ),
        pytest.param(
            b"x,c,k\n" + rows().encode() + b'1,"B\n\xc3\xa9",2\n', id="newline in quotes"
        ),
        pytest.param(b"x,c,k\n" + b"1,A,2\n" * 100, id="constant"),
        pytest.param(b"x,k\n" + b"1,2\n" * 100, id="constant numbers"),
        pytest.param(b"x;c;k\n" + rows().replace(",", ";").encode(), id="semicolons"),
        pytest.param(b"x,c,k\n" + rows().encode() + b",,\n" * 5, id="rows that are all missing"),
    ],
)
def test_odd_but_good_files_are_taken(tmp_path: Path, content: bytes):
    (tmp_path / "odd.csv").write_bytes(content)
    done = call("train", tmp_path / "odd.csv", "--out", tmp_path / "it", "--alpha=0.05", *QUICK)
    assert done.returncode == 0, done.stderr
    assert call("inspect", tmp_path / "it", "--verify").returncode == 0


def test_a_constant_column_alarms_when_it_changes(tmp_path: Path):
    (tmp_path / "it.csv").write_text("x,c\n" + "1,A\n" * 100)
    scorer = vaewatch.train(
        tmp_path / "it.csv", tmp_path / "it", alpha=0.05, report=False, **SMALL
    )
    records = [{"x": 1, "c": "A"}, {"x": 2, "c": "A"}, {"x": 1, "c": "B"}, {"x": None, "c": "A"}]
    assert scorer.score_records(records).is_anomaly.tolist() == [False, True, True, True]


@pytest.mark.parametrize("columns", [2, 300, pytest.param(2000, marks=pytest.mark.long)])
def test_few_and_many_columns_are_taken(tmp_path: Path, columns: int):
    data = np.random.default_rng(0).normal(size=(60, columns))
    pl.DataFrame(data, schema=[f"c{i}" for i in range(columns)]).write_csv(tmp_path / "it.csv")
    done = call(
        "train", tmp_path / "it.csv", "--out", tmp_path / "it", "--alpha=0.05", *QUICK, "--steps=5"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("epoch", ["now", "1e9", "9" * 30])
def test_a_time_of_the_build_that_is_none_is_refused_before_the_fit(
    csv: Path, tmp_path: Path, epoch: str
):
    clock = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    done = run("train", csv, "--out", tmp_path / "it", *QUICK, env=clock)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"SOURCE_DATE_EPOCH must be whole Unix seconds, got '{epoch}'." in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--alpha", "0"], 2, "alpha must be at least 1e-09 and below 1, got 0"),
        (["--alpha", "2"], 2, "alpha must be at least 1e-09 and below 1, got 2"),
        (["--alpha", "0.001"], 3, "alpha 0.001 takes at least 999 calibration records, got 800"),
        (["--alpha", "often"], 2, "'often' is not a valid float"),
        (["--id", "nope"], 3, "id column 'nope' must be in the input"),
        (["--ignore", "nope"], 3, "ignored column 'nope' must be in the input"),
        (["--kind", "country"], 2, "must be COLUMN=KIND"),
        (["--kind", "country=text"], 2, "a kind must be one of numeric, categorical, boolean"),
        (["--kind", "country=numeric"], 3, "column 'country' must be a number, but 800 of 800"),
        (["--members", "2"], 2, "setting 'members' must be at least 3"),
        (["--served", "9"], 2, "setting 'members' must be at least 2 more than served (9), got 8"),
        (["--served", "0"], 2, "setting 'served' must be at least 1"),
        (["--device", "tpu"], 2, "setting 'device' must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        (["--steps", "0"], 2, "setting 'steps' must be at least 1"),
        (["--width", "0"], 2, "setting 'width' must be at least 1"),
        (["--batch", "0"], 2, "setting 'batch' must be at least 1"),
        (["--learning-rate", "0"], 2, "setting 'learning_rate' must be finite and above 0"),
        (["--latent", "0"], 2, "setting 'latent' must be at least 1"),
        (["--max-records", "0"], 2, "setting 'max_records' must be at least 1"),
        (["--neighbours", "-5"], 2, "setting 'neighbours' must be at least 0, got -5"),
        (["--seed", "-1"], 2, "setting 'seed' must be at least 0, got -1"),
        (["--beta", "-1"], 2, "setting 'beta' must be finite and at least 0, got -1"),
        (["--beta", "nan"], 2, "setting 'beta' must be finite and at least 0, got nan"),
        (["--typo"], 2, "No such option"),
    ],
)
def test_a_wrong_setting_is_named(
    csv: Path, tmp_path: Path, words: list[str], code: int, message: str
):
    done = call("train", csv, "--out", tmp_path / "it", *words)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize("steps", [60, 300])
def test_a_fit_that_diverged_is_refused(csv: Path, tmp_path: Path, steps: int):
    words = ["--alpha=0.05", "--id=order", *QUICK, f"--steps={steps}", "--learning-rate=1e30"]
    done = call("train", csv, "--out", tmp_path / "it", "--quiet", *words)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the fit must converge, but its weights are no longer finite: use a lower learning "
        "rate than 1e+30. The default is 0.01.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["normal.csv"]


def test_a_fit_takes_no_more_threads_than_there_are_cores(csv: Path, tmp_path: Path):
    words = ["--alpha=0.05", "--id=order", *QUICK, "--steps=5"]  # threads that are too many wait
    done = call("train", csv, "--out", tmp_path / "it", *words, f"--threads={cores() + 1}")
    assert done.returncode == 0
    assert f"note: --threads {cores() + 1} is more than the {cores()} cores" in " ".join(
        done.stderr.split()
    )
    assert read_manifest(tmp_path / "it").training.threads == cores()


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    done = call("train", tmp_path / "nope.csv", "--out", tmp_path / "it")
    assert done.returncode == 3 and "nope.csv' must be readable: No such file" in done.stderr


def test_an_existing_artifact_is_kept_unless_told(artifact_path: Path, csv: Path):
    done = call("train", csv, "--out", artifact_path)
    assert done.returncode == 4 and "must not exist yet" in done.stderr


def test_settings_come_from_flag_then_environment_then_file(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "it.toml").write_text('alpha = 0.2\nsteps = 7\nwidth = 8\nid = "order"\n')
    monkeypatch.setenv("VAEWATCH_STEPS", "9")
    monkeypatch.setenv("VAEWATCH_ALPHA", "0.1")
    words = ["--config", tmp_path / "it.toml", "--alpha", "0.05", "--members=4", "--served=2"]
    words += ["--batch", "32", "--learning-rate", "0.003"]
    done = call("train", csv, "--out", tmp_path / "it", "--no-report", *words)
    assert done.returncode == 0, done.stderr
    training = json.loads((tmp_path / "it" / "manifest.json").read_text())["training"]
    assert (training["alpha"], training["steps"], training["width"]) == (0.05, 9, 8)
    assert (training["batch"], training["learning_rate"]) == (32, 0.003)


def test_an_unknown_setting_in_a_file_is_an_error(csv: Path, tmp_path: Path):
    (tmp_path / "it.toml").write_text("alhpa = 0.2\n")
    done = call("train", csv, "--out", tmp_path / "it", "--config", tmp_path / "it.toml")
    assert (
        done.returncode == 2
        and "unknown setting 'alhpa'. Known: alpha, batch, beta" in done.stderr
    )


def test_a_disk_that_is_full_leaves_nothing(csv: Path, tmp_path: Path):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    words = ["train", csv, "--out", tmp_path / "it", "--alpha=0.05", *QUICK, "--steps=5"]
    done = run(*words, preexec_fn=small_files)
    assert done.returncode == 1 and "could not be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["normal.csv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(csv: Path, tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o500)
    done = call("train", csv, "--out", tmp_path / "closed" / "it")
    assert done.returncode == 4 and "must be writable" in done.stderr


def stop_in_the_middle(words: list[str], stop: Callable[[subprocess.Popen[str]], None]) -> int:
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "fit: step" in process.stderr.readline()
    stop(process)
    process.communicate(timeout=60)
    return process.returncode


def test_ctrl_c_leaves_nothing_and_exits_130(csv: Path, tmp_path: Path):
    words = [str(VAEWATCH), "train", str(csv), "--out", str(tmp_path / "it")]
    words += ["--steps", "4000", "--width", "8", "--members", "4", "--id", "order"]
    code = stop_in_the_middle(words, lambda process: process.send_signal(signal.SIGINT))
    assert code == 130
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"normal.csv", ".it.checkpoint"}  # whole, and what --resume goes on from


def test_the_autoencoder_has_no_kl(csv: Path, tmp_path: Path):
    settings: Any = {**SMALL, "alpha": 0.05, "id": "order", "report": False}
    scorer = vaewatch.train(csv, tmp_path / "it", model="ae", **settings)
    table = table_of(scorer.artifact.schema, make_frame(20).to_dicts())
    forward = scorer.network.forward(scorer.artifact.vectorizer.transform(table).values)
    assert not forward.kl.any() and forward.reconstruction.any()


def test_the_reconstruction_alone_can_be_the_score(csv: Path, tmp_path: Path):
    settings: Any = {**SMALL, "alpha": 0.05, "id": "order", "report": False}
    scorer = vaewatch.train(csv, tmp_path / "it", score="reconstruction", **settings)
    assert scorer.artifact.rule.kl_weight == scorer.artifact.rule.neighbour_weight == 0
    assert isinstance(scorer, Scorer)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("train", "in.csv", "--out", "art", "--alpha", "5%"),
            "'5%' is a percentage. Write 0.05.",
        ),
        (("recalibrate", "art", "in.csv", "--out", "b", "--alpha", " 0.1 %"), "Write 0.001."),
        (("score", "art", "in.csv", "--out", "o.csv", "--fail-above", "50%"), "Write 0.5."),
        (("evaluate", "art", "in.csv", "--alpha", "5 %%"), "'5 %%' is not a valid float."),
    ],
)
def test_a_percentage_is_told_as_the_share_that_it_is(words: tuple[str, ...], says: str):
    done = call(*words)
    assert done.returncode == 2 and says in done.stderr
