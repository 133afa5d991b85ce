"""A job that is killed goes on with `--resume`, to the same bytes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
import zstandard

from tests.batch.test_score import ROOT, error_of
from tests.conftest import call, make_frame
from vaewatch.batch import pipeline
from vaewatch.batch.job import Counts, Job
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.scorer import Scorer

# Journals after every chunk, and has small ones, so that a small file gives many places to stop.
SMALL_STEPS = """
from vaewatch.__main__ import main
from vaewatch.batch import journal
from vaewatch.scoring.files import chunks, parquet
journal.SECONDS = journal.SPARED = 0
chunks.CHUNK_BYTES = 1 << 15
parquet.CHUNK_ROWS = 512
main()
"""


@contextmanager
def small_steps(chunk_bytes: int = 1 << 15) -> Iterator[None]:
    """The same in this process. What works on other cores is there before the first chunk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaewatch.batch.journal.SECONDS", 0)
        patch.setattr("vaewatch.batch.journal.SPARED", 0)
        patch.setattr("vaewatch.scoring.files.chunks.CHUNK_BYTES", chunk_bytes)
        patch.setattr("vaewatch.scoring.files.json.ndjson.CHUNK_BYTES", chunk_bytes)
        patch.setattr("vaewatch.scoring.files.parquet.CHUNK_ROWS", 512)
        patch.setattr("vaewatch.commands.score.LONG", chunk_bytes)
        yield


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", SMALL_STEPS, "score", "--threads", "2", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Run a job in small steps to its end, in this process."""
    with small_steps():
        done = call("score", "--threads", 2, *arguments)
    out, err = done.stdout.encode(), done.stderr.encode()
    return subprocess.CompletedProcess(arguments, done.returncode, out, err)


def stop(how: signal.Signals, journal: Path, *arguments: object) -> int:
    """Start a job and stop it when its journal has a few lines."""
    return stopped(how, journal, *arguments)[0]


def stopped(how: signal.Signals, journal: Path, *arguments: object) -> tuple[int, str]:
    """Return the exit code of a job that was stopped, and what it said."""
    with subprocess.Popen(command(*arguments), cwd=ROOT, stderr=subprocess.PIPE) as job:
        for _ in range(6000):
            if journal.exists() and journal.read_bytes().count(b"\n") > 4:
                break
            time.sleep(0.01)
        job.send_signal(how)
        said = job.communicate(timeout=60)[1]
        return job.returncode, said.decode()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    frame = make_frame(40_000)
    lines = frame.write_csv().splitlines()
    lines[1000:1000] = ["ragged", lines[5].replace(",", ',"', 1)]
    for ending in ("csv", "csv.gz", "csv.zst", "ndjson", "parquet"):
        (folder / ending).mkdir()
    half = len(lines) // 2
    parts = [lines[:half], [lines[0], *lines[half:]]]
    for i, part in enumerate(parts):
        data = "\n".join(part).encode()
        (folder / "csv" / f"{i}.csv").write_bytes(data)
        (folder / "csv.gz" / f"{i}.csv.gz").write_bytes(gzip.compress(data))
        (folder / "csv.zst" / f"{i}.csv.zst").write_bytes(zstandard.compress(data))
    (folder / "ndjson" / "0.ndjson").write_text(frame.write_ndjson())
    frame.write_parquet(folder / "parquet" / "0.parquet")
    return folder


@pytest.mark.parametrize(
    ("kind", "out"),
    [
        ("csv", "csv"),
        pytest.param("csv.gz", "csv.gz", marks=pytest.mark.long),
        ("csv.zst", "csv.zst"),
        pytest.param("ndjson", "ndjson", marks=pytest.mark.long),
        ("parquet", "parquet"),
    ],
)
def test_a_killed_job_ends_with_the_same_bytes(
    tmp_path: Path, artifact_path: Path, sources: Path, kind: str, out: str
):
    whole, bad = tmp_path / f"whole.{out}", tmp_path / "whole-bad.csv"
    assert run(artifact_path, sources / kind, "--out", whole, "--rejects", bad).returncode == 0
    target, rejects = tmp_path / f"out.{out}", tmp_path / "bad.csv"
    asked = (artifact_path, sources / kind, "--out", target, "--rejects", rejects)
    journal = tmp_path / f".out.{out}.journal"
    assert stop(signal.SIGKILL, journal, *asked) == -signal.SIGKILL
    assert not target.exists() and not rejects.exists()
    done = run(*asked, "--resume", "--summary", tmp_path / "sum.json")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == whole.read_bytes()
    assert rejects.read_bytes() == bad.read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted(
        [whole.name, bad.name, target.name, rejects.name, "sum.json"]
    )
    found = json.loads((tmp_path / "sum.json").read_text())
    earlier = found["records_of_earlier_runs"]
    assert 0 < earlier < found["records"] == 40_000 + (2 if "csv" in kind else 0)
    rate = (found["records"] - earlier) / found["seconds"]
    assert found["records_per_second"] == pytest.approx(rate, rel=0.01)
    assert f"; {earlier:,} of them before it was resumed; ".encode() in done.stderr


def test_ctrl_c_can_be_resumed_and_says_so(tmp_path: Path, artifact_path: Path, sources: Path):
    target, journal = tmp_path / "out.csv", tmp_path / ".out.csv.journal"
    asked = (artifact_path, sources / "csv" / "1.csv", "--out", target)
    asked += ("--rejects", tmp_path / "bad.csv")
    code, said = stopped(signal.SIGINT, journal, *asked)
    assert code == 130 and journal.exists() and not target.exists()
    left = [tmp_path / f".{name}" for name in ("out.csv.draft", "bad.csv.draft", journal.name[1:])]
    names = ", ".join(f"'{path}'" for path in left)
    assert said.endswith(f"interrupted. Run again with --resume to go on, or delete {names}.\n")
    kept = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert kept == {path.name for path in left}
    assert run(*asked, "--resume").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["bad.csv", "out.csv"]


def test_a_changed_input_or_setting_is_refused(tmp_path: Path, artifact_path: Path, sources: Path):
    source = tmp_path / "in.csv"
    source.write_bytes((sources / "csv" / "1.csv").read_bytes())
    asked = (artifact_path, source, "--out", tmp_path / "out.csv")
    stop(signal.SIGKILL, tmp_path / ".out.csv.journal", *asked)
    done = run(*asked, "--resume", "--only-anomalies")
    assert done.returncode == 3 and "but the settings have changed since" in error_of(done)
    with open(source, "a") as file:
        file.write("\n")
    done = run(*asked, "--resume")
    assert done.returncode == 3 and f"but '{source}' has changed since" in error_of(done)
    assert run(*asked).returncode == 0


def test_resume_without_an_earlier_job_starts_from_the_beginning(
    tmp_path: Path, artifact_path: Path, sources: Path
):
    done = run(artifact_path, sources / "csv" / "1.csv", "--out", tmp_path / "out.csv", "--resume")
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, artifact_path: Path, sources: Path
):
    source = tmp_path / "in.csv"
    source.write_bytes((sources / "csv" / "1.csv").read_bytes())
    asked = command(artifact_path, source, "--out", tmp_path / "out.csv")
    with subprocess.Popen(asked, cwd=ROOT, stderr=subprocess.PIPE) as job:
        for _ in range(6000):
            if (tmp_path / ".out.csv.draft").exists():
                break
            time.sleep(0.01)
        with open(source, "a") as file:
            file.write("\n")
        assert job.wait(60) == 3 and job.stderr
        assert b"must not change while it is read" in job.stderr.read()
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_file_that_grows_is_noticed_before_the_job_ends(
    tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vaewatch.batch.journal.SECONDS", 0)
    monkeypatch.setattr("vaewatch.scoring.files.chunks.CHUNK_BYTES", 1 << 15)
    source, seen = tmp_path / "in.csv", list[int]()
    make_frame(20_000).write_csv(source)

    def grow(counts: Counts, share: float | None) -> None:
        seen.append(counts.records)
        with open(source, "a") as file:
            file.write("\n")

    with pytest.raises(SchemaError, match="must not change while it is read"):
        pipeline.run(scorer, Job((str(source),), str(tmp_path / "out.csv")), grow)
    assert seen[0] == 0 and len(seen) == 2
    assert os.listdir(tmp_path) == ["in.csv"]


# Killed at one of the last steps of a job, when it gives its files their names and tidies up.
KILLED = """
import os, shutil, signal
def killing(real, left=[STEP]):
    def step(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return step
os.replace, shutil.rmtree, os.unlink = map(killing, (os.replace, shutil.rmtree, os.unlink))
"""


@pytest.mark.parametrize(
    ("kind", "step"), [*(("csv", step) for step in (1, 2, 3, 4)), ("parquet", 2), ("parquet", 4)]
)
def test_a_job_killed_between_its_last_steps_ends_with_the_same_bytes(
    tmp_path: Path, artifact_path: Path, kind: str, step: int
):
    source, frame = tmp_path / f"in.{kind}", make_frame(500)
    first = pl.int_range(pl.len()) == 0
    frame = frame.with_columns(amount=pl.when(first).then(float("inf")).otherwise("amount"))
    frame.write_parquet(source) if kind == "parquet" else frame.write_csv(source)

    def asked(folder: Path) -> list[object]:
        names = {"--out": f"out.{kind}", "--rejects": "bad.csv", "--summary": "sum.json"}
        files = [word for option, name in names.items() for word in (option, folder / name)]
        return ["score", artifact_path, source, *files]

    whole, got = tmp_path / "whole", tmp_path / "got"
    for folder in (whole, got):
        folder.mkdir()
    assert call(*asked(whole)).returncode == 0
    program = KILLED.replace("STEP", str(step)) + "from vaewatch.__main__ import main; main()"
    killed = [sys.executable, "-c", program, *map(str, asked(got))]
    done = subprocess.run(killed, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert call(*asked(got), "--resume").returncode == 0
    assert sorted(os.listdir(got)) == sorted(os.listdir(whole))
    for name in (f"out.{kind}", "bad.csv"):
        assert (got / name).read_bytes() == (whole / name).read_bytes()
    kept = ("records", "scored", "rejected", "anomalies", "severity")
    one, other = (json.loads((folder / "sum.json").read_text()) for folder in (whole, got))
    assert {name: one[name] for name in kept} == {name: other[name] for name in kept}
    assert one["rejected"] == 1
    assert other["records_of_earlier_runs"] == 500  # nothing was scored again


def test_an_artifact_that_changed_is_refused(
    tmp_path: Path, artifact_path: Path, newer_path: Path, sources: Path
):
    artifact = tmp_path / "artifact"
    artifact.symlink_to(artifact_path)
    asked = (artifact, sources / "csv" / "1.csv", "--out", tmp_path / "out.csv")
    assert stop(signal.SIGKILL, tmp_path / ".out.csv.journal", *asked) == -signal.SIGKILL
    artifact.unlink()
    artifact.symlink_to(newer_path)
    done = run(*asked, "--resume")
    assert done.returncode == 3 and error_of(done) == (
        "error: --resume takes the same input, artifact and settings, but the artifact has "
        "changed since the job was interrupted. Run again without --resume to start from the "
        "beginning.\n"
    )
    assert run(*asked).returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["artifact", "out.csv"]


def test_what_a_job_killed_at_its_end_has_left_does_not_stop_the_next(
    tmp_path: Path, artifact_path: Path
):
    source, left = tmp_path / "in.parquet", tmp_path / ".out.parquet.done"
    make_frame(500).write_parquet(source)
    left.mkdir()
    (left / "0000000000.parquet").touch()
    done = call("score", artifact_path, source, "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["in.parquet", "out.parquet"]
