"""scored chunks, in order -> the incidents of a job, and what it knows of them as bytes to resume.

Each chunk is grouped by itself where it is scored, in parallel. Only what hangs together with what
was before is joined here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.incidents.counts import IncidentCounts
from vaewatch.batch.job import Job
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.fdr import Discoveries
from vaewatch.scoring.errors import OutputError
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.incidents.chance import RARE
from vaewatch.scoring.incidents.described import IncidentReport, report_of
from vaewatch.scoring.incidents.grouping import Group
from vaewatch.scoring.incidents.judged import JudgedRecords, Names
from vaewatch.scoring.incidents.rule import Rules, members_of, merge_gap_of
from vaewatch.scoring.incidents.stream import Stream
from vaewatch.scoring.series.settling import on_one_scale
from vaewatch.scoring.verdicts import Verdicts

Groups = dict[str, Group]


def rules_of(job: Job, artifact: Artifact, found: Discoveries | None) -> Rules | None:
    """Return how a job's alarms become incidents; None if it was not asked for them."""
    if job.incidents is None:
        return None
    alpha = job.alpha if found is None or not found.found else found.p_value
    gap = merge_gap_of(job.merge_gap, timed=artifact.schema.time is not None)
    return Rules.of(artifact, gap, alpha)


def groups_of(
    rules: Rules, artifact: Artifact, taken: FileChunk, records: Records, verdicts: Verdicts
) -> Groups:
    """Group the records of a chunk by themselves."""
    table = records.table
    moments = table.times if rules.timed else None
    if moments is None:
        moments = taken.before + taken.lines(records)
    members = members_of(artifact, table)
    ids = ids_of(records, artifact.schema.id)
    verdicts = on_one_scale(artifact, table, verdicts)
    return JudgedRecords(moments, members, verdicts, records.good, ids).grouped(rules)


def ids_of(records: Records, id: str | None) -> Names | None:
    """Return what gives the ids of some records of a chunk; None where they have none."""
    if id is None:
        return None

    def ids(rows: NDArray[np.int64]) -> list[str | None]:
        frame = records.frame()
        if id not in frame.columns:
            return [None] * len(rows)
        return [None if v is None else str(v) for v in frame[id][rows].to_list()]

    return ids


class _State(msgspec.Struct, array_like=True):
    stream: bytes
    before: dict[int, int]


@dataclass
class Collector:
    """Collects the incidents of a job.

    before: for each file, by its index, the lines of those before it.
    """

    stream: Stream
    before: dict[int, int] = field(default_factory=lambda: {0: 0})

    @classmethod
    def of(cls, rules: Rules, state: bytes) -> Collector:
        """Begin, or go on from a state that is not empty.

        Raises:
            OutputError: the state is damaged.
        """
        if not state:
            return cls(Stream(rules))
        try:
            kept = msgspec.msgpack.decode(state, type=_State)
            return cls(Stream.resumed(rules, kept.stream), kept.before)
        except msgspec.MsgspecError as error:
            raise OutputError(
                "the incidents beside the journal must be those of the job, but they are "
                "damaged. Run again without --resume to start from the beginning."
            ) from error

    def chunks(self, chunks: Iterator[FileChunk]) -> Iterator[FileChunk]:
        """Yield each chunk with the number of lines in the files before its own."""
        end = 0
        for one in chunks:
            if one.at not in self.before:
                self.before[one.at] = self.before[max(self.before)] + end
            end = int(one.chunk.end.line)
            yield replace(one, before=self.before[one.at])

    def state(self) -> bytes:
        return msgspec.msgpack.encode(_State(self.stream.state(), self.before))


def reports_of(stream: Stream) -> Iterator[IncidentReport]:
    """Yield the incidents of a stream, by their first moments."""
    for group, one in stream.incidents():
        report = report_of(stream.rules, group, one, stream.newest)
        # no incident of a file was known by another name before
        yield msgspec.structs.replace(report, merged=())


def counts_of(stream: Stream) -> IncidentCounts:
    """Count the incidents of a stream."""
    rare = alarms = incidents = all_alarms = 0
    for report in reports_of(stream):
        incidents += 1
        all_alarms += report.alarms
        if report.chance <= RARE:
            rare += 1
            alarms += report.alarms
    return IncidentCounts(
        incidents=incidents,
        alarms=all_alarms,
        rare=rare,
        rare_alarms=alarms,
        gap=stream.rules.rule.gap,
        by_chance_in_gap=stream.by_chance_in_gap,
    )
