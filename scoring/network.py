"""features -> the parts of the score: the exported graph, run by ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.check import check_graph
from vaewatch.scoring.intake.text import one_line

Floats = NDArray[np.floating[Any]]

INPUT = "features"
TILE = 512  # records a run, so that activations stay in the cache


@dataclass(frozen=True)
class Forward:
    """The outputs of the network for N records with D features.

    Attributes:
        reconstruction, kl: (N,) nats.
        neighbour: (N,) distance to the nearest of the kept fit records.
        whitened: (N, S, D), see `Network.whitened`; None for more than a TILE, where few records
            need it and all of it would fill the memory.
    """

    reconstruction: Floats
    kl: Floats
    neighbour: Floats
    whitened: Floats | None = None


OUTPUTS = tuple(field.name for field in fields(Forward))
*PARTS, WHITENED = OUTPUTS


def silent_runtime() -> Any:
    """Import ONNX Runtime with its telemetry off.

    From 1.29 on it writes a device id to the home folder and reports each model that it loads,
    unless this variable is set before it is imported.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class Session:
    """A graph that ONNX Runtime runs. Threads may share it.

    Raises:
        ArtifactError: ONNX Runtime does not load it.
    """

    def __init__(self, graph: bytes, threads: int) -> None:
        onnxruntime = silent_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors are raised, too
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has no base class of its own
            raise ArtifactError(
                f"network.onnx must be a graph that ONNX Runtime loads: {one_line(error)}"
            ) from error

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Floats]:
        """Return these outputs for the inputs.

        Raises:
            ArtifactError: the graph does not run on them.
        """
        try:
            return list(self._session.run(outputs, inputs))
        except Exception as error:
            if "alloc" in str(error):  # the machine's memory is at fault
                raise
            raise ArtifactError(
                f"network.onnx must run on any records, but does not: {one_line(error)}"
            ) from error


class Network:
    """The forward pass of an artifact. Threads may share it.

    Args:
        graph: the bytes of network.onnx.
        threads: threads of one pass.

    Raises:
        ArtifactError: it is no graph of a network, or not one to be run.
    """

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        self.sizes = check_graph(graph, INPUT, OUTPUTS)
        self._session = Session(graph, threads)

    def forward(self, features: NDArray[np.float32]) -> Forward:
        """Return the parts of the scores of features, (N, D)."""
        if len(features) > TILE:
            return Forward(*self._run(PARTS, features))
        return Forward(*self._run(OUTPUTS, features))

    def whitened(self, features: NDArray[np.float32]) -> Floats:
        """Return the whitened residuals of S members for features, (N, D) -> (N, S, D).

        See `vaewatch.scoring.precision`. `reconstruction` is the members' mean of half their
        squared length, where no residual was cut (`vaewatch.training.calibration.rules`) and no
        column is odd by itself (`vaewatch.training.odd.columns`).
        """
        return self._run((WHITENED,), features)[0]

    def _run(self, outputs: Sequence[str], features: NDArray[np.float32]) -> list[Floats]:
        """Run the graph, a TILE at a time."""
        n = len(features)
        if n > TILE:
            tiles = [self._run(outputs, features[i : i + TILE]) for i in range(0, n, TILE)]
            return [np.concatenate(parts) for parts in zip(*tiles, strict=True)]
        if not n:  # ONNX Runtime's reductions refuse an empty batch
            one = np.zeros((1, features.shape[1]), np.float32)
            return [out[:0] for out in self._run(outputs, one)]
        return self._session.run(outputs, {INPUT: features})
