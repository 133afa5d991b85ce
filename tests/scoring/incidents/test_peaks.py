"""The chance of an incident of windows, by the peaks of normal ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scoring.series.made import SMALL, telemetry
from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.disk.reading import read_artifact
from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.grouping import HIGH, Group, Rule
from vaewatch.scoring.incidents.incident import Incident
from vaewatch.scoring.incidents.peaks import Peaks
from vaewatch.scoring.incidents.rule import Rules
from vaewatch.scoring.series.incidents import incident_peaks, incident_starts
from vaewatch.scoring.series.promise import Counting
from vaewatch.scoring.series.window import Window
from vaewatch.training.train import train

GAP = 30
LIMITS = (0.5, 0.2, 0.1, 0.03, 0.01, 0.001)
WINDOW = Window(3, 1000, 10)
PEAKS = Peaks((1.5, 2.0, 4.0), 1.0, GAP)
RULE = Rule(GAP, False, 0.01, 0.02, 3, PEAKS)


def alarm(moment: int, score: float | None, group: str = "") -> Alarm:
    return Alarm(moment, group, 3.0, 1e-3, score=score)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
def test_of_normal_incidents_no_more_have_a_chance_than_it_says(peaks: list[int]):
    """Each of K + 1 may be the new one: whatever their law, down to 1 / (K + 1)."""
    chances = [
        Peaks(tuple(sorted(map(float, peaks[:i] + peaks[i + 1 :]))), -1.0, GAP).chance(p)
        for i, p in enumerate(peaks)
    ]
    for k in range(1, len(peaks) + 1):
        assert sum(chance <= k / len(peaks) + 1e-12 for chance in chances) <= k


@pytest.mark.parametrize("known", [2, 4, 30])
def test_the_tail_is_that_of_exponential_excesses(known: int):
    """Against draws: with K - 1 for K, a limit is kept as its power K / (K - 1)."""
    rng, n = np.random.default_rng(known), 40_000
    excess = np.sort(rng.exponential(2.0, (n, known)))
    found = np.array(
        [
            Peaks(tuple((5 + own).tolist()), 5.0, GAP).chance(5 + new)
            for own, new in zip(excess, rng.exponential(2.0, n).tolist(), strict=True)
        ]
    )
    for limit in LIMITS:
        share = float((found <= limit).mean())
        assert share <= limit + 4 * np.sqrt(limit / n)
        if limit < 0.4 / known:  # so far out is hardly any below the highest of K
            wanted = limit ** (known / (known - 1))
            assert share == pytest.approx(wanted, rel=0.05, abs=4 * np.sqrt(wanted / n))


def test_a_longer_merge_gap_counts_each_incident_that_it_may_have_joined():
    alone = PEAKS.chance(80.0)
    assert alone == pytest.approx((1 + 79 / 4.5) ** -2, rel=1e-4)
    longer = msgspec.structs.replace(RULE, gap=2 * GAP)
    for rule, joined in ((RULE, 1), (longer, 1 + 400 // GAP)):
        group = Group()
        for moment in range(0, 401, 20):
            group.add(rule, [alarm(moment, 80.0 if moment == 200 else 1.2)], {})
        (one,) = group.incidents
        assert group.chance(rule, one) == pytest.approx(min(1, alone * joined / HIGH))


def test_a_stricter_alpha_leaves_the_incidents_that_still_alarm():
    assert PEAKS.above(2.0) == Peaks((4.0,), 2.0, GAP)
    assert PEAKS.above(0.5) == PEAKS
    assert PEAKS.above(9.0).chance(10.0) == 1


def test_no_incident_that_is_known_says_nothing():
    assert Peaks((), 1.0, GAP).chance(1e9) == 1
    assert Peaks((2.0,), 1.0, GAP).chance(1e9) == 1
    assert Peaks((1.0, 1.0), 1.0, GAP).chance(1e9) == 0.5


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 400), st.floats(0, 9)), max_size=30)
)
def test_arrays_and_groups_are_one_rule(found: list[tuple[str, int, float]]):
    groups: dict[str, Group] = {}
    for name, moment, score in found:
        groups.setdefault(name, Group()).add(RULE, [alarm(moment, score, name)], {})
    incidents = [one for group in groups.values() for one in group.incidents]
    names, moments = [name for name, _, _ in found], np.array([m for _, m, _ in found], np.int64)
    peaks = incident_peaks(names, moments, np.array([s for _, _, s in found], float), WINDOW)
    highs = sorted(PEAKS.chance(peak) for peak in peaks.tolist())
    assert highs == sorted(-1 if one.high is None else one.high for one in incidents)
    assert incident_starts(names, moments, WINDOW).sum() == len(incidents)


def test_the_peak_or_many_alarms_make_an_incident_rare():
    group = Group()
    group.add(RULE, [alarm(0, 8.0)], {0: 1})
    (one,) = group.incidents
    assert group.chance(RULE, one) == pytest.approx(PEAKS.chance(8.0) / HIGH)
    width = RULE.width
    group.add(RULE, [alarm(i * width, 1.2) for i in range(1, 60)], {i: 1 for i in range(1, 60)})
    (one,) = group.incidents
    many = group.evidence(RULE, one).many() / (1 - HIGH)
    assert group.chance(RULE, one) == pytest.approx(many) and many < 1e-6


def test_an_incident_that_a_release_of_before_kept_has_the_evidence_of_then():
    group = Group()
    group.add(RULE, [alarm(0, None)], {0: 1})
    content = msgspec.to_builtins(group.incidents[0])
    del content["high"]
    for example in content["examples"]:
        del example["score"]
    one = msgspec.msgpack.decode(msgspec.msgpack.encode(content), type=Incident)
    assert one.high is None
    before = msgspec.structs.replace(RULE, peaks=None)
    assert group.chance(RULE, one) == group.chance(before, one)
    group.add(RULE, [alarm(1, 7.0)], {0: 1})
    assert group.incidents[0].high == PEAKS.chance(7.0)


def test_an_incident_that_goes_on_with_another_artifact_keeps_what_each_knew():
    """Scores of two artifacts are not to be compared."""
    group, other = Group(), msgspec.structs.replace(RULE, peaks=Peaks((50.0, 70.0), 40.0, GAP))
    group.add(RULE, [alarm(0, 30.0)], {})
    known = group.incidents[0].high
    group.add(other, [alarm(1, 60.0)], {})
    (one,) = group.incidents
    assert one.alarms == 2 and one.high == known == PEAKS.chance(30.0)


def test_an_artifact_of_before_has_the_evidence_of_then():
    path = Path(__file__).parents[1] / "artifacts" / "format-4"
    assert Rules.of(read_artifact(path)).rule.peaks is None


def test_rules_know_the_normal_incidents_of_an_artifact(tmp_path: Path):
    train(telemetry(), tmp_path / "machines", alpha=0.05, **SMALL)
    artifact = read_artifact(tmp_path / "machines")
    window, scores = artifact.window, artifact.incident_peaks
    assert window is not None and scores is not None and len(scores)
    gap = window.size * window.step
    peaks = Rules.of(artifact).rule.peaks
    assert peaks is not None and peaks.gap == gap and list(peaks.scores) == scores.tolist()
    calibration = artifact.calibration
    quiet = ~calibration.alarms(calibration.p_values(calibration.scores))
    assert peaks.threshold == calibration.scores[quiet].max() < scores[0]
    stricter = Rules.of(artifact, alpha=0.02).rule.peaks
    assert stricter is not None and set(stricter.scores) < set(peaks.scores)
    assert Rules.of(artifact, 2 * gap).rule.peaks == peaks
    assert Rules.of(artifact, gap - 1).rule.peaks is None


def test_of_incidents_of_dependent_scores_few_look_rare():
    """Sums of eight neighbours, whose tail is about exponential, and another span of them."""
    window, rng, n = Window(8, 1000, 10), np.random.default_rng(0), 3000
    gap, moments = window.size * window.step, 10 * np.arange(n)
    found: list[float] = []
    for _ in range(300):
        old, new = (
            np.convolve(rng.exponential(1.0, n + 7) ** 2, np.ones(8), "valid") ** 0.5
            for _ in range(2)
        )
        calibration = Calibration(np.sort(old), 0.02, SPLIT)
        threshold = calibration.threshold(0.02)
        assert threshold is not None
        known, there = (
            Counting(calibration, scores, None, moments, window).peaks() for scores in (old, new)
        )
        peaks = Peaks(tuple(known.tolist()), threshold, gap)
        found += [peaks.chance(score) for score in there.tolist()]
    assert len(found) > 3000
    for limit in (0.2, 0.1, 0.03, 0.01):
        share = float(np.mean(np.array(found) <= limit))
        assert limit / 5 < share < 1.15 * limit
