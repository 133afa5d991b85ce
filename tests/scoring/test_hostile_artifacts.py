"""An artifact may come from anybody: a bad one is refused in one line and nothing else happens."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from tests.conftest import call, make_frame, run
from vaewatch.scoring.artifact import CALIBRATION, GOLDEN, NETWORK, PRECISION, WEIGHTS
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.deadline import within
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.scoring.scorer import Scorer


@pytest.fixture
def copy(artifact_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact_path, tmp_path / "copy"))


def sign(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda m: None) -> None:
    """Bring the hashes up to date, as somebody who means harm would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in manifest["sha256"]:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        Scorer.load(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def edit_graph(folder: Path, change: Callable[[Any], Any]) -> None:
    model = onnx.load(folder / NETWORK)
    change(model)
    (folder / NETWORK).write_bytes(model.SerializeToString())
    sign(folder)


def _loop(model: Any) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, [])],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "go"))
    model.graph.node.append(helper.make_node("Loop", ["", "go"], [], body=body))


def _node(operator: str, inputs: list[str], **attributes: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.graph.node.append(helper.make_node(operator, inputs, ["more"], **attributes))

    return change


def _external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def _huge(model: Any) -> None:
    row = numpy_helper.from_array(np.zeros((1, 300_000), np.float32), "row")
    column = numpy_helper.from_array(np.zeros((300_000, 1), np.float32), "column")
    model.graph.initializer.extend([row, column])
    model.graph.node.append(helper.make_node("Add", ["row", "column"], ["more"]))


def _short(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def _by_zero(model: Any) -> None:
    zero = numpy_helper.from_array(np.array([0], np.int64), "zero")
    model.graph.initializer.append(zero)
    model.graph.node.append(helper.make_node("Div", ["zero", "zero"], ["more"]))


def _not_a_number(model: Any) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, np.nan), tensor.name))


def _indexed(operator: str, at: Any, **attributes: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array(at, np.int64), "at"))
        _node(operator, ["features", "at"], **attributes)(model)

    return change


def _computed_place(model: Any) -> None:
    """A place that the graph computes from a feature, far outside."""
    size = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    many = numpy_helper.from_array(np.full((1, size), 1e9, np.float32), "many")
    model.graph.initializer.append(many)
    for node in (
        helper.make_node("Add", ["features", "many"], ["far"]),
        helper.make_node("Cast", ["far"], ["place"], to=TensorProto.INT64),
        helper.make_node("GatherElements", ["features", "place"], ["more"], axis=1),
    ):
        model.graph.node.append(node)


def _domain(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _function(model: Any) -> None:
    _domain(model)
    node = helper.make_node("Identity", ["x"], ["y"])
    made = helper.make_function(
        "com.microsoft", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 20)]
    )
    model.functions.append(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_loop, "must have no subgraphs|operators of arithmetic alone, got 'Loop'"),
        (_node("RandomNormal", [], shape=[9]), "arithmetic alone, got 'RandomNormal'"),
        (_node("Optional", []), "arithmetic alone, got 'Optional'"),
        (_node("Gelu", ["features"], domain="com.microsoft"), "ONNX's own operators, got 'Gelu'"),
        (_domain, "ONNX's own operators of version 18 to 24, got version 1 of domain"),
        (_function, "must be a plain graph, got field 25|ONNX's own operators"),
        (_external, "must hold all of its data, but 'w0' names another file"),
        (_huge, "must be of a size that can be run, got a far larger one"),
        (_short, "must hold 9,8.* numbers in 'w0', got 324 bytes|must hold"),
        (_by_zero, "must divide integers by constants above 0"),
        (_indexed("Gather", [10**12], axis=1), "must give 'Gather' inputs that fit"),
        (_indexed("Gather", [1]), "must give 'Gather' inputs that fit"),  # not of one record
        (_indexed("GatherElements", [[-99]], axis=1), "give 'GatherElements' inputs that fit"),
        (_indexed("GatherND", [[0, 10**15]]), "must give 'GatherND' inputs that fit"),
        (_indexed("CumSum", 99), "operators of arithmetic alone, got 'CumSum'"),
        (_computed_place, "must run on any records, but does not: .*GatherElements"),
        (_not_a_number, "must give a finite 'reconstruction' for each record"),
        (lambda m: m.graph.ClearField("node"), "must make all that it gives, but does not"),
        (lambda m: m.graph.output.pop(), "must give reconstruction, kl, neighbour, whitened"),
        (lambda m: m.graph.input.pop(), r"must take \(N, D\) numbers named 'features' alone"),
    ],
)
def test_a_graph_that_is_not_plain_arithmetic_is_refused(
    copy: Path, change: Callable[[Any], Any], message: str
):
    edit_graph(copy, change)
    refused(copy, message)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"\xff" * 100, b"\x3a\x80", b"\x12\x05abORTM", os.urandom(5000)],
)
def test_a_graph_of_other_bytes_is_refused(copy: Path, content: bytes):
    (copy / NETWORK).write_bytes(content)
    sign(copy)
    refused(copy, "network.onnx must")


def test_a_graph_cut_or_changed_anywhere_is_refused_or_runs(copy: Path):
    whole = (copy / NETWORK).read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 40).tolist():
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        for content in (whole[:at], bytes(changed)):
            (copy / NETWORK).write_bytes(content)
            sign(copy)
            try:
                Scorer.load(copy)
            except ArtifactError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("name", [MANIFEST, NETWORK, "weights.safetensors", "report.html"])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (lambda path: os.symlink("/dev/zero", path), "a link"),
        (lambda path: os.symlink(path, path), "a link"),
    ],
)
def test_only_regular_files_are_read(
    copy: Path, name: str, make: Callable[[Path], None], kind: str
):
    (copy / name).unlink()
    make(copy / name)
    refused(copy, f"{name} must be a regular file, got {kind}")


@pytest.mark.parametrize("name", [MANIFEST, GOLDEN, NETWORK])
def test_a_file_beyond_all_sizes_is_refused_before_it_is_read(copy: Path, name: str):
    with open(copy / name, "r+b") as file:
        file.truncate(1 << 40)  # sparse
    refused(copy, f"{name} must have at most")


def edit_arrays(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    arrays = {key: array.copy() for key, array in load_file(folder / name).items()}
    change(arrays)
    save_file(arrays, folder / name)
    sign(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["scores"].__setitem__(0, np.nan), "must be finite, got NaN"),
        (lambda a: a["scores"].__setitem__(-1, np.inf), "must be finite, got NaN or infinity"),
        (lambda a: a.update(scores=a["scores"][::-1].copy()), "must ascend"),
        (lambda a: a.update(scores=a["scores"][:0]), "must be 100 scores, at least one"),
        (lambda a: a.update(scores=a["scores"][:50]), "must be 100 scores.*got 50"),
        (lambda a: a.update(scores=a["scores"].astype(np.float32)), "got 100 of float32"),
        (lambda a: a.update(scores=a["scores"].reshape(10, 10)), "got 10 x 10"),
        (
            lambda a: a.pop("scores"),
            "must hold the arrays scores, drift_edges, drift_counts, but lacks",
        ),
        (lambda a: a["drift_edges"].__setitem__((0, 0), np.nan), "drift reference"),
        (lambda a: a.update(drift_counts=a["drift_counts"][:1]), "drift reference"),
    ],
)
def test_a_calibration_that_training_cannot_have_made_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], Any], message: str
):
    edit_arrays(copy, CALIBRATION, change)
    refused(copy, message)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["scale"].__setitem__(0, np.nan),
        lambda a: a["shrink"].__setitem__(0, 1.0),
        lambda a: a.update(scale=a["scale"][:1]),
    ],
)
def test_a_precision_that_training_cannot_have_made_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], Any]
):
    edit_arrays(copy, PRECISION, change)
    refused(copy, "precision")


@pytest.mark.parametrize(
    ("golden", "message"),
    [
        ('{"records": [], "scores": [], "p_values": []}', "1 to 1,000 records.*got 0"),
        ('{"records": [{}], "scores": [], "p_values": []}', "a score and a p-value for each"),
        ('{"records": [{}], "scores": [NaN], "p_values": [1]}', "finite scores"),
        ('{"records": [{}], "scores": ["1"], "p_values": [1]}', "finite scores"),
        ('{"records": [7], "scores": [1], "p_values": [1]}', "is damaged: RecordError"),
        ("[" * 100_000, "is damaged: golden.json is not JSON"),
        ("[]", "must hold the lists records, scores, p_values"),
    ],
)
def test_golden_records_that_verify_nothing_are_refused(copy: Path, golden: str, message: str):
    (copy / GOLDEN).write_text(golden)
    sign(copy)
    refused(copy, message)


def _second(m: dict[str, Any]) -> None:
    m["schema"]["columns"][1]["name"] = m["schema"]["columns"][0]["name"]


def _set(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(m: Any) -> None:
        for key in keys[:-1]:
            m = m[key]
        m[keys[-1]] = value

    return change


SPAN = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
BLOCK = {**SPAN, "records": 9, "alarms": 9, "expected": 0.1, "low": 0, "high": 1}
OUTLOOK = {"blocks": [BLOCK], "together": BLOCK, "lately": BLOCK, "days": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_second, "column 'amount' must be there once, got it twice"),
        (
            _set("outlook", value={**OUTLOOK, "changed": [{"column": "ghost", "psi": 1.0}]}),
            "the columns in manifest.json, key 'outlook', are not those",
        ),
        (_set("schema", "columns", 0, "name", value="a\x1b[31m"), "no control characters"),
        (_set("name", value="a\nb"), "key 'name', must have .* no control characters"),
        (_set("version", value="v" * 5000), "at most 1,000 characters"),
        (_set("schema", "columns", value=[]), "must have a column"),
        (_set("created_at", value="soon"), "ISO 8601"),
        (_set("calibration", "rule", value="any"), "must be split or cross-fitted"),
        (_set("training", "members", value=10**12), "must be from 1 to"),
        (_set("vectorizer", "features", 0, 3, value=0.0), "features of column"),
        (_set("vectorizer", "features", 0, 0, value="ghost"), "must be of a column, got 'ghost'"),
        (_set("vectorizer", "features", value=[]), "there must be a feature"),
        (_set("alpha", value=2.0), "is damaged"),
        (_set("format_version", value="2\n\x1b[31m"), "format_version must be 2"),
        (_set("sha256", "..", value="0"), "names a file outside the folder"),
        (_set("sha256", "a\nb", value="0"), "which no artifact has"),
    ],
)
def test_a_manifest_that_training_cannot_have_made_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], Any], message: str
):
    sign(copy, change)
    refused(copy, message)


def test_a_deep_manifest_is_refused(copy: Path):
    (copy / MANIFEST).write_text('{"format_version":' + "[" * 200_000)
    refused(copy, "is damaged: manifest.json is not JSON")


def test_every_command_refuses_in_one_line_with_exit_code_4(copy: Path, tmp_path: Path):
    edit_graph(copy, _loop)
    new = tmp_path / "new.csv"
    new.write_text("amount\n1\n")
    for words in (
        ("inspect", copy, "--verify"),
        ("score", copy, new),
        ("recalibrate", copy, new, "--out", tmp_path / "out"),
        ("evaluate", copy, new),
        ("report", copy, "--out", tmp_path / "page.html"),
    ):
        done = call(*words)
        assert done.returncode == 4, (words, done.stderr)
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    served = run("serve", copy, "--port", "0")
    assert served.returncode == 4 and served.stderr.count("\n") == 1, served.stderr


def _nan_weights(path: Path) -> None:
    tensors = load_file(path)
    save_file({name: np.full_like(value, np.nan) for name, value in tensors.items()}, path)


@pytest.mark.parametrize(
    "change",
    [
        _nan_weights,
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: save_file({"x": np.zeros(3, np.float32)}, path),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    ],
)
def test_no_fit_goes_on_from_hostile_weights(copy: Path, tmp_path: Path, change: Any):
    make_frame(600).write_csv(tmp_path / "normal.csv")
    change(copy / WEIGHTS)
    sign(copy)
    words = ("--from", copy, "--out", tmp_path / "new", "--quiet")
    done = call("train", tmp_path / "normal.csv", *words)
    assert done.returncode == 4 and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "new").exists()


def test_as_many_golden_records_as_may_be_are_verified(copy: Path):
    golden = json.loads((copy / GOLDEN).read_text())
    many = {key: (values * 1000)[:1000] for key, values in golden.items()}
    (copy / GOLDEN).write_text(json.dumps(many))
    sign(copy)
    assert len(Scorer.load(copy).artifact.golden.scores) == 1000
    many["scores"][999] += 1
    (copy / GOLDEN).write_text(json.dumps(many))
    sign(copy)
    refused(copy, "must score within 0.001 of what is stored, got")


def test_a_failing_graph_is_one_line_without_the_runtimes_own(copy: Path):
    edit_graph(copy, _computed_place)
    done = run("inspect", copy, "--verify")
    assert done.returncode == 4 and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("name", ["no\nne", "\x1b[31mred", "a\u202eb"])
def test_an_error_cannot_steer_the_terminal(tmp_path: Path, name: str):
    done = call("inspect", tmp_path / name)
    assert done.returncode == 4 and done.stderr.count("\n") == 1
    assert done.stderr[:-1].isprintable()


def test_a_column_with_line_breaks_is_shown_on_one_line(copy: Path):
    sign(copy, _set("schema", "columns", 3, "categories", value=["a\nb\x1b[2J"]))
    shown = call("inspect", copy).stdout
    assert "a\\nb\\x1b[2J" in shown


def test_work_that_never_ends_is_left_behind():
    with pytest.raises(ArtifactError, match="'it' must load within 0.05 seconds"):
        within(0.05, "it", threading.Event().wait)
