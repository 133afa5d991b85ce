"""History <-> bytes: what a process knows of its entities, for a file, a journal or another
process.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict

import msgspec
import numpy as np

from vaewatch.scoring.errors import ScoringError
from vaewatch.scoring.series.history import History, Past
from vaewatch.scoring.series.lasting import KeptEpisode
from vaewatch.scoring.series.window import Window

MOST_MOMENT = 2**58  # microseconds from 1970: beyond any year of four digits


class KeptError(ScoringError):
    """Bytes are no history of an artifact."""


class _Past(msgspec.Struct, array_like=True):
    """One entity: values are float32, unseen ones bits, record after record."""

    entity: str
    last: int
    records: int
    values: bytes
    unseen: bytes


class _Kept(msgspec.Struct, array_like=True):
    key: str
    pasts: list[_Past]
    episodes: dict[str, KeptEpisode] = {}


def history_key(version: str, window: Window) -> str:
    """Return what a history belongs to: features of another artifact mean something else. The
    version changes with all else that a window may hold.
    """
    first = f"size={window.size}, gap={window.gap}, step={window.step}, pace={window.pace}"
    return hashlib.sha256(f"({version!r}, Window({first}))".encode()).hexdigest()[:16]


def pack_history(history: History, key: str) -> bytes:
    """Return all of a history; `key` is that of its artifact."""
    pasts = [_packed(entity, past) for entity, past in history.pasts.items()]
    return msgspec.msgpack.encode(_Kept(key, pasts, history.lasting.kept()))


def _packed(entity: str, past: Past) -> _Past:
    values = np.ascontiguousarray(past.values, np.float32).tobytes()
    unseen = np.packbits(past.unseen).tobytes()
    return _Past(entity, past.last, len(past.values), values, unseen)


def unpack_history(
    content: bytes, key: str, history: History, width: int, columns: int
) -> History:
    """Fill an empty history with what was packed, of records with `width` numbers and `columns`
    columns.

    Raises:
        KeptError: the bytes are no history, or that of another artifact.
    """
    try:
        kept = msgspec.msgpack.decode(content, type=_Kept)
        if kept.key != key:
            raise KeptError("a history must be that of the artifact, got another one's")
        pasts = [(p.entity, _past(p, history.window, width, columns)) for p in kept.pasts]
        for each in kept.episodes.values():
            _checked(each)
    except (msgspec.MsgspecError, ValueError) as error:
        raise KeptError(f"a history must be as this release writes it: {error}") from error
    most = len(pasts) if history.most is None else history.most
    found = History(history.window, history.most, OrderedDict(pasts[-most:] if most else []))
    found.lasting.keep(kept.episodes)
    return found


def unpack_episode(content: bytes) -> KeptEpisode:
    """Return the alarms of one entity.

    Raises:
        KeptError: the bytes are none.
    """
    try:
        return _checked(msgspec.msgpack.decode(content, type=KeptEpisode))
    except (msgspec.MsgspecError, ValueError) as error:
        raise KeptError(f"alarms must be as this release writes them: {error}") from error


def _checked(kept: KeptEpisode) -> KeptEpisode:
    times = [kept.first, *kept.moments]
    if len(kept.moments) != len(kept.scores) or not kept.moments:
        raise ValueError("got alarms without moments or scores")
    if max(map(abs, times)) > MOST_MOMENT or not all(map(math.isfinite, kept.scores)):
        raise ValueError("got alarms that no records have")
    return kept


def _past(kept: _Past, window: Window, width: int, columns: int) -> Past:
    n = kept.records
    if not 0 <= n < window.size:
        raise ValueError(f"got {n} records for a window of {window.size}")
    if abs(kept.last) > MOST_MOMENT or len(kept.unseen) != -(-n * columns // 8):
        raise ValueError("got a moment or marks that no records have")
    values = np.frombuffer(kept.values, np.float32).reshape(n, width)
    bits = np.unpackbits(np.frombuffer(kept.unseen, np.uint8), count=n * columns)
    if not np.isfinite(values).all():
        raise ValueError("got numbers that are not finite")
    return Past(kept.last, values.copy(), bits.astype(bool).reshape(n, columns))
