"""A node of a graph that is looked at, and the values that it gets, as shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaewatch.scoring.intake.graph import TYPES, Node, Tensor
from vaewatch.scoring.intake.wire import refused

MOST_AXES = 8
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A value of the graph. work: the multiplications that it takes; at least one a number."""

    shape: Shape
    dtype: int
    tensor: Tensor | None = None
    work: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * int(np.dtype(TYPES[self.dtype]).itemsize)

    def of(self, shape: Sequence[int], dtype: int | None = None) -> Value:
        """Return a value of another shape made from this one."""
        return Value(tuple(shape), self.dtype if dtype is None else dtype)

    def ints(self) -> list[int]:
        """Return the numbers of a constant that decides a shape.

        Raises:
            ArtifactError: the graph computes them, or there are more than a shape can have.
        """
        if self.tensor is None or self.size > 2 * MOST_AXES:
            raise refused("must hold the numbers that decide a shape, but computes one")
        return [int(value) for value in self.tensor.ints()]


@dataclass(frozen=True)
class Call:
    """A node and the values that it gets; those that are left out at the end are not there."""

    node: Node
    inputs: tuple[Value | None, ...]

    def value(self, at: int) -> Value:
        value = self.inputs[at] if at < len(self.inputs) else None
        if value is None:
            raise refused(f"must give '{self.node.operator}' its inputs, but one is not there")
        return value

    def ints(self, at: int) -> list[int] | None:
        """Return an optional constant input."""
        there = at < len(self.inputs) and self.inputs[at] is not None
        return self.value(at).ints() if there else None

    def number(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        return value if isinstance(value, int) else default

    @property
    def given(self) -> list[Value]:
        return [value for value in self.inputs if value is not None]
