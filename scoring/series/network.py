"""records of windows -> the parts of their scores: the exported graph, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.intake.check import check_window_graph
from vaewatch.scoring.network import Floats, Forward, Session
from vaewatch.scoring.series.history import Run, tiles

INPUT = "records"
PARTS = ("reconstruction", "kl", "neighbour")
EXPECTED = "expected"
OUTPUTS = (*PARTS, EXPECTED)


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

    def forward(self, runs: Sequence[Run]) -> tuple[NDArray[np.int64], Forward]:
        """Return the rows of n records with full windows, and the parts of their scores, (n,)."""
        rows, parts = [], []
        for some, records in tiles(runs, self.size):
            rows.append(some)
            parts.append(self._session.run(PARTS, {INPUT: records}))
        if not rows:
            none = np.empty(0, np.float32)
            return np.empty(0, np.int64), Forward(none, none, none)
        whole = (np.concatenate(each) for each in zip(*parts, strict=True))
        return np.concatenate(rows), Forward(*whole)

    def expected(self, windows: NDArray[np.float32]) -> Floats:
        """(N, W, D) windows -> (N, Q): the places along the directions that the VAE expects."""
        return self._session.run((EXPECTED,), {INPUT: windows})[0]
