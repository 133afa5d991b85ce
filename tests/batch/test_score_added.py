"""The columns that scoring adds do not collide with those of the data."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.conftest import SMALL, call, make_frame

NAMES = ("anomaly_score", "p_value", "severity", "is_anomaly", "top_reasons", "model_version")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on data that have a severity and a p_value of their own."""
    folder = tmp_path_factory.mktemp("clash")
    frame(300).write_csv(folder / "normal.csv")
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    words = ["--id=order", "--alpha=0.05", "--no-report", *options]
    done = call("train", folder / "normal.csv", "--out", folder / "it", *words)
    assert done.returncode == 0, done.stderr
    assert "the same name as p_value, severity" in done.stdout
    assert "scored.csv --prefix vaewatch_" in done.stdout
    return folder / "it"


def frame(n: int, seed: int = 0) -> pl.DataFrame:
    return make_frame(n, seed).rename({"items": "severity", "age": "p_value"})


@pytest.mark.parametrize("source", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("to", ["csv", "ndjson", "parquet"])
def test_a_prefix_keeps_both(artifact: Path, tmp_path: Path, source: str, to: str):
    data, out = tmp_path / f"in.{source}", tmp_path / f"out.{to}"
    getattr(frame(50, 1), f"write_{source}")(data)
    done = call("score", artifact, data, "--out", out)
    assert done.returncode == 3 and "or pass --prefix to vaewatch score" in done.stderr
    done = call("score", artifact, data, "--out", out, "--prefix", "v_", "--explain", "2")
    assert done.returncode == 0, done.stderr
    got = {"csv": pl.read_csv, "ndjson": pl.read_ndjson, "parquet": pl.read_parquet}[to](out)
    assert {*frame(1).columns} | {f"v_{name}" for name in NAMES} < {*got.columns}
    assert got["severity"].to_list() == frame(50, 1)["severity"].to_list()
    assert got["v_p_value"].is_between(0, 1).all()


@pytest.mark.parametrize(
    ("values", "to", "kind"),
    [
        (pl.Series([b"x"]), "csv", "Binary"),
        (pl.Series([b"x"]), "ndjson", "Binary"),
        (pl.Series([[1, 2]]), "csv", "List"),
        (pl.Series([[b"x"]]), "ndjson", "List"),
        (pl.Series([{"a": 1}]), "csv", "Struct"),
        (pl.Series([{"a": [b"x"]}]), "ndjson", "Struct"),
        (pl.Series([5], dtype=pl.Duration("us")), "csv", "Duration"),
    ],
)
def test_a_type_that_the_output_cannot_hold_is_refused_first(
    artifact_path: Path, tmp_path: Path, values: pl.Series, to: str, kind: str
):
    data = make_frame(5).with_columns(odd=pl.Series([values[0]] * 5, dtype=values.dtype))
    data.write_parquet(tmp_path / "in.parquet")
    words = ("score", artifact_path, tmp_path / "in.parquet", "--to", to, "--out")
    done = call(*words, tmp_path / "out")
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert f"to be written as {to}, got {kind}" in done.stderr and "--columns" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
    assert call(*words, tmp_path / "out", "--columns", "order,amount").returncode == 0


@pytest.mark.parametrize("to", ["csv", "ndjson"])
def test_types_that_the_output_can_hold_are_written(artifact_path: Path, tmp_path: Path, to: str):
    moments = pl.lit(5).cast(pl.Datetime), pl.lit(5).cast(pl.Date), pl.lit(5).cast(pl.Time)
    data = make_frame(5).with_columns(a=moments[0], b=moments[1], c=moments[2], d=pl.lit(None))
    data = data.with_columns(e=pl.lit("1.5").cast(pl.Decimal(10, 2)))
    data.write_parquet(tmp_path / "in.parquet")
    done = call("score", artifact_path, tmp_path / "in.parquet", "--to", to)
    assert done.returncode == 0, done.stderr
