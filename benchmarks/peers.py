"""artifact's graph -> the same graph behind MLServer, LitServe and BentoML, each in an environment
of its own: bare tensors in, the parts of scores out, no names, no verdicts, no reasons.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MLSERVER = """
import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Graph(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession("network.onnx", options)
        return True

    async def predict(self, payload):
        features = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        parts = self.session.run(["reconstruction", "kl", "neighbour"], {"features": features})
        names = ("reconstruction", "kl", "neighbour")
        outputs = [NumpyCodec.encode_output(n, p) for n, p in zip(names, parts)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""
LITSERVE = """
import sys
import litserve
import numpy as np
import onnxruntime


class Graph(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession("network.onnx", options)

    def decode_request(self, request):
        return np.array(request["features"], np.float32)

    def predict(self, features):
        return self.session.run(["reconstruction", "kl", "neighbour"], {"features": features})

    def encode_response(self, parts):
        names = ("reconstruction", "kl", "neighbour")
        return {n: p.tolist() for n, p in zip(names, parts)}


if __name__ == "__main__":
    server = litserve.LitServer(Graph(), accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1,
               generate_client_file=False, log_level="warning")
"""
BENTOML = """
import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, metrics={"enabled": False}, traffic={"timeout": 60})
class Graph:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession("network.onnx", options)

    @bentoml.api
    def score(self, features: list[list[float]]) -> dict[str, list[float]]:
        asked = {"features": np.array(features, np.float32)}
        parts = self.session.run(["reconstruction", "kl", "neighbour"], asked)
        names = ("reconstruction", "kl", "neighbour")
        return {n: p.tolist() for n, p in zip(names, parts)}
"""

Body = Callable[[NDArray[np.float32]], str]


@dataclass(frozen=True)
class Peer:
    """A peer's server: what is installed, which files it reads, how it starts, what it is
    asked.
    """

    name: str
    package: str
    files: Callable[[int], dict[str, str]]  # port -> name: text
    words: Callable[[Path, int], list[str]]  # the environment's programs, port
    path: str
    body: Body

    def prepare(self, folder: Path, programs: Path, port: int) -> list[str]:
        """Write its files and return the command that starts it there."""
        for name, text in self.files(port).items():
            (folder / name).write_text(text)
        return self.words(programs, port)


def _tensor(features: NDArray[np.float32]) -> str:
    data = features.ravel().tolist()
    tensor = {"name": "x", "shape": list(features.shape), "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]})


def _lists(features: NDArray[np.float32]) -> str:
    return json.dumps({"features": features.tolist()})


def _mlserver_files(port: int) -> dict[str, str]:
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {"name": "graph", "implementation": "peer_mlserver.Graph"}
    return {
        "peer_mlserver.py": MLSERVER,
        "settings.json": json.dumps(settings),
        "model-settings.json": json.dumps(model),
    }


PEERS = (
    Peer(
        "MLServer",
        "mlserver",
        _mlserver_files,
        lambda programs, port: [str(programs / "mlserver"), "start", "."],
        "/v2/models/graph/infer",
        _tensor,
    ),
    Peer(
        "LitServe",
        "litserve",
        lambda port: {"peer_litserve.py": LITSERVE},
        lambda programs, port: [str(programs / "python"), "peer_litserve.py", str(port)],
        "/predict",
        _lists,
    ),
    Peer(
        "BentoML",
        "bentoml",
        lambda port: {"peer_bentoml.py": BENTOML},
        lambda programs, port: [
            str(programs / "bentoml"),
            *("serve", "peer_bentoml:Graph", "--host", "127.0.0.1", "--port", str(port)),
        ],
        "/score",
        _lists,
    ),
)


def install(peer: Peer, folder: Path) -> Path:
    """Make the peer's own environment, or reuse it, and return its programs."""
    home = folder / peer.package
    programs, done = home / "bin", home / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, peer.package, "onnxruntime", "numpy"], check=True)
        done.touch()
    return programs


def version_of(programs: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version('{package}'))"
    done = subprocess.run(
        [str(programs / "python"), "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
