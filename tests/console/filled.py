"""A store with any number of incidents, as a service would have left it."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from vaewatch.scoring.incidents.described import (
    ColumnShare,
    Example,
    GroupName,
    IncidentReport,
    MainReason,
)
from vaewatch.scoring.incidents.rule import Kind
from vaewatch.service.incidents.rows import encode_report
from vaewatch.service.store.database import Database
from vaewatch.service.store.moments import SECOND, moment_text, now
from vaewatch.service.store.place import Place
from vaewatch.service.store.tables import ids, incidents

COLUMNS = ("amount", "items", "age")
GROUPS = ("NL", "DE", "FR")


def report(k: int, first: int, *, group: str = "", merged: tuple[str, ...] = ()) -> IncidentReport:
    """The k-th incident."""
    name = COLUMNS[k % 3]
    kind = Kind.SEGMENT if group else Kind.ALL
    reasons = (MainReason(name, "above"),)
    return IncidentReport(
        id=f"{k:012x}",
        group=GroupName(kind, group),
        first=moment_text(first),
        last=moment_text(first + 90 * SECOND),
        ongoing=False,
        records=100 + k,
        alarms=2 + k % 7,
        expected=0.5,
        chance=10.0 ** -(1 + k % 5),
        peak_severity=3.5,
        columns=(ColumnShare(name, 1.0, 1.0, 0.0),),
        examples=(Example(moment_text(first), f"o{k}", 3.5, 10**-3.5, reasons),),
        merged=merged,
    )


def fill(path: Path, n: int, *, still: int = 3) -> str:
    """Fill a store with `n` incidents, five minutes apart, of which `still` are open for an hour
    to come; returns its URL. The last one was another before, of id `ffffffffffff`.
    """
    moment = now()
    rows, names = [], []
    for k in range(n):
        first = moment - (n - k) * 300 * SECOND
        merged = ("f" * 12,) if k == n - 1 else ()
        made = report(k, first, group=GROUPS[k // 3 % 3], merged=merged)
        last = first + 90 * SECOND
        still_open = k >= n - still
        rows.append(
            {
                "key": k + 1,
                "id": made.id,
                "scope": "filled",
                "name": made.group.name,
                "pattern": "",
                "main": made.columns[0].name,
                "first": first,
                "last": last,
                "ends": moment + 3600 * SECOND if still_open else last + 60 * SECOND,
                "seen": moment,
                "alarms": made.alarms,
                "severity": made.peak_severity,
                "chance": made.chance,
                "closed": not still_open,
                "state": b"",
                "report": encode_report(structs.replace(made)),
            }
        )
        names += [{"id": id, "incident": k + 1} for id in (made.id, *merged)]
    database = Database(Place.file(path))
    with database.writing() as connection:
        connection.execute(incidents.insert(), rows)
        connection.execute(ids.insert(), names)
    database.close()
    return f"sqlite:///{path}"
