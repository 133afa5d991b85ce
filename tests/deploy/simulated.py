"""Batches of records -> what scrapes of a service would have read, in a time of our own.

The service's own parts do the counting; only the clock and the network are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.deploy.prometheus import RULES, promtool
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.service.model.model import load_model
from vaewatch.service.model.registry import Registry
from vaewatch.service.settings import Settings
from vaewatch.service.watch.gauges import Present
from vaewatch.service.watch.metrics import Metrics
from vaewatch.service.watch.monitor import Monitor

UNUSED = re.compile(r"_created|_sum|_timestamp_|(?<!severity)_bucket")  # by the alerts here


@dataclass
class Scrapes:
    """A service that is scraped after each batch."""

    artifact: Path
    series: dict[str, list[float]] = field(default_factory=dict)
    steps: int = 0

    def __post_init__(self) -> None:
        self.metrics, self.registry = Metrics(), Registry(self.artifact)
        self.registry.model = load_model(self.artifact, Settings(self.artifact))
        self.monitor = Monitor(self.metrics)
        self._scrape()

    @property
    def scorer(self) -> Scorer:
        return self.registry.active.scorer

    def take(self, tables: Iterable[Table]) -> None:
        """One scrape interval for each table."""
        for table in tables:
            if len(table):
                verdicts = self.scorer.score_table(table, explain=1)
                self.monitor.observe(self.registry.active, table, verdicts)
            self._scrape()

    def _scrape(self) -> None:
        self.monitor.flush()
        window = self.monitor.window(self.registry.active)
        for family in (
            *self.metrics.families(),
            *Present(self.registry, window).collect(),
        ):
            for sample in family.samples:
                if not UNUSED.search(sample.name):
                    labels = {"job": "vaewatch", "instance": "a", **sample.labels}
                    inner = ",".join(f'{k}="{v}"' for k, v in labels.items())
                    values = self.series.setdefault(f"{sample.name}{{{inner}}}", [])
                    values += [np.nan] * (self.steps - len(values)) + [sample.value]
        self.steps += 1

    def promtool(self, folder: Path, interval: int, checks: list[dict[str, Any]]) -> str:
        """Let promtool evaluate the deploy folder's rules on all of it, and check.

        Each scrape lies a third of an interval before the rules are looked at: on the same moment,
        as promtool would have it, a window would hold a scrape more than in a real Prometheus.
        """
        series = [{"series": name, "values": _spaced(v)} for name, v in self.series.items()]
        case = {
            "interval": f"{interval // 3}s",
            "input_series": series,
            "promql_expr_test": checks,
        }
        whole = {"rule_files": [str(RULES)], "evaluation_interval": f"{interval}s"}
        path = folder / "simulated.yml"
        path.write_text(yaml.safe_dump({**whole, "tests": [case]}))
        return promtool("test", "rules", path)


def _spaced(values: list[float]) -> str:
    """In thirds of an interval: scrape 0 at once, scrape i a third before i intervals."""
    shown = ["_" if np.isnan(v) else f"{v:.9g}" for v in values]
    return " _ ".join([shown[0], " _ _ ".join(shown[1:])])


def firing(at: int, *names: str) -> dict[str, Any]:
    """A check that just these alerts are on, so many seconds after the start."""
    wanted = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names]
    expr = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {"expr": expr, "eval_time": f"{at}s", "exp_samples": wanted}


def is_on(at: int, name: str, on: bool = True) -> dict[str, Any]:
    """A check of one alert, whatever the others do."""
    wanted = [{"labels": "{}", "value": 1}] if on else []
    expr = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    return {"expr": expr, "eval_time": f"{at}s", "exp_samples": wanted}


def ever_firing(until: int) -> dict[str, Any]:
    """A check that no alert was ever on."""
    expr = f'count_over_time(ALERTS{{alertstate="firing"}}[{until}s])'
    return {"expr": expr, "eval_time": f"{until}s", "exp_samples": []}
