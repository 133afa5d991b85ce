"""A load that hangs holds up neither the service nor its end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from vaewatch.scoring.errors import ArtifactError
from vaewatch.service.model.loading import MOST_HUNG, Loading


def test_a_load_that_hangs_is_reported_and_left_behind():
    never = threading.Event()

    async def scenario() -> None:
        loading = Loading(lambda: False, seconds=0.05)
        for _ in range(MOST_HUNG):
            with pytest.raises(ArtifactError, match="'it' must load within 0.05 seconds"):
                await loading.run("it", never.wait)
        with pytest.raises(ArtifactError, match="3 loads before it have not ended"):
            await loading.run("it", lambda: 1)

    asyncio.run(scenario())
    never.set()


def test_a_service_that_stops_waits_for_no_load():
    never, stopping = threading.Event(), threading.Event()

    async def scenario() -> None:
        loading = Loading(stopping.is_set)
        asyncio.get_running_loop().call_later(0.05, stopping.set)
        with pytest.raises(ArtifactError, match="the service is stopping"):
            await loading.run("it", never.wait)

    asyncio.run(scenario())
    never.set()


def test_a_load_gives_its_result_or_its_own_error():
    def bad() -> None:
        raise ArtifactError("it is damaged.")

    async def scenario() -> None:
        loading = Loading(lambda: False)
        assert await loading.run("it", lambda: 7) == 7
        with pytest.raises(ArtifactError, match="it is damaged"):
            await loading.run("it", bad)

    asyncio.run(scenario())
