"""Artifacts with small flaws that no training run makes, each refused in one line."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import call
from vaewatch.scoring.artifact import CALIBRATION, GOLDEN, PRECISION
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.scoring.scorer import Scorer


@pytest.fixture
def copy(artifact_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact_path, tmp_path / "copy"))


def signed(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and bring its hash up to date."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / name).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        Scorer.load(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"alpha": 0.05', '"alpha": 0.9, "alpha": 0.05', "alpha"),
        ('"network.onnx":', '"network.onnx": "00", "network.onnx":', "network.onnx"),
        ("{", '{"format_version": 1, ', "format_version"),
    ],
)
def test_a_manifest_with_a_key_twice_is_refused(copy: Path, old: str, new: str, key: str):
    text = (copy / MANIFEST).read_text()
    (copy / MANIFEST).write_text(text.replace(old, new, 1))
    refused(copy, f"manifest.json must have each key once, got '{key}' twice")
    done = call("inspect", copy)  # which verifies nothing else
    assert done.returncode == 4 and done.stderr.count("\n") == 1


def test_golden_records_with_a_key_twice_are_refused(copy: Path):
    content = (copy / GOLDEN).read_bytes()
    signed(copy, GOLDEN, content.replace(b"{", b'{"records": [], ', 1))
    refused(copy, "golden.json must have each key once, got 'records' twice")


def packed(header: dict[str, Any], data: bytes) -> bytes:
    """Return a safetensors file as its header says, whatever that is."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            packed(
                {"scores": tensor("F64", [4], 0, 32), "x": tensor("F64", [4], 16, 48)}, b"0" * 48
            ),
            "must be a safetensors file: .*invalid offset",
        ),
        (struct.pack("<Q", 1 << 63) + b"{}", "must be a safetensors file: .*header too large"),
        (
            packed({"scores": tensor("F64", [1 << 62, 4], 0, 0)}, b""),
            "must be a safetensors file: .*overflow",
        ),
        (packed({"scores": tensor("BF16", [2], 0, 4)}, b"0000"), "numbers of NumPy's types.*BF16"),
        (packed({"scores": tensor("F64", [1], 0, 8)}, b"0" * 8), "but lacks drift_edges"),
    ],
    ids=["overlapping", "giant header", "giant shape", "bfloat16", "lacking"],
)
def test_arrays_that_cannot_be_read_are_refused(copy: Path, content: bytes, message: str):
    signed(copy, CALIBRATION, content)
    refused(copy, message)


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    arrays = load_file(folder / name)
    change(arrays)
    save_file(arrays, folder / name)
    signed(folder, name, (folder / name).read_bytes())


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(drift_edges=np.zeros_like(a["drift_edges"], bool)),
        lambda a: a.update(drift_edges=np.zeros_like(a["drift_edges"], np.float16)),
        lambda a: a.update(drift_counts=np.full_like(a["drift_counts"], 2**63 - 1)),
    ],
)
def test_bins_whose_sums_would_overflow_or_of_another_type_are_refused(copy: Path, change: Any):
    edit(copy, CALIBRATION, change)
    refused(copy, "the bins of the drift reference are not those that training writes")


@pytest.mark.parametrize("name", [CALIBRATION, PRECISION])
def test_an_array_of_a_later_release_is_left_out(copy: Path, scorer: Scorer, name: str):
    edit(copy, name, lambda arrays: arrays.update(later=np.zeros(3)))
    records = scorer.artifact.golden.records
    assert (Scorer.load(copy).score(records).score == scorer.score(records).score).all()


@pytest.mark.parametrize(
    "limits",
    [
        {"amount": [1.0, -1.0]},
        {"country": [0.0, 1.0]},
        {"version": [0.0, 1.0]},
        {"no such": [0.0, 1.0]},
    ],
)
def test_limits_that_training_does_not_write_are_refused(copy: Path, limits: dict[str, Any]):
    manifest = json.loads((copy / MANIFEST).read_text())
    assert set(manifest["vectorizer"]["limits"]) == {"amount", "items", "age"}
    manifest["vectorizer"]["limits"] = limits
    (copy / MANIFEST).write_text(json.dumps(manifest))
    refused(copy, f"the limits of column '{next(iter(limits))}' are not those that training")


RELATION = {"columns": ["amount", "age"], "weights": [1, -2], "low": 0, "middle": 1, "high": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"columns": ["amount", "no such"]},
        {"columns": ["amount", "country"]},
        {"columns": ["amount", "amount"]},
        {"columns": ["amount"], "weights": [1]},
        {"columns": ["amount", "age", "items"]},
        {"weights": [1, 0]},
        {"low": 1.5},
        {"high": 0.5},
        {"low": -1e308, "high": 1e308},
        {"high": None},
        {"high": None, "weights": [1, -1], "low": -1},
        {"high": None, "weights": [1, -1], "log": True},
        {"high": None, "weights": [1, -1], "middle": -1},
    ],
)
def test_relations_that_training_does_not_write_are_refused(copy: Path, change: dict[str, Any]):
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["vectorizer"]["relations"] = [RELATION | change]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    refused(copy, "the relation of column 'amount' is not one that training writes.")


EXCLUSION = {"column": "country", "code": 0, "other": "amount", "limits": [1, 2]}


@pytest.mark.parametrize(
    "change",
    [
        {"code": 99},
        {"code": -1},
        {"other": "no such"},
        {"other": "country"},
        {"other": "express"},
        {"limits": [2, 1]},
        {"events": [2]},
        {"events": [-1]},
        {"other": "express", "limits": None, "events": [9]},
        {"other": "express", "limits": None, "but": [9]},
    ],
)
def test_exclusions_that_training_does_not_write_are_refused(copy: Path, change: dict[str, Any]):
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["vectorizer"]["exclusions"] = [EXCLUSION | change]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    refused(copy, "what a value of column 'country' excludes is not what training writes.")


@pytest.mark.parametrize(
    "state",
    [
        {"levels": {"amount": [2.0, 1.0]}},
        {"levels": {"amount": [1.0, 1.0]}},
        {"levels": {"amount": []}},
        {"levels": {"country": [0.0, 1.0]}},
        {"levels": {"no such": [0.0, 1.0]}},
        {"whole": ["country"]},
        {"whole": ["no such"]},
    ],
)
def test_levels_that_training_does_not_write_are_refused(copy: Path, state: dict[str, Any]):
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["vectorizer"] |= state
    (copy / MANIFEST).write_text(json.dumps(manifest))
    (names,) = state.values()
    refused(copy, f"the levels of column '{next(iter(names))}' are not those that training")


@pytest.mark.parametrize(
    "shared",
    [
        {"country": [1, 2]},
        {"country": [1]},
        {"country": [1] * 9},
        {"country": [4, -1]},
        {"amount": [1, 1]},
        {"express": [1, 1]},
        {"no such": [1, 1]},
    ],
)
def test_shared_indicators_that_training_does_not_write_are_refused(copy: Path, shared: Any):
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["vectorizer"]["shared"] = shared
    (copy / MANIFEST).write_text(json.dumps(manifest))
    (name,) = shared
    refused(copy, f"the categories of column '{name}' that share an indicator are not those that")


def _columns(m: dict[str, Any]) -> None:
    first = m["schema"]["columns"][0]
    m["schema"]["columns"] += [{**first, "name": f"c{i}"} for i in range(20_000)]


def _features(m: dict[str, Any]) -> None:
    m["vectorizer"]["features"] *= 30_000


@pytest.mark.parametrize(
    ("change", "message"),
    [(_columns, "at most 20,000 columns"), (_features, "at most 200,000 features")],
)
def test_more_than_can_be_looked_at_is_refused_by_its_number(
    copy: Path, change: Any, message: str
):
    manifest = json.loads((copy / MANIFEST).read_text())
    change(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    refused(copy, message)
    assert call("inspect", copy).returncode == 4


def test_a_range_that_descends_is_refused(copy: Path):
    manifest = json.loads((copy / MANIFEST).read_text())
    column = next(c for c in manifest["schema"]["columns"] if c.get("low") is not None)
    column["low"], column["high"] = 5.0, 1.0
    (copy / MANIFEST).write_text(json.dumps(manifest))
    refused(copy, f"column '{column['name']}' must have a range from low to high")


def test_a_name_with_a_nul_character_is_no_artifact():
    refused(Path("a\0b"), "must be readable: embedded null byte")
