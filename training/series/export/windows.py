"""WindowModel -> network.onnx: stretches of records in, the parts of each window's score out.

The windows of one stretch share the convolutions of their records, so that a file costs little
more a record than its products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.history import Run
from vaewatch.scoring.series.network import EXPECTED, INPUT, OUTPUTS, PARTS, WindowNetwork
from vaewatch.scoring.series.reasons import LIMIT
from vaewatch.scoring.series.window import hide_first_pace
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.export.builder import (
    Builder,
    array_of,
    decode,
    encode,
    least_of_many,
    serialise,
)
from vaewatch.training.odd.errors import ColumnErrors
from vaewatch.training.series.export.convolutions import END, Real, bank_of, convolve
from vaewatch.training.series.model import (
    BEYOND,
    RECONSTRUCTION_WEIGHT,
    SHAPE_WEIGHT,
    Scale,
    Scales,
    WindowModel,
)

OPSET = 18  # ONNX Runtime takes 10 times as long for the AveragePool of a later one
SPARE = 1  # a candidate beyond the nearest: by rounding, they may be out of order
TOLERANCE = 1e-3


def export_windows(model: WindowModel, *, kl: bool) -> bytes:
    """Return the graph from (B, T, D) records to `vaewatch.scoring.series.network.OUTPUTS`."""
    graph = Builder()
    low, high = graph.weight(-LIMIT), graph.weight(LIMIT)
    records = graph.add("Clip", INPUT, low, high)
    flat = _unfold(graph, model, records)
    courses = replace(model.courses, directions=_in_order(model, model.courses.directions))
    course = _nearest(graph, courses, _course(graph, model, flat))
    both = _scaled(graph, model.scales.course, course)
    for shape, scale in zip(model.shapes, model.scales.shapes, strict=True):
        near = _nearest(graph, bank_of(shape), convolve(graph, shape, records))
        weighted = graph.add("Mul", _scaled(graph, scale, near), graph.weight(SHAPE_WEIGHT))
        both = graph.add("Add", both, weighted)
    error = _reconstruct(graph, model, flat, kl=kl)
    own = _scaled(graph, model.scales.reconstruction, error)
    own = graph.add("Mul", own, graph.weight(RECONSTRUCTION_WEIGHT))
    if model.record is not None and model.scales.record:
        worth = graph.add("Max", *_record(graph, model, records))
        slower = graph.add("Mul", worth, graph.weight(BEYOND))
        slower = graph.add("Add", slower, graph.weight((1 - BEYOND) * model.scales.most))
        worth = graph.add("Min", worth, slower)
        both = graph.add("Max", both, graph.add("Sub", worth, own))
    for name, value in (("neighbour", both), ("reconstruction", own)):
        graph.add("Squeeze", value, graph.ints(1), name=name)
    width = len(model.directions.mean) // model.size
    gives = {name: ("N",) for name in PARTS} | {EXPECTED: ("N", model.vae.features)}
    takes = {INPUT: ("B", "T", width)}
    return serialise(graph, takes, {name: gives[name] for name in OUTPUTS}, OPSET)


def _slice(graph: Builder, x: str, start: int, end: int, axis: int = 1) -> str:
    return graph.add("Slice", x, graph.ints(start), graph.ints(end), graph.ints(axis))


def _unfold(graph: Builder, model: WindowModel, records: str) -> str:
    """(B, T, D) -> (N, W * D): each window's records in a row, in the order of `_in_order`: those
    that are a few apart are put in a row first, then a few of these rows.
    """
    size, few = model.size, _few(model.size)
    whole = size - size % few
    rows = graph.add("Concat", *_moved(graph, records, range(0, whole, few), whole - few), axis=2)
    parts = _moved(graph, rows, range(few), few - 1 + size - whole)
    parts += _moved(graph, records, range(whole, size), size - 1)
    flat = graph.add("Concat", *parts, axis=2)
    flat = graph.add("Reshape", flat, graph.ints(-1, len(model.directions.mean)))
    return flat if not model.paced else graph.add("Mul", flat, graph.weight(_mask(model)))


def _few(size: int) -> int:
    return int(np.sqrt(size))


def _in_order(model: WindowModel, weights: NDArray[Real]) -> NDArray[Real]:
    """Put weights, (W * D, ...), in the order that the graph has a window's numbers in."""
    few = _few(model.size)
    whole = model.size - model.size % few
    apart_by_few = np.arange(whole).reshape(-1, few).T.reshape(-1)
    order = np.concatenate([apart_by_few, np.arange(whole, model.size)])
    apart = weights.reshape(model.size, -1, *weights.shape[1:])
    return np.asarray(apart[order].reshape(weights.shape))


def _mask(model: WindowModel) -> NDArray[np.float32]:
    """Return (W * D,) what leaves out the pace of the first record: see `hide_first_pace`."""
    mask = np.ones((1, model.size, len(model.directions.mean) // model.size), np.float32)
    hide_first_pace(mask)
    return _in_order(model, mask.reshape(-1))


def _moved(graph: Builder, x: str, starts: Iterable[int], last: int) -> list[str]:
    """(B, T, D) -> for each start the T - last rows from it."""
    return [_slice(graph, x, start, start - last or END) for start in starts]


def _record(graph: Builder, model: WindowModel, records: str) -> Iterator[str]:
    """(B, T, D) -> what the last record of each window is worth by itself, (N, 1) each, see
    `RecordView.measure` and `OddScale.apply`.
    """
    view, scales = model.record, model.scales.record
    assert view is not None
    last, before = (
        graph.add("Reshape", _slice(graph, records, start, end), graph.ints(-1, len(view.mean)))
        for start, end in ((model.size - 1, END), (model.size - 2, -1))
    )
    white = graph.add(
        "MatMul", graph.add("Sub", last, graph.weight(view.mean)), graph.weight(view.axes)
    )
    yield graph.worth(_nearest(graph, view.bank, white), scales[0])
    if view.columns is not None:
        pairs = graph.add("Concat", before, last, axis=1)
        yield graph.worth(_oddest(graph, view.columns, pairs), scales[1])


def _oddest(graph: Builder, columns: ColumnErrors, pairs: str) -> str:
    """(N, 2 D) -> (N, 1), see `ColumnErrors.oddest`."""
    centred = graph.add("Sub", pairs, graph.weight(columns.mean))
    errors = graph.add("MatMul", centred, graph.weight(columns.weights))
    squares = graph.add("Mul", errors, errors)
    costs = graph.add("MatMul", squares, graph.weight(columns.units))
    beyond = graph.add("Sub", costs, graph.weight(columns.usual))
    return graph.add("ReduceMax", beyond, graph.ints(1), keepdims=1)


def _course(graph: Builder, model: WindowModel, flat: str) -> str:
    """(N, W * D) -> (N, W * D), without each column's mean in the window."""
    apart = graph.add(
        "Reshape", flat, graph.ints(-1, model.size, len(model.directions.mean) // model.size)
    )
    level = graph.add("ReduceMean", apart, graph.ints(1), keepdims=1)
    centred = graph.add("Sub", apart, level)
    return graph.add("Reshape", centred, graph.ints(-1, len(model.directions.mean)))


def _off(graph: Builder, x: str, places: str, directions: NDArray[np.float64]) -> str:
    """(N, D) and its places, (N, Q) -> (N, 1): the squared distance off the directions. Taken as a
    difference of squares, it would lose its digits.
    """
    inside = graph.add("MatMul", places, graph.weight(directions.T))
    return graph.add("ReduceSumSquare", graph.add("Sub", x, inside), graph.ints(1), keepdims=1)


def _nearest(graph: Builder, bank: Bank, x: str) -> str:
    """(N, D) -> (N, 1): the mean distance to the nearest of the bank.

    The product that finds them loses the digits of a small distance. So it only finds candidates,
    and the distances to these are computed again.
    """
    q = bank.directions.shape[1]
    places = graph.add("MatMul", x, graph.weight(bank.directions))
    off = _off(graph, x, places, bank.directions)
    lengths = (bank.places**2).sum(1)
    product = graph.add("MatMul", places, graph.weight(-2.0 * bank.places[:, :q].T))
    squared = graph.add("Add", product, graph.weight(lengths))
    count = min(bank.nearest + SPARE, len(bank))
    candidates = least_of_many(graph, squared, count, len(bank))
    near = graph.add("Gather", graph.weight(bank.places), candidates, axis=0)
    padded = graph.add("Pad", places, graph.ints(0, 0, 0, 1))
    between = graph.add("Sub", graph.add("Unsqueeze", padded, graph.ints(1)), near)
    apart = graph.add("ReduceSumSquare", between, graph.ints(2), keepdims=0)
    distances = graph.add("Sqrt", graph.add("Add", apart, off))
    least, _ = graph.least(distances, bank.nearest)
    return graph.add("ReduceMean", least, graph.ints(1), keepdims=1)


def _reconstruct(graph: Builder, model: WindowModel, flat: str, *, kl: bool) -> str:
    """(N, W * D) -> (N, 1): the squared error, as a mean over the members; also add `kl` and what
    is `expected`.
    """
    vae, directions = model.vae, model.directions
    basis = _in_order(model, directions.basis)
    centred = graph.add("Sub", flat, graph.weight(_in_order(model, directions.mean)))
    places = graph.add("MatMul", centred, graph.weight(basis))
    off = _off(graph, centred, places, basis.astype(np.float64))
    x = graph.add("Div", places, graph.weight(model.unit))
    codes = [encode(graph, vae, x, member) for member in range(vae.members)]
    expected = [
        graph.add("Gemm", decode(graph, vae, code, m), *_leave(graph, model, m))
        for m, code in enumerate(codes)
    ]
    errors = [
        graph.add("ReduceSumSquare", graph.add("Sub", x, own), graph.ints(1), keepdims=1)
        for own in expected
    ]
    inside = graph.add("Mean", *errors)
    graph.add("Mul", graph.add("Mean", *expected), graph.weight(model.unit), name=EXPECTED)
    if kl:
        graph.half_square(graph.add("Concat", *codes, axis=1), vae.members, "kl")
    else:
        graph.zero_of(x, "kl")
    return graph.add("Add", off, graph.add("Mul", inside, graph.weight(model.unit**2)))


def _leave(graph: Builder, model: WindowModel, member: int) -> Iterator[str]:
    leave = model.vae.leave
    yield graph.weight(array_of(leave.weight[member]))
    yield graph.weight(array_of(leave.bias[member, 0]))


def _scaled(graph: Builder, scale: Scale, value: str) -> str:
    """(N, 1) -> (N, 1), in what is usual: see `Scale.apply`."""
    return graph.log_above(value, scale.middle, scale.spread)


def check_windows_against_torch(model: WindowModel, network: WindowNetwork, probe: Run) -> float:
    """Return the largest difference between the parts that graph and torch give to the windows of
    a run, relative to the part or to 1. A part of a usual window is 0, whatever is computed. So
    what the views measure is compared, too, by graphs whose scales hide nothing.

    Raises:
        RuntimeError: it is more than rounding explains, so that the export must not be used.
    """
    apart = _apart(model, network, probe)
    for scales in Scales.plain(*model.measures):
        open_ = replace(model, scales=scales)
        plain = WindowNetwork(export_windows(open_, kl=False), model.size)
        apart = max(apart, _apart(open_, plain, probe))
    if not apart <= TOLERANCE:
        raise RuntimeError(
            f"the exported graph must agree with torch within {TOLERANCE:g}, got {apart:.2g} apart"
        )
    return apart


def _apart(model: WindowModel, network: WindowNetwork, probe: Run) -> float:
    values = np.clip(probe.values, -LIMIT, LIMIT)
    windows = np.lib.stride_tricks.sliding_window_view(values, model.size, axis=0)
    windows = np.ascontiguousarray(windows.swapaxes(1, 2))
    if model.paced:
        hide_first_pace(windows)
    views = model.views(values[None], windows)
    rows, got = network.forward([probe])
    order = np.argsort(rows)
    apart = 0.0
    for part, want in (
        (got.reconstruction, model.scales.reconstruction_part(views)),
        (got.neighbour, model.scales.neighbour_part(views)),
    ):
        off = np.abs(part[order] - want) / np.maximum(np.abs(want), 1.0)
        apart = max(apart, float(np.max(np.nan_to_num(off, nan=np.inf), initial=0)))
    return apart
