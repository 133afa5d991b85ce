"""`--engine ray`: a real local Ray, and a worker that is killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import ray

from tests.batch.objects import object_store
from tests.batch.series import WINDOW, by_time, make_machines
from tests.conftest import make_frame
from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.job import Job
from vaewatch.batch.pipeline import run
from vaewatch.batch.ray import run_on_ray
from vaewatch.batch.stage import ScoredChunk, Stage
from vaewatch.batch.workers import AHEAD
from vaewatch.scoring.files import chunks as reading
from vaewatch.scoring.files.remote import in_folder, open_object, put
from vaewatch.scoring.scorer import Scorer

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]


def worker_processes() -> list[int]:
    """The processes of our actors: they are descendants of this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::Worker" in entry.read_bytes() and os.getpid() in ancestors(entry.parent):
                found.append(int(entry.parent.name))
        except OSError:
            pass  # it ended while we looked
    return found


def ancestors(process: Path) -> Iterator[int]:
    while process.name != "1":
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        yield int(parent)
        process = process.with_name(parent)
        if parent == "0":
            return


def killing(chunks: Iterable[FileChunk], stage: Stage) -> Iterator[ScoredChunk]:
    """Run on Ray and kill an actor's process once some pieces are done."""
    for number, scored in enumerate(run_on_ray(chunks, stage)):
        if number == 5:
            os.kill(worker_processes()[0], signal.SIGKILL)
        yield scored


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment, object_store(environment) as url:
        yield url


@pytest.fixture(scope="module")
def cluster(bucket: str) -> Iterator[None]:
    """Its processes inherit the way to the bucket."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


LONG = [pytest.param(ending, marks=pytest.mark.long) for ending in ("ndjson", "parquet")]


@pytest.mark.parametrize("ending", ["csv", *LONG])
def test_the_same_bytes_from_and_to_objects_though_a_worker_dies(
    tmp_path: Path,
    scorer: Scorer,
    bucket: str,
    cluster: None,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 1 << 15)
    monkeypatch.setattr("vaewatch.scoring.files.parquet.CHUNK_ROWS", 1000)
    frame, source = make_frame(20_000), tmp_path / f"in.{ending}"
    if ending == "parquet":
        frame.write_parquet(source)
    else:
        text = frame.write_csv() if ending == "csv" else frame.write_ndjson()
        source.write_text(text + "not a record\n")
    url, names = f"{bucket}/{ending}/0.{ending}", (f"out.{ending}", "bad.csv")
    put(source.read_bytes(), url)
    here = Job((str(source),), *(str(tmp_path / name) for name in names))
    there = Job((f"{bucket}/{ending}/",), *(f"{bucket}/{name}" for name in names), threads=2)
    counts, again = run(scorer, here), run(scorer, there, engine=killing)
    assert counts.to_json() == again.to_json() and counts.scored == 20_000
    for name in names:
        with open_object(f"{bucket}/{name}") as stream:
            found = stream.read().replace(url.encode(), str(source).encode())
        assert found == (tmp_path / name).read_bytes()


def test_discoveries_are_the_same_on_ray(
    tmp_path: Path,
    scorer: Scorer,
    bucket: str,
    cluster: None,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 1 << 15)
    absurd = pl.when(pl.int_range(pl.len()) % 8 == 0).then(1e6).otherwise("amount")
    frame = make_frame(10_000).with_columns(absurd.alias("amount"))
    frame.write_csv(tmp_path / "in.csv")
    put((tmp_path / "in.csv").read_bytes(), f"{bucket}/fdr.csv")
    here = Job((str(tmp_path / "in.csv"),), str(tmp_path / "out.csv"), fdr=0.2)
    there = Job((f"{bucket}/fdr.csv",), f"{bucket}/found.csv", fdr=0.2, threads=2)
    counts, again = run(scorer, here), run(scorer, there, engine=run_on_ray)
    assert counts.to_json() == again.to_json() and counts.anomalies > 1000
    with open_object(f"{bucket}/found.csv") as stream:
        assert stream.read() == (tmp_path / "out.csv").read_bytes()


def test_reading_waits_for_scoring(
    tmp_path: Path, scorer: Scorer, cluster: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "CHUNK_BYTES", 1 << 15)
    make_frame(20_000).write_csv(tmp_path / "in.csv")
    read, ahead = 0, list[int]()

    def watched(chunks: Iterable[FileChunk], stage: Stage) -> Iterator[ScoredChunk]:
        def counted() -> Iterator[FileChunk]:
            nonlocal read
            for chunk in chunks:
                read += 1
                yield chunk

        for number, scored in enumerate(run_on_ray(counted(), stage)):
            ahead.append(read - number)
            yield scored

    job = Job((str(tmp_path / "in.csv"),), str(tmp_path / "out.csv"), threads=2)
    assert run(scorer, job, engine=watched).scored == 20_000
    assert len(ahead) > 20 and max(ahead) == AHEAD * job.threads + 1


def test_what_is_printed_meanwhile_is_not_in_the_output(
    tmp_path: Path, scorer: Scorer, cluster: None, capsysbinary: pytest.CaptureFixture[bytes]
):
    make_frame(100).write_csv(tmp_path / "in.csv")

    def talking(chunks: Iterable[FileChunk], stage: Stage) -> Iterator[ScoredChunk]:
        for scored in run_on_ray(chunks, stage):
            print("\x1b[33m(raylet)\x1b[0m a worker died")
            yield scored

    run(scorer, Job((str(tmp_path / "in.csv"),), "-"), engine=talking)
    said = capsysbinary.readouterr()
    assert said.out.count(b"\n") == 101 and b"raylet" not in said.out
    assert said.err == b"(raylet) a worker died\n"


def stopping(chunks: Iterable[FileChunk], stage: Stage) -> Iterator[ScoredChunk]:
    for number, scored in enumerate(run_on_ray(chunks, stage)):
        if number == 9:
            raise KeyboardInterrupt
        yield scored


def test_a_job_stopped_on_ray_goes_on_there_to_the_same_bytes(
    tmp_path: Path, scorer: Scorer, bucket: str, cluster: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 1 << 15)
    monkeypatch.setattr("vaewatch.batch.journal.SECONDS", 0)
    put(make_frame(20_000).write_csv().encode(), f"{bucket}/long.csv")
    there = Job((f"{bucket}/long.csv",), f"{bucket}/scored.csv", threads=2)
    with pytest.raises(KeyboardInterrupt):
        run(scorer, there, engine=stopping)
    assert len(os.listdir(tmp_path)) == 2 and f"{bucket}/scored.csv" not in in_folder(bucket)
    met: list[int] = []

    def counting(chunks: Iterable[FileChunk], stage: Stage) -> Iterator[ScoredChunk]:
        for scored in run_on_ray(chunks, stage):
            met.append(scored.counts.scored)
            yield scored

    assert run(scorer, replace(there, resume=True), engine=counting).scored == 20_000
    assert 0 < sum(met) < 20_000 and os.listdir(tmp_path) == []
    run(scorer, replace(there, out=str(tmp_path / "whole.csv")))
    with open_object(f"{bucket}/scored.csv") as stream:
        assert stream.read() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("sort", [pytest.param(False, marks=pytest.mark.long), True])
def test_windows_are_the_same_on_ray(
    tmp_path: Path,
    machines_path: Path,
    cluster: None,
    monkeypatch: pytest.MonkeyPatch,
    sort: bool,
):
    monkeypatch.setattr(reading, "CHUNK_BYTES", 1 << 14)
    by_time(make_machines(2_000, 4, seed=9)).write_csv(tmp_path / "in.csv")
    machines, source = Scorer.load(machines_path), (str(tmp_path / "in.csv"),)
    here = Job(source, str(tmp_path / "here.csv"), sort=sort)
    there = replace(here, out=str(tmp_path / "there.csv"), threads=2)
    counts = run(machines, here)
    assert counts.to_json() == run(machines, there, engine=killing).to_json()
    assert counts.series is not None and counts.series.judged == 8_000 - 4 * (WINDOW - 1)
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
