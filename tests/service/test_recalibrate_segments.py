"""POST /v1/recalibrate where the artifact has a segment: each follows by itself, or is pooled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import SMALL, make_frame
from tests.live import Live, serving, until
from tests.service.test_recalibrate import moved, score
from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.budget.own import calibrate_segments
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.schema import other_code
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.recalibrate.change import Change
from vaewatch.service.recalibrate.sample import Drawn
from vaewatch.service.recalibrate.segments import Renewed
from vaewatch.training.train import train

Json = dict[str, Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DE, NL and FR have calibrations of their own."""
    out = tmp_path_factory.mktemp("artifacts") / "shop"
    options = {**SMALL, "report": False}
    train(make_frame(20_000), out, alpha=0.05, id="order", segment="country", **options)
    return out


@pytest.fixture
def artifact(shop: Path, tmp_path: Path) -> Path:
    return shutil.copytree(shop, tmp_path / "shop")


def season(n: int, seed: int) -> list[Json]:
    """Orders of which those from NL have changed; one is from FR, and one from nowhere."""
    rows = [row for row in moved(n, seed, 1.0) if row["country"] != "NL"]
    changed = [row | {"country": "NL"} for row in moved(n // 2, seed + 100, 1.4)]
    rows = [row for row in rows if row["country"] != "FR"]
    some = [{**rows[0], "country": "FR"}, {**rows[1], "country": None}]
    mixed = [*rows, *changed, *some]
    return [mixed[i] for i in np.random.default_rng(seed).permutation(len(mixed))]


def by_segment(proposal: Json) -> dict[str | None, Json]:
    return {one["segment"]: one for one in proposal["segments"]}


def rate(live: Live, records: list[Json]) -> float:
    return float(np.mean(score(live, records)))


def test_each_segment_follows_or_is_pooled_by_any_worker(artifact: Path):
    parent = read_manifest(artifact)
    assert {s.segment for s in parent.calibration.segments if s.calibration == "own"} >= {"FR"}
    with serving(artifact, "--workers", "2") as live:
        records = season(4000, 1)
        for start in range(0, len(records), 400):
            score(live, records[start : start + 400])

        proposals = list[Json]()  # another worker may not know of all records yet

        def of_all() -> bool:
            proposals.append(live.post("/v1/recalibrate").json())
            return bool(proposals[-1].get("records") == len(records))

        until(of_all, 30)
        proposal = proposals[-1]
        assert proposal["state"] == "proposed", proposal["refusals"]
        found = by_segment(proposal)
        sizes = {name: sum(r["country"] == name for r in records) for name in found if name}
        assert {name: one["n"] for name, one in found.items() if name} == sizes
        assert sum(one["n"] for one in found.values()) == proposal["n"]
        loud, usual, few = found["NL"], found["DE"], found["FR"]
        assert (loud["before"], loud["after"], loud["n_after"]) == ("own", "own", loud["n"])
        assert loud["rate_before"] > 0.07 and loud["rate_after"] == pytest.approx(0.05, abs=0.01)
        low, high = loud["rate_interval_95"]
        assert low < 0.05 < high
        assert usual["after"] == "own" and usual["rate_after"] == pytest.approx(0.05, abs=0.01)
        assert (few["before"], few["after"], few["n"]) == ("own", "pooled", 1)
        assert few["rate_interval_95"] is None and not few["kept"]
        assert any("'FR'" in text and "promises nothing" in text for text in proposal["warnings"])
        assert found[None]["n"] == 1 and found[None]["after"] == "pooled"

        path = f"/v1/recalibrate/{proposal['id']}"
        applied = live.post(f"{path}/apply").json()
        assert applied["state"] == "applied" and not applied["forced"]

        def answering() -> set[str]:
            return {str(live.get("/v1/model").json()["version"]) for _ in range(10)}

        until(lambda: answering() == {applied["version"]})
        fresh = [row | {"country": "NL"} for row in moved(3000, 7, 1.4)]
        assert low - 0.02 < rate(live, fresh) < high + 0.02
        asked = {"records": [{**records[0], "country": name} for name in ("NL", "FR")]}
        results = live.post("/v1/score", json=asked).json()["results"]
        assert [result["calibration"] for result in results] == ["own", "pooled"]
        child = Scorer.load(artifact).artifact  # verified: the golden p-values as well
        assert child.segments is not None
        labels = child.segments.labels
        sizes = {labels[code]: own.n for code, own in child.segments.own.items()}
        assert sizes == {name: found[name]["n"] for name in ("DE", "NL")}
        told = {s.segment: (s.calibration, s.n) for s in child.manifest.calibration.segments}
        assert told["NL"] == ("own", loud["n"]) and told["FR"] == ("pooled", 1)
        assert child.manifest.format_version == parent.format_version
        assert live.post(f"{path}/revert").json()["state"] == "reverted"
        until(lambda: answering() == {parent.version})


def test_a_model_without_a_segment_has_no_lines_of_segments(artifact_path: Path):
    with serving(artifact_path) as live:
        score(live, moved(600, 1))
        assert live.post("/v1/recalibrate").json()["segments"] == []


def changed(
    path: Path, add: dict[str, float], flood: str | None = None, *, force: bool = False
) -> Renewed:
    """Serve normal scores a day long: those of some segments are multiplied; `flood`: a tenth of
    one segment are anomalies.
    """
    artifact = Scorer.load(path).artifact
    assert artifact.segments is not None
    rng = np.random.default_rng(3)
    labels = artifact.segments.labels
    categories = len(artifact.segments.column.categories)
    codes = rng.integers(categories, size=3000 * categories).astype(np.int32)
    scores, n = rng.gamma(3, size=len(codes)), len(codes)
    old = calibrate_segments(
        artifact.schema, codes, scores, Calibration(np.sort(scores), 0.05, SPLIT)
    )
    served = rng.gamma(3, size=n)
    for name, by in add.items():
        served[codes == labels.index(name)] *= by
    if flood is not None:
        mine = np.flatnonzero(codes == labels.index(flood))
        served[mine[: len(mine) // 10]] = 40 + rng.random(len(mine) // 10)
    at = (86_400 * rng.permutation(n) / n).astype(np.int64)
    order = at.argsort(kind="stable")
    drawn = Drawn(served[order], at[order], n, codes[order])
    return Renewed.of(old, Change.of(old.pooled, drawn, 0.05), force=force)


def test_an_attack_on_one_segment_is_not_learned_while_others_follow(shop: Path):
    found = {one.segment: one for one in changed(shop, {"NL": 1.3}, "DE").changes()}
    assert found["NL"].rate_after == pytest.approx(0.05, abs=0.002) and not found["NL"].refusals
    attacked = found["DE"]
    assert attacked.kept and attacked.after == "own"
    assert "severe" in {reason.code for reason in attacked.refusals}
    assert attacked.threshold_after == attacked.threshold_before
    assert attacked.rate_after == attacked.rate_before > 0.1
    forced = {one.segment: one for one in changed(shop, {}, "DE", force=True).changes()}["DE"]
    assert not forced.kept and forced.refusals
    assert forced.rate_after == pytest.approx(0.05, abs=0.002)


def test_a_shift_of_one_segment_explains_the_excess_of_all_and_an_attack_does_not(shop: Path):
    assert changed(shop, {"NL": 1.4}).explains
    assert not changed(shop, {"NL": 1.4}, "DE").explains
    assert not changed(shop, {}, "DE").explains and not changed(shop, {}).explains


def test_warnings_name_what_is_not_followed(shop: Path):
    (text,) = changed(shop, {}, "DE").warnings()
    assert "'DE'" in text and "force" in text
    assert not list(changed(shop, {"NL": 1.2}).warnings())


def test_a_flood_of_a_segment_that_was_pooled_shows_beside_its_own_traffic_before(shop: Path):
    rng = np.random.default_rng(5)
    artifact = Scorer.load(shop).artifact
    pooled = Calibration(np.sort(rng.gamma(3, size=5000)), 0.05, SPLIT)
    old = Segments(artifact.schema, {}, pooled)

    def traffic(n: int) -> Drawn:
        return Drawn(2 * rng.gamma(3, size=n), np.arange(n), n, np.zeros(n, np.int32))

    for flood, expected in ((0, []), (100, ["severe"])):
        drawn = traffic(1000)
        drawn.scores[rng.permutation(1000)[:flood]] = 90 + rng.random(flood)
        change = Change.of(pooled, drawn, 0.05, traffic(4000))
        renewed = Renewed.of(old, change, force=False)
        found = [reason.code for reason in renewed.refused.get(0, [])]
        assert found == expected and (0 in renewed.new.own) is not bool(flood)


def test_a_segment_that_was_pooled_gets_its_own_once_enough_records_came(shop: Path):
    """Its scores may lie elsewhere than those of the pooled calibration; that is no attack."""
    rng = np.random.default_rng(4)
    artifact = Scorer.load(shop).artifact
    pooled = Calibration(np.sort(rng.gamma(3, size=5000)), 0.05, SPLIT)
    old = Segments(artifact.schema, {}, pooled)
    codes = np.repeat(np.array([0, 1, other_code(old.column)], np.int32), [900, 15, 300])
    scores = np.where(codes == 0, 5 * rng.gamma(3, size=1215), rng.gamma(3, size=1215))
    drawn = Drawn(scores, np.arange(1215), 1215, codes)
    renewed = Renewed.of(old, Change.of(pooled, drawn, 0.05), force=False)
    assert {code: own.n for code, own in renewed.new.own.items()} == {0: 900}
    lines = renewed.changes()
    assert [one.n for one in lines] == [900, 300, 15]
    assert [(one.before, one.after) for one in lines] == [
        ("pooled", "own"),
        ("pooled", "pooled"),
        ("pooled", "pooled"),
    ]
