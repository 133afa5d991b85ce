"""A real service on a free loopback port, started as a user starts it."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import VAEWATCH

START_SECONDS = 60


class Live:
    """A running service: its `url`, the lines of its stderr so far, and a way to end it."""

    def __init__(
        self, process: subprocess.Popen[str], trust: ssl.SSLContext | bool = False
    ) -> None:
        self.process, self.trust, self.lines = process, trust, list[str]()
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(START_SECONDS):
            raise TimeoutError("the service did not start:\n" + "".join(self.lines))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("listening on "):
                self.url = line.split()[-1]
                self._ready.set()
        self._ready.set()

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request on a connection of its own."""
        return ask(method, self.url, path, trust=self.trust, **options)

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of /metrics, by name and labels."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of all samples of a name that have these labels."""
        wanted = set(labels.items())
        return sum(v for (n, has), v in self.series().items() if n == name and wanted <= set(has))

    def stop(self, sig: int = signal.SIGTERM) -> int:
        self.process.send_signal(sig)
        code = self.process.wait(30)
        self._reader.join(5)
        return code


def ask(
    method: str, url: str, path: str, *, trust: ssl.SSLContext | bool = False, **options: Any
) -> httpx.Response:
    """One request on a connection of its own. `httpx.get` would read the system's certificates for
    each, which takes twenty times as long as the request.
    """
    uds = None
    if url.startswith("unix:"):
        url, uds = "http://service", url.removeprefix("unix:")
    transport = httpx.HTTPTransport(uds=uds, verify=trust)
    with httpx.Client(transport=transport, timeout=30) as client:
        return client.request(method, url + path, **options)


@contextmanager
def serving(
    artifact: Path,
    *options: str,
    env: dict[str, str] | None = None,
    vaewatch: Path = VAEWATCH,
    trust: ssl.SSLContext | bool = False,
) -> Iterator[Live]:
    """`vaewatch serve` until the block ends; it drains only if the options say so."""
    words = [str(vaewatch), "serve", str(artifact), "--port", "0", *options]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VAEWATCH_DRAIN_SECONDS": "0", **(env or {})},
    )
    try:
        live = Live(process, trust)
        wait_ready(live)
        yield live
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stderr is not None
        process.stderr.close()


def wait_ready(live: Live) -> None:
    """Wait until /readyz answers 200; the socket listens a little earlier."""
    for _ in range(START_SECONDS * 50):
        if live.process.poll() is not None:
            raise RuntimeError("the service ended:\n" + live.said)
        try:
            if live.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise TimeoutError("the service was never ready:\n" + live.said)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what happens after an answer, such as a shadow's scores."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)
