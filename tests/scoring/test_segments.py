"""Calibrations of single segments: their ranks, their names, and what an artifact may hold."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy.stats import betabinom, binomtest

from tests.conftest import make_frame
from vaewatch.scoring.artifact import CALIBRATION
from vaewatch.scoring.budget.calibration import SPLIT, Calibration, RateLaw
from vaewatch.scoring.budget.expected import Expected, State
from vaewatch.scoring.budget.fdr import discoveries
from vaewatch.scoring.budget.segments import LONGEST_LABEL, Segments, label_of, labels_of
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.stream.martingale import Exchangeability
from vaewatch.scoring.verdicts import Verdicts

SITE = Column("site", Kind.CATEGORICAL, categories=("a", "b", "c"))


def calibration(n: int, scale: float = 1.0, alpha: float = 0.05) -> Calibration:
    scores = np.sort(np.random.default_rng(n).exponential(scale, n))
    return Calibration(scores, alpha, SPLIT)


def segments() -> Segments:
    schema = Schema((SITE,), segment="site")
    return Segments(schema, {0: calibration(100), 2: calibration(40, 10.0)}, calibration(500, 3.0))


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(0, 4)), max_size=200),
    st.sampled_from([None, 0.05, 0.02, 0.002]),
)
def test_each_record_is_ranked_as_it_is_alone(rows: list[tuple[float, int]], alpha: float | None):
    found = segments()
    scores = np.array([score for score, _ in rows])
    codes = np.array([code for _, code in rows], np.int32)
    ranked = found.rank(scores, codes, alpha)
    able = {0: (0.05, 0.02), 2: (0.05,)}
    for i, (score, code) in enumerate(rows):
        own = found.own.get(code) if (alpha or 0.05) in able.get(code, ()) else None
        by = own or found.pooled
        assert ranked.p_value[i] == by.p_values(np.array([score]))[0]
        assert ranked.severity[i] == pytest.approx(-np.log10(ranked.p_value[i]))
        assert (ranked.slots[i] > 0) == (own is not None)


def test_the_alarms_of_all_are_expected_by_the_calibrations_that_judge_them():
    """Of two segments judged by the pooled calibration, the loud one brings more than alpha."""
    rng, held, pooled_held = np.random.default_rng(3), 0, 0
    sizes, scale, records = (
        (200, 60, 20),
        np.array([1.0, 2.0, 12.0]),
        np.array([900, 300, 60, 0, 0]),
    )
    codes = np.repeat(np.arange(5), records).astype(np.int32)
    for _ in range(400):
        each = [np.sort(rng.exponential(s, n)) for s, n in zip(scale, sizes, strict=True)]
        own = {code: Calibration(each[code], 0.02, SPLIT) for code in (0, 1)}
        pooled = Calibration(np.sort(np.concatenate(each)), 0.02, SPLIT)
        found = Segments(Schema((SITE,), segment="site"), own, pooled)
        expected = found.expected(records)
        alarms = int((found.rank(rng.exponential(scale[codes]), codes).p_value <= 0.02).sum())
        held += expected.low <= alarms <= expected.high
        by_pool = Expected.at(pooled, len(codes))
        pooled_held += by_pool.low <= alarms <= by_pool.high
        assert expected.mean == pytest.approx(float(records @ found.expected_rates))
    assert held / 400 >= 0.975 > pooled_held / 400


def test_without_calibrations_of_their_own_all_is_as_the_pooled_one_expects():
    found = segments()
    alone = Segments(found.schema, {}, found.pooled)
    assert alone.expected(np.array([50, 20, 0, 9, 1])) == Expected.at(found.pooled, 80)
    assert found.expected(np.array([50, 20, 9, 0, 1]), 0.002) == Expected.at(
        found.pooled, 80, 0.002
    )


@pytest.mark.parametrize(("alpha", "held"), [(0.02, 150), (0.005, 150), (0.005, 60)])
def test_what_is_expected_of_the_segments_that_the_pooled_one_judges_is_a_bound(
    alpha: float, held: int
):
    """Of site b, whose own calibration cannot certify a smaller alpha, and of c, without one. The
    own one of b may lack some of its records in the pooled calibration.
    """
    rng, above, below = np.random.default_rng(5), 0, 0
    told, came = list[float](), list[float]()
    normal = np.repeat(np.arange(3), (0, 250, 50)).astype(np.int32)
    judged = normal if alpha < 0.02 else normal[normal == 2]
    scale, rounds = np.array([1.0, 3.0, 2.0]), 400
    for _ in range(rounds):
        mix = rng.choice(3, 1000, p=[0.88, 0.1, 0.02])
        uniform = rng.exponential(scale[mix])
        own = {
            0: Calibration(np.sort(uniform[mix == 0]), 0.02, SPLIT),
            1: Calibration(np.sort([*uniform[mix == 1], *rng.exponential(3.0, 60)][:held]), 0.02,
                           SPLIT),
        }  # fmt: skip
        pooled = Calibration(np.sort(uniform), 0.02, SPLIT)
        schema = Schema((SITE,), segment="site")
        found = Segments(schema, own, pooled, int((mix == 2).sum()))
        expected = found.expected(found.count(judged), alpha)
        slots = found.slots(judged, alpha)
        alarms = int((pooled.p_values(rng.exponential(scale[judged])) <= alpha).sum())
        assert not slots.any() and expected.bound
        above, below = above + (alarms > expected.high), below + (alarms < expected.low)
        told.append(expected.mean)
        came.append(np.exp(-(pooled.threshold(alpha) or 0.0) / scale[judged]).sum())
    assert above / rounds <= 0.02 and below / rounds <= 0.02
    slack = np.subtract(told, came)
    assert slack.mean() >= -3 * slack.std() / rounds**0.5
    assert np.mean(told) <= 3 * np.mean(came)


def share_of_false(found: np.ndarray, normal: int) -> float:
    return float(found[:normal].sum() / max(found.sum(), 1))


def test_the_share_of_false_discoveries_holds_though_a_pooled_segment_is_loud():
    """b alarms far more often by the pooled calibration than its p-values say."""
    rng, q, rounds = np.random.default_rng(9), 0.1, 300
    shares, by_all, power = list[float](), list[float](), list[float]()
    codes = np.repeat([0, 2, 1, 0], (600, 400, 30, 40)).astype(np.int32)
    scale = np.array([1.0, 8.0, 1.5])
    for _ in range(rounds):
        mix = rng.choice(3, 1200, p=[0.6, 0.008, 0.392])
        uniform = rng.exponential(scale[mix])
        own = {code: Calibration(np.sort(uniform[mix == code]), 0.02, SPLIT) for code in (0, 2)}
        pooled = Calibration(np.sort(uniform), 0.02, SPLIT)
        found = Segments(Schema((SITE,), segment="site"), own, pooled, int((mix == 1).sum()))
        scores = rng.exponential(scale[codes])
        scores[-40:] += 25
        ranked = found.rank(scores, codes)
        verdicts = Verdicts(scores, ranked.p_value, ranked.severity, ranked.p_value < 0,
                            [()] * len(codes), promised=ranked.promised)  # fmt: skip
        chosen = verdicts.discoveries(q)
        assert not chosen[codes == 1].any()
        assert np.array_equal(verdicts[::-1].discoveries(q)[::-1], chosen)
        shares.append(share_of_false(chosen, 1030))
        by_all.append(share_of_false(discoveries(ranked.p_value, q), 1030))
        power.append(chosen[-40:].mean())
    assert np.mean(shares) <= q + 3 * np.std(shares) / rounds**0.5
    assert np.mean(by_all) > 2 * q and np.mean(power) > 0.8


@pytest.mark.parametrize("loud", range(12))
def test_the_law_of_the_rest_is_the_interval_of_clopper_and_pearson(loud: int):
    calm = np.linspace(0, 1, 500)
    rest = np.concatenate([np.linspace(0.11, 0.19, 11 - loud), np.linspace(5, 6, loud)])
    own = {0: Calibration(calm, 0.05, SPLIT)}
    pooled = Calibration(np.sort(np.concatenate([calm, rest])), 0.05, SPLIT)
    found = Segments(Schema((SITE,), segment="site"), own, pooled, 11)
    law = found.laws()[0]
    wanted = binomtest(loud, 11).proportion_ci(0.95, "exact")
    assert law.interval() == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    expected = found.expected(np.array([0, 1000, 0, 0, 0]))
    assert expected.mean == pytest.approx(1000 * (loud + 1) / 12)
    assert expected.high == (1000 if loud == 11 else betabinom(1000, loud + 1, 11 - loud).ppf(
        0.995))  # fmt: skip
    assert loud < 11 or expected.state(1000) is State.WITHIN


def test_scores_that_tie_with_those_of_an_own_calibration_stay_in_the_bound():
    """Beside its records in the pooled calibration, an own one holds others of the same score."""
    quiet, high = np.zeros(300), np.full(4, 9.0)
    own = {0: Calibration(np.concatenate([quiet, high]), 0.05, SPLIT)}
    pooled = Calibration(np.concatenate([quiet, np.zeros(2), high]), 0.05, SPLIT)  # high: of b
    found = Segments(Schema((SITE,), segment="site"), own, pooled, 6)
    assert found.laws()[0] == RateLaw(6, 0, 5)


def test_a_name_with_control_characters_or_a_long_one_is_cut_and_stays_unique():
    assert label_of("Köln, 1") == "Köln, 1"
    long = [label_of("x" * 10_000), label_of("x" * 10_001), label_of("x" * LONGEST_LABEL)]
    assert len(set(long)) == 3 and max(map(len, long)) <= LONGEST_LABEL
    for name in ("a\nb", "a\x1b[31mb", "a\x00b", "\ud800"):
        assert label_of(name).isprintable() and label_of(name) != label_of("a b")


def test_a_segment_called_other_stays_apart_from_the_others():
    column = Column("site", Kind.CATEGORICAL, categories=("other", "(other)"))
    assert labels_of(column) == ("other", "(other)", "((other))", None)


def test_a_change_of_the_mix_is_no_evidence_of_change():
    """Ranked within its segment, a score says nothing of how frequent the segment is."""
    found, rng = segments(), np.random.default_rng(0)
    scale = np.array([1.0, 3.0, 10.0, 3.0, 3.0])

    def evidence(shares: list[float], own: bool) -> float:
        codes = rng.choice(5, 20_000, p=shares).astype(np.int32)
        scores = rng.exponential(scale[codes])
        if own:
            watch = Exchangeability(found.pooled.scores, rng, found.own_scores)
            return watch.update(scores, found.slots(codes))
        return Exchangeability(found.pooled.scores, rng).update(scores)

    assert evidence([0.01, 0.01, 0.98, 0, 0], own=True) < 2
    assert evidence([0, 1, 0, 0, 0], own=True) == 0  # nothing is promised to it
    assert evidence([0.01, 0.01, 0.98, 0, 0], own=False) > 10


def test_a_change_within_a_segment_is_evidence_of_change():
    rng = np.random.default_rng(0)
    own = {0: calibration(2000), 2: calibration(2000, 10.0)}
    found = Segments(segments().schema, own, segments().pooled)
    codes = rng.choice(3, 20_000, p=[0.5, 0.0, 0.5]).astype(np.int32)
    scores = rng.exponential(np.where(codes == 0, 2.0, 10.0))
    watch = Exchangeability(found.pooled.scores, rng, found.own_scores)
    assert watch.update(scores, found.slots(codes)) > 4


def test_without_own_calibrations_the_evidence_is_that_of_all():
    scores = np.random.default_rng(1).exponential(3.0, 3000)
    pooled = segments().pooled.scores
    one = Exchangeability(pooled, np.random.default_rng(0)).update(scores)
    slots = np.zeros(3000, np.int64)
    assert Exchangeability(pooled, np.random.default_rng(0), ()).update(scores, slots) == one


def sign(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in manifest["sha256"]:
        manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _unsorted(arrays: dict[str, Any]) -> None:
    arrays["segment_scores"][:2] = arrays["segment_scores"][1::-1] + [1.0, 0.0]


def _nan(arrays: dict[str, Any]) -> None:
    arrays["segment_scores"][-1] = np.nan


def _unknown(arrays: dict[str, Any]) -> None:
    arrays["segment_codes"][-1] = 3  # the bucket of the others


def _twice(arrays: dict[str, Any]) -> None:
    arrays["segment_codes"][:] = 0


def _too_long(arrays: dict[str, Any]) -> None:
    arrays["segment_sizes"][0] += 1


def _negative(arrays: dict[str, Any]) -> None:
    total = arrays["segment_sizes"].sum()
    arrays["segment_sizes"][:] = [-5, total + 5]


def _of_texts(arrays: dict[str, Any]) -> None:
    arrays["segment_scores"] = arrays["segment_scores"].astype(np.float32)


def _few(arrays: dict[str, Any]) -> None:
    first = int(arrays["segment_sizes"][0])
    arrays["segment_scores"] = np.concatenate(
        [arrays["segment_scores"][:3], arrays["segment_scores"][first:]]
    )
    arrays["segment_sizes"][0] = 3


def _gone(arrays: dict[str, Any]) -> None:
    del arrays["segment_sizes"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_unsorted, "must ascend"),
        (_nan, "must be finite"),
        (_unknown, "codes of the segments"),
        (_twice, "codes of the segments"),
        (_too_long, "sizes of the segments"),
        (_negative, "sizes of the segments"),
        (_of_texts, "scores of the segments"),
        (_few, "takes at least"),
        (_gone, "segment_sizes"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_segments_that_training_cannot_have_made_are_refused(
    segmented_path: Path, tmp_path: Path, change: Any, message: str
):
    copy = Path(shutil.copytree(segmented_path, tmp_path / "copy"))
    arrays = load_file(copy / CALIBRATION)
    change(arrays)
    save_file(arrays, copy / CALIBRATION)
    sign(copy)
    with pytest.raises(ArtifactError, match=message) as caught:
        Scorer.load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("segment", ["amount", "nowhere", "a\x1bb"])
def test_a_segment_that_is_no_categorical_column_is_refused(
    segmented_path: Path, tmp_path: Path, segment: str
):
    copy = Path(shutil.copytree(segmented_path, tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["schema"]["segment"] = segment
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="the segment must be a categorical column"):
        Scorer.load(copy)


def test_an_artifact_with_a_segment_is_read_and_scores_alike_in_any_batch(segmented_path: Path):
    scorer, frame = Scorer.load(segmented_path), make_frame(400, seed=3)
    whole = scorer.score(frame, explain=0)
    one_by_one = [scorer.score(frame[i : i + 1], explain=0)[0] for i in range(40)]
    assert [v.p_value for v in one_by_one] == whole.p_value[:40].tolist()
    assert [v.calibration for v in one_by_one] == list(whole.calibration or ())[:40]
    assert {s.segment: s.calibration for s in scorer.artifact.manifest.calibration.segments} == {
        "NL": "own",
        "DE": "own",
        "FR": "pooled",
    }
