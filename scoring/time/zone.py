"""A zone's name -> its rules, from the IANA database of the machine."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from vaewatch.scoring.errors import SettingError

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
