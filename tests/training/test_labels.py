"""Labels are read as their author meant them, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import call, make_frame
from vaewatch.scoring.errors import SchemaError
from vaewatch.training.records.labels import read_labels


@pytest.mark.parametrize(
    ("values", "anomaly"),
    [
        ([0, 1, 0], [False, True, False]),
        ([1, -1, 1], [False, True, False]),
        ([1.0, -1.0], [False, True]),
        ([" 1", "-1.0"], [False, True]),
        ([-0.0, 1.0], [False, True]),
        (["0.00", "1"], [False, True]),
        ([0, -1, 1], [False, True, True]),
        ([False, True], [False, True]),
        (["B", "M", "B"], [False, True, False]),
        (["no", "Yes"], [False, True]),
        (["N", "y"], [False, True]),
        (["Normal ", "attack"], [False, True]),
        (["normal.", "smurf.", "neptune."], [False, True, True]),
        (["BENIGN", "DDoS", "Bot"], [False, True, True]),
        (["good", "bad"], [False, True]),
        (["non-fraud", "Fraud"], [False, True]),
        (["normal", "b", "m"], [False, True, True]),
        (["No fraud", "fraud"], [False, True]),
        (["anomalous", "non-anomalous"], [True, False]),
        (["not_anomaly", "anomaly"], [False, True]),
        (["ok", "not ok"], [False, True]),
        (["clean", "malware"], [False, True]),
        (["Passed", "Failed"], [False, True]),
    ],
)
def test_the_usual_labels_are_read(values: list[Any], anomaly: list[bool]):
    labels = read_labels(pl.DataFrame({"label": values}), "label")
    assert labels.anomaly.tolist() == anomaly
    assert set(labels.normal) | set(labels.other) == {str(v).strip() for v in labels_of(values)}


def labels_of(values: list[Any]) -> list[str]:
    return pl.Series(values).cast(pl.String).to_list()


@pytest.mark.parametrize(
    "values",
    [[1, 1], [-1], [2, 4], ["A", "B", "C"], ["fraud"], ["M"], ["functional", "non functional"]],
)
def test_a_file_without_a_normal_record_is_refused(values: list[Any]):
    with pytest.raises(SchemaError, match=f"got only the labels '{values[0]}'.*Normal: 0, false"):
        read_labels(pl.DataFrame({"label": values}), "label")
    normal = str(values[0])
    found = read_labels(pl.DataFrame({"label": values}), "label", [normal])
    assert found.normal == (normal,) and not found.anomaly[0]


@pytest.mark.parametrize("values", [[0.0, None], [0.0, float("nan")], ["normal", " "]])
def test_a_record_without_a_label_is_named(values: list[Any]):
    with pytest.raises(SchemaError, match="must have a value in each record, got none"):
        read_labels(pl.DataFrame({"label": values}), "label")


def test_evaluate_says_what_it_took_the_labels_for(artifact_path: Path, tmp_path: Path):
    frame = make_frame(60, seed=2).with_columns(label=pl.Series([2] * 50 + [4] * 10))
    frame.write_csv(tmp_path / "labelled.csv")
    done = call("evaluate", artifact_path, tmp_path / "labelled.csv")
    assert done.returncode == 3
    assert "got only the labels '2', '4'" in done.stderr and "--normal-label" in done.stderr
    done = call("evaluate", artifact_path, tmp_path / "labelled.csv", "--normal-label", "2")
    assert done.returncode == 0, done.stderr
    assert "60, of them 10 anomalies" in done.stdout
    assert "normal: 2; anomalies: 4" in done.stdout
