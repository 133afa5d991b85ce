"""The alert rules: what promtool says of them, and the runbook behind each."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.prometheus import DEPLOY, RULES, alerts, needs_prometheus, promtool, shortened
from tests.live import serving
from vaewatch.__main__ import COMMANDS

CASES = (DEPLOY / "prometheus" / "rules_test.yml", DEPLOY / "prometheus" / "rules_week_test.yml")
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.M | re.S))


@needs_prometheus
def test_promtool_accepts_rules_and_configuration():
    promtool("check", "rules", RULES)
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


@needs_prometheus
@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_each_alert_fires_when_it_should_and_only_then(cases: Path):
    promtool("test", "rules", cases)


def test_each_alert_has_a_case_that_fires_and_one_that_does_not():
    fires, quiet = set(), set()
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for check in case["alert_rule_test"]:
                (fires if check["exp_alerts"] else quiet).add(check["alertname"])
    assert fires == quiet == set(alerts())


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is in prometheus-alertmanager")
def test_amtool_accepts_the_routing():
    config = DEPLOY / "prometheus" / "alertmanager.yml"
    done = subprocess.run(["amtool", "check-config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_routing_inhibits_exists():
    config = yaml.safe_load((DEPLOY / "prometheus" / "alertmanager.yml").read_text())
    named = re.findall(r'alertname="(\w+)"', yaml.safe_dump(config["inhibit_rules"]))
    assert named and set(named) <= set(alerts())


def test_each_alert_has_its_section_in_the_runbook_and_the_reverse():
    assert list(SECTIONS) == list(alerts())


@pytest.mark.parametrize("name", alerts())
def test_each_alert_says_what_it_means_and_leads_to_its_section(name: str):
    alert = alerts()[name]
    assert alert["labels"]["severity"] in ("page", "ticket")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    page, anchor = notes["runbook_url"].split("#")
    assert page == one_page() and anchor == name.lower()


def one_page() -> str:
    """Where all alerts lead to."""
    (page,) = {alert["annotations"]["runbook_url"].split("#")[0] for alert in alerts().values()}
    return str(page)


def rule_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, folder / "kubernetes" / "prometheus_rule.py", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@needs_prometheus
def test_a_runbook_on_another_page_is_named_everywhere(tmp_path: Path):
    copy, page = tmp_path / "deploy", "https://wiki.example.com/vaewatch?v=2&x"
    shutil.copytree(DEPLOY, copy)
    assert "must be an address" in rule_command(copy, "--runbook", "wiki#vaewatch").stderr
    done = rule_command(copy, "--runbook", page)
    assert done.returncode == 0, done.stderr
    changed = [path for path in copy.rglob("*") if path.is_file() and is_other(path, copy)]
    assert {path.name for path in changed} == {
        "rules.yml",
        "rules_test.yml",
        "rules_week_test.yml",
        "prometheus-rule.yaml",
    }
    for path in changed:
        assert one_page() not in path.read_text() and f"{page}#vaewatch" in path.read_text()
    promtool("check", "rules", copy / "prometheus" / "rules.yml")


def is_other(path: Path, copy: Path) -> bool:
    return path.read_bytes() != (DEPLOY / path.relative_to(copy)).read_bytes()


@pytest.mark.parametrize("name", SECTIONS)
def test_each_section_tells_what_it_means_where_to_look_and_what_to_do(name: str):
    text = SECTIONS[name]
    assert [m for m in re.findall(r"\*\*(Means|Look at|Do)", text)] == ["Means", "Look at", "Do"]
    assert re.search(r"```promql\n.+?```", text, re.S)
    assert "`" in text.split("**Do.**")[1], "a command to run"


@needs_prometheus
def test_the_queries_of_the_runbook_are_promql(tmp_path: Path):
    blocks = re.findall(r"```promql\n(.*?)```", RUNBOOK, re.S)
    queries = [line for block in blocks for line in block.splitlines()]
    rules = [
        {"record": "query", "expr": q, "labels": {"n": str(i)}} for i, q in enumerate(queries)
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "runbook", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", path)


def test_commands_and_routes_of_the_runbook_exist(artifact_path: Path):
    with serving(artifact_path) as live:
        routes = live.get("/openapi.json").json()["paths"]
    assert set(re.findall(r"(/v1/\w+)", RUNBOOK)) <= set(routes)
    assert set(re.findall(r"`vaewatch (\w+)", RUNBOOK)) <= set(COMMANDS)


def test_the_table_of_alerts_in_the_docs_is_that_of_the_rules():
    page = (DEPLOY.parent / "docs" / "guides" / "watch.md").read_text()
    rows = re.findall(r"^\| `(Vaewatch\w+)` \| (\w+) \|", page, re.M)
    assert rows == [(name, alert["labels"]["severity"]) for name, alert in alerts().items()]


def test_durations_are_shortened_and_names_are_not():
    text = "job:x:increase5m > rate(x[5m] offset 1d)\nfor: 10m\ninterval: 15s"
    short = "job:x:increase5m > rate(x[5000ms] offset 1440000ms)\nfor: 10000ms\ninterval: 250ms"
    assert shortened(text, 60) == short
