"""TLS with a real certificate, made for the test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import polars as pl
import pytest

from tests.conftest import run
from tests.live import serving


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    words += f" -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}"
    subprocess.run(words.split(), check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize("workers", ["1", "2"])
def test_https_is_spoken_and_http_is_not(
    artifact_path: Path, mixed_frame: pl.DataFrame, pem: tuple[Path, Path], workers: str
):
    cert, key = pem
    trust = ssl.create_default_context(cafile=str(cert))
    options = ("--tls-cert", str(cert), "--tls-key", str(key), "--workers", workers)
    with serving(artifact_path, *options, trust=trust) as live:
        assert live.url.startswith("https://127.0.0.1:")
        records = mixed_frame.drop("order").head(5).to_dicts()
        answer = live.post("/v1/score", json={"records": records})
        assert (answer.status_code, len(answer.json()["results"])) == (200, 5)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(live.url + "/livez")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(live.url.replace("https", "http") + "/livez")
        assert live.stop() == 0


def test_a_certificate_that_cannot_be_used_is_refused_at_the_start(
    artifact_path: Path, pem: tuple[Path, Path]
):
    cert, _ = pem
    done = run("serve", artifact_path, "--port", "0", "--tls-cert", cert, "--tls-key", cert)
    assert done.returncode == 2
    assert "--tls-cert and --tls-key must be" in done.stderr
    done = run("serve", artifact_path, "--port", "0", "--tls-key", cert)
    assert done.returncode == 2
    assert "--tls-cert must be given with --tls-key" in done.stderr
