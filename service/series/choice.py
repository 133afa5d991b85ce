"""settings -> the histories that records are judged with."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from vaewatch.scoring.errors import SettingError
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.series.histories import Histories, Stateless
from vaewatch.service.series.memory import Memory, most_bytes
from vaewatch.service.settings import MEMORY, REDIS, STATELESS, Settings


def check_history(settings: Settings) -> None:
    """Refuse settings of histories that cannot be meant, before anything listens.

    Raises:
        SettingError: they are such.
    """
    mode = settings.history_mode
    if mode not in (MEMORY, STATELESS, REDIS):
        raise SettingError(
            "--history must be memory, stateless or redis://HOST, got another text."
        )
    if mode == MEMORY and settings.workers > 1:
        raise SettingError(
            f"--history memory must have one worker, got {settings.workers}: each would know only "
            "the records that it got. Use --history redis://HOST, or stateless."
        )
    if mode != MEMORY and settings.history_file is not None:
        raise SettingError("--history-file must go with --history memory, and with one worker.")
    if mode == REDIS and find_spec("redis") is None:
        raise SettingError(
            "--history redis://HOST takes the [redis] extra: pip install 'vaewatch[redis]'."
        )
    if mode == STATELESS and settings.history_ahead is not None:
        raise SettingError(
            "--history-ahead must go with --history memory or redis://HOST: without memory a "
            "record from the future touches no other request."
        )
    if mode == REDIS:
        _check_url(settings)


def _check_url(settings: Settings) -> None:
    """Refuse an address that is none; it stays out of the text, since it may hold a password."""
    import redis

    try:
        redis.Redis.from_url(settings.history or "").close()
    except (ValueError, TypeError) as error:
        raise SettingError("--history must be redis://HOST[:PORT][/NUMBER].") from error


def histories_of(settings: Settings, registry: Registry) -> Histories:
    """Make the histories of one process."""
    mode = settings.history_mode
    if mode == MEMORY:
        return Memory(registry, settings.max_entities, settings.history_ahead)
    if mode == STATELESS:
        return Stateless()
    from vaewatch.service.series.shared import Shared  # the extra [redis]

    return Shared(
        registry,
        settings.history or "",
        settings.max_entities,
        settings.history_ttl,
        settings.history_away == "warm-up",
        settings.history_ahead,
    )


def described(settings: Settings, model: Model) -> dict[str, Any]:
    """Return what GET /v1/model says of histories; `bytes` are the most that they may take."""
    mode = settings.history_mode
    if mode == STATELESS:
        return {"kept": mode}
    most = settings.max_entities
    return {"kept": mode, "max_entities": most, "bytes": most_bytes(model, most)}
