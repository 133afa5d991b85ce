"""What lives for long is not looked at again, and goes all the same when its time is over."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.garbage import YOUNG, settle
from service.lifecycle import Lifecycle
from service.settings import Settings
from service.state import Service


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    before = gc.get_threshold()
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
    assert of_gone() is None and of_kept() is kept


def test_a_service_settles_and_lets_go_of_a_model_that_it_replaced(
    artifact_path: Path, tmp_path: Path
):
    shadow = tmp_path / "shadow"
    shutil.copytree(artifact_path, shadow)

    async def live() -> None:
        service = Service.of(Settings(artifact_path, shadow=shadow))
        lifecycle = Lifecycle(service)
        lifecycle.start()
        lifecycle.listen()
        await asyncio.sleep(0)  # its tasks begin
        frozen, replaced = gc.get_freeze_count(), weakref.ref(service.registry.active)
        reader = weakref.ref(service.registry.active.reader)
        assert frozen > 10_000
        await lifecycle.promote()
        assert replaced() is None and reader() is None
        assert gc.get_freeze_count() > 10_000
        lifecycle.stop()
        service.engine.close()

    asyncio.run(live())
