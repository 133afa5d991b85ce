"""network.onnx -> Graph: its nodes and tensors, if it is a plain graph that holds all it needs.

A plain graph has no subgraphs, functions or operators of other domains, names no other file, and
has one input. Whatever else ONNX allows is refused: a field that is not listed here, too.
See https://github.com/onnx/onnx/blob/main/onnx/onnx.proto for the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.intake.wire import Message, message, refused

OPSETS = range(18, 25)  # in which the operators of `shapes` mean what is written there
MOST_NODES, MOST_TENSORS = 10_000, 10_000
MOST_NODE_BYTES = 8 << 20  # of all nodes: they hold names and small numbers
DOMAINS = ("", "ai.onnx")

FLOAT, INT32, INT64, BOOL, DOUBLE = 1, 6, 7, 9, 11
TYPES: dict[int, Any] = {
    FLOAT: np.float32,
    INT32: np.int32,
    INT64: np.int64,
    BOOL: np.bool_,
    DOUBLE: np.float64,
}
INTEGERS = (INT32, INT64)

_MODEL = {"ir": 1, "producer": 2, "made_by": 3, "domain": 4, "version": 5, "doc": 6, "graph": 7}
_MODEL |= {"opset": 8, "metadata": 14}
_GRAPH = (1, 2, 5, 10, 11, 12, 13, 16)
_NODE = (1, 2, 3, 4, 5, 6, 7, 9)
_ATTRIBUTE = (1, 2, 3, 4, 5, 7, 8, 13, 20)
_TENSOR = (1, 2, 4, 5, 7, 8, 9, 10, 12, 13, 14, 16)
_EXTERNAL = 14  # data_location: 1 is another file
_RAW = 9
_DATA = {FLOAT: 4, INT32: 5, BOOL: 5, INT64: 7, DOUBLE: 10}  # the fields of data that are not raw


@dataclass(frozen=True)
class Tensor:
    """A constant of the graph. `data` holds the message that its values are read from."""

    name: str
    shape: tuple[int, ...]
    dtype: int
    data: Message

    def ints(self) -> NDArray[np.int64]:
        """Return the values of an integer tensor, flat."""
        if self.dtype not in INTEGERS:
            raise refused(f"must have integers in '{self.name}', got another type")
        if _RAW in self.data.fields:
            raw = np.frombuffer(self.data.bytes(_RAW), TYPES[self.dtype])
            return raw.astype(np.int64)
        return np.array(self.data.ints(_DATA[self.dtype]), np.int64)


@dataclass(frozen=True)
class Node:
    """One operation: attributes hold an int, a list of ints, or a Tensor."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Port:
    """An input or output of the graph; a dimension of None has a name instead of a size."""

    name: str
    dtype: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def read_graph(content: bytes) -> Graph:
    """Return the graph of a file.

    Raises:
        ArtifactError: it is not plain, or no graph at all.
    """
    if content[4:8] == b"ORTM":
        raise refused("must be in ONNX's format, got ONNX Runtime's own")
    model = message(memoryview(content), "model", set(_MODEL.values()))
    for opset in model.messages(_MODEL["opset"], "opset", (1, 2)):
        domain, version = opset.text(1), opset.number(2)
        if domain not in DOMAINS or version not in OPSETS:
            raise refused(
                f"must use ONNX's own operators of version {OPSETS[0]} to {OPSETS[-1]}, got "
                f"version {version} of domain '{domain}'"
            )
    graph = model.message(_MODEL["graph"], "graph", _GRAPH, 3 * MOST_NODES)
    nodes = [node for node in graph.fields.get(1, []) if isinstance(node, memoryview)]
    if len(nodes) > MOST_NODES or sum(map(len, nodes)) > MOST_NODE_BYTES:
        raise refused(f"must have at most {MOST_NODES:,} nodes, got more")
    if len(graph.fields.get(5, [])) > MOST_TENSORS:
        raise refused(f"must have at most {MOST_TENSORS:,} tensors, got more")
    return Graph(
        nodes=tuple(map(_node, graph.messages(1, "node", _NODE))),
        tensors=tuple(map(_tensor, graph.messages(5, "tensor", _TENSOR))),
        inputs=tuple(map(_port, graph.messages(11, "input", (1, 2, 3)))),
        outputs=tuple(map(_port, graph.messages(12, "output", (1, 2, 3)))),
    )


def _node(node: Message) -> Node:
    operator, domain = node.text(4), node.text(7)
    if domain not in DOMAINS:
        raise refused(f"must use ONNX's own operators, got '{operator}' of domain '{domain}'")
    attributes = [_attribute(each) for each in node.messages(5, "node", range(1, 32))]
    inputs, outputs = node.texts(1), node.texts(2)
    return Node(operator, tuple(inputs), tuple(outputs), dict(attributes))


def _attribute(attribute: Message) -> tuple[str, Any]:
    name = attribute.text(1)
    if set(attribute.fields) - set(_ATTRIBUTE):
        raise refused(f"must have no subgraphs, got one in '{name}'")
    if 5 in attribute.fields:
        return name, _tensor(attribute.message(5, "tensor", _TENSOR))
    if 8 in attribute.fields:
        return name, attribute.ints(8)
    if 7 in attribute.fields or 2 in attribute.fields:
        return name, None  # floats decide no shape
    values = attribute.ints(3)
    return name, values[-1] if values else 0


def _tensor(tensor: Message) -> Tensor:
    name, dtype = tensor.text(8), tensor.number(2)
    if 13 in tensor.fields or tensor.number(_EXTERNAL):
        raise refused(f"must hold all of its data, but '{name}' names another file")
    if dtype not in TYPES:
        raise refused(f"must have numbers in '{name}', got type {dtype}")
    shape = tuple(tensor.ints(1))
    size = math.prod(shape)
    width = np.dtype(TYPES[dtype]).itemsize
    raw = tensor.fields.get(_RAW)
    given = tensor.bytes(_RAW).nbytes if raw else _packed(tensor, dtype)
    if min(shape, default=0) < 0 or (size * width != given if raw else size > given):
        raise refused(f"must hold {size:,} numbers in '{name}', got {given:,} bytes")
    return Tensor(name, shape, dtype, tensor)


def _packed(tensor: Message, dtype: int) -> int:
    """Return an upper bound of the numbers in a field that is not raw: each takes a byte."""
    values = tensor.fields.get(_DATA[dtype], [])
    return sum(1 if isinstance(value, int) else len(value) for value in values)


def _port(info: Message) -> Port:
    kind = info.message(2, "type", (1, 6)).message(1, "tensor type", (1, 2))
    dims = kind.message(2, "shape", (1,)).messages(1, "dimension", (1, 2, 3))
    shape = tuple(dim.number(1) if 1 in dim.fields else None for dim in dims)
    return Port(info.text(1), kind.number(1), shape)
