"""The kept artifact -> a service and a batch job that really run, and what they say of
themselves.

The reference of routes and metrics is read from them, so that it shows what a user will see,
whatever the files behind it are called.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests" / "scoring" / "artifacts"
ARTIFACT, RECORDS = KEPT / "format-2", KEPT / "format-2.ndjson"
TIMES = 20  # the records are sent: the drift gauges wait for some hundreds
VAEWATCH = (sys.executable, "-m", "vaewatch")
SECONDS = 60
LAST = "vaewatch_shadow_records_total{"  # the series that comes last


@dataclass(frozen=True)
class Observed:
    """What a running service published: its OpenAPI document, and a scrape of its metrics."""

    openapi: dict[str, Any]
    metrics: str


@cache
def observed() -> Observed:
    """Start a service with a shadow, score records, and keep what it publishes."""
    records = [json.loads(line)["record"] for line in RECORDS.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder, "shadow")) as url:
        _ask(f"{url}/v1/score", json.dumps({"records": records * TIMES}).encode())
        return Observed(json.loads(_ask(f"{url}/openapi.json")), _whole_scrape(url))


def _whole_scrape(url: str) -> str:
    """The metrics once the shadow has scored as well, which it does after the answer."""
    for _ in range(10 * SECONDS):
        text = _ask(f"{url}/metrics").decode()
        if LAST in text:
            return text
        time.sleep(0.1)
    raise RuntimeError(f"a scrape must hold '{LAST}' in the end, but does not.")


@contextmanager
def _serving(shadow: Path) -> Iterator[str]:
    shutil.copytree(ARTIFACT, shadow)  # at a path of its own, or it is no shadow
    command = [*VAEWATCH, "serve", str(ARTIFACT), "--port", "0", "--shadow", str(shadow)]
    env = {**os.environ, "VAEWATCH_DRAIN_SECONDS": "0"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("listening on "):
                yield line.split()[-1]
                return
        raise RuntimeError("the service must start, but:\n" + "".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def _ask(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        found: bytes = answer.read()
        return found


@cache
def batch_metrics() -> str:
    """Score a file, and give the metrics that the job wrote."""
    with tempfile.TemporaryDirectory() as folder:
        rows, written = Path(folder, "rows.ndjson"), Path(folder, "vaewatch.prom")
        lines = [json.loads(line)["record"] for line in RECORDS.read_text().splitlines()]
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
        incidents = str(Path(folder, "incidents.ndjson"))
        options = ("--out", os.devnull, "--metrics-file", str(written), "--incidents", incidents)
        command = [*VAEWATCH, "score", str(ARTIFACT), str(rows), *options, "--quiet"]
        subprocess.run(command, check=True, timeout=SECONDS, stdout=subprocess.DEVNULL)
        return written.read_text()
