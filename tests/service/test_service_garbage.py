"""What lives for long is not looked at again, and goes all the same when its time is over."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_frame
from vaewatch.service.app import Application
from vaewatch.service.http.server import server_of
from vaewatch.service.model.garbage import YOUNG, settle, settle_again
from vaewatch.service.parts import Service
from vaewatch.service.settings import Settings


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.unfreeze()  # what the run of the tests has set aside
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Knot:
    """Only the collector can free it: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_settled_is_left_alone_until_it_settles_again():
    kept, gone = Knot(), Knot()
    of_kept, of_gone = weakref.ref(kept), weakref.ref(gone)
    settle()
    del gone
    gc.collect()
    assert gc.get_freeze_count() > 1000 and gc.get_threshold()[0] == YOUNG
    assert of_gone() is not None
    settle()
    assert of_gone() is not None
    settle_again()
    assert of_gone() is None and of_kept() is kept


def test_a_service_settles_and_lets_go_of_a_model_that_it_replaced(
    artifact_path: Path, tmp_path: Path
):
    shadow = tmp_path / "shadow"
    shutil.copytree(artifact_path, shadow)

    async def live() -> None:
        service = Service.of(Settings(artifact_path, shadow=shadow))
        lifecycle = service.lifecycle
        lifecycle.start()
        lifecycle.listen()
        await asyncio.sleep(0)  # its tasks begin
        frozen, replaced = gc.get_freeze_count(), weakref.ref(service.registry.active)
        reader = weakref.ref(service.registry.active.reader)
        assert frozen > 10_000
        await lifecycle.promote()
        assert replaced() is None and reader() is None
        assert gc.get_freeze_count() > 10_000
        service.close()

    asyncio.run(live())


async def ask(port: int, request: bytes, times: int) -> None:
    """The same request over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(times):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()


def test_requests_leave_nothing_for_the_collector(artifact_path: Path):
    records = make_frame(2).drop("order").to_dicts()
    body = json.dumps({"records": records}, default=str).encode()
    head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def left_by(times: int) -> int:
        settings = Settings(artifact_path, access_log=False)
        application = Application.of(settings)
        server = server_of(application.edge, application.asgi, settings)
        server.config.load()
        protocol: Any = server.config.http_protocol_class
        listening = await asyncio.get_running_loop().create_server(
            lambda: protocol(server.config, server.server_state, {}), "127.0.0.1", 0
        )
        port = listening.sockets[0].getsockname()[1]
        await ask(port, head + body, 10)  # what is made once is made
        gc.collect()
        gc.disable()
        try:
            await ask(port, head + body, times)
            return gc.collect()
        finally:
            gc.enable()
            listening.close()

    assert asyncio.run(left_by(200)) < 200
