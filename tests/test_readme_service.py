"""The README's section on the service names what exists, and all that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_frame
from tests.live import Live, serving
from tests.test_readme import README, options_of
from vaewatch.service.settings import Settings
from vaewatch.service.watch.metrics import PREFIX

SECTION = README.split("\n## The service\n")[1].split("\n## ")[0]
METRICS = SECTION.split("### Metrics")[1].split("###")[0]
TABLE = SECTION.split("### Service settings")[1]


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path) as running:
        running.post("/v1/score", json={"records": make_frame(600).drop("order").to_dicts()})
        yield running


def test_the_routes_of_the_readme_are_those_of_the_service(live: Live):
    named = set(re.findall(r"(/(?:v1|v2|livez|readyz)[a-z0-9/{}]*)", SECTION))
    paths = set(live.get("/openapi.json").json()["paths"])
    plain = {path for path in paths if "/versions/" not in path and path != "/metrics"}
    assert named == plain
    for path in ("/metrics", "/docs", "/openapi.json"):
        assert f"`GET {path}`" in SECTION and live.get(path).status_code == 200


def test_the_metrics_of_the_readme_are_those_of_the_service(live: Live):
    named = set(re.findall(rf"`({PREFIX}_[a-z0-9_]+)", METRICS))
    families = re.findall(r"^# TYPE (\w+) (\w+)$", live.get("/metrics").text, re.M)
    found = {name for name, _ in families if not name.endswith("_created")}
    assert found == named


def test_the_settings_of_the_readme_are_those_of_the_command():
    named = set(re.findall(r"`(--[a-z-]+)`", TABLE.split("**Memory**")[0]))
    assert named == {o for o in options_of("serve") if not o.startswith("--no-")} - {"--config"}
    for row, value in (
        ("--max-body-bytes", Settings.max_body_bytes),
        ("--max-pending-bytes", Settings.max_pending_bytes),
        ("--watch", f"{Settings.watch:g}"),
    ):
        assert f"| `{row}` | {value} |" in TABLE
