"""An S3 on loopback: moto's server, which programs reach by the same variables as a real one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest


@contextmanager
def object_store(environment: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket, named after its server's port."""
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
    }.items():
        environment.setenv(name, value)
    try:
        urlopen(Request(f"http://{host}:{port}/bucket-{port}", method="PUT")).close()
        yield f"s3://bucket-{port}"
    finally:
        server.stop()
