"""The Grafana dashboard: its shape, and words for those who have never seen it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import make_frame
from tests.deploy.dashboard import DASHBOARD, panels, queries
from tests.deploy.prometheus import DEPLOY, alerts, needs_prometheus, promtool, rules_by_name
from tests.live import serving
from vaewatch.service.watch.families.shown import PREFIX

KINDS = {"stat", "timeseries", "heatmap", "bargauge", "state-timeline"}
BATCH = {
    "records",
    "alarms_expected",
    "column_drift_psi",
    "duration_seconds",
    "last_success_timestamp_seconds",
}


def test_it_has_a_fixed_name_and_asks_for_data_source_job_and_model():
    assert DASHBOARD["uid"] == "vaewatch" and DASHBOARD["schemaVersion"] >= 36
    variables = {v["name"]: v for v in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert {"job", "model"} <= variables.keys()
    for query in DASHBOARD["templating"]["list"][1:]:
        assert query["datasource"]["uid"] == "${datasource}"
        assert query["includeAll"] and query["allValue"] == ".*"


def test_no_two_panels_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["w"] > 0 and place["h"] > 0 and 0 <= place["x"] <= 24 - place["w"]
    for one, other in itertools.combinations(DASHBOARD["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (one["title"], other["title"])


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_each_panel_tells_a_newcomer_what_it_shows(panel: dict[str, Any]):
    assert panel["type"] in KINDS
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    assert [s["value"] for s in steps[1:]] == sorted(s["value"] for s in steps[1:])
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}" and target["legendFormat"]
    assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])


@pytest.fixture(scope="module")
def served(artifact_path: Path, newer_path: Path) -> set[str]:
    """The names of what a service publishes, without its prefix."""
    with serving(artifact_path, "--shadow", str(newer_path)) as live:
        live.post("/v1/score", json={"records": make_frame(600).drop("order").to_dicts()})
        families = re.findall(rf"^# TYPE {PREFIX}_(\w+) \w+$", live.get("/metrics").text, re.M)
    return set(families)


def test_each_series_of_the_dashboard_exists(served: set[str]):
    recorded = {name for name in rules_by_name() if ":" in name}
    for panel in panels():
        for query in queries(panel, faster=1, seconds=60):
            for name in re.findall(rf"\b{PREFIX}:[\w:]+", query.expr):
                assert name in recorded, name
            for name in re.findall(rf"\b{PREFIX}_(\w+)", query.expr):
                whole = re.sub(r"_(bucket|count|sum)$", "", name)
                assert whole in served or name.removeprefix("batch_") in BATCH, name


@needs_prometheus
def test_the_queries_are_promql(tmp_path: Any):
    found = [q.expr for panel in panels() for q in queries(panel, faster=1, seconds=60)]
    found += [a["expr"].replace("$job", ".*") for a in DASHBOARD["annotations"]["list"]]
    rules = [{"record": "q", "expr": e, "labels": {"n": str(i)}} for i, e in enumerate(found)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(found)} rules found" in promtool("check", "rules", path)


def test_provisioning_names_the_dashboards_folder_and_one_data_source():
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus" and source["isDefault"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "vaewatch.yml").read_text())["providers"]
    assert provider["type"] == "file" and provider["options"]["path"]


def test_the_lines_of_the_dashboard_are_where_the_alerts_begin():
    rules = alerts()

    def top(title: str) -> float:
        (panel,) = (p for p in panels() if p["title"] == title)
        return float(panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"])

    for alert, title, wanted in (
        ("VaewatchTrafficChanged", "Has traffic changed?", "> 4"),
        ("VaewatchColumnDrift", "Which columns have drifted? (PSI)", "> 0.25"),
        ("VaewatchModelOld", "How old is the model?", "> 90 * 86400"),
        ("VaewatchBatchLate", "Time since the last success", "> 26 * 3600"),
        ("VaewatchTooManyAlarmsFast", "How many alarms, against the budget?", "> 3"),
        ("VaewatchAlarmsLast", "Do alarms last?", "> 0.02"),
    ):
        assert wanted in rules[alert]["expr"]
        number = 1.0
        for part in wanted.removeprefix("> ").split(" * "):
            number *= float(part)
        assert top(title) == number
    slow = rules_by_name()["vaewatch:requests_slow:increase5m"]["expr"]
    assert f'le="{top("How slow is one request in 100?")}"' in slow
