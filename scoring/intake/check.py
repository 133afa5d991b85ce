"""network.onnx -> the sizes that it takes and gives, found without running it.

An artifact may come from anybody, and ONNX Runtime does what a graph says: loop for ever, ask for
all memory, read another file. So a graph is run only if it is plain (`graph`), uses operators of
arithmetic alone (`shapes`), and takes bounded memory and time for any records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaewatch.scoring.intake.call import Call, Shape, Value
from vaewatch.scoring.intake.graph import FLOAT, Graph, read_graph
from vaewatch.scoring.intake.shapes import results
from vaewatch.scoring.intake.wire import refused
from vaewatch.scoring.series.history import MOST_NUMBERS, MOST_RECORDS

MANY = 509  # records; a prime, so that no shape fits it by chance
MOST_BYTES = 4 << 30  # of all values of a run together
MOST_WORK = 2 << 30  # multiplications, of one record


@dataclass(frozen=True)
class Sizes:
    """D, the features of a record, and S, the members that the graph holds."""

    features: int
    members: int


@dataclass(frozen=True)
class WindowSizes:
    """D, the numbers of a record, and Q, the directions along which the VAE sees a window."""

    width: int
    directions: int


def check_graph(content: bytes, takes: str, gives: Sequence[str]) -> Sizes:
    """Return the sizes of a graph that takes (N, D) features and gives, in this order, values of
    (N,) each and, last, of (N, S, D).

    Raises:
        ArtifactError: it is another graph, or not one to be run.
    """
    graph = _graph(content, gives)
    features = _features(graph, takes)
    members = 0
    for n in (1, MANY):
        *parts, whitened = _run(graph, (n, features), n)
        for name, value in zip(gives, parts, strict=False):
            _require(name, value, (n,))
        members = whitened.shape[1] if len(whitened.shape) == 3 else 0
        _require(gives[-1], whitened, (n, max(members, 1), features))
    return Sizes(features, members)


def check_window_graph(content: bytes, takes: str, gives: Sequence[str], size: int) -> WindowSizes:
    """Return the sizes of a graph that takes (B, T, D) records, judges each of the N windows of
    `size` records in each of B stretches of T, and gives, in this order, values of (N,) each and,
    last, of (N, Q).

    Raises:
        ArtifactError: it is another graph, or not one to be run.
    """
    graph = _graph(content, gives)
    (port, *others) = graph.inputs or (None,)
    if port is None or others or (port.name, port.dtype, len(port.shape)) != (takes, FLOAT, 3):
        raise refused(f"must take (B, T, D) numbers named '{takes}' alone, but does not")
    if port.shape[:2] != (None, None) or not port.shape[2]:
        raise refused(f"must take any number of '{takes}' with D numbers each, but does not")
    width, places = port.shape[2], 0
    alone, together = _prime(MOST_RECORDS // size), _prime(MOST_NUMBERS // (size * width))
    for stretches, windows in ((1, 1), (2, 3), (alone, 1), (1, together)):
        n = stretches * windows
        shape = (stretches, windows + size - 1, width)
        *parts, expected = _run(graph, shape, n)
        for name, value in zip(gives, parts, strict=False):
            _require(name, value, (n,))
        places = expected.shape[1] if len(expected.shape) == 2 else 0
        _require(gives[-1], expected, (n, max(places, 1)))
    return WindowSizes(width, places)


def _prime(most: int) -> int:
    """Return the largest prime of at most so many, and of at most MANY; at least 5."""
    found = range(min(most, MANY), 5, -1)
    return next((n for n in found if all(n % k for k in range(2, math.isqrt(n) + 1))), 5)


def _graph(content: bytes, gives: Sequence[str]) -> Graph:
    graph = read_graph(content)
    names = tuple(port.name for port in graph.outputs)
    if names != tuple(gives):
        raise refused(f"must give {', '.join(gives)}, got {', '.join(names)}")
    return graph


def _features(graph: Graph, takes: str) -> int:
    (port, *others) = graph.inputs or (None,)
    if port is None or others or (port.name, port.dtype, len(port.shape)) != (takes, FLOAT, 2):
        raise refused(f"must take (N, D) numbers named '{takes}' alone, but does not")
    if port.shape[0] is not None or not port.shape[1]:
        raise refused(f"must take any number of records of D '{takes}', but does not")
    return port.shape[1]


def _require(name: str, value: Value, shape: Shape) -> None:
    if value.shape != shape or value.dtype != FLOAT:
        wanted, got = (" x ".join(map(str, each)) or "1" for each in (shape, value.shape))
        raise refused(f"must give {wanted} numbers as '{name}', got {got}")


def _run(graph: Graph, shape: Shape, n: int) -> list[Value]:
    """Return the outputs for an input of this shape, which brings n scores, as shapes."""
    values = {graph.inputs[0].name: Value(shape, FLOAT)}
    for tensor in graph.tensors:
        if tensor.name in values or not tensor.name:
            raise refused(f"must name each value once, got two of '{tensor.name}'")
        values[tensor.name] = Value(tensor.shape, tensor.dtype, tensor)
    size = work = 0
    for node in graph.nodes:
        if not set(node.inputs) - {""} <= values.keys():
            raise refused(f"must make the inputs of '{node.operator}' first, but does not")
        call = Call(node, tuple(values.get(name) for name in node.inputs))
        found = results(call)
        if len(node.outputs) > len(found) or not all(node.outputs):
            raise refused(f"must name the results of '{node.operator}', but does not")
        size += sum(value.bytes for value in found)
        work += sum(value.size for value in call.given)
        work += sum(max(value.size, value.work) for value in found)
        if size > MOST_BYTES or work > MOST_WORK * n:
            raise refused("must be of a size that can be run, got a far larger one")
        for name, value in zip(node.outputs, found, strict=False):
            if name in values:
                raise refused(f"must name each value once, got two of '{name}'")
            values[name] = value
    outputs = [values.get(port.name) for port in graph.outputs]
    if None in outputs:
        raise refused("must make all that it gives, but does not")
    return [value for value in outputs if value is not None]
