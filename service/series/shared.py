"""Histories in a Redis or Valkey, which any number of workers and replicas share.

One round trip a batch: see `vaewatch.service.series.script`. Redis holds the features of at most W
- 1 records of an entity, of at most so many entities, for at most so long after its last record.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from vaewatch.scoring.series.history import NEVER, Arrivals, Past, Taken
from vaewatch.scoring.series.kept import KeptError, unpack_episode
from vaewatch.scoring.series.lasting import KeptEpisode
from vaewatch.scoring.series.window import ONE, Window
from vaewatch.scoring.table import Table
from vaewatch.service.model.errors import HistoryAway
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.series.histories import (
    Answered,
    Judging,
    Ledger,
    Seen,
    judged,
    latest_of,
    window_of,
)
from vaewatch.service.series.script import (
    DIGITS,
    FORGET,
    TAKE,
    moment_of_text,
    text_of_moment,
)

log = logging.getLogger("vaewatch.service")

SECONDS = 1.0  # to connect, and to answer
ENTITIES = 64  # of one script: Redis answers nobody else meanwhile
HEAD = 2 * DIGITS  # bytes of a stored record before its features


@dataclass
class Shared:
    """The histories of at most `most` entities.

    warm_up: while Redis is away, records are judged with those of their batch alone; otherwise
        they are refused.
    ahead: seconds that a record's time may be ahead of the clock; None: any.
    """

    registry: Registry
    url: str
    most: int
    ttl: int
    warm_up: bool
    ahead: float | None = None
    waits: bool = field(default=True, init=False)
    away: bool = field(default=False, init=False)
    _held: int = 0
    _missed: dict[tuple[str, str], None] = field(default_factory=dict)  # keys of set and list
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _client: Any = None

    def __post_init__(self) -> None:
        self._client = redis.Redis.from_url(
            self.url,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),  # a script may have run although its answer is lost
        )

    @property
    def _wanted(self) -> bool:
        """Whether the artifact that answers has a window."""
        model = self.registry.model
        return model is not None and model.window is not None

    def answer(
        self, model: Model, options: Judging, table: Table, sizes: Sequence[int]
    ) -> Answered:
        ledger = _Remote(
            window_of(model),
            None,
            OrderedDict(),
            latest=latest_of(self.ahead),
            shared=self,
            model=model,
        )
        verdicts, _ = judged(model, options, table, ledger)
        self._note_alarms(model, ledger)
        return Answered(table, verdicts, Seen(self._held, ledger.gaps, ledger.evicted))

    def probe(self) -> None:
        """Look whether Redis is there and takes what is written."""
        try:
            self._client.set("vaewatch:probe", b"", ex=60)
        except (RedisError, OSError) as error:
            self._lose(error)
        else:
            self._find()

    def take(self, model: Model, come: dict[str, list[bytes | str]]) -> tuple[list[Any], int]:
        """Take records in; returns the stored records before them of each entity, with its
        alarms, and how many entities were evicted.

        Raises:
            HistoryAway: Redis is not there, is too slow, or full.
        """
        if self.away:
            raise HistoryAway(AWAY)
        prefix, pasts, evicted = prefix_of(model), list[Any](), 0
        pipe: Any = self._client.pipeline(transaction=False)
        missed = self._forget_missed(pipe)
        kept, parts = window_of(model).size - 1, list(_parts(come, ENTITIES))
        for i, some in enumerate(parts, 1):
            fixed = kept, self.ttl, self.most if i == len(parts) else -1
            keys = [f"{prefix}:newest", *(f"{prefix}:of:{entity}" for entity in some)]
            records = [each for entity in some for each in come[entity]]
            pipe.eval(TAKE, len(keys), *keys, *fixed, *records)
        try:
            answers = pipe.execute()
        except (RedisError, OSError) as error:
            self._lose(error)
            raise HistoryAway(AWAY) from error
        self._missed.clear()
        for gone, self._held, found in answers[missed:]:
            evicted += gone
            pasts += found
        return pasts, evicted

    def _note_alarms(self, model: Model, ledger: _Remote) -> None:
        """Keep the alarms of a batch: only these take a second round trip. Of two workers that
        judge one entity at a time, the last one's stand.
        """
        come = ledger.alarmed()
        if not come or self.away:
            return
        pipe: Any = self._client.pipeline(transaction=False)
        for entity, kept in come.items():
            content = msgspec.msgpack.encode(kept)
            pipe.set(f"{prefix_of(model)}:alarms:{entity}", content, ex=self.ttl)
        try:
            pipe.execute()
        except (RedisError, OSError) as error:
            self._lose(error)

    def miss(self, model: Model, entities: Sequence[str]) -> None:
        """Note whose records Redis lacks where they were answered without it: what it holds of
        them must be forgotten, or a window would pass over the records between.
        """
        prefix = prefix_of(model)
        if len(self._missed) <= self.most:
            names = [f"{prefix}:of:{entity}" for entity in entities]
            self._missed |= dict.fromkeys((f"{prefix}:newest", name) for name in names)

    def _forget_missed(self, pipe: Any) -> int:
        """Forget the histories that lack records; returns the number of commands."""
        if not self._missed:
            return 0
        if len(self._missed) > self.most:
            sets = {newest for newest, _ in self._missed}
            for newest in sets:
                pipe.eval(FORGET, 1, newest)
            return len(sets)
        pipe.delete(*(key for _, key in self._missed))
        return 1

    def _lose(self, error: Exception) -> None:
        with self._lock:
            self.registry.away = not self.warm_up and self._wanted
            if not self.away:
                self.away = True
                log.error("the histories are away, Redis fails: %s", _words(error))

    def _find(self) -> None:
        with self._lock:
            if self.away:
                self.away = self.registry.away = False
                log.warning("the histories are back")

    def close(self) -> None:
        self._client.close()


def prefix_of(model: Model) -> str:
    """Return how the keys of a model's histories begin; in a cluster they lie together."""
    return f"vaewatch:{{{model.history_key}}}"


AWAY = "the histories of entities are away: Redis does not answer, or is full. Try again."


def _words(error: Exception) -> str:
    """Say what failed, without an address, which may hold a password."""
    text = str(error)
    return "it is full" if text.startswith("OOM") else type(error).__name__


def _parts(entities: dict[str, Any], size: int) -> Iterator[list[str]]:
    names = iter(entities)
    while some := list(islice(names, size)):
        yield some


@dataclass
class _Remote(Ledger):
    """The histories of one batch, fetched when its records are added."""

    shared: Shared = field(kw_only=True)
    model: Model = field(kw_only=True)
    known: dict[str, KeptEpisode] = field(default_factory=dict)  # alarms before the batch

    def take_in(self, arrivals: Arrivals) -> Taken:
        come = _stored(arrivals)
        try:
            pasts, evicted = self.shared.take(self.model, come)
        except HistoryAway:
            if not self.shared.warm_up:
                raise
            self.shared.miss(self.model, list(come))
        else:
            self.evicted += evicted
            width = arrivals.values.shape[1], arrivals.unseen.shape[1]
            for entity, (records, alarms) in zip(come, pasts, strict=True):
                past = past_of(records, self.window, *width)
                if past is not None:
                    self.pasts[entity] = past
                if episode := episode_of(alarms):
                    self.known[entity] = episode
            self.lasting.keep(self.known)
        return super().take_in(arrivals)

    def alarmed(self) -> dict[str, KeptEpisode]:
        """Return the alarms of the entities that alarmed in the batch."""
        kept = self.lasting.kept()
        return {name: each for name, each in kept.items() if each != self.known.get(name)}


def _stored(arrivals: Arrivals) -> dict[str, list[bytes | str]]:
    """Return for each entity how many records come, and the moment and features of each; the
    entity seen last comes last.
    """
    values = np.ascontiguousarray(arrivals.values, np.float32)
    unseen = np.packbits(arrivals.unseen, axis=1)
    come: dict[str, list[bytes | str]] = {}
    for row, moment in enumerate(arrivals.moments.tolist()):
        entity = ONE if arrivals.entities is None else arrivals.entities[row]
        content = values[row].tobytes() + unseen[row].tobytes()
        come[entity] = come.pop(entity, [])
        come[entity] += text_of_moment(moment), content
    return {entity: [str(len(found) // 2), *found] for entity, found in come.items()}


def past_of(records: list[bytes], window: Window, width: int, columns: int) -> Past | None:
    """Return an entity's history from its stored records, oldest first; None if there are none,
    or if they are not as this release stores them.
    """
    try:
        return _past_of(records, window, width, columns) if records else None
    except ValueError:
        log.error("a history in Redis is not as this release writes it; its entity warms up")
        return None


def episode_of(content: bytes | None) -> KeptEpisode | None:
    """Return an entity's stored alarms; None if there are none, or not as this release stores
    them.
    """
    try:
        return None if content is None else unpack_episode(content)
    except KeptError:
        log.error("the alarms of an entity in Redis are not as this release writes them")
        return None


def _past_of(records: list[bytes], window: Window, width: int, columns: int) -> Past:
    size = HEAD + 4 * width + (columns + 7) // 8
    if any(len(record) != size for record in records):
        raise ValueError("a record has another length")
    moments = np.array([_moment(record[DIGITS:HEAD]) for record in records], np.int64)
    before = np.array([_moment(record[:DIGITS]) for record in records], np.int64)
    since = np.where(before == NEVER, 0, moments - np.where(before == NEVER, 0, before))
    anew = (before == NEVER) | (since > window.gap)
    content = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), size)
    values = content[:, HEAD : HEAD + 4 * width].copy().view(np.float32)
    unseen = np.unpackbits(content[:, HEAD + 4 * width :], axis=1, count=columns).astype(bool)
    if not np.isfinite(values).all() or (np.diff(moments) <= 0).any():
        raise ValueError("records are not finite, or not in order")
    if window.pace is not None:
        pace = window.pace.feature(since, window.step)
        pace[anew] = 0.0
        values = np.column_stack([values, pace])
    starts = np.flatnonzero(anew)
    first = int(starts[-1]) if len(starts) else 0
    return Past(int(moments[-1]), values[first:], unseen[first:])


def _moment(text: bytes) -> int:
    found = moment_of_text(text)
    return NEVER if found is None else found
