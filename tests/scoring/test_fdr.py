"""Benjamini and Hochberg's discoveries: against their definition, and what they promise."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, false_discovery_control

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.fdr import (
    Discoveries,
    Judged,
    PValueCounts,
    check_fdr,
    discoveries,
)
from vaewatch.scoring.errors import CalibrationError, SettingError
from vaewatch.scoring.verdicts import Verdicts

RATES = st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 0.9])


def by_definition(ranks: list[int], n: int, q: float) -> list[bool]:
    """The largest k such that the k-th lowest p-value is at most q k / N, in whole numbers."""
    wanted, records = Fraction(str(q)), len(ranks)
    cut = 0
    for rank in ranks:
        at_most = sum(other <= rank for other in ranks)
        if Fraction(rank, n + 1) * records <= wanted * at_most:
            cut = max(cut, rank)
    return [rank <= cut for rank in ranks]


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 60), RATES, st.data())
def test_counting_each_p_value_gives_the_discoveries_of_the_definition(
    n: int, q: float, data: st.DataObject
):
    ranks = data.draw(st.lists(st.integers(1, n + 1), max_size=60))
    p_values = np.array(ranks, dtype=np.float64) / (n + 1)
    assert discoveries(p_values, q).tolist() == by_definition(ranks, n, q)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), RATES, st.lists(st.lists(st.integers(1, 51), max_size=30), max_size=6))
def test_counts_of_chunks_add_up_in_any_order(n: int, q: float, chunks: list[list[int]]):
    each = [np.minimum(np.array(c, dtype=np.float64), n + 1) / (n + 1) for c in chunks]
    together = PValueCounts.of(np.concatenate([np.zeros(0), *each]))
    for order in (each, each[::-1]):
        total = PValueCounts.of(np.zeros(0))
        for p_values in order:
            total += PValueCounts.of(p_values)
        np.testing.assert_array_equal(total.values, together.values)
        np.testing.assert_array_equal(total.counts, together.counts)
        judged = [[Judged(counted, n)] for counted in (total, together)]
        assert Discoveries.among(judged[0], q) == Discoveries.among(judged[1], q)


def test_they_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(200):
        p_values = rng.integers(1, 1000, 300) / 1000 * rng.choice([0.05, 1.0], 300)
        for q in (0.0501, 0.1003, 0.2007):  # no p-value is equal to q k / N
            assert np.array_equal(discoveries(p_values, q), false_discovery_control(p_values) <= q)


@pytest.mark.parametrize("planted", [0, 20, 150])
@pytest.mark.parametrize("decimals", [8, 1])
def test_the_realised_rate_is_at_most_the_one_asked_for(planted: int, decimals: int):
    """Over calibrations as well as records; with one decimal many scores tie."""
    rng, n, normal, q = np.random.default_rng(1), 1999, 300, 0.2
    false, power = [], []
    for _ in range(600):
        calibration = Calibration(np.sort(rng.normal(size=n).round(decimals)), 0.01, "split")
        scores = np.concatenate([rng.normal(size=normal), rng.normal(3.5, 1, planted)])
        found = discoveries(calibration.p_values(scores.round(decimals)), q)
        false.append(found[:normal].sum() / max(found.sum(), 1))
        power.append(found[normal:].mean() if planted else 1.0)
    allowed = q * normal / (normal + planted)
    assert np.mean(false) <= allowed + 3 * np.std(false) / 600**0.5
    assert np.mean(power) > 0.5


def test_a_mask_of_verdicts_picks_the_discoveries():
    p_values = np.array([0.001, 0.5, 0.001, 0.9, 0.04])
    nothing = [()] * 5
    verdicts = Verdicts(-p_values, p_values, -np.log10(p_values), p_values < 0, nothing)
    found = verdicts[verdicts.discoveries(0.1)]
    assert found.p_value.tolist() == [0.001, 0.001, 0.04]
    assert not verdicts.discoveries(0.0001).any()
    assert len(verdicts[verdicts.p_value > 2].discoveries(0.1)) == 0
    for q in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(SettingError, match="must be above 0 and below 1"):
            verdicts.discoveries(q)


def test_a_calibration_that_could_never_find_anything_is_refused():
    check_fdr(0.01, 99)
    with pytest.raises(CalibrationError, match="takes at least 99 calibration records, got 98"):
        check_fdr(0.01, 98)
    with pytest.raises(CalibrationError, match=r"or ask for 0\.0102 or more"):
        check_fdr(0.01, 98)
    with pytest.raises(SettingError):
        check_fdr(1.5, 98)


def judged_by(n: int, ranks: dict[int, int]) -> Judged:
    """Records by the rank of their p-value among n calibration records."""
    values = np.array(sorted(ranks), dtype=np.float64) / (n + 1)
    return Judged(PValueCounts(values, np.array([ranks[rank] for rank in sorted(ranks)])), n)


def words(ranks: dict[int, int], n: int, q: float) -> str:
    return Discoveries.among([judged_by(n, ranks)], q).words


def test_the_words_at_their_edges():
    assert words({1: 46, 3: 4, 9000: 4950}, 9999, 0.1) == (
        "50 discoveries at a false discovery rate of 0.1 (p-value up to 0.0003): on average at "
        "most 10% of them false (5.0)"
    )
    assert words({1: 1, 900: 9}, 999, 0.125).startswith("1 discovery at a false discovery rate")
    assert "at most 12.5% of them false (0.1)" in words({1: 1, 900: 9}, 999, 0.125)
    assert words({50: 100}, 99, 0.1) == (
        "no discoveries at a false discovery rate of 0.1: all 100 records may be normal"
    )
    assert "all 0 records may be normal" in words({}, 99, 0.1)


def test_nothing_found_says_how_large_a_calibration_it_takes():
    found = words({1: 5, 90: 995}, 99, 0.1)
    assert found == (
        "no discoveries at a false discovery rate of 0.1: 5 records have the lowest p-value that "
        "the calibration can give, but among 1,000 it takes 100; with 1,999 calibration records "
        "5 could be enough"
    )
    assert "100 discoveries" in words({1: 100, 90: 900}, 99, 0.1)
    assert "no discoveries" in words({1: 99, 90: 901}, 99, 0.1)
    assert "5 discoveries" in words({1: 5, 1900: 995}, 1999, 0.1)
    assert "no discoveries" in words({1: 5, 1900: 995}, 1998, 0.1)
    assert "1 record has the lowest p-value" in words({1: 1, 90: 999}, 99, 0.1)


def test_anomalies_that_the_calibration_cannot_tell_apart_are_not_called_normal():
    def found(lowest: int, n: int, q: float) -> Discoveries:
        judged = [judged_by(n, {1: lowest, n: 1000 - lowest})]
        found = Discoveries.among(judged, q)
        found.require_resolved(judged)
        return found

    found(20, 99, 0.1)  # chance brings up to 51 of 1,000
    found(100, 99, 0.1)  # found
    with pytest.raises(
        CalibrationError, match="takes more calibration records than 99"
    ) as refused:
        found(80, 99, 0.1)
    text = str(refused.value)
    assert "80 records have the lowest p-value" in text and "among 1,000 it takes 100" in text
    assert text.endswith("with 124 calibration records 80 could be enough. Recalibrate on more "
                         "normal records, or ask for 0.125 or more.")  # fmt: skip
    assert found(80, 124, 0.1).found == found(80, 99, 0.125).found == 80


@pytest.mark.parametrize(
    ("sizes", "rounds"),
    [
        ((200,), 2000),
        ((60,) * 8, 800),  # enough to tell eight chances of being refused from one
        pytest.param((60,) * 8, 2000, marks=pytest.mark.long),
        pytest.param((100, 40, 300), 2000, marks=pytest.mark.long),
    ],
)
def test_a_file_of_normal_records_is_hardly_ever_refused(sizes: tuple[int, ...], rounds: int):
    rng, refused = np.random.default_rng(3), 0
    for _ in range(rounds):
        judged = []
        for n in sizes:
            calibration = Calibration(np.sort(rng.normal(size=n)), 0.05, "split")
            p_values = calibration.p_values(rng.normal(size=1000 // len(sizes)))
            judged.append(Judged(PValueCounts.of(p_values), n))
        try:
            Discoveries.among(judged, 0.01).require_resolved(judged)
        except CalibrationError:
            refused += 1
    assert refused / rounds <= 0.005 + 3 * (0.005 / rounds) ** 0.5


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.lists(st.integers(1, 6), max_size=30)),
        min_size=1,
        max_size=4,
    ),
    RATES,
)
def test_several_calibrations_come_nearest_at_the_rate_that_would_find_first(
    drawn: list[tuple[int, list[int]]], q: float
):
    """By trying: of the records with the lowest p-value of their calibration, the first that are
    discoveries as q grows, in whole numbers.
    """
    parts = [(n, [min(rank, n + 1) for rank in ranks]) for n, ranks in drawn]
    judged = [judged_by(n, {r: ranks.count(r) for r in set(ranks)}) for n, ranks in parts]
    found = Discoveries.among(judged, q, segments=True)
    everything = [Fraction(rank, n + 1) for n, ranks in parts for rank in ranks]
    wanted, records = Fraction(str(q)), len(everything)
    cuts = [p for p in everything if p * records <= wanted * sum(o <= p for o in everything)]
    assert found.found == sum(p <= max(cuts, default=0) for p in everything)
    lowest = [Fraction(1, n + 1) for n, ranks in parts for rank in ranks if rank == 1]
    rates = [p * records / sum(other <= p for other in lowest) for p in lowest]
    assert (found.lowest > 0) == bool(lowest)
    if lowest:
        first = min(rates)
        assert Fraction(records, (found.n + 1) * found.lowest) == first
        assert found.lowest in [sum(o <= p for o in lowest) for p in lowest]
        if not found.found:
            assert found.lowest < found.least and first > wanted


def test_what_is_lowest_goes_by_the_calibration_that_judges():
    """The pooled calibration of 1,200 would give 1 / 1,201, which no record of a segment gets."""
    judged = [judged_by(700, {1: 30, 300: 3000}), judged_by(500, {2: 1, 400: 200})]
    found = Discoveries.among(judged, 0.02, segments=True)
    assert (found.n, found.lowest, found.least) == (700, 30, 231)
    assert found.words == (
        "no discoveries at a false discovery rate of 0.02: 30 records have the lowest p-value "
        "that their segment's calibration can give, but among 3,231 it takes 231; with 5,384 "
        "calibration records of it 30 could be enough"
    )
    with pytest.raises(CalibrationError, match=r"than 700 for this input: 30 records .* 0\.154"):
        found.require_resolved(judged)
    assert Discoveries.among(judged, 0.154).found == 30
    larger = [judged_by(5384, {1: 30, 300: 3000}), judged[1]]
    assert Discoveries.among(larger, 0.02).found == 30


def test_anomalies_that_are_few_in_each_of_many_segments_are_not_called_normal_either():
    def judged(lowest: int) -> list[Judged]:
        return [judged_by(60, {1: lowest, 30: 125 - lowest}) for _ in range(8)]

    each = betabinom(125, 1, 60)  # by itself, 12 are no surprise among eight such segments
    assert 8 * each.sf(11) > 0.005
    draws = each.rvs((100_000, 8), random_state=0).sum(axis=1)
    for lowest, refused in ((4, False), (12, True)):
        assert (np.mean(draws >= 8 * lowest) < 0.0025) == refused
        found = Discoveries.among(judged(lowest), 0.001, segments=True)
        if not refused:
            found.require_resolved(judged(lowest))
            continue
        with pytest.raises(CalibrationError, match="96 records have the lowest p-value"):
            found.require_resolved(judged(lowest))


def test_records_that_no_rate_can_reach_are_said():
    judged = [judged_by(700, {1: 30, 300: 100}), judged_by(99, {1: 3, 40: 200})]
    found = Discoveries.among(judged, 0.005, segments=True, left_out=1)
    assert found.out_of_reach == 203
    left_out, unreached = found.remarks
    assert left_out.startswith("1 record is left out of the discoveries")
    assert unreached.startswith(
        "203 records are of segments whose calibrations have fewer than 199"
    )
    assert Discoveries.among(judged, 0.01, segments=True).remarks == []
    assert Discoveries.among(judged[1:], 0.005).remarks == []
