"""ScoreModel -> network.onnx: one graph, written node by node so that what is served is what can
be read here.

The members that are served share each product: their first layers are one wide matrix, the others
a batched one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from scoring.errors import ScoringError
from scoring.network import INPUT, OUTPUTS, Forward, Network
from training.covariance import FullPrecision
from training.score_model import ScoreModel
from training.vae import LOGVAR_RANGE, StackedLinear

OPSET = 20
IR_VERSION = 9
PROBE_TOLERANCE = 1e-4
MIN_GROUP = 8  # below this the two steps of `_arg_min` cost more than one


class _Graph:
    """Collects nodes and weights; each call gives the name of the node's result."""

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

    def ints_scalar(self, value: int) -> str:
        return self.weight(np.array(value), np.int64)

    def add(
        self, kind: str, *inputs: str, outputs: int = 1, name: str | None = None, **attributes: Any
    ) -> Any:
        names = [name or f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def silu(self, x: str) -> str:
        return str(self.add("Mul", x, self.add("Sigmoid", x)))

    def linear(self, x: str, *layers: StackedLinear) -> str:
        """(S, N, inputs) -> (S, N, outputs); several layers of one input are one product."""
        weight = np.concatenate([_array(layer.weight) for layer in layers], axis=2)
        bias = np.concatenate([_array(layer.bias) for layer in layers], axis=2)
        return str(self.add("Add", self.add("MatMul", x, self.weight(weight)), self.weight(bias)))

    def mean_of_members(self, x: str, served: int, width: int, name: str | None = None) -> str:
        """(S, N, width) -> (N, width), as a product: ReduceMean is 8 times slower there."""
        flat = self.add("Reshape", x, self.ints(served, -1))
        mean = self.add("MatMul", self.weight(np.full((1, served), 1 / served)), flat)
        return str(self.add("Reshape", mean, self.ints(-1, width), name=name))

    def sum_of(self, x: str, *axes: int, name: str | None = None) -> str:
        return str(self.add("ReduceSum", x, self.ints(*axes), keepdims=0, name=name))


def _array(parameter: Any) -> NDArray[np.float32]:
    return np.asarray(parameter.detach().cpu().numpy(), dtype=np.float32)


def export_graph(model: ScoreModel) -> bytes:
    """The graph that gives `scoring.network.Forward` of (N, D + C) features."""
    graph, d = _Graph(), len(model.column_of)
    x = graph.add("Slice", INPUT, graph.ints(0), graph.ints(d), graph.ints(1))
    first_time = graph.add(
        "Slice", INPUT, graph.ints(d), graph.ints(d + model.columns), graph.ints(1)
    )
    mu = _encode(graph, model, x)
    means = _decode(graph, model, mu)
    graph.mean_of_members(means, model.vae.members, d, "reconstructed")
    _reconstruction(graph, model, x, means, first_time)
    _neighbour(graph, model, x)
    return _serialise(graph, model)


def _encode(graph: _Graph, model: ScoreModel, x: str) -> str:
    """Writes `kl` and gives mu, (S, N, L)."""
    vae, served = model.vae, model.vae.members
    wide = _array(vae.enter.weight).transpose(1, 0, 2).reshape(vae.features, -1)
    bias = _array(vae.enter.bias).reshape(-1)
    h = graph.add("Gemm", x, graph.weight(wide), graph.weight(bias))
    h = graph.add("Reshape", graph.silu(h), graph.ints(-1, served, vae.width))
    h = graph.add("Transpose", h, perm=[1, 0, 2])
    h = graph.silu(graph.linear(h, vae.encoder))
    if not model.kl:
        mu = graph.linear(h, vae.mu)
        graph.sum_of(graph.add("Mul", mu, graph.weight(0.0)), 0, 2, name="kl")
        return mu
    both = graph.linear(h, vae.mu, vae.logvar)
    mu, logvar = graph.add("Split", both, outputs=2, axis=2, num_outputs=2)
    logvar = graph.add("Clip", logvar, *(graph.weight(bound) for bound in LOGVAR_RANGE))
    spread = graph.add("Sub", graph.add("Exp", logvar), logvar)
    terms = graph.add("Add", graph.add("Mul", mu, mu), spread)  # twice the KL, but for its -1
    mean = graph.add("Mul", graph.sum_of(terms, 0, 2), graph.weight(0.5 / served))
    graph.add("Sub", mean, graph.weight(0.5 * vae.latent), name="kl")
    return str(mu)


def _decode(graph: _Graph, model: ScoreModel, mu: str) -> str:
    """The members' means, (S, N, D)."""
    vae = model.vae
    h = graph.silu(graph.linear(mu, vae.expand))
    h = graph.silu(graph.linear(h, vae.decoder))
    return graph.linear(h, vae.leave)


def _reconstruction(graph: _Graph, model: ScoreModel, x: str, means: str, first_time: str) -> None:
    """Writes `contributions` and `reconstruction`: 1/2 r (Sigma^-1 r), by column, and first-time
    events.
    """
    r, precision = graph.add("Sub", x, means), model.precision
    if isinstance(precision, FullPrecision):
        whitened = graph.add("MatMul", r, graph.weight(0.5 * precision.matrix))
    else:
        low = graph.add("MatMul", r, graph.weight(precision.factor))
        low = graph.add("MatMul", low, graph.weight(0.5 * precision.factor.T))
        scaled = graph.add("Mul", r, graph.weight(0.5 * precision.diagonal))
        whitened = graph.add("Sub", scaled, low)
    product = graph.add("Mul", r, whitened)
    by_feature = graph.mean_of_members(product, model.vae.members, len(model.column_of))
    by_column = graph.add("MatMul", by_feature, graph.weight(model.column_map))
    novelty = graph.add("Mul", first_time, graph.weight(model.novelty))
    graph.sum_of(
        graph.add("Add", by_column, novelty, name="contributions"), -1, name="reconstruction"
    )


def _neighbour(graph: _Graph, model: ScoreModel, x: str) -> None:
    """Writes `neighbour`: the distance to the nearest b of the bank. It is taken anew from that b,
    as the product that finds it loses the digits of a small distance.
    """
    bank = model.bank
    if not len(bank):
        graph.add("Mul", graph.sum_of(x, -1), graph.weight(0.0), name="neighbour")
        return
    places, directions = bank.places, np.pad(bank.directions, [(0, 0), (0, 1)])
    place = graph.add("MatMul", x, graph.weight(directions))  # and, last, a 0
    squared = graph.add(
        "Gemm", place, graph.weight(-2.0 * places.T), graph.weight((places**2).sum(1))
    )
    nearest = graph.add(
        "Gather", graph.weight(places), _arg_min(graph, squared, len(bank)), axis=0
    )
    apart = graph.add("Sub", place, nearest)
    if bank.leaves_out:
        off = graph.add("Sub", x, graph.add("MatMul", place, graph.weight(directions.T)))
        apart = graph.add("Concat", apart, off, axis=1)
    graph.add("ReduceL2", apart, graph.ints(-1), keepdims=0, name="neighbour")


def _arg_min(graph: _Graph, values: str, width: int) -> str:
    """(N, width) -> (N,): the place of each row's least value.

    In two steps, the group and then the place in it: ReduceMin is vectorised and ArgMin is not.
    """
    group = next((g for g in range(math.isqrt(width), 0, -1) if width % g == 0), 1)
    if group < MIN_GROUP:
        return str(graph.add("ArgMin", values, axis=1, keepdims=0))
    grouped = graph.add("Reshape", values, graph.ints(-1, width // group, group))
    least = graph.add("ReduceMin", grouped, graph.ints(2), keepdims=0)
    which = graph.add("ArgMin", least, axis=1, keepdims=1)
    inside = graph.add("GatherND", grouped, which, batch_dims=1)
    place = graph.add("ArgMin", inside, axis=1, keepdims=0)
    start = graph.add("Mul", graph.add("Squeeze", which, graph.ints(1)), graph.ints_scalar(group))
    return str(graph.add("Add", start, place))


def _serialise(graph: _Graph, model: ScoreModel) -> bytes:
    d, c = len(model.column_of), model.columns
    widths = {"contributions": c, "reconstructed": d}

    def value(name: str, *shape: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    outputs = [value(name, *([widths[name]] if name in widths else [])) for name in OUTPUTS]
    proto = helper.make_graph(
        graph.nodes, "vaewatch", [value(INPUT, d + c)], outputs, initializer=graph.weights
    )
    onnx_model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)])
    onnx_model.ir_version = IR_VERSION
    onnx.checker.check_model(onnx_model)
    return bytes(onnx_model.SerializeToString())


def check_against_torch(model: ScoreModel, network: Network, probes: NDArray[np.float32]) -> float:
    """The largest difference between graph and torch on the probes' total score, relative to it or
    to one nat.

    Raises:
        ScoringError: it is above PROBE_TOLERANCE: the export must not be used.
    """
    want, got = _total(model.forward(probes)), _total(network.forward(probes))
    apart = float(np.max(np.abs(got - want) / np.maximum(np.abs(want), 1.0)))
    if not apart <= PROBE_TOLERANCE:
        raise ScoringError(
            f"the exported graph must agree with torch within {PROBE_TOLERANCE:g}, got "
            f"{apart:.2g} apart. "
            "This is our fault: please report it with the data's shape."
        )
    return apart


def _total(forward: Forward) -> NDArray[np.float64]:
    return np.asarray(forward.reconstruction + forward.kl + forward.neighbour, dtype=np.float64)
