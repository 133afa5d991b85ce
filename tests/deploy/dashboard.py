"""dashboard.json -> its panels and queries, as Grafana would send them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.deploy.prometheus import DEPLOY, shortened

DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())


@dataclass(frozen=True)
class Query:
    """One target of a panel."""

    panel: str
    expr: str
    legend: str


def panels() -> list[dict[str, Any]]:
    """Those that show something, without the rows."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries(panel: dict[str, Any], *, faster: int, seconds: int) -> list[Query]:
    """Its queries with Grafana's variables filled in. `seconds`: the time shown."""
    return [
        Query(panel["title"], filled(target["expr"], faster, seconds), target["legendFormat"])
        for target in panel["targets"]
    ]


def filled(expr: str, faster: int, seconds: int) -> str:
    for name, value in (
        ("$__rate_interval", "5m"),
        ("$__range", f"{seconds * faster}s"),
        ("$job", ".*"),
        ("$model", ".*"),
        ("$instance", ".*"),
    ):
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return shortened(expr, faster)
