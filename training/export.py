"""ScoreModel -> network.onnx: one graph, written node by node so that what is served is what can
be read here.

The members that are served share each product: their first layers are one wide matrix, the others
a batched one.
"""

from __future__ import annotations

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

    def add(
        self, kind: str, *inputs: str, outputs: int = 1, name: str | None = None, **attributes: Any
    ) -> Any:
        names = [name or f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def silu(self, x: str) -> str:
        return str(self.add("Mul", x, self.add("Sigmoid", x)))

    def linear(self, x: str, layer: StackedLinear, served: int) -> str:
        """(S, N, inputs) -> (S, N, outputs)."""
        product = self.add("MatMul", x, self.weight(_array(layer.weight)[:served]))
        return str(self.add("Add", product, self.weight(_array(layer.bias)[:served])))

    def mean_of_members(self, x: str, name: str | None = None) -> str:
        return str(self.add("ReduceMean", x, self.ints(0), keepdims=0, name=name))

    def sum_of_last(self, x: str, name: str | None = None) -> str:
        return str(self.add("ReduceSum", x, self.ints(-1), keepdims=0, name=name))


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
    graph.mean_of_members(means, "reconstructed")
    _reconstruction(graph, model, x, means, first_time)
    _neighbour(graph, model, x)
    return _serialise(graph, model)


def _encode(graph: _Graph, model: ScoreModel, x: str) -> str:
    """Writes `kl` and gives mu, (S, N, L)."""
    vae, served = model.vae, model.served
    wide = _array(vae.enter.weight)[:served].transpose(1, 0, 2).reshape(vae.features, -1)
    bias = _array(vae.enter.bias)[:served].reshape(-1)
    h = graph.add("Gemm", x, graph.weight(wide), graph.weight(bias))
    h = graph.add("Reshape", graph.silu(h), graph.ints(-1, served, vae.width))
    h = graph.add("Transpose", h, perm=[1, 0, 2])
    h = graph.silu(graph.linear(h, vae.encoder, served))
    mu = graph.linear(h, vae.mu, served)
    if not model.kl:
        zero = graph.add("Mul", mu, graph.weight(0.0))
        graph.mean_of_members(graph.sum_of_last(zero), "kl")
        return mu
    logvar = graph.add(
        "Clip", graph.linear(h, vae.logvar, served), *(graph.weight(v) for v in LOGVAR_RANGE)
    )
    spread = graph.add("Sub", graph.add("Exp", logvar), logvar)
    twice = graph.add("Sub", graph.add("Add", graph.add("Mul", mu, mu), spread), graph.weight(1.0))
    nats = graph.add("Mul", graph.sum_of_last(twice), graph.weight(0.5))
    graph.mean_of_members(nats, "kl")
    return mu


def _decode(graph: _Graph, model: ScoreModel, mu: str) -> str:
    """The members' means, (S, N, D)."""
    vae, served = model.vae, model.served
    h = graph.silu(graph.linear(mu, vae.expand, served))
    h = graph.silu(graph.linear(h, vae.decoder, served))
    return graph.linear(h, vae.leave, served)


def _reconstruction(graph: _Graph, model: ScoreModel, x: str, means: str, first_time: str) -> None:
    """Writes `contributions` and `reconstruction`: 1/2 r (Sigma^-1 r), by column, and first-time
    events.
    """
    r = graph.add("Sub", x, means)
    if isinstance(model.precision, FullPrecision):
        whitened = graph.add("MatMul", r, graph.weight(0.5 * model.precision.matrix))
    else:
        low = graph.add("MatMul", r, graph.weight(model.precision.factor))
        low = graph.add("MatMul", low, graph.weight(0.5 * model.precision.factor.T))
        whitened = graph.add(
            "Sub", graph.add("Mul", r, graph.weight(0.5 * model.precision.diagonal)), low
        )
    by_feature = graph.mean_of_members(graph.add("Mul", r, whitened))
    by_column = graph.add("MatMul", by_feature, graph.weight(model.column_map))
    novelty = graph.add("Mul", first_time, graph.weight(model.novelty))
    graph.sum_of_last(graph.add("Add", by_column, novelty, name="contributions"), "reconstruction")


def _neighbour(graph: _Graph, model: ScoreModel, x: str) -> None:
    """Writes `neighbour` and `neighbour_contributions`: |x - b|, and its share by column, of the
    nearest b.
    """
    bank = model.bank if len(model.bank) else np.zeros((1, len(model.column_of)), np.float32)
    norms = (bank.astype(np.float64) ** 2).sum(1)
    squared = graph.add("Gemm", x, graph.weight(-2.0 * bank.T), graph.weight(norms))
    nearest = graph.add(
        "Gather", graph.weight(bank), graph.add("ArgMin", squared, axis=1, keepdims=0), axis=0
    )
    apart = graph.add("Sub", x, nearest)
    by_column = graph.add("MatMul", graph.add("Mul", apart, apart), graph.weight(model.column_map))
    if not len(model.bank):
        by_column = graph.add("Mul", by_column, graph.weight(0.0))
    total = graph.add("ReduceSum", by_column, graph.ints(-1), keepdims=1)
    distance = graph.add("Sqrt", total)
    share = graph.add("Div", by_column, graph.add("Max", distance, graph.weight(1e-12)))
    graph.add("Identity", share, name="neighbour_contributions")
    graph.add("Squeeze", distance, graph.ints(-1), name="neighbour")


def _serialise(graph: _Graph, model: ScoreModel) -> bytes:
    d, c = len(model.column_of), model.columns
    widths = {"contributions": c, "neighbour_contributions": c, "reconstructed": d}

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
    """The largest relative difference between graph and torch on the probes' total score.

    Raises:
        ScoringError: it is above PROBE_TOLERANCE: the export must not be used.
    """
    want, got = _total(model.forward(probes)), _total(network.forward(probes))
    apart = float(np.max(np.abs(got - want) / np.maximum(np.abs(want), 1e-6)))
    if not apart <= PROBE_TOLERANCE:
        raise ScoringError(
            f"the exported graph must agree with torch within {PROBE_TOLERANCE:g}, got "
            f"{apart:.2g} apart. "
            "This is our fault: please report it with the data's shape."
        )
    return apart


def _total(forward: Forward) -> NDArray[np.float64]:
    return np.asarray(forward.reconstruction + forward.kl + forward.neighbour, dtype=np.float64)
