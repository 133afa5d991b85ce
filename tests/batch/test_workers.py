"""Work on several cores: real processes, and what becomes of them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.batch.test_score import ROOT
from tests.batch.test_score_resume import command
from tests.batch.work import ending, slowly
from tests.conftest import make_frame
from vaewatch import threads
from vaewatch.batch.workers import AHEAD, ALONE, Out, Team, bytes_of, in_order
from vaewatch.scoring.scorer import Scorer

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds processes in /proc"
)


def chunks_until(ready: Callable[[], bool]) -> Iterator[int]:
    """0, 1, ... until then, and for a minute at most."""
    for chunk in range(3000):
        yield chunk
        if chunk > 50 and ready():
            return


def side_by_side(chunks: Iterable[int], work: Callable[[int], Out], cores: int) -> Generator[Out]:
    with Team(cores) as team:
        yield from in_order(chunks, work, team)


def children(pid: int) -> list[int]:
    """The processes that one has started, those of these too."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    found = [int(word) for text in lists for word in text.split()]
    return [one for child in found for one in (child, *children(child))]


def runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("cores", [1, 3])
def test_results_come_in_the_chunks_order_from_as_many_processes_as_cores(cores: int):
    found, pids = list[int](), set[int]()
    for chunk, pid in side_by_side(chunks_until(lambda: len(pids) == cores), slowly, cores):
        found.append(chunk)
        pids.add(pid)
    assert found == list(range(len(found)))
    assert len(pids) == cores and os.getpid() in pids
    assert not any(pid != os.getpid() and runs(pid) for pid in pids)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(), max_size=ALONE))
def test_few_chunks_need_no_process(chunks: list[int]):
    assert list(side_by_side(chunks, str, 8)) == list(map(str, chunks))
    assert not multiprocessing.active_children()


def test_reading_waits_for_the_work():
    read, ahead, pids = list[int](), list[int](), set[int]()

    def counted() -> Iterator[int]:
        for chunk in chunks_until(lambda: len(pids) == 2):
            read.append(chunk)
            yield chunk

    for number, (_, pid) in enumerate(side_by_side(counted(), slowly, 2)):
        ahead.append(len(read) - number)
        pids.add(pid)
    assert max(ahead) == AHEAD * 2 + 1


def test_what_fails_in_a_process_fails_here_with_its_own_error():
    pids = set[int]()
    chunks = chain(chunks_until(lambda: len(pids) == 3), [-1] * 20)
    with pytest.raises(ValueError, match="a chunk must not be negative"):
        for _, pid in side_by_side(chunks, slowly, 3):
            pids.add(pid)
    assert len(pids) == 3 and not multiprocessing.active_children()


def test_work_goes_on_without_a_process_that_ends(caplog: pytest.LogCaptureFixture):
    found = list(
        side_by_side(chunks_until(lambda: not multiprocessing.active_children()), ending, 3)
    )
    assert found == list(range(len(found)))
    (said,) = caplog.messages
    assert said.startswith("warning: a process of this job could not start or was ended")


def test_a_stop_in_the_middle_leaves_no_process():
    done, pids = side_by_side(range(1000), slowly, 3), set[int]()
    while len(pids) < 2:
        pids |= {next(done)[1]} - {os.getpid()}
    assert all(map(runs, pids))
    done.close()
    assert not any(map(runs, pids))


def test_a_scorer_travels(scorer: Scorer):
    again = pickle.loads(pickle.dumps(scorer))
    records = make_frame(50).to_dicts()
    np.testing.assert_array_equal(
        again.score_records(records).score, scorer.score_records(records).score
    )


@needs_proc
@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("starting", signal.SIGTERM),
        ("working", signal.SIGINT),
        ("working", signal.SIGKILL),
        pytest.param("starting", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("starting", signal.SIGKILL, marks=pytest.mark.long),
        pytest.param("working", signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_no_process_outlives_a_job_that_is_stopped(
    tmp_path: Path, artifact_path: Path, how: signal.Signals, moment: str
):
    make_frame(300_000).write_csv(tmp_path / "in.csv")
    words = command(artifact_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    draft = tmp_path / ".out.csv.draft"
    with subprocess.Popen(
        words, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        found = wait_for_children(job.pid)
        for _ in range(3000 if moment == "working" else 0):
            if draft.exists() and draft.stat().st_size > 1 << 20:
                break
            time.sleep(0.01)
        # as a terminal does: Ctrl-C goes to all
        os.killpg(job.pid, how) if how == signal.SIGINT else job.send_signal(how)
        _, said = job.communicate(timeout=60)
    assert job.returncode == (130 if how == signal.SIGINT else -how)
    assert how != signal.SIGINT or "Traceback" not in said
    for _ in range(500):
        if not any(map(runs, found)):
            break
        time.sleep(0.02)
    assert not any(map(runs, found))


def wait_for_children(pid: int) -> list[int]:
    for _ in range(3000):
        found = children(pid)
        if len(found) > 1:  # the first is Python's own, which tracks resources
            return found
        time.sleep(0.01)
    raise AssertionError("no process was started")


@needs_proc
def test_a_job_whose_process_is_killed_ends_with_the_same_bytes(
    tmp_path: Path, artifact_path: Path
):
    make_frame(100_000).write_csv(tmp_path / "in.csv")
    for name in ("whole", "got"):
        words = command(artifact_path, tmp_path / "in.csv", "--out", tmp_path / f"{name}.csv")
        with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as job:
            if name == "got":
                os.kill(wait_for_children(job.pid)[1], signal.SIGKILL)
            _, said = job.communicate(timeout=120)
        assert job.returncode == 0, said
        assert ("warning: a process of this job" in said) == (name == "got")
    assert (tmp_path / "got.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_processes_for_a_long_input_are_there_before_it_is_read(tmp_path: Path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(bytes(3000))
    folder, glob, file = str(tmp_path), str(tmp_path / "*.csv"), str(tmp_path / "b.csv")
    assert [bytes_of([name]) for name in (folder, glob, file)] == [6000, 6000, 3000]
    assert bytes_of(["-", "s3://bucket/a.csv", str(tmp_path / "none.csv")]) == 0
    with Team(4) as team:
        team.start(2)
        assert len(multiprocessing.active_children()) == 2
        results = list(in_order(range(100), slowly, team))
        assert [chunk for chunk, _ in results] == list(range(100))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("text", "fewer"), [("max 100000\n", None), ("50000 100000\n", 1), ("9900000 100000\n", None)]
)
def test_a_container_s_quota_counts_as_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fewer: int | None
):
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    whole = threads.cores()
    threads.QUOTA.write_text(text)
    assert threads.cores() == (fewer or whole) <= (os.cpu_count() or 1)
    assert sys.platform != "linux" or whole == len(os.sched_getaffinity(0))
