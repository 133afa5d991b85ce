"""ScoreModel -> network.onnx: one graph, written node by node, so that it can be read here."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vaewatch.scoring.network import INPUT, OUTPUTS, WHITENED, Forward, Network
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.export.score_model import ScoreModel
from vaewatch.training.vae.vae import VAE, StackedLinear

OPSET = 20
IR_VERSION = 9
PROBE_TOLERANCE = 1e-4
SQUARE_TOLERANCE = 1e-5  # of the squared lengths: some 80 roundings in single precision
MIN_GROUP, MOST_IN_GROUP = 8, 40  # outside of this range, the two steps of `_least` cost more
# candidates beyond those that are averaged: by rounding, they may be out of order; more of them
# with up to FEW features, where records lie densely
SPARE, FEW, MORE_SPARE = 1, 3, 5


class _Graph:
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

    def linear(self, x: str, layer: StackedLinear, member: int) -> str:
        """(N, inputs) -> (N, outputs), of one member: ONNX Runtime fuses a bias into a single
        product, but not into a batched one.
        """
        weight, bias = _array(layer.weight[member]), _array(layer.bias[member, 0])
        return self.add("Gemm", x, self.weight(weight), self.weight(bias))

    def half_square(self, x: str, served: int, name: str) -> None:
        """(N, S * width) -> (N,): half the squared length, as a mean over S members."""
        squared = self.add("ReduceSumSquare", x, self.ints(1), keepdims=0)
        self.add("Mul", squared, self.weight(0.5 / served), name=name)

    def zero_of(self, x: str, name: str) -> None:
        """(N, width) -> (N,) zeros."""
        self.add(
            "Mul", self.add("ReduceSum", x, self.ints(-1), keepdims=0), self.weight(0.0), name=name
        )


def _array(parameter: Any) -> NDArray[np.float32]:
    return np.asarray(parameter.detach().cpu().numpy(), dtype=np.float32)


def export_graph(model: ScoreModel) -> bytes:
    """Return the graph from (N, D) features to `vaewatch.scoring.network.Forward`, as ONNX."""
    graph, vae, x = _Graph(), model.vae, INPUT
    observed = _whiten(graph, model.precision, x)
    codes = [_encode(graph, vae, x, member) for member in range(vae.members)]
    hidden = [_decode(graph, vae, mu, member) for member, mu in enumerate(codes)]
    whitened = [
        graph.add("Sub", observed, _expected(graph, model, h, member))
        for member, h in enumerate(hidden)
    ]
    if model.kl:
        graph.half_square(graph.add("Concat", *codes, axis=1), vae.members, "kl")
    else:
        graph.zero_of(x, "kl")
    side_by_side = graph.add("Concat", *whitened, axis=1)
    shape = graph.ints(-1, vae.members, vae.features)
    graph.add("Reshape", side_by_side, shape, name=WHITENED)
    if len(model.caps):
        cut = [
            graph.add("Sub", whole, _beyond(graph, model, h, member))
            for member, (whole, h) in enumerate(zip(whitened, hidden, strict=True))
        ]
        side_by_side = graph.add("Concat", *cut, axis=1)
    graph.half_square(side_by_side, vae.members, "reconstruction")
    _neighbour(graph, model.bank, x)
    return _serialise(graph, model)


def _encode(graph: _Graph, vae: VAE, x: str, member: int) -> str:
    """(N, D) -> mu, (N, L)."""
    h = graph.silu(graph.linear(x, vae.enter, member))
    return graph.linear(graph.silu(graph.linear(h, vae.encoder, member)), vae.mu, member)


def _decode(graph: _Graph, vae: VAE, mu: str, member: int) -> str:
    """mu, (N, L) -> the decoder's last hidden layer, (N, H)."""
    h = graph.silu(graph.linear(mu, vae.expand, member))
    return graph.silu(graph.linear(h, vae.decoder, member))


def _expected(graph: _Graph, model: ScoreModel, h: str, member: int) -> str:
    """h, (N, H) -> what a member expects, (N, D), whitened: that is linear, so the last layer of
    the decoder does it.
    """
    vae, whiten = model.vae, model.precision.whiten
    weight, bias = (whiten(_array(p[member])) for p in (vae.leave.weight, vae.leave.bias))
    return graph.add("Gemm", h, graph.weight(weight), graph.weight(bias[0]))


def _beyond(graph: _Graph, model: ScoreModel, h: str, member: int) -> str:
    """h, (N, H) -> the residuals beyond their caps, (N, D), whitened."""
    leave, at, most = model.vae.leave, model.caps.at, model.caps.most
    weight, bias = _array(leave.weight[member])[:, at], _array(leave.bias[member, 0])[at]
    observed = graph.add("Gather", INPUT, graph.ints(*at), axis=1)
    expected = graph.add("Gemm", h, graph.weight(weight), graph.weight(bias))
    residual = graph.add("Sub", observed, expected)
    above = graph.add("Max", residual, graph.weight(-most))
    beyond = graph.add("Sub", residual, graph.add("Min", above, graph.weight(most)))
    rows = model.precision.whiten(np.eye(model.vae.features)[at])
    return graph.add("MatMul", beyond, graph.weight(rows))


def _whiten(graph: _Graph, precision: Precision, x: str) -> str:
    """(N, D) features -> (N, D), whitened."""
    features, rank = precision.basis.shape
    if rank == features:
        return graph.add("MatMul", x, graph.weight(precision.whiten(np.eye(features))))
    scaled = graph.add("Mul", x, graph.weight(precision.scale))
    low = graph.add("MatMul", scaled, graph.weight(precision.basis * precision.shrink))
    return graph.add("Sub", scaled, graph.add("MatMul", low, graph.weight(precision.basis.T)))


def _neighbour(graph: _Graph, bank: Bank, x: str) -> None:
    """Add `neighbour`, (N,): the mean distance to the nearest records of the bank.

    The product that finds them loses the digits of a small distance. So it only finds candidates,
    and the distances to these are computed again.
    """
    if not len(bank):
        return graph.zero_of(x, "neighbour")
    one = np.eye(1, bank.places.shape[1], bank.places.shape[1] - 1)[0]
    directions = np.pad(bank.directions, [(0, 0), (0, 1)])
    place = graph.add("Gemm", x, graph.weight(directions), graph.weight(one))  # last, a 1
    along, off = bank.places[:, :-1], bank.places[:, -1:]
    lengths = (bank.places**2).sum(1, keepdims=True)
    squared = graph.add("MatMul", place, graph.weight(np.hstack([-2.0 * along, lengths]).T))
    rows = graph.weight(np.hstack([along @ bank.directions.T, off]))
    if bank.nearest == 1:
        near = graph.add("Gather", rows, _least(graph, squared, 1, len(bank)), axis=0)
        distance = _distances(graph, x, near)
        graph.add("Squeeze", distance, graph.ints(1), name="neighbour")
        return
    spare = MORE_SPARE if len(bank.directions) <= FEW else SPARE
    count = min(bank.nearest + spare, len(bank))
    near = graph.add("Gather", rows, _least(graph, squared, count, len(bank)), axis=0)
    nearest, _ = graph.least(_distances(graph, x, near), bank.nearest)
    graph.add("ReduceMean", nearest, graph.ints(1), keepdims=0, name="neighbour")


def _distances(graph: _Graph, x: str, rows: str) -> str:
    """(N, D) features and (N, count, D + 1) rows -> their distances, (N, count)."""
    padded = graph.add("Pad", x, graph.ints(0, 0, 0, 1))
    apart = graph.add("Sub", graph.add("Unsqueeze", padded, graph.ints(1)), rows)
    return graph.add("ReduceL2", apart, graph.ints(2), keepdims=0)


def _least(graph: _Graph, values: str, count: int, k: int) -> str:
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


def _serialise(graph: _Graph, model: ScoreModel) -> bytes:
    d = model.vae.features
    shapes = {WHITENED: ("N", model.vae.members, d)}

    def value(name: str, *shape: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    outputs = [value(name, *shapes.get(name, ("N",))) for name in OUTPUTS]
    proto = helper.make_graph(
        graph.nodes, "vaewatch", [value(INPUT, "N", d)], outputs, initializer=graph.weights
    )
    onnx_model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)])
    onnx_model.ir_version = IR_VERSION
    onnx.checker.check_model(onnx_model)
    return bytes(onnx_model.SerializeToString())


def check_against_torch(model: ScoreModel, network: Network, probes: NDArray[np.float32]) -> float:
    """Return the largest difference between the scores that graph and torch give to (N, D) probes,
    relative to the score or to one nat.

    What a difference of the neighbour part means depends on the distance: the graph finds the
    nearest record by single-precision squares of lengths, so two records that are equally near up
    to their rounding may be exchanged. Near distance 0 that is much of the distance, and nothing
    of the length.

    Raises:
        RuntimeError: a part is further apart than rounding explains, so that the export must not
            be used.
    """
    want, got = model.forward(probes), network.forward(probes)
    for name in ("reconstruction", "kl"):
        _require(name, _apart(getattr(want, name), getattr(got, name)), PROBE_TOLERANCE)
    lengths = _square_lengths(model.bank, probes)
    moved = np.abs(got.neighbour.astype(np.float64) ** 2 - want.neighbour**2)
    _require("neighbour", float(np.max(moved / np.maximum(lengths, 1.0))), SQUARE_TOLERANCE)
    return _apart(_total(want), _total(got))


def _require(part: str, apart: float, most: float) -> None:
    if not apart <= most:
        raise RuntimeError(
            f"the exported graph must agree with torch within {most:g} in the {part} part, got "
            f"{apart:.2g} apart"
        )


def _apart(want: Floats, got: Floats) -> float:
    """Return the largest difference relative to `want`, (N,), or to one nat."""
    return float(np.max(np.abs(got - want) / np.maximum(np.abs(want), 1.0)))


def _square_lengths(bank: Bank, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared lengths, (N,), that are subtracted to find the records' distances."""
    longest = float((bank.places**2).sum(1).max()) if len(bank) else 0.0
    return np.asarray((x.astype(np.float64) ** 2).sum(1) + longest)


def _total(forward: Forward) -> NDArray[np.float64]:
    return np.asarray(forward.reconstruction + forward.kl + forward.neighbour, dtype=np.float64)
