"""Incident, Group <-> rows of the store."""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import json, msgpack, structs

from vaewatch.scoring.incidents.described import IncidentReport, report_of
from vaewatch.scoring.incidents.grouping import Group
from vaewatch.scoring.incidents.incident import Incident
from vaewatch.scoring.incidents.rule import Rules
from vaewatch.service.store.upsert import Row

encode, encode_report = msgpack.Encoder().encode, json.Encoder().encode
group_of = msgpack.Decoder(Group).decode
incident_of = msgpack.Decoder(Incident).decode
report_from = json.Decoder(IncidentReport).decode


def stored_name(name: str) -> str:
    """Return a name or an id as a column can hold it: PostgreSQL has no NUL in a text."""
    return name.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def id_under(pattern: str, id: str) -> str:
    """Return the id of an incident that a pattern silences: another one may begin in the same
    moment, with the same column, and not be silenced.
    """
    if not pattern:
        return id
    return hashlib.blake2b(f"{pattern}\0{id}".encode(), digest_size=6).hexdigest()


def ids_of(pattern: str, incident: Incident) -> list[str]:
    """Return all ids that an incident has or had, that of now first."""
    return [id_under(pattern, id) for id in (incident.id, *incident.merged)]


def values_of(rules: Rules, group: Group, incident: Incident, pattern: str) -> Row:
    """Return what a row holds of an incident, beside its place and what people said of it."""
    id, *merged = ids_of(pattern, incident)
    report = report_of(rules, group, incident)
    report = structs.replace(report, id=id, merged=tuple(merged))
    return {
        "id": id,
        "kind": rules.kind_of(incident.group).value,
        "main": stored_name(incident.main),
        "first": incident.first,
        "last": incident.last,
        "ends": incident.last + rules.of_group(incident.group).gap,
        "alarms": incident.alarms,
        "severity": incident.peak_severity,
        "chance": report.chance,
        "state": encode(incident),
        "report": encode_report(report),
    }


def report_in(row: Any) -> IncidentReport:
    """Return the report that a row holds."""
    return report_from(row.report)
