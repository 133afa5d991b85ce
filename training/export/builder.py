"""A graph of ONNX under construction, written node by node, so that it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vaewatch.training.odd.scale import OddScale
from vaewatch.training.vae.vae import VAE, StackedLinear

OPSET = 20
IR_VERSION = 9
MIN_GROUP, MOST_IN_GROUP = (
    8,
    40,
)  # outside of this range, the two steps of `least_of_many` cost more


class Builder:
    """A graph under construction; each method adds nodes and returns the name of their result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, array: Any, dtype: Any = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(
            numpy_helper.from_array(np.ascontiguousarray(array, dtype=dtype), name)
        )
        return name

    def ints(self, *values: int) -> str:
        return self.weight(np.array(values), np.int64)

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        name = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def least(self, values: str, count: int) -> tuple[str, str]:
        """(N, K) -> the `count` least values of each record and their places, (N, count) each."""
        if count == 1:
            place = self.add("ArgMin", values, axis=1, keepdims=1)
            return self.add("GatherElements", values, place, axis=1), place
        names = [f"n{len(self.nodes)}_values", f"n{len(self.nodes)}_places"]
        inputs = [values, self.ints(count)]
        self.nodes.append(helper.make_node("TopK", inputs, names, axis=1, largest=0))
        return names[0], names[1]

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def log_above(self, x: str, middle: float, spread: float) -> str:
        """log(1 + how many spreads x is above the middle); 0 below it."""
        above = self.add("Sub", x, self.weight(middle))
        shares = self.add("Relu", self.add("Div", above, self.weight(spread)))
        return self.add("Log", self.add("Add", shares, self.weight(1.0)))

    def worth(self, x: str, scale: OddScale) -> str:
        """What a view is worth, see `OddScale.apply`."""
        above = self.log_above(x, scale.middle, scale.spread)
        return self.add("Mul", above, self.weight(scale.height / np.log(2)))

    def linear(self, x: str, layer: StackedLinear, member: int) -> str:
        """(N, inputs) -> (N, outputs), of one member: ONNX Runtime fuses a bias into a single
        product, but not into a batched one.
        """
        weight, bias = array_of(layer.weight[member]), array_of(layer.bias[member, 0])
        return self.add("Gemm", x, self.weight(weight), self.weight(bias))

    def half_square(self, x: str, served: int, name: str | None = None) -> str:
        """(N, S * width) -> (N,): half the squared length, as a mean over S members."""
        squared = self.add("ReduceSumSquare", x, self.ints(1), keepdims=0)
        return self.add("Mul", squared, self.weight(0.5 / served), name=name)

    def zero_of(self, x: str, name: str) -> None:
        """(N, width) -> (N,) zeros."""
        self.add(
            "Mul", self.add("ReduceSum", x, self.ints(-1), keepdims=0), self.weight(0.0), name=name
        )


def array_of(parameter: Any) -> NDArray[np.float32]:
    return np.asarray(parameter.detach().cpu().numpy(), dtype=np.float32)


def encode(graph: Builder, vae: VAE, x: str, member: int) -> str:
    """(N, D) -> mu, (N, L)."""
    h = graph.silu(graph.linear(x, vae.enter, member))
    return graph.linear(graph.silu(graph.linear(h, vae.encoder, member)), vae.mu, member)


def decode(graph: Builder, vae: VAE, mu: str, member: int) -> str:
    """mu, (N, L) -> the decoder's last hidden layer, (N, H)."""
    h = graph.silu(graph.linear(mu, vae.expand, member))
    return graph.silu(graph.linear(h, vae.decoder, member))


def least_of_many(graph: Builder, values: str, count: int, k: int) -> str:
    """(N, k) values -> (N, count): the places of each record's least values.

    They lie in the `count` groups with the least minima. To look at these alone is faster:
    ReduceMin is vectorised, ArgMin and TopK are not.
    """
    group = next(g for g in range(min(k, MOST_IN_GROUP), 0, -1) if k % g == 0)
    if group < MIN_GROUP or k // group <= count:
        return graph.least(values, count)[1]
    grouped = graph.add("Reshape", values, graph.ints(-1, k // group, group))
    minima = graph.add("ReduceMin", grouped, graph.ints(2), keepdims=0)
    groups = graph.least(minima, count)[1]
    places = graph.add("Unsqueeze", groups, graph.ints(2))
    inside = graph.add("GatherND", grouped, places, batch_dims=1)  # (N, count, group)
    flat = graph.add("Reshape", inside, graph.ints(-1, count * group))
    within = graph.least(flat, count)[1]
    size = graph.ints(group)
    which = graph.add("GatherElements", groups, graph.add("Div", within, size), axis=1)
    return graph.add("Add", graph.add("Mul", which, size), graph.add("Mod", within, size))


Shapes = Mapping[str, tuple[Any, ...]]  # name -> sizes; a text stands for any size


def serialise(graph: Builder, takes: Shapes, gives: Shapes, opset: int = OPSET) -> bytes:
    """Return the graph from these inputs to these outputs, all of float32."""

    def values(shapes: Shapes) -> list[onnx.ValueInfoProto]:
        kind = TensorProto.FLOAT
        return [helper.make_tensor_value_info(name, kind, s) for name, s in shapes.items()]

    proto = helper.make_graph(
        graph.nodes, "vaewatch", values(takes), values(gives), initializer=graph.weights
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
