"""Twenty times too much: the service goes on doing what it can, and refuses the rest at once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.live import Live, serving

IN_FLIGHT = 8
BODIES = 64 << 20


def drive(live: Live, folder: Path, body: Any, connections: int, seconds: int) -> str:
    (folder / "body.json").write_text(json.dumps(body))
    (folder / "post.lua").write_text(
        'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\n'
        f'local file = io.open("{folder}/body.json")\nwrk.body = file:read("*a")\nfile:close()\n'
    )
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(folder / "post.lua")]
    done = subprocess.run([*words, f"{live.url}/v1/score"], capture_output=True, text=True)
    return done.stdout


def resident(live: Live) -> int:
    text = Path(f"/proc/{live.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) << 10


@pytest.mark.long
@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_overload_leaves_most_of_the_goodput(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    body = {"records": mixed_frame.drop("order").to_dicts() * 2}

    def goodput(connections: int, seconds: int) -> float:
        before, started = live.value("vaewatch_records_total"), time.monotonic()
        drive(live, tmp_path, body, connections, seconds)
        return (live.value("vaewatch_records_total") - before) / (time.monotonic() - started)

    options = ["--max-in-flight", str(IN_FLIGHT), "--no-access-log"]
    with serving(artifact_path, *options) as live:
        top = goodput(IN_FLIGHT, 10)
        at_top = resident(live)
        assert goodput(20 * IN_FLIGHT, 30) > 0.7 * top
        assert live.value("vaewatch_request_duration_seconds_count", code="429") > 100
        assert resident(live) < at_top + BODIES
        refused = [
            live.value("vaewatch_request_duration_seconds_bucket", code="429", le=le)
            for le in ("0.1", "+Inf")
        ]
        assert refused[0] > 0.9 * refused[1]
