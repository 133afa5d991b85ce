"""promtool, a real Prometheus, and copies of the rules for both."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.live import ask

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="promtool must be installed: on Debian or Ubuntu, apt install prometheus",
)


def rules_by_name() -> dict[str, dict[str, Any]]:
    """Every rule, by the name of its alert or of what it records."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule.get("alert") or rule["record"]: rule for rule in rules}


def alerts() -> dict[str, dict[str, Any]]:
    return {name: rule for name, rule in rules_by_name().items() if "alert" in rule}


def promtool(*words: object) -> str:
    """Run it; what it says, if it is content. It spends less on collecting its garbage than it
    would by default: it ends soon.
    """
    command, env = ["promtool", *map(str, words)], {**os.environ, "GOGC": "400"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shortened(text: str, factor: int) -> str:
    """The same rules or query with every duration divided; numbers of records stay as they are."""

    def less(found: re.Match[str]) -> str:
        return f"{round(int(found[1]) * UNITS[found[2]] / factor * 1000)}ms"

    # [5m], offset 1d, for: 10m, interval: 15s; not the 5m in the name of a recorded series
    before = r"(?:(?<=\[)|(?<=offset )|(?<=for: )|(?<=interval: ))"
    return re.sub(before + r"(\d+)([smhdw])\b", less, text)


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def _ask(self, path: str, **words: Any) -> list[dict[str, Any]]:
        answer = ask("GET", self.url, f"/api/v1/{path}", params=words).json()
        assert answer["status"] == "success", f"{words}: {answer.get('error')}"
        return list(answer["data"]["result"])

    def now(self, expr: str) -> list[dict[str, Any]]:
        """An instant vector."""
        return self._ask("query", query=expr)

    def over(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        return self._ask("query_range", query=expr, start=start, end=end, step=step)

    def firing(self) -> set[str]:
        found = self.now('ALERTS{alertstate="firing"}')
        return {series["metric"]["alertname"] for series in found}

    def until_firing(self, name: str, seconds: float) -> None:
        """Wait for an alert."""
        self._until(lambda: name in self.firing(), f"{name} must fire", seconds)

    def until_quiet(self, name: str, seconds: float) -> None:
        """Wait for its end."""
        self._until(lambda: name not in self.firing(), f"{name} must end", seconds)

    def _until(self, holds: Callable[[], bool], wanted: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{wanted}; firing: {self.firing()}"
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def prometheus(
    folder: Path, targets: dict[str, str], *, faster: int, scrape: str
) -> Iterator[Prometheus]:
    """A server with the rules of the deploy folder, in which time runs `faster`."""
    (folder / "rules.yml").write_text(shortened(RULES.read_text(), faster))
    jobs = [
        {"job_name": job, "honor_labels": job != "vaewatch", "metrics_path": f"/{path}"}
        | {"static_configs": [{"targets": [host]}]}
        for job, url in targets.items()
        for host, path in [url.removeprefix("http://").split("/", 1)]
    ]
    times = {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": scrape}
    config = {"global": times, "rule_files": ["rules.yml"], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    words = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    words += [f"--web.listen-address={address}", "--log.level=warn"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(["prometheus", *words], stderr=log, stdout=log)
        try:
            wait_ready(f"http://{address}", server, folder / "log")
            yield Prometheus(f"http://{address}")
        finally:
            server.terminate()
            server.wait(30)


def wait_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until a server of Prometheus's kind, just started, answers."""
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            if ask("GET", url, "/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} was never ready:\n" + log.read_text())
