"""The file of histories beside a service that ends while it is written."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

from tests.pumps import Records
from vaewatch.service.model.model import load_model
from vaewatch.service.model.registry import Registry
from vaewatch.service.score.jobs import Job, Outcome
from vaewatch.service.score.lane import Lane
from vaewatch.service.score.options import Options
from vaewatch.service.series.file import EVERY_SECONDS, HistoryFile
from vaewatch.service.series.memory import Memory
from vaewatch.service.settings import Settings


def test_a_copy_that_is_written_late_does_not_replace_the_last_one(
    series_path: Path, records: Records, tmp_path: Path
):
    """At the end of a service one may still be under way in a thread."""
    model = load_model(series_path, Settings(series_path))

    async def judged(lane: Lane, some: Records) -> None:
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        read = model.reader.rows(json.dumps({"records": some}).encode())
        assert read is not None
        lane.submit(model, Options(), Job("r", read, done.set_result))
        await done

    async def end_meanwhile() -> None:
        memory = Memory(Registry(model.path, model), 100)
        lane = Lane(memory, lambda *batch: None)
        file = HistoryFile(tmp_path / "histories", memory, time.monotonic() - EVERY_SECONDS)
        await judged(lane, records[:1])

        async def between(look: Callable[[], None]) -> None:
            await lane.between(look)
            await judged(lane, records[1:])
            file.save()

        await file.save_in_time(between)
        lane.close()
        again = Memory(Registry(model.path, model), 100)
        HistoryFile(file.path, again).read(model)
        assert (memory.held, again.held) == (3, 3)

    asyncio.run(end_meanwhile())
