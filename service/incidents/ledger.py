"""batches of any number of workers -> incidents in the store, as if one process had them all.

One batch is taken at a time, in one transaction: a group's incidents that it may change are read,
the alarms are added, and what has changed is written. A batch that was taken already, although its
worker never learned so, is known by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs
from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.engine import Row

from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.described import IncidentReport
from vaewatch.scoring.incidents.feedback import Label
from vaewatch.scoring.incidents.grouping import KEPT, Group
from vaewatch.scoring.incidents.incident import Incident
from vaewatch.service.incidents import patterns
from vaewatch.service.incidents.rows import (
    encode,
    group_of,
    ids_of,
    incident_of,
    report_from,
    stored_name,
    values_of,
)
from vaewatch.service.incidents.stream import Batch, Stream
from vaewatch.service.store.moments import SECOND
from vaewatch.service.store.tables import groups, ids, incidents, marks, numbers, sources
from vaewatch.service.store.upsert import Row as Values
from vaewatch.service.store.upsert import upsert

REVISION = "revision"  # the name of the number
NEVER = 2**62  # a moment
OPENED, CHANGED, ENDED = "opened", "changed", "ended"


@dataclass(frozen=True)
class Change:
    """What became of an incident.

    what: OPENED, CHANGED (more alarms, or several became one) or ENDED.
    key: of its row, which stays while its id may change.
    pattern: that which silences it; empty if none does.
    """

    what: str
    key: int
    report: IncidentReport
    main: str
    pattern: str
    seconds: float  # from its first alarm to its last


@dataclass
class Ledger:
    """Writes one batch. `connection`: of a transaction that is alone."""

    connection: Connection
    now: int
    changes: list[Change] = field(default_factory=list)

    def take(self, source: str, batch: Batch) -> list[Change]:
        """Take a batch of a worker; returns what has changed."""
        if not self._is_new(source, batch.number):
            return []
        revision = self._next_revision()
        silences = patterns.silences(self.connection, self.now)
        alarms: dict[tuple[str, str], list[Alarm]] = {}
        for alarm in batch.alarms:
            key = alarm.group, patterns.named(silences, alarm)
            alarms.setdefault(key, []).append(alarm)
        variants, changed = self._variants(batch, alarms), list[Values]()
        for name, rows in variants.items():
            for values in self._take_group(batch, name, rows, alarms):
                changed.append({**values, "revision": revision, "seen": self.now})
        upsert(self.connection, groups, changed)
        return self.changes

    def _is_new(self, source: str, number: int) -> bool:
        query = select(sources.c.number).where(sources.c.name == source)
        if (self.connection.execute(query).scalar() or 0) >= number:
            return False
        upsert(self.connection, sources, [{"name": source, "number": number, "at": self.now}])
        return True

    def _next_revision(self) -> int:
        revision = revision_of(self.connection) + 1
        upsert(self.connection, numbers, [{"name": REVISION, "value": revision}])
        return revision

    def _variants(
        self, batch: Batch, alarms: Iterable[tuple[str, str]]
    ) -> dict[str, dict[str, Row[Any] | None]]:
        """Return the rows of each group that the batch concerns, by pattern: None is not there
        yet.
        """
        wanted: dict[str, dict[str, Row[Any] | None]] = {name: {} for name in batch.records}
        for name, pattern in alarms:
            wanted.setdefault(name, {})[pattern] = None
        named = {stored_name(name): name for name in wanted}
        for some in _parts(list(named), 500):
            query = select(groups).where(
                groups.c.scope == batch.stream.scope, groups.c.name.in_(some)
            )
            for row in self.connection.execute(query):
                wanted[named[row.name]][row.pattern] = row
        return wanted

    def _take_group(
        self,
        batch: Batch,
        name: str,
        rows: Mapping[str, Row[Any] | None],
        alarms: Mapping[tuple[str, str], Sequence[Alarm]],
    ) -> Iterator[Values]:
        """Add alarms and records to a group, and to what patterns keep apart from it; yields the
        rows of what has changed.
        """
        known = next((row for row in rows.values() if row is not None), None)
        for pattern, row in rows.items():
            found = row if row is not None else known  # its records are those of the others
            group = Group() if found is None else group_of(found.state)
            mine = alarms.get((name, pattern), ())
            place = _Place(batch.stream, name, pattern)
            last = max([row.last if row is not None else 0, *(a.moment for a in mine)])
            _Writer(self, place, group).add(mine, batch.records.get(name, {}))
            state = encode(structs.replace(group, incidents=[]))
            yield {**place.columns, "last": last, "state": state}


_OF_GROUP = (incidents.c[name] == bindparam(name) for name in ("scope", "name", "pattern"))
_NEAR = (incidents.c.last >= bindparam("from")) & (incidents.c.first <= bindparam("until"))
_REACHED = select(incidents).where(
    *_OF_GROUP, or_(incidents.c.last >= bindparam("unsettled"), _NEAR)
)
_CHANGE = update(incidents).where(incidents.c.key == bindparam("its_key"))
_OPEN = insert(incidents).returning(incidents.c.key, sort_by_parameter_order=True)


@dataclass(frozen=True)
class _Place:
    stream: Stream
    name: str
    pattern: str

    @property
    def columns(self) -> dict[str, str]:
        name = stored_name(self.name)
        return {"scope": self.stream.scope, "name": name, "pattern": self.pattern}


@dataclass
class _Writer:
    """Brings the incidents of one group up to date."""

    ledger: Ledger
    place: _Place
    group: Group
    _before: dict[int, Row[Any]] = field(default_factory=dict)  # by key
    _keys: dict[str, int] = field(default_factory=dict)  # by id
    _new: list[tuple[Values, list[str]]] = field(default_factory=list)  # with their ids
    _changed: list[Values] = field(default_factory=list)
    _named: list[Values] = field(default_factory=list)  # ids of these

    def add(self, alarms: Sequence[Alarm], records: Mapping[int, int]) -> None:
        rule = self.place.stream.rules.of_group(self.place.name)
        self._load(alarms, records)
        self.group.add(rule, alarms, records, self.ledger.now // SECOND)
        for incident in self.group.incidents:
            self._take(incident)
        self._write()

    def _load(self, alarms: Sequence[Alarm], records: Mapping[int, int]) -> None:
        """Read the incidents that the alarms may join, and those whose evidence is not settled."""
        rule = self.place.stream.rules.of_group(self.place.name)
        floor = min([*self.group.records, *records], default=self.group.newest - KEPT)
        moments = [alarm.moment for alarm in alarms]
        reach = {
            "unsettled": floor * rule.width,
            "from": min(moments, default=NEVER) - rule.gap,
            "until": max(moments, default=-NEVER) + rule.gap,
        }
        found = self.ledger.connection.execute(_REACHED, {**self.place.columns, **reach})
        for row in found:
            incident = incident_of(row.state)
            self._before[row.key] = row
            self._keys |= dict.fromkeys(ids_of(self.place.pattern, incident), row.key)
            self.group.incidents.append(incident)
        self.group.incidents.sort(key=lambda one: (one.first, one.main))

    def _take(self, incident: Incident) -> None:
        """Note what is to be written of an incident; make rows of several incidents one."""
        found = ids_of(self.place.pattern, incident)
        keys = sorted({self._keys[id] for id in found if id in self._keys})
        rules, pattern = self.place.stream.rules, self.place.pattern
        values = {**values_of(rules, self.group, incident, pattern), "seen": self.ledger.now}
        if not keys:
            self._new.append(({**self.place.columns, **values}, found))
            return
        key, *others = keys
        before = self._before[key]
        if others:
            self._join(key, others)
        elif before.state == values["state"] and before.report == values["report"]:
            return
        values["closed"] = before.closed and values["ends"] < self.ledger.now
        self._changed.append({**values, "its_key": key})
        self._named += [{"id": id, "incident": key} for id in found if self._keys.get(id) != key]
        more = others or values["alarms"] != before.alarms
        if more:
            self._note(CHANGED, key, values)

    def _write(self) -> None:
        """Write what was noted, each table at once: a statement for each would take longer."""
        connection = self.ledger.connection
        if self._changed:
            connection.execute(_CHANGE, self._changed)
        if self._new:
            rows = [values for values, _ in self._new]
            keys = connection.execute(_OPEN, rows).scalars().all()
            for key, (values, found) in zip(keys, self._new, strict=True):
                self._named += [{"id": id, "incident": key} for id in found]
                self._note(OPENED, key, values)
        upsert(connection, ids, self._named)

    def _join(self, key: int, others: list[int]) -> None:
        """Make other incidents a part of one: what was said of them is said of it."""
        connection, rows = self.ledger.connection, [self._before[k] for k in (key, *others)]
        connection.execute(update(ids).where(ids.c.incident.in_(others)).values(incident=key))
        connection.execute(delete(incidents).where(incidents.c.key.in_(others)))
        told = [row.notified for row in rows if row.notified is not None]
        connection.execute(
            update(incidents)
            .where(incidents.c.key == key)
            .values(label=label_of(connection, key), notified=min(told, default=None))
        )
        self._keys |= {id: key for id, each in self._keys.items() if each in others}

    def _note(self, what: str, key: int, values: Mapping[str, Any]) -> None:
        self.ledger.changes.append(change_of(what, key, self.place.pattern, values))


def change_of(what: str, key: int, pattern: str, values: Mapping[str, Any]) -> Change:
    """Return a change of an incident whose row has these values."""
    seconds = (values["last"] - values["first"]) / 1e6
    return Change(what, key, report_from(values["report"]), values["main"], pattern, seconds)


def label_of(connection: Connection, key: int) -> str | None:
    """Return what was said of an incident last; None if nothing, or if that was withdrawn."""
    query = (
        select(marks.c.label)
        .join(ids, ids.c.id == marks.c.incident)
        .where(ids.c.incident == key)
        .order_by(marks.c.number.desc())
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar()
    return None if found == Label.WITHDRAWN else found


def revision_of(connection: Connection) -> int:
    query = select(numbers.c.value).where(numbers.c.name == REVISION)
    return connection.execute(query).scalar() or 0


def touched(connection: Connection, scope: str, since: int) -> list[tuple[str, int]]:
    """Return the groups that have changed since a revision, and the moments of their last
    alarms.
    """
    query = (
        select(groups.c.name, func.max(groups.c.last))
        .where(groups.c.scope == scope, groups.c.revision > since)
        .group_by(groups.c.name)
    )
    return [(name, last) for name, last in connection.execute(query)]


def _parts(names: list[str], size: int) -> Iterable[list[str]]:
    return (names[i : i + size] for i in range(0, len(names), size))
