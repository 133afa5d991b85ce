"""Records that weights were fitted to are known again, and others are not taken for them."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from tests.conftest import call, make_frame
from vaewatch.scoring.artifact import SEEN
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table, table_of
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.records.seen import Seen, hashes


def table_from(frame: pl.DataFrame) -> Table:
    return checked_table(infer_schema(frame, TrainConfig()), frame)


def numbers(values: np.ndarray) -> Table:
    return table_from(pl.DataFrame({f"c{j}": column for j, column in enumerate(values.T)}))


MIXED = pl.DataFrame(
    {
        "amount": [1.5, -0.0, None, 7.0] * 3,
        "country": ["NL", "DE", None, "NL"] * 3,
        "express": [True, False, True, None] * 3,
    }
)
SCHEMA = infer_schema(MIXED, TrainConfig())
RECORD = st.fixed_dictionaries(
    {
        "amount": st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
        "country": st.sampled_from([None, "NL", "DE"]),
        "express": st.sampled_from([None, True, False]),
    }
)


@given(a=RECORD, b=RECORD)
def test_equal_records_have_equal_hashes_and_others_do_not(a: dict, b: dict):
    one, other = hashes(table_of(SCHEMA, [a, b]))
    assert bool(one == other) is (a == b)


def test_a_hash_is_the_same_under_another_schema():
    """Other codes, and another order of the columns."""
    country, *rest = (SCHEMA.columns[i] for i in (1, 0, 2))
    turned = replace(country, categories=country.categories[::-1])
    schema = Schema((turned, *rest[::-1]), *list(vars(SCHEMA).values())[1:4])
    np.testing.assert_array_equal(
        hashes(checked_table(schema, MIXED)), hashes(checked_table(SCHEMA, MIXED))
    )


def test_records_of_the_fit_are_found_wherever_they_are():
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(2, 1000, 3))
    both = np.concatenate([old[600:], new])
    order = rng.permutation(len(both))
    found = Seen.of(numbers(old)).find(numbers(both[order]))
    np.testing.assert_array_equal(found, order < 400)


@pytest.mark.parametrize("values", [3, 8, 30])
def test_new_records_are_not_taken_for_those_of_the_fit(values: int):
    """Independent draws of few values, many of which come once: 60 fits, 60 new files."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        old, new = (rng.zipf(1.5, (2, 800, 3)) % values).astype(float)
        seen = Seen.of(numbers(old))
        assert not seen.find(numbers(new)).any()


def test_a_value_that_was_rare_and_is_frequent_now_is_no_overlap():
    rng = np.random.default_rng(0)
    old = rng.integers(0, 40, (500, 2)).astype(float)
    seen = Seen.of(numbers(old))
    single = next(row for row in old if (old == row).all(1).sum() == 1)
    later = np.concatenate([rng.integers(0, 40, (500, 2)), np.tile(single, (500, 1))])
    assert not seen.find(numbers(later)).any()


def test_where_many_are_equal_an_overlap_is_refused():
    rng = np.random.default_rng(0)
    old, new = rng.integers(0, 12, (2, 1000, 3)).astype(float)
    seen = Seen.of(numbers(old))
    with pytest.raises(CalibrationError, match=r"up to [\d,]+ of these 1,800 are. Which ones"):
        seen.find(numbers(np.concatenate([new, old[:800]])))
    assert not seen.find(numbers(new)).any()


def test_where_many_are_equal_all_of_the_fit_are_known():
    """As many of each value as the fit had."""
    rng = np.random.default_rng(0)
    old, new = rng.integers(0, 12, (2, 1000, 3)).astype(float)
    both = np.concatenate([old, new])[rng.permutation(2000)]
    found = Seen.of(numbers(old)).find(numbers(both))
    assert sorted(map(tuple, both[found])) == sorted(map(tuple, old))


def test_what_two_fits_have_seen_is_known_as_one():
    rng = np.random.default_rng(0)
    first, second, new = rng.normal(size=(3, 400, 2))
    seen = Seen.of(numbers(first))
    both = numbers(np.concatenate([second, first[:100]]))
    others = Seen.of(both.take(np.flatnonzero(~seen.find(both))))
    kept = Seen.from_bytes((seen + others).to_bytes())
    assert kept.counts.sum() == 800
    found = kept.find(numbers(np.concatenate([new, first, second])))
    np.testing.assert_array_equal(found, np.arange(1200) >= 400)


def test_recalibration_leaves_the_records_of_the_fit_out(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    """As if they had not been given."""
    later = make_frame(200, seed=41)
    pl.concat([later, mixed_frame]).write_parquet(tmp_path / "both.parquet")
    done = call("recalibrate", artifact_path, tmp_path / "both.parquet", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert "left out      700 records that the network was fitted to" in done.stdout
    got = Scorer.load(tmp_path / "a").artifact.calibration
    scorer = Scorer.load(artifact_path)
    want = scorer.score_table(checked_table(scorer.artifact.schema, later)).score
    np.testing.assert_allclose(
        got.scores, np.sort(np.concatenate([want, scorer.artifact.calibration.scores])), rtol=1e-9
    )


def test_too_few_records_beside_those_of_the_fit_are_refused(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    mixed_frame[::-1].write_parquet(tmp_path / "old.parquet")
    words = ("recalibrate", artifact_path, tmp_path / "old.parquet", "--out", tmp_path / "a")
    done = call(*words, "--alpha", 0.005)
    assert done.returncode == 3
    assert "700 of the 800 records are left out: the network was fitted to them" in done.stderr


def test_an_artifact_that_does_not_say_takes_all_as_new(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    """As those of earlier releases."""
    (tmp_path / "old").mkdir()
    for file in artifact_path.iterdir():
        if file.name != SEEN:
            (tmp_path / "old" / file.name).write_bytes(file.read_bytes())
    pl.concat([make_frame(100, seed=4), mixed_frame]).write_parquet(tmp_path / "it.parquet")
    words = ("recalibrate", tmp_path / "old", tmp_path / "it.parquet", "--out", tmp_path / "a")
    done = call(*words)
    assert done.returncode == 0 and "left out" not in done.stdout
    assert read_manifest(tmp_path / "a").calibration.n == 900


@pytest.mark.parametrize(
    "arrays",
    [
        {"values": np.array([3, 1], np.uint32), "counts": np.ones(2, np.uint32)},
        {"values": np.array([1, 3], np.uint32), "counts": np.array([1, 0], np.uint32)},
        {"values": np.array([1, 3], np.uint32), "counts": np.ones(3, np.uint32)},
        {"values": np.array([1.0, 3.0]), "counts": np.ones(2, np.uint32)},
        {"values": np.ones((1, 1), np.uint32), "counts": np.ones((1, 1), np.uint32)},
        {"values": np.empty(0, np.uint32), "counts": np.empty(0, np.uint32)},
        {"others": np.ones(2, np.uint32)},
    ],
)
def test_hashes_that_training_cannot_have_made_are_refused(
    artifact_path: Path, tmp_path: Path, arrays: dict[str, np.ndarray]
):
    path, content = tmp_path / "bad", save(arrays)
    shutil.copytree(artifact_path, path)
    (path / SEEN).write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"][SEEN] = hashlib.sha256(content).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    make_frame(100, seed=7).write_parquet(tmp_path / "it.parquet")
    done = call("recalibrate", path, tmp_path / "it.parquet", "--out", tmp_path / "a")
    assert done.returncode == 4 and "is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_evaluate_names_normals_that_the_network_was_fitted_to(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    both = pl.concat([make_frame(200, seed=43), mixed_frame]).with_columns(label=pl.lit("normal"))
    both.write_parquet(tmp_path / "both.parquet")
    done = call("evaluate", artifact_path, tmp_path / "both.parquet")
    assert "700 of the normals are records that the network was fitted to" in done.stdout
    found = json.loads(call("evaluate", artifact_path, tmp_path / "both.parquet", "--json").stdout)
    assert found["fitted_normals"] == 700
    both[:200].write_parquet(tmp_path / "fresh.parquet")
    assert "fitted to" not in call("evaluate", artifact_path, tmp_path / "fresh.parquet").stdout
