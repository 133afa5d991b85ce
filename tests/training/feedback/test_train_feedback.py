"""`vaewatch train --feedback`: confirmed incidents are left out, false alarms stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, call, make_frame
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.time.form import Form, spell
from vaewatch.training.train import train

NORMALS = make_frame(900)
SECOND, START = 1_000_000, 1_774_785_600_000_000


def odd(n: int, seed: int = 9) -> pl.DataFrame:
    """Records of an incident: the amount goes up, and the age is lost."""
    times = pl.Series(np.linspace(1.5, 4, n))
    return make_frame(n, seed).with_columns(
        order=pl.concat_str(pl.lit("odd"), pl.int_range(n)),
        amount=(pl.col("amount") * times).round(2),
        age=pl.lit(None, pl.Float64),
    )


def contrary(n: int, seed: int = 9) -> pl.DataFrame:
    """Records of a subtler incident: amount and age do not go together; neighbours are far."""
    return make_frame(n, seed).with_columns(
        order=pl.concat_str(pl.lit("contrary"), pl.int_range(n)),
        amount=(200 - pl.col("amount")).round(2),
    )


def marks(path: Path, **labels: list[str]) -> Path:
    rows = [(label, record) for label, records in labels.items() for record in records]
    pl.DataFrame(rows, ["label", "record"], orient="row").write_csv(path)
    return path


def trained(out: Path, frame: pl.DataFrame, **options: object) -> Scorer:
    return train(frame, out, **{"alpha": 0.05, "id": "order", "report": False, **SMALL, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Scorer:
    return trained(folder / "plain", NORMALS)


@pytest.fixture(scope="module")
def alarms(plain: Scorer) -> list[str]:
    """The normal records that alarm."""
    return NORMALS["order"].filter(pl.Series(plain.score(NORMALS).is_anomaly)).to_list()


@pytest.fixture(scope="module")
def heeding(folder: Path, alarms: list[str]) -> Scorer:
    """An artifact that has learned from 40 confirmed records and 20 false alarms."""
    path = marks(
        folder / "marks.csv", confirmed=contrary(40)["order"].to_list(), false_alarm=alarms[:20]
    )
    return trained(folder / "heeding", pl.concat([NORMALS, contrary(40)]), feedback=path)


def test_without_the_confirmed_records_the_fit_is_that_of_the_others(plain: Scorer, folder: Path):
    path = marks(folder / "two.csv", confirmed=["odd0", "odd1"], false_alarm=["o3", "none"])
    mixed = pl.concat([NORMALS[:400], odd(2), NORMALS[400:]])
    new = trained(folder / "two", mixed, feedback=path)
    assert new.artifact.version == plain.artifact.version
    found = new.artifact.manifest.feedback
    assert found is not None and plain.artifact.manifest.feedback is None
    assert (found.confirmed, found.false_alarms, found.left_out) == (2, 2, 2)
    assert found.without_records == 1 and found.gain is None


def test_weights_are_learned_and_kept(heeding: Scorer, plain: Scorer, folder: Path):
    found, rule = heeding.artifact.manifest.feedback, heeding.artifact.rule
    assert found is not None and found.gain and found.gain_error and found.gain > found.gain_error
    assert rule.kl_weight == found.kl_factor != 1
    base = plain.artifact.rule.neighbour_weight
    assert rule.neighbour_weight == pytest.approx(base * found.neighbour_factor)
    np.testing.assert_array_equal(
        Scorer.load(folder / "heeding").score(contrary(40)).score,
        heeding.score(contrary(40)).score,
    )


def test_the_parts_of_a_score_are_weighed_and_sum_to_it(heeding: Scorer, plain: Scorer):
    """The graph is that of the fit without marks, so that its parts are, too."""
    new, old = heeding.score(contrary(20), explain=1), plain.score(contrary(20), explain=1)
    found = heeding.artifact.manifest.feedback
    assert found is not None and new.parts and old.parts
    for score, own, before in zip(new.score, new.parts, old.parts, strict=True):
        assert own.reconstruction == before.reconstruction
        assert own.kl == pytest.approx(before.kl * found.kl_factor)
        assert own.neighbour == pytest.approx(before.neighbour * found.neighbour_factor, rel=1e-5)
        assert score == pytest.approx(own.reconstruction + own.kl + own.neighbour, rel=1e-5)


def test_normal_records_alarm_as_often_as_asked_with_learned_weights(heeding: Scorer):
    alarms = heeding.score(make_frame(2000, seed=77)).is_anomaly.sum()
    low, high = heeding.artifact.manifest.calibration.rate_interval_95
    assert 2000 * low * 0.7 < alarms < 2000 * high * 1.3


def test_an_incident_is_left_out_by_its_segment_and_span(folder: Path):
    def at(i: int) -> str:
        return str(spell(START + 60 * SECOND * i, Form.OFFSET))

    n = 600
    frame = make_frame(n).with_columns(at=pl.Series([at(i) for i in range(n)]))
    path = folder / "span.csv"
    path.write_text(f"label,incident,group,first,last\nconfirmed,a,NL,{at(100)},{at(200)}\n")
    settings = {"segment": "country", "time": "at", "calendar": "none"}
    new = trained(folder / "span", frame, feedback=path, **settings)
    inside = (pl.int_range(n).is_between(100, 200)) & (pl.col("country") == "NL")
    want = trained(folder / "spanless", frame.filter(~inside), **settings)
    assert new.artifact.version == want.artifact.version
    found = new.artifact.manifest.feedback
    assert found is not None and found.left_out == len(frame.filter(inside)) > 30


def test_a_confirmed_record_that_breaks_the_schema_is_left_out_all_the_same(folder: Path):
    broken = odd(4).with_columns(country=pl.lit(None, pl.String), items=pl.lit(None, pl.Int64))
    path = marks(folder / "broken.csv", confirmed=broken["order"].to_list())
    new = trained(folder / "broken", pl.concat([NORMALS[:300], broken]), feedback=path)
    column = next(c for c in new.artifact.schema.columns if c.name == "items")
    assert column.required and new.artifact.manifest.metrics.records == 300


def test_a_file_of_confirmed_records_alone_is_refused(folder: Path):
    path = marks(folder / "all.csv", confirmed=odd(40)["order"].to_list())
    with pytest.raises(SchemaError, match="must not all be of confirmed incidents"):
        trained(folder / "none", odd(40), feedback=path)


def test_the_command_says_what_it_took(folder: Path, alarms: list[str]):
    pl.concat([NORMALS, odd(30)]).write_csv(folder / "normal.csv")
    path = marks(folder / "told.csv", confirmed=["odd1", "elsewhere"], false_alarm=alarms[:5])
    small = [word for name, value in SMALL.items() for word in (f"--{name}", value)]
    words = ["--alpha", 0.05, "--id", "order", "--feedback", path, *small]
    done = call("train", folder / "normal.csv", "--out", folder / "told", *words)
    assert done.returncode == 0, done.stderr
    assert (
        "2 confirmed (1 records left out), 5 false alarms, 0 expected; 1 of these" in done.stdout
    )
    assert "KL x 1, neighbour x 1: too few marks, or a window, to try others" in done.stdout
    assert read_manifest(folder / "told").metrics.records == len(NORMALS) + 29
    report = (folder / "told" / "report.html").read_text()
    assert "2 confirmed, 1 records of which were left out, and 5 false alarms" in report
    missing = call("train", folder / "normal.csv", "--out", folder / "x", "--feedback", "none.csv")
    assert missing.returncode == 3 and "'none.csv' must be readable" in missing.stderr


def test_a_batch_scores_as_the_scorer_does(heeding: Scorer, folder: Path):
    contrary(60).write_csv(folder / "new.csv")
    done = call("score", folder / "heeding", folder / "new.csv", "--out", folder / "scored.csv")
    assert done.returncode == 0, done.stderr
    scored, want = pl.read_csv(folder / "scored.csv"), heeding.score(contrary(60))
    np.testing.assert_allclose(scored["anomaly_score"], want.score, rtol=1e-5)
    np.testing.assert_array_equal(scored["is_anomaly"], want.is_anomaly)


def test_the_time_after_is_foretold_with_the_learned_weights(folder: Path, alarms: list[str]):
    def timed(frame: pl.DataFrame, first: int) -> pl.DataFrame:
        moments = [START + 3600 * SECOND * (first + i) for i in range(len(frame))]
        return frame.with_columns(at=pl.Series([str(spell(m, Form.OFFSET)) for m in moments]))

    frame = pl.concat([timed(NORMALS, 0), timed(contrary(40), 900)])
    path = marks(
        folder / "timed.csv", confirmed=contrary(40)["order"].to_list(), false_alarm=alarms[:20]
    )
    settings = {"time": "at", "calendar": "none"}
    new = trained(folder / "timed", frame, feedback=path, **settings)
    plain = trained(folder / "untaught", timed(NORMALS, 0), **settings)
    found, before = new.artifact.manifest.outlook, plain.artifact.manifest.outlook
    assert new.artifact.rule != plain.artifact.rule
    assert found is not None and before is not None
    assert [block.records for block in found.blocks] == [block.records for block in before.blocks]
    assert abs(found.together.alarms - before.together.alarms) <= 10
