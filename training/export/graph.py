"""ScoreModel -> network.onnx: one graph, written node by node, so that it can be read here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.network import INPUT, OUTPUTS, WHITENED, Forward, Network
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.export.builder import (
    Builder,
    array_of,
    decode,
    encode,
    least_of_many,
    serialise,
)
from vaewatch.training.export.score_model import ScoreModel
from vaewatch.training.odd.columns import Block, ColumnView

PROBE_TOLERANCE = 1e-4
SQUARE_TOLERANCE = 1e-5  # of the squared lengths: some 80 roundings in single precision
LENGTH_TOLERANCE = 1e-5  # of the lengths
LIFTED_TOLERANCE = (
    1e-2  # of a score that is what one column makes it: an odd cost over a usual one
)
# candidates beyond those that are averaged: by rounding, they may be out of order; more of them
# with up to FEW features, where records lie densely
SPARE, FEW, MORE_SPARE = 1, 3, 5


def export_graph(model: ScoreModel) -> bytes:
    """Return the graph from (N, D) features to `vaewatch.scoring.network.Forward`, as ONNX."""
    graph, vae, x = Builder(), model.vae, INPUT
    observed = _whiten(graph, model.precision, x)
    codes = [encode(graph, vae, x, member) for member in range(vae.members)]
    hidden = [decode(graph, vae, mu, member) for member, mu in enumerate(codes)]
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
    _neighbour(graph, model.bank, x)
    if model.columns is None:
        graph.half_square(side_by_side, vae.members, "reconstruction")
    else:
        errors = graph.half_square(side_by_side, vae.members)
        least = _least_of_columns(graph, model.columns, whitened)
        near = graph.add("Mul", "neighbour", graph.weight(model.neighbour_weight))
        beside = graph.add("Add", "kl", near)
        graph.add("Max", errors, graph.add("Sub", least, beside), name="reconstruction")
    gives: dict[str, tuple[Any, ...]] = dict.fromkeys(OUTPUTS, ("N",))
    gives[WHITENED] = ("N", vae.members, vae.features)
    return serialise(graph, {INPUT: ("N", vae.features)}, gives)


def _expected(graph: Builder, model: ScoreModel, h: str, member: int) -> str:
    """h, (N, H) -> what a member expects, (N, D), whitened: that is linear, so the last layer of
    the decoder does it.
    """
    vae, whiten = model.vae, model.precision.whiten
    weight, bias = (whiten(array_of(p[member])) for p in (vae.leave.weight, vae.leave.bias))
    return graph.add("Gemm", h, graph.weight(weight), graph.weight(bias[0]))


def _beyond(graph: Builder, model: ScoreModel, h: str, member: int) -> str:
    """h, (N, H) -> the residuals beyond their caps, (N, D), whitened."""
    leave, at, most = model.vae.leave, model.caps.at, model.caps.most
    weight, bias = array_of(leave.weight[member])[:, at], array_of(leave.bias[member, 0])[at]
    observed = graph.add("Gather", INPUT, graph.ints(*at), axis=1)
    expected = graph.add("Gemm", h, graph.weight(weight), graph.weight(bias))
    residual = graph.add("Sub", observed, expected)
    above = graph.add("Max", residual, graph.weight(-most))
    beyond = graph.add("Sub", residual, graph.add("Min", above, graph.weight(most)))
    rows = model.precision.whiten(np.eye(model.vae.features)[at])
    return graph.add("MatMul", beyond, graph.weight(rows))


def _least_of_columns(graph: Builder, view: ColumnView, whitened: list[str]) -> str:
    """Each member's whitened residuals, (N, D) -> (N,), see `ColumnView.least`."""
    costs = view.costs
    basis = graph.weight(costs.basis) if costs.basis.size else ""
    along = [graph.add("MatMul", each, basis) for each in whitened if basis]
    units = [_units(graph, view, block, whitened, along) for block in costs.blocks]
    beyond = graph.add("Concat", *units, axis=1) if len(units) > 1 else units[0]
    oddest = graph.add("ReduceMax", beyond, graph.ints(1), keepdims=0)
    return graph.add("Min", graph.worth(oddest, view.scale), graph.weight(view.most))


def _units(
    graph: Builder, view: ColumnView, block: Block, whitened: list[str], along: list[str]
) -> str:
    """Each member's whitened residuals, (N, D), and what they are along the basis, (N, R) -> the
    units by which the costs of the block's columns exceed what is usual, (N, C).
    """
    own, rest = graph.weight(block.own), graph.weight(block.rest) if along else ""
    if along:
        whitened = [_features(graph, each, block.features) for each in whitened]
    rotated = [graph.add("MatMul", each, own) for each in whitened]
    if along:
        others = [graph.add("MatMul", each, rest) for each in along]
        rotated = [graph.add("Sub", *pair) for pair in zip(rotated, others, strict=True)]
    squares = graph.add("Sum", *(graph.add("Mul", each, each) for each in rotated))
    usual, unit = view.usual[block.columns], view.unit[block.columns]
    costs = graph.add("MatMul", squares, graph.weight(0.5 / len(whitened) * block.members / unit))
    return graph.add("Sub", costs, graph.weight(usual / unit))


def _features(graph: Builder, x: str, features: NDArray[np.int64]) -> str:
    """(N, D) -> (N, K), some of the features."""
    low, high = int(features[0]), int(features[-1]) + 1
    if high - low == len(features):  # a slice costs next to nothing
        return graph.add("Slice", x, graph.ints(low), graph.ints(high), graph.ints(1))
    return graph.add("Gather", x, graph.ints(*features), axis=1)


def _whiten(graph: Builder, precision: Precision, x: str) -> str:
    """(N, D) features -> (N, D), whitened."""
    if precision.is_full:
        whole = precision.whiten(np.eye(len(precision.scale)))
        return graph.add("MatMul", x, graph.weight(whole))
    scaled = graph.add("Mul", x, graph.weight(precision.scale))
    low = graph.add("MatMul", scaled, graph.weight(precision.basis * precision.shrink))
    return graph.add("Sub", scaled, graph.add("MatMul", low, graph.weight(precision.basis.T)))


def _neighbour(graph: Builder, bank: Bank, x: str) -> None:
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
        near = graph.add("Gather", rows, least_of_many(graph, squared, 1, len(bank)), axis=0)
        distance = _distances(graph, x, near)
        graph.add("Squeeze", distance, graph.ints(1), name="neighbour")
        return
    spare = MORE_SPARE if len(bank.directions) <= FEW else SPARE
    count = min(bank.nearest + spare, len(bank))
    near = graph.add("Gather", rows, least_of_many(graph, squared, count, len(bank)), axis=0)
    nearest, _ = graph.least(_distances(graph, x, near), bank.nearest)
    graph.add("ReduceMean", nearest, graph.ints(1), keepdims=0, name="neighbour")


def _distances(graph: Builder, x: str, rows: str) -> str:
    """(N, D) features and (N, count, D + 1) rows -> their distances, (N, count)."""
    padded = graph.add("Pad", x, graph.ints(0, 0, 0, 1))
    apart = graph.add("Sub", graph.add("Unsqueeze", padded, graph.ints(1)), rows)
    return graph.add("ReduceL2", apart, graph.ints(2), keepdims=0)


def check_against_torch(model: ScoreModel, network: Network, probes: NDArray[np.float32]) -> float:
    """Return the largest difference between the scores that graph and torch give to (N, D) probes,
    relative to the score or to one nat.

    What a difference means depends on what was subtracted in single precision. The graph finds the
    nearest record by squares of lengths, so two records that are equally near up to their rounding
    may be exchanged: near distance 0 that is much of the distance, and nothing of the length. And
    of a record that is far out and still well predicted, as one of a rare category that another
    column implies is, the residual is small beside the record, and so may its code be.

    Raises:
        RuntimeError: a part is further apart than rounding explains, so that the export must not
            be used.
    """
    plain, got = model.plain(probes), network.forward(probes)
    want = model.lifted(replace(plain, whitened=got.whitened))  # whose rounding is looked at below
    apart = _apart(want.reconstruction, got.reconstruction)
    lifted = want.reconstruction > plain.reconstruction
    exact = probes.astype(np.float64)
    rounding = _is_rounding(model.precision.whiten(exact), want.reconstruction, got.reconstruction)
    strict, loose = apart[~rounding & ~lifted], apart[lifted]
    _require("reconstruction", float(strict.max(initial=0.0)), PROBE_TOLERANCE)
    _require("reconstruction", float(loose.max(initial=0.0)), LIFTED_TOLERANCE)
    apart = _apart(want.kl, got.kl)[~_is_rounding(exact, want.kl, got.kl)]
    _require("kl", float(apart.max(initial=0.0)), PROBE_TOLERANCE)
    lengths = _square_lengths(model.bank, probes)
    moved = np.abs(got.neighbour.astype(np.float64) ** 2 - want.neighbour**2)
    _require("neighbour", float(np.max(moved / np.maximum(lengths, 1.0))), SQUARE_TOLERANCE)
    return float(_apart(_total(want), _total(got)).max())


def _is_rounding(records: Floats, want: Floats, got: Floats) -> NDArray[np.bool_]:
    """Return whether half the squared lengths of vectors, (N,), differ by no more than rounding of
    the (N, D) records that they were computed from.
    """
    lengths = np.maximum(np.linalg.norm(records, axis=1), 1.0)
    moved = np.abs(np.sqrt(2 * got) - np.sqrt(2 * want))
    return np.asarray(moved <= LENGTH_TOLERANCE * lengths)


def _require(part: str, apart: float, most: float) -> None:
    if not apart <= most:
        raise RuntimeError(
            f"the exported graph must agree with torch within {most:g} in the {part} part, got "
            f"{apart:.2g} apart"
        )


def _apart(want: Floats, got: Floats) -> Floats:
    """Return the differences relative to `want`, (N,), or to one nat."""
    return np.asarray(np.abs(got - want) / np.maximum(np.abs(want), 1.0))


def _square_lengths(bank: Bank, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared lengths, (N,), that are subtracted to find the records' distances."""
    longest = float((bank.places**2).sum(1).max()) if len(bank) else 0.0
    return np.asarray((x.astype(np.float64) ** 2).sum(1) + longest)


def _total(forward: Forward) -> NDArray[np.float64]:
    return np.asarray(forward.reconstruction + forward.kl + forward.neighbour, dtype=np.float64)
