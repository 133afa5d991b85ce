"""Signals, a parent and a stderr that come or go at the wrong time, against real services."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from tests.conftest import VAEWATCH
from tests.live import ask, serving, until
from tests.service.test_service_life import new_workers, reloads_on_sighup
from vaewatch.service.http.listening import listen
from vaewatch.service.http.workers import Parent
from vaewatch.service.settings import Settings

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux ends workers with their parent")
ALONE = pytest.param("1", marks=pytest.mark.long)  # which shares what it does with a worker
WORKERS = pytest.mark.parametrize("workers", [ALONE, "2"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def started(
    artifact: Path, *options: str, stderr: int | IO[Any] | None = subprocess.DEVNULL, **more: Any
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A service that may not be ready yet, and its address."""
    port = free_port()
    words = [str(VAEWATCH), "serve", str(artifact), "--port", str(port), *options]
    env = {**os.environ, "VAEWATCH_DRAIN_SECONDS": "0", **more.pop("env", {})}
    process = subprocess.Popen(words, stderr=stderr, env=env, **more)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return ask("GET", url, "/readyz", timeout=5).status_code == 200
    return False


@WORKERS
def test_a_reload_that_comes_while_the_service_starts_is_done_later(
    artifact_path: Path, workers: str
):
    with started(artifact_path, "--workers", workers) as (process, url):
        until(lambda: blocks_sighup(process.pid))
        process.send_signal(signal.SIGHUP)
        if workers != "1":
            until(lambda: len(new_workers(process.pid, [])) == 2)
        serving = new_workers(process.pid, []) or [process.pid]
        while not all(map(reloads_on_sighup, serving)):
            assert process.poll() is None, "the signal has ended it"
            for pid in {process.pid, *serving}:
                os.kill(pid, signal.SIGHUP)
            time.sleep(0.02)
        until(lambda: is_ready(url) and reloads(url) >= 1)
        assert process.poll() is None


def blocks_sighup(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.split("SigBlk:")[1].split()[0], 16)
    return mask >> (signal.SIGHUP - 1) & 1 == 1


def reloads(url: str) -> float:
    lines = ask("GET", url, "/metrics").text.splitlines()
    return sum(float(x.split()[-1]) for x in lines if x.startswith("vaewatch_reloads_total"))


def test_new_workers_survive_a_reload(artifact_path: Path):
    with serving(artifact_path, "--workers", "2") as live:
        until(lambda: sum(map(reloads_on_sighup, new_workers(live.process.pid, []))) == 2)
        old = new_workers(live.process.pid, [])
        os.kill(old[0], signal.SIGKILL)
        ended = time.monotonic() + 20
        while sum(map(reloads_on_sighup, new_workers(live.process.pid, old[:1]))) < 2:
            live.process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
            assert time.monotonic() < ended
        assert live.said.count("replaced") == 1


@LINUX
def test_workers_end_with_a_parent_that_is_killed(artifact_path: Path):
    with serving(artifact_path, "--workers", "2") as live:
        until(lambda: sum(map(reloads_on_sighup, new_workers(live.process.pid, []))) == 2)
        workers = new_workers(live.process.pid, [])
        live.process.kill()
        until(lambda: not any(is_running(pid) for pid in workers))


@LINUX
def test_a_worker_that_starts_when_the_service_stops_stops_too(
    artifact_path: Path, tmp_path: Path
):
    options = ("--workers", "4", "--stop-seconds", "3")
    with (tmp_path / "stderr").open("w") as stderr:
        for _ in range(2):
            with started(artifact_path, *options, stderr=stderr) as (process, _url):
                while not new_workers(process.pid, []):
                    pass
                process.terminate()
                assert process.wait(20) == 0
    assert "did not stop" not in (tmp_path / "stderr").read_text()


class Stopped:
    """Work of a service that is told to stop just as a worker is given its socket."""

    def __init__(self) -> None:
        self.parent: Parent | None = None

    def __call__(self, *given: object) -> None:
        """Serve nothing."""

    def __reduce__(self) -> tuple[Any, ...]:
        assert self.parent is not None
        self.parent._stopping = True
        self.parent._close()
        return print, ()


def test_a_socket_that_closes_while_a_worker_is_given_it_is_no_failure(artifact_path: Path):
    """SIGTERM had a service end with 1 then, one time in some hundred."""
    work = Stopped()
    parent = Parent(Settings(artifact_path, port=0, workers=2), work)
    work.parent, parent._ready = parent, multiprocessing.Pipe(duplex=False)
    parent._listener = listen(parent.settings)
    parent._fill()
    assert parent._stopping and not parent._workers


@LINUX
def test_what_a_killed_parent_has_left_is_removed_at_the_next_start(
    artifact_path: Path, tmp_path: Path
):
    env = {"TMPDIR": str(tmp_path)}
    mine = tmp_path / "vaewatch-workers-mine"  # a user's own
    mine.mkdir()
    with serving(artifact_path, "--workers", "2", env=env):
        (in_use,) = set(tmp_path.iterdir()) - {mine}
        with serving(artifact_path, "--workers", "2", env=env) as live:
            until(lambda: sum(map(reloads_on_sighup, new_workers(live.process.pid, []))) == 2)
            (left,) = set(tmp_path.iterdir()) - {mine, in_use}
            workers = new_workers(live.process.pid, [])
            live.process.kill()
            until(lambda: not any(is_running(pid) for pid in workers))
        assert left.exists()
        with serving(artifact_path, "--workers", "2", env=env):
            assert not left.exists() and in_use.exists() and mine.exists()
            assert len(list(tmp_path.iterdir())) == 3
    assert list(tmp_path.iterdir()) == [mine]


@LINUX
def test_a_worker_whose_parent_ended_while_it_started_ends(artifact_path: Path):
    with started(artifact_path, "--workers", "2") as (process, _):
        until(lambda: len(new_workers(process.pid, [])) == 2)
        workers = new_workers(process.pid, [])
        process.kill()
        until(lambda: not any(is_running(pid) for pid in workers))


def is_running(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_only_a_parent_of_workers_is_signalled(artifact_path: Path):
    """The process that started a single service is none."""
    code = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGHUP, lambda *_: print('signalled', flush=True))\n"
        "service = subprocess.Popen(sys.argv[1:], stderr=sys.stdout)\n"
        "service.wait()\n"
    )
    port = str(free_port())
    words = [str(VAEWATCH), "serve", str(artifact_path), "--port", port, "--workers", "1"]
    env = {**os.environ, "VAEWATCH_DRAIN_SECONDS": "0"}
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as outer:
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_ready(url), 60)
        assert ask("POST", url, "/v1/reload").json()["result"] == "unchanged"
        (service,) = (
            int(pid)
            for pid in Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        )
        os.kill(service, signal.SIGTERM)
        said, _ = outer.communicate(timeout=20)
    assert "signalled" not in said and "listening on" in said


@pytest.mark.parametrize(
    ("workers", "abstract"),
    [pytest.param("1", False, marks=pytest.mark.long), ("2", False), ("1", True)],
    ids=["1", "2", "abstract"],
)
def test_systemd_is_notified(artifact_path: Path, tmp_path: Path, workers: str, abstract: bool):
    name = f"vaewatch-{os.getpid()}-{workers}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        systemd.settimeout(60)
        env = {"NOTIFY_SOCKET": "@" + name if abstract else name}
        with started(artifact_path, "--workers", workers, env=env) as (process, url):
            assert systemd.recv(100) == b"READY=1"
            assert is_ready(url)
            process.terminate()
            assert systemd.recv(100) == b"STOPPING=1"
            assert process.wait(20) == 0
        systemd.settimeout(0.1)
        with pytest.raises(TimeoutError):
            systemd.recv(100)


@WORKERS
def test_a_stderr_that_takes_nothing_ends_and_blocks_nothing(artifact_path: Path, workers: str):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    with started(artifact_path, "--workers", workers, stderr=writer) as (process, url):
        until(lambda: is_ready(url), 60)
        for _ in range(300):
            assert ask("POST", url, "/v1/score", content=b"no").status_code == 400
        process.terminate()
        assert process.wait(20) == 0
    os.close(reader)
    with started(artifact_path, "--workers", workers, stderr=writer) as (process, url):
        until(lambda: is_ready(url), 60)  # nobody reads that pipe any more
        process.terminate()
        assert process.wait(20) == 0
    os.close(writer)


ALL_CLOSED, FULL = "0<&- 1>&- 2>&-", "2>/dev/full"


@pytest.mark.parametrize(
    ("workers", "redirection"),
    [
        *(("1", "2>&-"), ("2", ALL_CLOSED)),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (("1", ALL_CLOSED), ("1", FULL), ("2", FULL))
        ),
    ],
)
def test_a_closed_stderr_is_no_socket(artifact_path: Path, workers: str, redirection: str):
    port = free_port()
    command = f'exec "$@" {redirection}'
    words = [str(VAEWATCH), "serve", str(artifact_path), "--port", str(port)]
    process = subprocess.Popen(
        ["sh", "-c", command, "sh", *words, "--workers", workers],
        env={**os.environ, "VAEWATCH_DRAIN_SECONDS": "0"},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_ready(url), 60)
        for fd in range(3):
            assert "socket" not in os.readlink(f"/proc/{process.pid}/fd/{fd}")
        assert ask("POST", url, "/v1/score", content=b"no").status_code == 400
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_lines_are_whole_and_in_order_where_stderr_is_slow(artifact_path: Path):
    reader, writer = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with started(artifact_path, stderr=writer) as (process, url):
        os.close(writer)
        until(lambda: is_ready(url), 60)
        for i in range(50):
            ask("GET", url, "/nowhere", headers={"x-request-id": f"n{i}"})
        process.terminate()
        with open(reader, "rb") as stream:
            said = stream.read().decode()
        process.wait(20)
    requests = [line for line in said.splitlines() if '"request_id":"' in line]
    ids = [line.split('"request_id":"')[1].split('"')[0] for line in requests]
    assert [name for name in ids if name.startswith("n")] == [f"n{i}" for i in range(50)]


@WORKERS
def test_changes_that_are_asked_for_at_the_end_do_not_end_it(artifact_path: Path, workers: str):
    with started(artifact_path, "--workers", workers) as (process, url):
        until(lambda: is_ready(url), 60)
        process.terminate()
        while process.poll() is None:
            for sig in (signal.SIGHUP, signal.SIGUSR1):
                process.send_signal(sig)
            time.sleep(0.005)
        assert process.returncode == 0


def test_a_change_that_comes_while_a_worker_is_collected_ends_nothing(tmp_path: Path):
    worker = multiprocessing.get_context("spawn").Process(target=signal.getsignal, args=(1,))
    worker.start()
    assert worker.pid is not None
    os.waitpid(worker.pid, 0)  # collected, and what it ended with is not yet noted
    parent = Parent(Settings(tmp_path), lambda *_: None)
    parent._workers[0] = worker
    parent._pass_on(signal.SIGHUP, None)
    multiprocessing.process._children.discard(worker)  # which never learns that it ended
