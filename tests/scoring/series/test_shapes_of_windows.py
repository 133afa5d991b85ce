"""The rules for the operators of windows, against what ONNX Runtime makes of the same nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.check import _run
from vaewatch.scoring.intake.graph import read_graph
from vaewatch.scoring.network import silent_runtime

onnxruntime = silent_runtime()


def model_of(operator: str, rank: int, constants: list[Any], **attributes: Any) -> bytes:
    names = [f"c{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *names], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * rank)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(c, n) for c, n in zip(constants, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def assert_alike(content: bytes, shape: tuple[int, ...]) -> bool:
    """What the rule takes, ONNX Runtime runs, and gives that shape; return whether it does."""
    try:
        (value,) = _run(read_graph(content), shape, 10**6)
    except ArtifactError:
        return False
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": np.zeros(shape, np.float32)})
    assert got.shape == value.shape
    return True


sizes = st.integers(1, 9)
steps = st.integers(-12, 12)
RARELY = settings(deadline=None, max_examples=150)


@RARELY
@given(st.lists(sizes, min_size=1, max_size=4), st.data())
def test_slice(shape: list[int], data: st.DataObject):
    rank = len(shape)
    axes = data.draw(st.lists(st.integers(-rank, rank - 1), min_size=1, max_size=rank))
    ends = st.one_of(steps, st.sampled_from([2**31 - 1, 2**62, -(2**62)]))
    numbers = [
        np.array([data.draw(of) for _ in axes], np.int64)
        for of in (steps, ends, st.just(0), st.integers(1, 3))
    ]
    numbers[2] = np.array(axes, np.int64)
    numbers = numbers[: data.draw(st.sampled_from([2, 3, 4]))]
    if len(numbers) == 2 or len({axis % rank for axis in axes}) == len(axes):
        assert_alike(model_of("Slice", rank, numbers), tuple(shape))


@RARELY
@given(
    sizes, sizes, st.integers(1, 12), sizes, sizes, st.integers(1, 4), st.integers(1, 3), st.data()
)
def test_conv(
    batch: int,
    groups: int,
    length: int,
    inner: int,
    out: int,
    taps: int,
    dilation: int,
    data: st.DataObject,
):
    weights = np.zeros((out * groups, inner, taps), np.float32)
    constants = [weights, np.zeros(out * groups, np.float32)][: data.draw(st.integers(1, 2))]
    attributes: dict[str, Any] = {"group": groups, "dilations": [dilation]}
    if data.draw(st.booleans()):
        attributes["kernel_shape"] = [taps]
    content = model_of("Conv", 3, constants, **attributes)
    took = assert_alike(content, (batch, inner * groups, length))
    assert took == (length > (taps - 1) * dilation)
    assert not assert_alike(content, (batch, inner * groups + 1, length))


two = st.tuples(st.integers(1, 12), st.integers(1, 12))
few = st.tuples(st.integers(1, 4), st.integers(1, 4))


@RARELY
@given(sizes, sizes, two, sizes, sizes, few, few)
def test_conv_along_two_axes(
    batch: int,
    groups: int,
    lengths: tuple[int, int],
    inner: int,
    out: int,
    taps: tuple[int, int],
    dilations: tuple[int, int],
):
    weights = np.zeros((out * groups, inner, *taps), np.float32)
    content = model_of("Conv", 4, [weights], group=groups, dilations=list(dilations))
    took = assert_alike(content, (batch, inner * groups, *lengths))
    fits = zip(lengths, taps, dilations, strict=True)
    assert took == all(length > (each - 1) * apart for length, each, apart in fits)
    assert not assert_alike(
        model_of("Conv", 3, [weights], group=groups), (batch, inner * groups, 12)
    )


@RARELY
@given(st.sampled_from(["MaxPool", "AveragePool"]), sizes, sizes, two, two)
def test_pools_along_two_axes(
    operator: str, batch: int, channels: int, lengths: tuple[int, int], spans: tuple[int, int]
):
    content = model_of(operator, 4, [], kernel_shape=list(spans), strides=[1, 1])
    fits = all(span <= length for span, length in zip(spans, lengths, strict=True))
    assert assert_alike(content, (batch, channels, *lengths)) == fits
    assert not assert_alike(content, (batch, channels, lengths[0]))
    assert not assert_alike(content, (batch, channels, *lengths, 3))


@RARELY
@given(st.sampled_from(["MaxPool", "AveragePool"]), sizes, sizes, sizes, st.integers(1, 12))
def test_pools(operator: str, batch: int, channels: int, length: int, span: int):
    content = model_of(operator, 3, [], kernel_shape=[span], strides=[1])
    assert assert_alike(content, (batch, channels, length)) == (span <= length)
    assert not assert_alike(model_of(operator, 2, [], kernel_shape=[span]), (batch, length))


hostile = st.dictionaries(
    st.sampled_from(
        "group dilations strides pads kernel_shape auto_pad ceil_mode storage_order "
        "count_include_pad".split()
    ),
    st.one_of(
        st.integers(-3, 5),
        st.lists(st.integers(-3, 5), min_size=1, max_size=3),
        st.sampled_from(["VALID", "SAME_LOWER", "NOTSET", ""]),
        st.floats(-2, 2),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(["Conv", "MaxPool", "AveragePool"]),
    hostile,
    st.lists(sizes, min_size=1, max_size=2),
)
def test_attributes_of_any_kind_are_refused_or_mean_what_the_rule_says(
    operator: str, attributes: dict[str, Any], lengths: list[int]
):
    taps = [3] * len(lengths)
    constants = [np.zeros((4, 2, *taps), np.float32)] if operator == "Conv" else []
    content = model_of(operator, 2 + len(lengths), constants, **attributes)
    try:
        assert_alike(content, (2, 4, *lengths))
    except AssertionError:
        raise
    except Exception as error:  # ONNX Runtime refuses it when it loads, which is no harm
        assert "onnxruntime" in type(error).__module__, error


def test_a_slice_of_many_axes_is_refused():
    many = np.zeros(20, np.int64)
    content = model_of("Slice", 1, [many, many])
    with pytest.raises(ArtifactError):
        _run(read_graph(content), (5,), 10**6)
    assert onnx.load_from_string(content).graph.node[0].op_type == "Slice"
