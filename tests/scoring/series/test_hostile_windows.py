"""Artifacts of windows that no training makes: each is refused in one line, and nothing runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import load_file, save_file

from tests.scoring.test_hostile_artifacts import edit_graph, refused, sign
from vaewatch.scoring.artifact import CALIBRATION, DIRECTIONS, GOLDEN, NETWORK, PEAKS
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.scoring.scorer import Scorer

Manifest = dict[str, Any]


@pytest.fixture
def copy(series_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(series_path, tmp_path / "copy"))


def window(**changes: Any) -> Callable[[Manifest], None]:
    return lambda manifest: manifest["window"].update(changes)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (window(size=1), "a window must hold 2 to 1,024 records, got 1"),
        (window(size=0), "a window must hold 2 to 1,024 records"),
        (window(size=-8), "a window must hold 2 to 1,024 records"),
        (window(size=1025), "a window must hold 2 to 1,024 records"),
        (window(size=10**15), "a window must hold 2 to 1,024 records"),
        (window(size=7), "directions must fit windows of"),
        (window(size=1024), "directions must fit windows of"),
        (window(size=8.5), "manifest.json"),
        (window(size="8"), "manifest.json"),
        (window(gap=0), "a gap and a step above 0"),
        (window(gap=-1), "a gap and a step above 0"),
        (window(gap=2**60), "a gap and a step above 0"),
        (window(step=0), "a gap and a step above 0"),
        (window(step=2**63), "a gap and a step above 0"),
        (window(pace={"mean": 0.0, "deviation": 0.0}), "a mean and a deviation above 0"),
        (window(pace={"mean": 0.0, "deviation": -1.0}), "a mean and a deviation above 0"),
        (window(pace={"mean": 1e999, "deviation": 1.0}), "manifest.json|mean and a deviation"),
        (window(pace={"mean": 0.0}), "manifest.json"),
        (window(pace=None), "directions must fit windows of"),
        (window(still=[{"column": 0, "feature": 99, "records": 3}]), "must be a number"),
        (window(still=[{"column": 99, "feature": 0, "records": 3}]), "must be a number"),
        (window(still=[{"column": 0, "feature": 0, "records": 2}]), "must be a number"),
        (window(still=[{"column": 0, "feature": 0}]), "manifest.json"),
        (lambda m: m.pop("window"), "manifest.json must list network.onnx, precision"),
        (lambda m: m.update(window=None), "manifest.json must list network.onnx, precision"),
        (lambda m: m["schema"].pop("time"), "a window takes a time"),
        (lambda m: m["schema"].update(entity="pressure"), "a column of its own"),
        (lambda m: m["schema"].update(entity="ts"), "a column of its own"),
        (lambda m: m["schema"].update(entity=""), "a column of its own"),
        (lambda m: m["schema"].update(entity="a\x1b[31m"), "no control characters"),
    ],
)
def test_a_window_that_training_does_not_make_is_refused(
    copy: Path, change: Callable[[Manifest], Any], match: str
):
    sign(copy, change)
    refused(copy, match)


def edit_arrays(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    arrays = load_file(folder / name)
    change(arrays)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / name)
    sign(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda p: p.astype("f4"), "scores of 64 bits"),
        (lambda p: p[None], "scores of 64 bits"),
        (lambda p: np.zeros(10**5), "must be at most [0-9,]+ scores"),
        (lambda p: np.append(p, np.nan), "must be finite and ascend"),
        (lambda p: np.array([2.0, 1.0]), "must be finite and ascend"),
    ],
)
def test_peaks_of_incidents_that_no_calibration_has_are_refused(
    copy: Path, change: Callable[[Any], Any], match: str
):
    edit_arrays(copy, CALIBRATION, lambda arrays: arrays.update({PEAKS: change(arrays[PEAKS])}))
    refused(copy, match)


def test_an_artifact_without_peaks_of_incidents_scores_the_same(copy: Path, series_scorer: Scorer):
    edit_arrays(copy, CALIBRATION, lambda arrays: arrays.pop(PEAKS))
    scorer = Scorer.load(copy)
    assert scorer.artifact.incident_peaks is None
    records = scorer.artifact.golden.records
    before, after = series_scorer.score(records), scorer.score(records)
    np.testing.assert_array_equal(before.score, after.score)
    np.testing.assert_array_equal(before.p_value, after.p_value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a.update(mean=a["mean"][:-1]), "directions must fit windows of"),
        (lambda a: a.update(mean=a["mean"][None]), "directions must fit windows of"),
        (lambda a: a.update(mean=a["mean"].astype("f8")), "directions must fit windows of"),
        (lambda a: a.update(basis=a["basis"][:-1]), "directions must fit windows of"),
        (lambda a: a.update(basis=a["basis"][:, :0]), "directions must fit windows of"),
        (lambda a: a.update(basis=a["basis"][:, 0]), "directions must fit windows of"),
        (lambda a: a.update(basis=a["basis"][:, :-1]), "places, got"),
        (lambda a: a.update(basis=np.tile(a["basis"], 100)), "directions must fit windows of"),
        (lambda a: a.update(basis=a["basis"].astype("f2")), "finite numbers of 32 bits"),
        (lambda a: a.update(basis=np.full_like(a["basis"], np.nan)), "finite numbers of 32 bits"),
        (lambda a: a["mean"].__setitem__(0, np.inf), "finite numbers of 32 bits"),
        (lambda a: a.pop("mean"), "but lacks mean"),
    ],
)
def test_directions_that_do_not_fit_are_refused(
    copy: Path, change: Callable[[dict[str, Any]], Any], match: str
):
    edit_arrays(copy, DIRECTIONS, change)
    refused(copy, match)


def node(operator: str, **attributes: Any) -> Callable[[Any], None]:
    """Give every node of an operator these attributes, in place of its own."""

    def change(model: Any) -> None:
        for each in model.graph.node:
            if each.op_type == operator:
                kept = [a for a in each.attribute if a.name not in attributes]
                del each.attribute[:]
                each.attribute.extend(kept)
                for name, value in attributes.items():
                    kind = onnx.AttributeProto.INTS if value == [] else None
                    each.attribute.append(helper.make_attribute(name, value, attr_type=kind))

    return change


POOLS = ("MaxPool", "AveragePool")


@pytest.mark.parametrize(
    "change",
    [
        *[node(op, pads=[1, 1]) for op in ("Conv", *POOLS)],
        *[node(op, pads=[-1, 0]) for op in ("Conv", *POOLS)],
        *[node(op, pads=[1]) for op in ("Conv", *POOLS)],
        *[node(op, strides=[s]) for op in ("Conv", *POOLS) for s in (0, 2, -1, 2**40)],
        *[node(op, strides=[1, s]) for op in ("Conv", *POOLS) for s in (0, 2, -1, 2**40)],
        *[node(op, strides=[s, 1]) for op in ("Conv", *POOLS) for s in (0, 2, -1, 2**40)],
        *[node(op, strides=s) for op in ("Conv", *POOLS) for s in ([1], [1, 1, 1])],
        *[node(op, auto_pad=p) for op in ("Conv", *POOLS) for p in ("SAME_UPPER", "VALID", "?")],
        *[node(op, kernel_shape=[k]) for op in POOLS for k in (0, -1, 2**40)],
        *[node(op, kernel_shape=[1, k]) for op in POOLS for k in (0, -1, 2**40)],
        *[node(op, kernel_shape=k) for op in POOLS for k in ([], [2, 2], [1, 1, 1], 3)],
        *[node(op, ceil_mode=1) for op in POOLS],
        *[node("Conv", dilations=d) for d in ([0], [-1], [2**40], [1, 3], [])],
        *[node("Conv", dilations=[1, d]) for d in (0, -1, 2**40)],
        *[node("Conv", group=g) for g in (0, -1, 1, 7, 2**40)],
        node("Conv", kernel_shape=[3]),
        node("Conv", kernel_shape=[2**40]),
        *[node(op, dilations=d) for op in POOLS for d in ([2], [1, 2], [2, 1])],
    ],
)
def test_convolutions_and_pools_of_another_kind_are_refused(
    copy: Path, change: Callable[[Any], None]
):
    edit_graph(copy, change)
    refused(copy, "network.onnx must")


def _weights(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype == np.float32:
                tensor.CopyFrom(numpy_helper.from_array(change(array), tensor.name))

    return edit


def _input(*dims: Any) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        port = model.graph.input[0]
        port.CopyFrom(helper.make_tensor_value_info(port.name, 1, list(dims)))

    return edit


def _renamed(model: Any) -> None:
    model.graph.output[0].name, model.graph.output[1].name = (
        model.graph.output[1].name,
        model.graph.output[0].name,
    )


def _all_windows_as_one(model: Any) -> None:
    """Give one score for all windows of a call."""
    for each in model.graph.node:
        if "kl" in each.output:
            each.output[0] = "own"
    axes = numpy_helper.from_array(np.array([0]), "axes")
    model.graph.initializer.append(axes)
    model.graph.node.append(helper.make_node("ReduceMean", ["own", "axes"], ["kl"], keepdims=1))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_input("B", "T", 1), "inputs that fit|numbers of a record"),
        (_input("B", "T", "D"), "any number of 'records' with D numbers"),
        (_input("B", 8, 5), "any number of 'records' with D numbers"),
        (_input(1, "T", 5), "any number of 'records' with D numbers"),
        (_input("B", 5), "must take \\(B, T, D\\) numbers named 'records' alone"),
        (_input("B", "T", 2**40), "inputs that fit|size that can be run"),
        (_renamed, "must give "),
        (_all_windows_as_one, "must give .* numbers as 'kl'"),
        (_weights(lambda a: np.full_like(a, np.nan)), "finite|golden records must score"),
        (_weights(lambda a: np.full_like(a, np.inf)), "finite|golden records must score"),
        (_weights(lambda a: a * np.float32(1.01)), "golden records must score"),
    ],
)
def test_a_graph_of_another_shape_is_refused(
    copy: Path, change: Callable[[Any], None], match: str
):
    edit_graph(copy, change)
    refused(copy, match)


def test_the_graph_of_another_window_is_refused(copy: Path):
    """A window of 9 records takes stretches that this graph has one window more of."""
    sign(copy, window(size=9))
    directions = load_file(copy / DIRECTIONS)
    width = len(directions["mean"]) // 8
    edit_arrays(
        copy,
        DIRECTIONS,
        lambda a: a.update(
            mean=np.zeros(9 * width, np.float32),
            basis=np.zeros((9 * width, a["basis"].shape[1]), np.float32),
        ),
    )
    refused(copy, "network.onnx must|golden.json must")


def test_a_graph_of_single_records_is_refused(copy: Path, artifact_path: Path):
    shutil.copy(artifact_path / NETWORK, copy / NETWORK)
    sign(copy)
    refused(copy, "network.onnx must give reconstruction, kl, neighbour, expected")


def edit_golden(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    golden = json.loads((folder / GOLDEN).read_text())
    change(golden)
    (folder / GOLDEN).write_text(json.dumps(golden))
    sign(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda g: g.update(records=g["records"][:8]), "golden.json must hold"),
        (lambda g: g.update(records=g["records"][:7], scores=[], p_values=[]), "golden.json must"),
        (lambda g: g.update(records=[], scores=[], p_values=[]), "golden.json must hold"),
        (lambda g: g.update(records=g["records"][::-1]), "golden"),
        (lambda g: g.update(records=g["records"][:1] * len(g["records"])), "golden"),
        (lambda g: g["records"][3].update(machine="another"), "golden"),
        (lambda g: g["records"][3].update(machine=None), "column 'machine' must name"),
        (lambda g: g["records"][3].update(ts=None), "column 'ts' must"),
        (lambda g: g["records"][3].update(ts="2031-01-01T00:00:00"), "golden"),
        (lambda g: g.update(scores=[1e9] * len(g["scores"])), "golden records must score within"),
        (lambda g: g.update(p_values=[0.5] * len(g["scores"])), "golden"),
    ],
)
def test_golden_records_without_the_windows_that_they_tell_of_are_refused(
    copy: Path, change: Callable[[dict[str, Any]], Any], match: str
):
    edit_golden(copy, change)
    refused(copy, match)


def test_an_artifact_as_it_was_written_is_taken(copy: Path):
    sign(copy)
    edit_graph(copy, lambda model: None)
    assert Scorer.load(copy).artifact.window is not None
    assert json.loads((copy / MANIFEST).read_text())["format_version"] == 4
    assert onnx.load(copy / NETWORK).graph.input[0].name == "records"
