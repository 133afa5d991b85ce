"""The tables of the store, the same in SQLite and PostgreSQL.

Moments are microseconds since 1970. What only this release reads is kept as bytes of MessagePack
or JSON; what is asked for by value has a column.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

METADATA = MetaData()
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only an INTEGER by itself

# numbers that have a name: the version of the schema, the revision of the groups
numbers = Table(
    "vaewatch_numbers",
    METADATA,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# what each worker has delivered: its batches are numbered, so that none is taken twice
sources = Table(
    "vaewatch_sources",
    METADATA,
    Column("name", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# scope: what the numbers of buckets depend on. pattern: that which silences it; empty if none.
# revision: that of the last change. last: the moment of its last alarm. seen: when it was last
# changed, by the clock. state: records by bucket.
groups = Table(
    "vaewatch_groups",
    METADATA,
    Column("scope", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("pattern", String, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("seen", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

# id: that of now; `ids` has those before. ends: the moment from which it has ended, unless another
# alarm comes. seen: when it was last changed, by the clock. closed: its end has been counted.
# state: as grouping needs it. report: as it is shown. notified: when a receiver was told of it.
# kind: a GroupKind; those of an earlier release have none.
incidents = Table(
    "vaewatch_incidents",
    METADATA,
    Column("key", NUMBER, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("name", String, nullable=False),
    Column("pattern", String, nullable=False),
    Column("main", String, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("ends", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("alarms", BigInteger, nullable=False),
    Column("severity", Float, nullable=False),
    Column("chance", Float, nullable=False),
    Column("label", String),
    Column("closed", Boolean, nullable=False, server_default=false()),
    Column("notified", BigInteger),
    Column("state", LargeBinary, nullable=False),
    Column("report", LargeBinary, nullable=False),
    Column("kind", String),
    Index("vaewatch_incidents_of_group", "scope", "name", "pattern", "last"),
    Index("vaewatch_incidents_first", "first", "key"),
    Index("vaewatch_incidents_ends", "closed", "ends"),
    Index("vaewatch_incidents_shown", "pattern", "first", "key"),
    Index("vaewatch_incidents_seen", "seen"),
    Index("vaewatch_incidents_chance", "pattern", "chance", "seen"),
    Index("vaewatch_incidents_said", "pattern", "label", "first", "main", "name"),
)

# every id that an incident has or had
ids = Table(
    "vaewatch_incident_ids",
    METADATA,
    Column("id", String, primary_key=True),
    Column("incident", NUMBER, nullable=False, index=True),
)

# feedback; rows are only ever added. incident: as it was named. group, first, last and columns:
# of the incident then, or as they were imported. kind: as in `incidents`.
marks = Table(
    "vaewatch_marks",
    METADATA,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("by", String),
    Column("label", String, nullable=False),
    Column("incident", String, index=True),
    Column("record", String),
    Column("reason", Text, nullable=False),
    Column("until", BigInteger),
    Column("pattern", String),
    Column("name", String),
    Column("first", BigInteger),
    Column("last", BigInteger),
    Column("columns", Text),
    Column("kind", String),
)

# what is expected for a while. columns: JSON. direction: 1 above, -1 below, 0 either. ended: when
# somebody ended it before its time.
patterns = Table(
    "vaewatch_patterns",
    METADATA,
    Column("id", String, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("by", String),
    Column("reason", Text, nullable=False),
    Column("columns", Text, nullable=False),
    Column("name", String),
    Column("direction", Integer, nullable=False),
    Column("least", Float),
    Column("most", Float),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False, index=True),
    Column("ended", BigInteger),
    Column("ended_by", String),
    Column("incident", String),
)

# what receivers were told of an incident. id: that under which it was opened; at: when. number: of
# the notifications so far. alarms, severity: as they were then. content: the last notification.
told = Table(
    "vaewatch_told",
    METADATA,
    Column("id", String, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("alarms", BigInteger, nullable=False),
    Column("severity", Float, nullable=False),
    Column("ended", BigInteger, index=True),
    Column("content", LargeBinary, nullable=False),
)

# notifications that wait. receiver: a digest of its address. message: the id of what is sent, the
# same in each attempt. incident: as in `told`. at: when it was made; due: not to be sent before.
# refusals: how often the receiver did not want it.
outbox = Table(
    "vaewatch_outbox",
    METADATA,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("receiver", String, nullable=False),
    Column("message", String, nullable=False),
    Column("incident", String, nullable=False),
    Column("type", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("refusals", Integer, nullable=False, server_default="0"),
    Column("content", LargeBinary, nullable=False),
    Index("vaewatch_outbox_waiting", "receiver", "number"),
)

# who does what only one process may do at a time, and until when unless it says so again
leases = Table(
    "vaewatch_leases",
    METADATA,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("until", BigInteger, nullable=False),
)
