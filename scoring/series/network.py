"""records of windows -> the parts of their scores: the exported graph, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.intake.check import check_window_graph
from vaewatch.scoring.network import Floats, Forward, Session
from vaewatch.scoring.series.history import Run, tiles

INPUT = "records"
PARTS = ("reconstruction", "kl", "neighbour")
EXPECTED = "expected"
OUTPUTS = (*PARTS, EXPECTED)


@dataclass(frozen=True, kw_only=True)
class WindowForward(Forward):
    """The outputs of the network for N windows.

    Attributes:
        expected: (N, Q) places along the directions that the VAE expects.
    """

    expected: Floats


class WindowNetwork:
    """The forward pass of an artifact of windows. Threads may share it.

    Args:
        graph: the bytes of network.onnx.
        size: W, the records of a window.
        threads: threads of one pass.

    Raises:
        ArtifactError: it is no graph of a network, or not one to be run.
    """

    def __init__(self, graph: bytes, size: int, threads: int = 1) -> None:
        self.size = size
        self.sizes = check_window_graph(graph, INPUT, OUTPUTS, size)
        self._session = Session(graph, threads)

    def forward(self, runs: Sequence[Run]) -> tuple[NDArray[np.int64], WindowForward]:
        """Return the rows of n records with full windows, and what the graph gives for each."""
        rows, found = [], []
        for some, records in tiles(runs, self.size):
            rows.append(some)
            found.append(self._session.run(OUTPUTS, {INPUT: records}))
        if not rows:
            none = np.empty(0, np.float32)
            places = np.empty((0, self.sizes.directions), np.float32)
            return np.empty(0, np.int64), WindowForward(none, none, none, expected=places)
        *parts, places = (np.concatenate(each) for each in zip(*found, strict=True))
        return np.concatenate(rows), WindowForward(*parts, expected=places)

    def alone(self, windows: NDArray[np.float32]) -> WindowForward:
        """(N, W, D) windows that share no records -> what the graph gives for each."""
        *parts, places = self._session.run(OUTPUTS, {INPUT: windows})
        return WindowForward(*parts, expected=places)
