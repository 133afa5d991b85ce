"""A shop under the eyes of Prometheus: a service, a batch job, and traffic of three kinds."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import polars as pl

from tests.conftest import call, make_frame
from tests.deploy.prometheus import Prometheus, prometheus
from tests.live import Live, serving
from tests.receiver import Receiver

FASTER = 60  # a minute is a second
SCRAPE = "500ms"
RECORDS = 50  # a request; four requests a second

Kind = Callable[[pl.DataFrame], pl.DataFrame]


def normal(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def attack(frame: pl.DataFrame) -> pl.DataFrame:
    """Every other order is absurdly dear."""
    odd = pl.int_range(pl.len()) % 2 == 0
    return frame.with_columns(pl.when(odd).then(1e6).otherwise("amount").alias("amount"))


def drift(frame: pl.DataFrame) -> pl.DataFrame:
    """A new market, half as dear again, and one amount in 20 requests that is no number."""
    new = pl.int_range(pl.len()) % 5 == 0
    return frame.with_columns(
        pl.when(new).then(pl.lit("PT")).otherwise("country").alias("country"),
        pl.col("amount") * 1.5,
    )


@dataclass
class Traffic(threading.Thread):
    """Orders by four requests a second, of the kind that is set, until it ends."""

    url: str
    kind: Kind = normal
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            seed = 1000
            while not self.ended.wait(0.25):
                seed += 1
                frame = self.kind(make_frame(RECORDS, seed).drop("order"))
                records = frame.to_dicts()
                if self.kind is drift and seed % 4 == 0:
                    records[0]["amount"] = "much"
                try:
                    client.post("/v1/score", json={"records": records})
                except httpx.TransportError:
                    return  # the service has been stopped


@dataclass(frozen=True)
class Watched:
    """All that runs."""

    live: Live
    traffic: Traffic
    prometheus: Prometheus
    artifact: Path


@contextmanager
def watched(artifact: Path, folder: Path) -> Iterator[Watched]:
    """A service with its shadow and a receiver, a finished batch job, traffic, and a Prometheus
    that scrapes.
    """
    copy, job = folder / "artifact", folder / "job"
    shutil.copytree(artifact, copy)
    job.mkdir()
    _run_batch_job(artifact, job)
    with (
        Receiver().running() as receiver,
        serving(
            copy,
            *("--shadow", str(artifact)),
            *("--notify", receiver.url, "--notify-format", "slack"),
        ) as live,
        _folder_over_http(job) as metrics,
        prometheus(
            folder,
            {"vaewatch": f"{live.url}/metrics", "batch": f"{metrics}/job.prom"},
            faster=FASTER,
            scrape=SCRAPE,
        ) as server,
    ):
        traffic = Traffic(live.url)
        traffic.start()
        try:
            yield Watched(live, traffic, server, copy)
        finally:
            traffic.ended.set()
            traffic.join(30)


def _run_batch_job(artifact: Path, folder: Path) -> None:
    make_frame(600, seed=9).write_csv(folder / "in.csv")
    words = ["--out", folder / "out.csv", "--metrics-file", folder / "job.prom", "--quiet"]
    done = call("score", artifact, folder / "in.csv", *words)
    assert done.returncode == 0, done.stderr


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _folder_over_http(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)
