"""promtool, a real Prometheus, and copies of the rules for both."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parent.parent / "deploy"
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
    """Run it; what it says, if it is content."""
    command = ["promtool", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shortened(text: str, factor: int) -> str:
    """The same rules or query with every duration divided; numbers of records stay as they are."""

    def less(found: re.Match[str]) -> str:
        return f"{round(int(found[1]) * UNITS[found[2]] / factor * 1000)}ms"

    # [5m], offset 1d, for: 10m, interval: 15s; not the 5m in the name of a recorded series
    before = r"(?:(?<=\[)|(?<=offset )|(?<=for: )|(?<=interval: ))"
    return re.sub(before + r"(\d+)([smhdw])\b", less, text)
