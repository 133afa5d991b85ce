"""Shards of one job beside each other in a real Pushgateway, under a real Prometheus."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import call, make_frame
from tests.deploy.dashboard import filled, panels
from tests.deploy.prometheus import alerts, free_port, needs_prometheus, prometheus, wait_ready

GATEWAY = "prometheus-pushgateway"
SHARDS, FILES, RECORDS = 3, 2, 200


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """Empty at first: Debian's keeps what it got in /var/lib by default."""
    address = f"127.0.0.1:{free_port()}"
    words = [GATEWAY, f"--web.listen-address={address}", f"--persistence.file={folder}/kept"]
    log = folder / "pushgateway.log"
    with log.open("w") as file, subprocess.Popen(words, stderr=file) as server:
        try:
            wait_ready(f"http://{address}", server, log)
            yield f"http://{address}"
        finally:
            server.terminate()


def score_shards(artifact: Path, folder: Path, url: str) -> None:
    (folder / "in").mkdir()
    for i in range(FILES):
        make_frame(RECORDS, seed=i).write_csv(folder / "in" / f"{i}.csv")
    for i in range(SHARDS):
        words = ["--shard", f"{i}/{SHARDS}", "--out", folder / f"{i}.csv", "--pushgateway", url]
        done = call("score", artifact, folder / "in", *words)
        assert done.returncode == 0, done.stderr


def panel_query(metric: str) -> str:
    (expr,) = (
        target["expr"]
        for panel in panels()
        for target in panel["targets"]
        if metric in target["expr"]
    )
    return filled(expr, faster=1, seconds=60)


@needs_prometheus
@pytest.mark.skipif(shutil.which(GATEWAY) is None, reason=f"apt install {GATEWAY}")
def test_each_shard_keeps_its_own_and_the_panels_add_them_up(artifact_path: Path, tmp_path: Path):
    with pushgateway(tmp_path) as url:
        score_shards(artifact_path, tmp_path, url)
        targets = {"batch": f"{url}/metrics"}
        with prometheus(tmp_path, targets, faster=1, scrape="1s") as server:
            ended = "vaewatch_batch_last_success_timestamp_seconds"
            for _ in range(50):
                if len(found := server.now(ended)) == SHARDS:
                    break
                time.sleep(0.2)
            assert {one["metric"]["shard"] for one in found} == {"0", "1", "2"}
            counted = server.now(panel_query("vaewatch_batch_records"))
            assert sum(float(one["value"][1]) for one in counted) == FILES * RECORDS
            # the oldest of the shards counts, in the panel as in the alert
            first = min(float(one["value"][1]) for one in found)
            late = alerts()["VaewatchBatchLate"]["expr"].split(">")[0]
            for query in (panel_query(ended), late):
                (one,) = server.now(query)
                assert float(one["value"][0]) - float(one["value"][1]) == pytest.approx(first)


def test_a_shard_without_a_file_leaves_metrics_and_a_summary(artifact_path: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    make_frame(RECORDS).write_csv(tmp_path / "in" / "0.csv")
    words = ["--shard", "1/2", "--out", tmp_path / "out.csv"]
    words += ["--metrics-file", tmp_path / "job.prom", "--summary", tmp_path / "job.json"]
    done = call("score", artifact_path, tmp_path / "in", *words)
    assert done.returncode == 0 and "shard 1/2 has no file" in done.stderr
    assert not (tmp_path / "out.csv").exists() and (tmp_path / "job.json").exists()
    text = (tmp_path / "job.prom").read_text()
    assert 'vaewatch_batch_records{model="shop",shard="1",verdict="normal"} 0.0' in text
