"""Which changes of the scores are followed, and which are not: several laws and seeds each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, allowed_rank
from vaewatch.scoring.budget.entities import WholeEntities
from vaewatch.service.recalibrate.burst import crowded
from vaewatch.service.recalibrate.change import Change
from vaewatch.service.recalibrate.proposal import Evidence, Provenance, proposal_of
from vaewatch.service.recalibrate.refusals import refusals_of
from vaewatch.service.recalibrate.sample import Drawn, Period, TimeSpan

Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Floats]
DAY, SEEDS = 86_400, 10
LAWS: dict[str, Law] = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "gamma": lambda rng, n: rng.gamma(3, size=n),
    "lognormal": lambda rng, n: np.exp(0.6 * rng.normal(size=n)),
    "heavy": lambda rng, n: np.abs(rng.standard_t(3, size=n)),
    "tied": lambda rng, n: np.round(4 * rng.gamma(2, size=n)) / 4,
}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def anomalies(law: Law, rng: np.random.Generator, n: int) -> Floats:
    """Scores that nearly all alarm at 1%."""
    usual = np.quantile(law(np.random.default_rng(9), 20_000), 0.99)
    return np.asarray(usual * (1 + 3 * rng.random(n)))


def change(
    law: Law,
    seed: int,
    served: Callable[[np.random.Generator, Floats, Floats], Floats],
    *,
    alpha: float = 0.01,
    n: int = 40_000,
    n_old: int = 5000,
    n_before: int = 0,
) -> Change:
    """`served` takes what normal records would score, and when, as shares of a day; before that,
    so many normal records came.
    """
    rng = np.random.default_rng(seed)
    old = Calibration(np.sort(law(rng, n_old)), alpha, SPLIT)
    at = np.sort(rng.random(n))
    scores = served(rng, law(rng, n), at)
    drawn = Drawn(scores, (DAY * at).astype(np.int64), n)
    earlier = Drawn(law(rng, n_before), np.arange(n_before), n_before)
    return Change.of(old, drawn, alpha, earlier)


def codes(
    law: Law,
    served: Callable[[np.random.Generator, Floats, Floats], Floats],
    **options: float | int,
) -> list[set[str]]:
    found = (change(law, seed, served, **options) for seed in range(SEEDS))  # type: ignore[arg-type]
    return [{reason.code for reason in refusals_of(one)} for one in found]


@every_law
def test_normal_traffic_may_be_calibrated_on(law: Law):
    assert sum(map(bool, codes(law, lambda rng, normal, at: normal))) <= 1


def test_traffic_does_not_calibrate_where_whole_entities_do():
    one = change(LAWS["gamma"], 0, lambda rng, normal, at: normal)
    whole = replace(one, old=replace(one.old, entities=WholeEntities(15, 20_000, 5000)))
    [refused] = refusals_of(whole)
    assert refused.code == "few" and refused.text.startswith(
        "15 entities that the fit never saw calibrate the model, and traffic does not say whose"
    )


@every_law
@pytest.mark.parametrize("by", [1.15, 1.3])
def test_a_shift_of_the_whole_is_followed(law: Law, by: float):
    assert not any(codes(law, lambda rng, normal, at: by * normal))


@every_law
def test_a_slow_drift_is_followed(law: Law):
    assert sum(map(bool, codes(law, lambda rng, normal, at: normal * np.exp(0.2 * at)))) <= 1


@every_law
@pytest.mark.parametrize(
    ("share", "minutes", "hours"),
    [
        (0.5, 10, 24),
        (0.05, 120, 24),
        (0.5, 120, 24),
        (0.2, 60, 6),
        (0.03, 60, 1),
        (0.5, 120, 1),
        (0.01, 60, 1),
    ],
)
def test_a_flood_is_not_followed(law: Law, share: float, minutes: int, hours: int):
    """Over a part of the time or all of it; whatever is let through has moved little."""
    part = min(1.0, minutes / (60 * hours))

    def flooded(rng: np.random.Generator, normal: Floats, at: Floats) -> Floats:
        start = (1 - part) * rng.random()
        mask = (at >= start) & (at < start + part) & (rng.random(len(at)) < share)
        return np.where(mask, anomalies(law, rng, len(at)), normal)

    found = codes(law, flooded)
    assert sum(map(bool, found)) >= SEEDS - 2, found


TWO_HOURS = {"n": 2400, "n_old": 2500}
A_DAY_BEFORE = {"n_before": 26_400}


@every_law
@pytest.mark.parametrize(("before", "least"), [({}, 6), (A_DAY_BEFORE, 9)])
def test_a_flood_as_large_as_the_budget_is_not_followed(
    law: Law, before: dict[str, int], least: int
):
    """1% of two hours, asked for alone. The day before shows what a small calibration cannot."""

    def flooded(rng: np.random.Generator, normal: Floats, at: Floats) -> Floats:
        return np.where(rng.random(len(at)) < 0.01, anomalies(law, rng, len(at)), normal)

    found = codes(law, flooded, **TWO_HOURS, **before)
    assert sum(map(bool, found)) >= least, found


@every_law
def test_what_a_day_holds_of_a_flood_is_not_followed_if_it_takes_much_of_the_budget(law: Law):
    """10% of 40 minutes are 80 of the 288 alarms that a day of 28,800 records may raise."""

    def flooded(rng: np.random.Generator, normal: Floats, at: Floats) -> Floats:
        start = (1 - 40 / 1440) * rng.random()
        mask = (at >= start) & (at < start + 40 / 1440) & (rng.random(len(at)) < 0.1)
        return np.where(mask, anomalies(law, rng, len(at)), normal)

    assert all(codes(law, flooded, n=28_800, n_old=2500))


@every_law
def test_the_traffic_before_speaks_against_no_shift_and_no_normal_traffic(law: Law):
    for by in (1.0, 1.2, 1.4):
        found = codes(law, lambda r, s, a, by=by: by * s, **TWO_HOURS, **A_DAY_BEFORE)
        assert sum(map(bool, found)) <= 1, (by, found)


def test_more_alarms_at_the_busy_hours_are_no_burst_where_all_scores_are_higher_then():
    """By a quarter, for half of the day."""
    law = LAWS["gamma"]
    day = codes(law, lambda r, s, at: s * np.where(at < 0.5, 1.25, 1.0))
    assert not any("burst" in found for found in day), day


def test_alarms_at_random_are_crowded_nowhere():
    rng = np.random.default_rng(2)
    assert sum(bool(crowded(rng.random(5000) < 0.01).any()) for _ in range(400)) <= 8
    alarms = rng.random(5000) < 0.01
    alarms[1000:1100] |= rng.random(100) < 0.3
    mask = crowded(alarms)
    assert mask[1000:1100].mean() > 0.7 and mask.sum() < 400
    assert not crowded(np.zeros(0, bool)).any() and not crowded(np.ones(3, bool)).any()


@every_law
def test_a_flood_too_small_to_matter_hardly_moves_the_rate(law: Law):
    def flooded(rng: np.random.Generator, normal: Floats, at: Floats) -> Floats:
        return np.where((at < 10 / 1440) & (rng.random(len(at)) < 0.05), 1e3, normal)

    for seed in range(SEEDS):
        one = change(law, seed, flooded)
        normal = law(np.random.default_rng(99), 200_000)
        rate = [
            by.alarms(by.p_values(normal)).mean()
            for by in (one.new, change(law, seed, lambda r, s, a: s).new)
        ]
        assert rate[0] > 0.85 * rate[1]


@every_law
def test_anomalies_all_day_are_not_followed_where_they_would_hide(law: Law):
    """2% of anomalies at a budget of 1%: at most half of them could still alarm."""

    def contaminated(rng: np.random.Generator, normal: Floats, at: Floats) -> Floats:
        return np.where(rng.random(len(at)) < 0.02, anomalies(law, rng, len(at)), normal)

    assert all(codes(law, contaminated))


def test_too_few_records_and_a_threshold_too_far_are_refused():
    law = LAWS["gamma"]
    assert all("few" in found for found in codes(law, lambda r, s, a: s, n=900))
    assert all("far" in found for found in codes(law, lambda r, s, a: 2.5 * s))
    assert all("far" in found for found in codes(law, lambda r, s, a: 0.3 * s))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(LAWS)),
    st.sampled_from([0.002, 0.01, 0.05, 0.2]),
    st.floats(0.0, 0.3),
    st.integers(600, 4000),
)
def test_the_rate_of_all_records_returns_to_alpha_and_that_of_normal_ones_below(
    seed: int, name: str, alpha: float, share: float, n: int
):
    """Whatever share of the records are anomalies that score above every normal one."""
    law, rng = LAWS[name], np.random.default_rng(seed)
    normal = law(rng, n)
    mask = rng.random(n) < share
    scores = np.where(mask, normal.max() + 1 + rng.random(n), normal)
    drawn = Drawn(scores, np.sort(rng.integers(0, DAY, n)), n)
    one = Change.of(Calibration(np.sort(law(rng, 1000)), alpha, SPLIT), drawn, alpha)
    alarms = one.alarms(one.new)
    k = allowed_rank(alpha, n)
    assert alarms.sum() <= k
    assert alarms[~mask].sum() <= max(0, k - mask.sum())
    assert name == "tied" or alarms.sum() >= k - 3  # each ranks below itself, and some tie


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(LAWS)),
    st.sampled_from([0.002, 0.01, 0.3]),
    st.floats(-50, 50),
    st.floats(0.01, 100),
    st.integers(500, 3000),
)
def test_a_proposal_does_not_depend_on_the_unit_of_scores(
    seed: int, name: str, alpha: float, by: float, unit: float, n: int
):
    """Every number of it is finite and in its range."""
    law, rng = LAWS[name], np.random.default_rng(seed)
    old, new = np.sort(law(rng, 1000)), 1.1 * law(rng, n)
    at = np.sort(rng.integers(0, DAY, n))

    def described(scale: Callable[[Floats], Floats]) -> object:
        one = Change.of(Calibration(scale(old), alpha, SPLIT), Drawn(scale(new), at, n), alpha)
        origin = Provenance("0" * 12, 1e9, 3600, None, False, "v", Period(TimeSpan(0, DAY)))
        found = proposal_of(one, Evidence(0.0, []), origin)
        for side in (found.before, found.after):
            assert 0 <= side.rate <= 1 and sum(side.severities) == n
            assert np.isfinite(side.threshold)
        assert found.rate_interval_95[0] <= found.rate_interval_95[1]
        return found.state, [reason.code for reason in found.refusals]

    assert described(lambda s: s) == described(lambda s: unit * s)
    assert described(lambda s: s + 1000 + by) is not None
