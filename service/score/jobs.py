"""A request's rows, and whom their results go to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from vaewatch.scoring.structs import Structs
from vaewatch.service.model.model import Model
from vaewatch.service.score.answers import Result
from vaewatch.service.watch.place import Place, text_of_id

Outcome = list[Result] | Exception
Settle = Callable[[Outcome], None]  # must not raise
LONGEST_ID = 80  # characters of a record's id that an alarm carries


class Job(NamedTuple):
    """The rows of one request. `request`: its id."""

    request: str
    rows: Structs
    settle: Settle


Jobs = list[Job]


def settle(future: asyncio.Future[list[Result]], outcome: Outcome) -> None:
    """Give a future its results or the error."""
    if future.done():  # its client may have gone
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def place_in(model: Model, jobs: Jobs, row: int) -> Place:
    """Return the place of a row of the batch that these jobs make."""
    for job in jobs:
        if row < len(job.rows):
            break
        row -= len(job.rows)
    ids = model.reader.ids(job.rows[row : row + 1])
    own = next(iter(ids), None) if ids is not None else None
    return Place(job.request, row, len(job.rows), text_of_id(own, LONGEST_ID))
