"""A real Prometheus watches a real service: normal traffic, then an attack, then drift.

Time runs 60 times faster in the rules and queries; their numbers of records stay as they are.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.dashboard import panels, queries
from tests.deploy.prometheus import alerts, needs_prometheus, rules_by_name, shortened
from tests.deploy.watching import FASTER, Watched, attack, drift, normal, watched

pytestmark = needs_prometheus

# a machine that is busy may raise these, where a minute is a second
OF_THE_MACHINE = {"VaewatchDown", "VaewatchSlow"}
LOUD = {"VaewatchTooManyAlarmsFast", "VaewatchSegmentTooManyAlarmsFast"}
DRIFTED = {
    "VaewatchTrafficChanged",
    "VaewatchColumnDrift",
    "VaewatchUnseenCategories",
    "VaewatchRecordsRejected",
}
LASTING = {"VaewatchIncident"}  # it is open for a merge gap after its last alarm
NOT_HERE = {  # what nothing in this story may raise
    "VaewatchTooQuiet",
    "VaewatchMostRecordsRejected",
    "VaewatchWorkersDie",
    "VaewatchServerErrors",
    "VaewatchOverloaded",
    "VaewatchConnectionsRefused",
    "VaewatchNoTraffic",
    "VaewatchHistoriesAway",
    "VaewatchRecordsLate",
    "VaewatchEntitiesEvicted",
    "VaewatchAlarmsLast",
    "VaewatchStoreAway",
    "VaewatchNotificationsWaiting",
    "VaewatchModelOld",
    "VaewatchShadowDisagrees",
    "VaewatchBatchLate",
}


@pytest.fixture(scope="module")
def shop(segmented_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(segmented_path, tmp_path_factory.mktemp("watched")) as all_of_it:
        yield all_of_it


def test_the_right_alerts_fire(shop: Watched):
    server = shop.prometheus
    time.sleep(12)
    assert server.firing() <= OF_THE_MACHINE
    shop.traffic.kind = attack
    for name in LOUD:
        server.until_firing(name, 30)
    server.until_firing("VaewatchIncident", 30)
    shop.traffic.kind = normal
    for name in LOUD:
        server.until_quiet(name, 30)
    shop.traffic.kind = drift
    for name in DRIFTED:
        server.until_firing(name, 60)
    assert not server.firing() & NOT_HERE


def test_each_panel_shows_something(shop: Watched):
    for panel in panels():
        for query in queries(panel, faster=FASTER, seconds=60):
            values = [float(one["value"][1]) for one in shop.prometheus.now(query.expr)]
            assert any(math.isfinite(v) for v in values), f"{query.panel}: {query.expr}"


def test_each_rule_has_what_it_computes_from(shop: Watched):
    for name, rule in rules_by_name().items():
        expr = shortened(rule["expr"], FASTER)
        shop.prometheus.now(expr)  # it is accepted
        if "record" in rule:
            assert shop.prometheus.now(f"last_over_time({name}[20s])"), name
        # an alert that is off gives nothing; what it looks at must be there all the same
        for selector in re.findall(r"vaewatch[\w:]+(?:\{[^}]*\})?", rule["expr"]):
            there = re.sub(r'code=~?"(5\.\.|429)"', "", selector)  # none of these in good health
            assert shop.prometheus.now(f"last_over_time({there}[20s])"), f"{name}: {there}"


def test_a_refused_reload_and_a_dead_service_are_noticed(shop: Watched):
    network = shop.artifact / "network.onnx"
    network.write_bytes(network.read_bytes()[:-10])
    assert shop.live.post("/v1/reload").status_code == 409
    shop.prometheus.until_firing("VaewatchReloadRefused", 10)
    assert shop.live.stop() == 0
    shop.prometheus.until_firing("VaewatchDown", 20)
    last = {"VaewatchReloadRefused", "VaewatchDown", "VaewatchTooManyAlarmsSlow"}
    last |= {"VaewatchSegmentTooManyAlarmsSlow"}
    in_all = last | LASTING | DRIFTED | NOT_HERE | OF_THE_MACHINE | LOUD
    assert in_all == set(alerts())
