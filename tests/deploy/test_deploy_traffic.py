"""The scripts of deploy/: traffic for the demo, its pager, the image's health check."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import polars as pl
import pytest

from deploy import traffic
from tests.conftest import SMALL, make_frame
from tests.deploy.deployed import DEPLOY
from tests.live import serving
from vaewatch.training.train import train


def start(script: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(DEPLOY / script), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_attacks_are_what_a_model_of_the_normal_records_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, size in (("NORMAL", 2000), ("NEW", 2000), ("ATTACK", 300)):
        monkeypatch.setattr(traffic, name, size)
    traffic.write_records(tmp_path, seed=3)
    frames = {n: pl.read_csv(tmp_path / f"{n}.csv") for n in ("normal", "new", "attack")}
    settings = {**SMALL, "alpha": 0.01, "id": "order"}
    scorer = train(frames["normal"], tmp_path / "orders", report=False, **settings)
    new, attack = (scorer.score(frames[name]).is_anomaly.mean() for name in ("new", "attack"))
    assert new < 0.025
    assert attack > 0.9


def test_traffic_is_scored_and_ends_on_a_signal(artifact_path: Path, tmp_path: Path):
    make_frame(50, seed=31).write_csv(tmp_path / "new.csv")
    odd = make_frame(50, seed=32).with_columns(pl.lit("XX").alias("country"))
    odd.write_csv(tmp_path / "attack.csv")
    (tmp_path / "key").write_text("a key that nobody guesses\n")
    env = {"VAEWATCH_KEY_FILE": str(tmp_path / "key")}
    with serving(artifact_path, env=env) as live:
        words = (live.url, tmp_path / "new.csv", "--attack", tmp_path / "attack.csv")
        limits = ("--rate", 500, "--every", 2, "--lasting", 1, "--seconds", 60)
        sender = start("traffic.py", "send", *words, *limits, "--key-file", tmp_path / "key")
        assert sender.stdout is not None
        first = sender.stdout.readline()
        sender.send_signal(signal.SIGTERM)
        out, err = sender.communicate(timeout=20)
        sent = live.value("vaewatch_records_total")
    assert (sender.returncode, err) == (0, "")
    assert first.startswith("an attack begins; ")
    assert out.startswith(f"end; {sent:,.0f} records sent")


def test_traffic_has_the_time_and_the_segment_of_the_model(tmp_path: Path):
    days = pl.int_range(1000, eager=True) * 3600 + 1_700_000_000
    frame = make_frame(1000).with_columns(at=days)
    settings = {"id": "order", "time": "at", "segment": "country", "alpha": 0.05, **SMALL}
    train(frame, tmp_path / "timed", report=False, **settings)
    frame.write_csv(tmp_path / "new.csv")
    with serving(tmp_path / "timed") as live:
        words = (live.url, tmp_path / "new.csv", "--rate", 500, "--seconds", 1)
        out, err = start("traffic.py", "send", *words).communicate(timeout=20)
        sent = live.value("vaewatch_records_total", verdict="normal", segment="NL")
    assert err == "" and sent and out.startswith("end; ")


def test_traffic_without_a_column_of_the_model_says_which(artifact_path: Path, tmp_path: Path):
    make_frame(5).drop("country").write_csv(tmp_path / "new.csv")
    with serving(artifact_path) as live:
        _, err = start("traffic.py", "send", live.url, tmp_path / "new.csv").communicate(
            timeout=20
        )
    assert err.endswith("must hold records with the columns country.\n")


def test_a_record_of_a_file_is_typed_as_the_model_has_it():
    kinds = (
        ("1.5", "numeric"),
        ("", "numeric"),
        ("true", "boolean"),
        ("0", "boolean"),
        ("7", "x"),
    )
    assert [traffic.typed(*pair) for pair in kinds] == [1.5, None, True, False, "7"]


def test_the_pager_prints_each_alert_and_refuses_what_is_none():
    port = free_port()
    pager = start("pager.py", port)
    alert = {
        "status": "firing",
        "labels": {"alertname": "VaewatchDown"},
        "annotations": {"summary": "no scrape", "runbook_url": "RUNBOOK.md"},
    }
    with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
        url = f"http://127.0.0.1:{port}/page"
        assert client.post(url, json={"alerts": [alert]}).status_code == 200
        assert client.post(url, content=b"{").status_code == 400
        assert client.post(url, content=json.dumps([1])).status_code == 400
    pager.terminate()
    out, _ = pager.communicate(timeout=10)
    assert out == "page firing VaewatchDown: no scrape RUNBOOK.md\n"
    assert pager.returncode == 0


def test_the_health_check_is_good_only_while_the_service_is_ready(artifact_path: Path):
    with serving(artifact_path) as live:
        assert start("healthcheck.py", live.url).communicate(timeout=20) == ("", "")
        check = start("healthcheck.py", live.url)
        check.communicate(timeout=20)
        assert check.returncode == 0
    late = start("healthcheck.py", live.url)
    _, err = late.communicate(timeout=20)
    assert late.returncode == 1 and err.startswith("not ready: ")
