"""Alerts on requests and columns while nothing is wrong, and the numbers of their simulation."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.chance import (
    ERRORS,
    GONE,
    GONE_FOR,
    LEAST_REQUESTS,
    MUCH,
    REJECTED,
    SHADOW,
    SLOW,
    UNSEEN,
    Share,
    drifted,
    pages,
    times_gone,
)
from tests.deploy.prometheus import alerts, rules_by_name


@pytest.mark.parametrize("share", [ERRORS, SLOW, REJECTED, UNSEEN], ids=lambda share: share.name)
def test_the_simulation_has_the_numbers_of_the_rule(share: Share):
    rule = alerts()[share.name]
    expr = " ".join(rule["expr"].split())
    assert f"{share.factor:g} * sum by" in expr and expr.endswith(f"+ {share.more}")
    assert rule.get("for", "0m") == f"{share.wait}m"
    window = "1h" if share.minutes == 60 else f"{share.minutes}m"
    assert f"[{window}]" in expr or f"increase{window}" in expr


def test_the_simulation_has_the_numbers_of_the_other_rules():
    assert alerts()[SHADOW.name]["expr"].split()[-2:] == ["+", str(SHADOW.more)]
    assert "> 4 * max by (job) (vaewatch_alpha_upper)" in alerts()[SHADOW.name]["expr"]
    gone = " ".join(alerts()["VaewatchNoTraffic"]["expr"].split())
    for part in (f"[{GONE}m])) == 0", f"[{GONE}m] offset 1d)) > {LEAST_REQUESTS}"):
        assert part in gone
    assert f"[{GONE}m] offset 1w)) <= {LEAST_REQUESTS}" in gone
    assert alerts()["VaewatchNoTraffic"]["for"] == f"{GONE_FOR}m"
    drift = alerts()["VaewatchColumnDrift"]["expr"]
    assert f"(vaewatch_column_drift_psi - vaewatch_column_drift_psi_by_chance) > {MUCH}" in drift
    assert 'le="1.0"' in rules_by_name()["vaewatch:requests_slow:increase5m"]["expr"]


@pytest.mark.parametrize(("rate", "size"), [(0.003, 100), (0.03, 100), (0.3, 1), (3.0, 10)])
def test_a_month_in_which_nothing_is_wrong_has_less_than_one_page(rate: float, size: int):
    found = [pages(rate, size, seed) for seed in range(3)]
    assert sum(sum(one.values()) for one in found) < 3


def test_the_simulation_sees_what_is_wrong():
    whole = np.full(2000, 30.0)
    bad = np.where(np.arange(2000) >= 1000, 20.0, 0.0)
    assert [rule.times(bad, whole) for rule in (ERRORS, SLOW, REJECTED, UNSEEN)] == [1] * 4
    assert times_gone(np.where(np.arange(12_000) < 8000, 30.0, 0.0)) == 1
    assert times_gone(np.full(12_000, 30.0)) == 0


def test_columns_that_have_not_changed_do_not_drift_for_their_many_categories():
    alone, alert = drifted(99, 300, 200, np.random.default_rng(1))
    assert alone > 0.2 and alert == 0
