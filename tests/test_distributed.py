"""`--engine ray`: a real local Ray, and a worker that is killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import ray

from batch.distributed import run_on_ray
from batch.job import Job
from batch.pipeline import run
from batch.stage import Item, Scored, Stage
from scoring import delimited
from scoring.scorer import Scorer
from tests.conftest import make_frame

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


def killing(items: Iterable[Item], stage: Stage) -> Iterator[Scored]:
    """Run on Ray and kill an actor's process once some pieces are done."""
    for number, scored in enumerate(run_on_ray(items, stage)):
        if number == 5:
            os.kill(worker_processes()[0], signal.SIGKILL)
        yield scored


@pytest.fixture
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


LONG = [pytest.param(ending, marks=pytest.mark.long) for ending in ("ndjson", "parquet")]


@pytest.mark.parametrize("ending", ["csv", *LONG])
def test_the_same_bytes_though_a_worker_dies(
    tmp_path: Path, scorer: Scorer, cluster: None, monkeypatch: pytest.MonkeyPatch, ending: str
):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr("batch.parquet_file.SLICE_ROWS", 1000)
    frame, source = make_frame(20_000), tmp_path / f"in.{ending}"
    if ending == "parquet":
        frame.write_parquet(source)
    else:
        text = frame.write_csv() if ending == "csv" else frame.write_ndjson()
        source.write_text(text + "not a record\n")
    jobs = [
        Job(
            (str(source),),
            str(tmp_path / f"{name}.{ending}"),
            str(tmp_path / f"{name}.bad"),
            threads=2,
        )
        for name in ("here", "ray")
    ]
    here, there = run(scorer, jobs[0]), run(scorer, jobs[1], engine=killing)
    assert here.to_json() == there.to_json() and here.scored == 20_000
    for one, other in ((jobs[0].out, jobs[1].out), (jobs[0].rejects, jobs[1].rejects)):
        assert Path(str(one)).read_bytes() == Path(str(other)).read_bytes()
