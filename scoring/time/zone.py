"""A zone's name -> its rules, from the IANA database of the machine."""

from __future__ import annotations

import logging
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from vaewatch.scoring.errors import SettingError

log = logging.getLogger("vaewatch.scoring")

UTC_NAMES = ("UTC", "Etc/UTC", "Z", "GMT")


@lru_cache(maxsize=16)
def zone_named(name: str) -> ZoneInfo:
    """Return a zone of the IANA database.

    Raises:
        SettingError: there is no such zone here.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingError(_unknown(name)) from None


@lru_cache(maxsize=64)  # said once
def warn_of_offsets(column: str) -> None:
    """Warn of records whose times have an offset, where the zone of the fit's was assumed."""
    log.warning(
        "the times of column '%s' have an offset from UTC, and those of the fit had none: they "
        "were taken for UTC, as no zone was named. If they were local times, what was learned of "
        "hours and weekdays is shifted: train again with --time-zone, such as Europe/Amsterdam. "
        "If they were UTC, all is well; --time-zone UTC tells train so.",
        column,
    )


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    zones = available_timezones()
    if not zones:
        return (
            f"a zone must be one of the IANA database, which this machine lacks, got '{name}'. "
            "Install the system's tzdata or pip install tzdata, or use UTC."
        )
    folded = {zone.casefold(): zone for zone in sorted(zones)}
    like = get_close_matches(name.casefold(), folded, 1)
    hint = (
        f"Did you mean '{folded[like[0]]}'?"
        if like
        else "Give one such as Europe/Amsterdam or UTC."
    )
    return f"a zone must be a name of the IANA database, got '{name}'. {hint}"
