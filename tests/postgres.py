"""Debian's PostgreSQL on a free loopback port, to stop, kill and restart, as no superuser."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest


def _programs() -> Path | None:
    """The folder of the newest release that is installed: Debian keeps it off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_release)
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).parent if there else None


def _release(path: Path) -> int:
    name = path.parents[1].name
    return int(name) if name.isdecimal() else 0


PROGRAMS = _programs()
needs_postgres = pytest.mark.skipif(PROGRAMS is None, reason="postgresql is not installed")


@dataclass
class Postgres:
    """A server, which listens on 127.0.0.1 alone and trusts whoever comes from there."""

    folder: Path
    port: int
    user: str
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        assert PROGRAMS is not None
        words = [PROGRAMS / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
        words += [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self.folder}",
        ]
        words += ["-c", "shared_buffers=16MB", "-c", "max_connections=60"]
        words += ["-c", "fsync=off"]  # processes are killed here, machines are not
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL, **_other_user())
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        raise TimeoutError("PostgreSQL did not start")

    def stop(self, sig: int = signal.SIGINT) -> None:
        """Stop it: by default its clients are cut off. SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(sig)
            self._process.wait(30)
            self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it hang until the block ends: what it is sent is acknowledged all the same."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        every = [pid, *map(int, children)]
        for each in every:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in every:
                os.kill(each, signal.SIGCONT)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, connect_timeout=2, autocommit=True) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]


def _other_user() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new server until the block ends."""
    assert PROGRAMS is not None
    folder = Path(tempfile.mkdtemp(prefix="vaewatch-postgres-"))
    if not os.getuid():
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [PROGRAMS / "initdb", "-D", folder / "data", "-U", "vaewatch", "-A", "trust"]
    words += ["--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(words, check=True, capture_output=True, **_other_user())  # type: ignore[call-overload]
    server = Postgres(folder, port, "vaewatch")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
