"""Object stores on loopback, which programs reach by the same variables as the real ones.

Amazon's S3 is moto's server. Google's XML API has S3's wire format, so the same server speaks to
Google's client: of the emulators of Google's store none has all of that API. Azure's blobs are
Azurite, which `.ci/run` installs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

AZURITE = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "devstoreaccount1"  # Azurite's own, with the key that its documentation gives
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API = "2021-08-06"

needs_azurite = pytest.mark.skipif(
    not AZURITE.exists() or shutil.which("node") is None,
    reason=f"npm install --prefix {AZURITE.parents[2]} azurite",
)
KINDS = ("s3", "gs", pytest.param("abfs", marks=needs_azurite))


@contextmanager
def object_store(environment: pytest.MonkeyPatch, kind: str = "s3") -> Iterator[str]:
    """The URL of an empty bucket, named after its server's port (moto decodes no %2D)."""
    with azure(environment) if kind == "abfs" else amazon_and_google(environment) as bucket:
        yield f"{kind}://{bucket}"


@contextmanager
def amazon_and_google(environment: pytest.MonkeyPatch) -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "GOOGLE_BASE_URL": f"http://{host}:{port}",
        "GOOGLE_ALLOW_HTTP": "true",
        "GOOGLE_BEARER_TOKEN": "test",
    }.items():
        environment.setenv(name, value)
    try:
        urlopen(Request(f"http://{host}:{port}/bucket{port}", method="PUT")).close()
        yield f"bucket{port}"
    finally:
        server.stop()


@contextmanager
def azure(environment: pytest.MonkeyPatch) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["node", str(AZURITE), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    words += ["--inMemoryPersistence", "--disableTelemetry", "--silent"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("successfully listens" in line for line in server.stdout)
            for name, value in {
                "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
                "AZURE_ALLOW_HTTP": "true",
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            }.items():
                environment.setenv(name, value)
            make_container(port, f"bucket{port}")
            yield f"bucket{port}"
        finally:
            server.terminate()


def make_container(port: int, name: str) -> None:
    """With a signature in the URL, which is the shortest of Azure's ways to sign."""
    fields = {"sp": "c", "ss": "b", "srt": "c", "st": "", "se": "2099-01-01T00:00:00Z"}
    signed = "\n".join([ACCOUNT, *fields.values(), "", "", API, "", ""])
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    query = {**fields, "sv": API, "sig": base64.b64encode(digest).decode()}
    given = urlencode({k: v for k, v in query.items() if v} | {"restype": "container"})
    headers = {"content-length": "0", "x-ms-version": API}
    url = f"http://127.0.0.1:{port}/{ACCOUNT}/{name}?{given}"
    urlopen(Request(url, method="PUT", headers=headers)).close()
