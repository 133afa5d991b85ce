"""settings -> a store that can be used, or a refusal before anything listens."""

from __future__ import annotations

from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.incidents.rule import merge_gap_of
from vaewatch.service.model.errors import StoreAway, StoreBusy
from vaewatch.service.settings import Settings


def check_store(settings: Settings) -> None:
    """Refuse a store that names no database, or a file that is none, and a merge gap that is none.
    A server may be away for now, and a file busy: the service scores without it.

    Raises:
        SettingError: it cannot be used.
    """
    merge_gap_of(settings.merge_gap, timed=True)
    if settings.store is None:
        return  # and a parent of workers is spared the imports, an eighth of its memory
    from vaewatch.service.store.database import Database
    from vaewatch.service.store.place import SQLITE, Place

    place = Place.of(settings.store)
    database = Database(place, quiet=True)
    try:
        database.probe()
    except StoreBusy:
        pass
    except StoreAway as error:
        if place.kind == SQLITE or database.outdated:
            raise SettingError(
                f"--store, {place}, cannot be used: {database.fault.rstrip('.')}."
            ) from error
    finally:
        database.close()
