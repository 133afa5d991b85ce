"""how far a job has come -> entries of a file beside the draft, for `--resume`.

An entry is written only after everything that it covers was synced. A job that is resumed cuts the
draft back to the last whole entry and meets the same chunks from there on, so the output ends up
with the bytes of a job that was never stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vaewatch.batch.job import Counts, Job
from vaewatch.batch.writer import draft_of, writable
from vaewatch.scoring.budget.fdr import Discoveries
from vaewatch.scoring.errors import OutputError, SchemaError
from vaewatch.scoring.files.remote import is_url, stamp
from vaewatch.scoring.files.source import STDIN, readable
from vaewatch.scoring.files.whole import create, read_ours, remove, reopen

SECONDS = 2.0  # between two entries
SPARED = 20.0  # at least, in units of what it takes to write a history, between two of them
PAST = (".history-0", ".history-1")  # the names of the two, beside the journal


@dataclass(frozen=True)
class Entry:
    """How far a job has come: everything before this is in the output or in the rejects file.

    file: the index of an input; `offset` and `line` are the place in it.
    out, rejects: the places in what was written.
    whole: everything is written, and only names are missing.
    past: the digest of what was known of the entities, in the file number `kept` beside the
        journal; empty where each record is judged by itself.
    """

    file: int
    offset: int
    line: int
    out: int
    rejects: int
    counts: Counts
    whole: bool = False
    past: str = ""
    kept: int = 0


Stamp = list[int | str]  # of an input: its size, and what differs once it is written to


def stamps_of(files: tuple[str, ...]) -> dict[str, Stamp]:
    """The stamp of each input that can be read twice."""
    stamps = {}
    for name in files:
        if not is_stream(name):
            with readable(name):
                stamps[name] = stamp(name) if is_url(name) else _stamp(name)
    return stamps


def is_stream(name: str) -> bool:
    """Whether an input can be read only once: standard input, or a pipe."""
    return name == STDIN or (not is_url(name) and Path(name).exists() and not Path(name).is_file())


def _stamp(path: str) -> Stamp:
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]


def journal_of(job: Job) -> Path | None:
    """The path of a job's journal; None if its output has no draft."""
    draft = draft_of(job.out, job.drafts)
    return draft.with_suffix(".journal") if draft else None


def left_by(job: Job) -> list[Path]:
    """The files that a job that ended early has left, for a person who does not resume it."""
    targets = (job.out, job.rejects, job.incidents)
    found = [draft_of(target, job.drafts) for target in targets if target is not None]
    if (journal := journal_of(job)) is not None:
        found += [journal, *map(journal.with_suffix, PAST)]
    return [path for path in found if path is not None and path.exists()]


class Journal:
    """The journal of one job; it has no file if the output has no draft.

    found: the discoveries of the job, once they are known.
    """

    def __init__(self, job: Job, files: tuple[str, ...], version: str) -> None:
        self.files, self._target, self.before = files, job.out, stamps_of(files)
        self._path = None if any(map(is_stream, files)) else journal_of(job)
        self._identity = {
            "job": hashlib.sha256(json.dumps(job.identity(), sort_keys=True).encode()).hexdigest(),
            "model": version,
            "inputs": self.before,
        }
        self._written = time.monotonic()
        self.found: Discoveries | None = None
        self.kept = False  # whether a job can be resumed from it
        self._pause, self._past = 0.0, 0

    def start(self) -> None:
        """Replace the journal of an earlier job."""
        if self._path is not None:
            self._forget()
            with writable(self._target):
                os.close(create(self._path))
            found = {} if self.found is None else {"found": asdict(self.found)}
            self._append({**self._identity, **found})

    def due(self) -> bool:
        pause = max(SECONDS, self._pause)
        return self._path is not None and time.monotonic() - self._written >= pause

    @property
    def resumable(self) -> bool:
        """Whether a job can be resumed once it has an entry."""
        return self._path is not None

    def write(self, entry: Entry, past: bytes = b"") -> None:
        """Write an entry, after what was known of the entities. This goes to one of two files in
        turn, so that the one of the entry before is whole until this entry is.
        """
        if self._path is None:
            return
        began = time.monotonic()
        if past:
            self._past = 1 - self._past
            digest = hashlib.sha256(past).hexdigest()
            with (
                writable(self._target),
                open(create(self._past_files()[self._past]), "wb") as file,
            ):
                file.write(past)
                file.flush()
                os.fsync(file.fileno())
            entry = replace(entry, past=digest, kept=self._past)
        line = {**entry.__dict__, "counts": entry.counts.to_json()}
        if not past:
            del line["past"], line["kept"]
        self._append(line)
        self._written, self.kept = time.monotonic(), True
        self._pause = (self._written - began) * SPARED if past else 0.0

    def past_of(self, entry: Entry) -> bytes:
        """Return what was known of the entities at an entry.

        Raises:
            OutputError: it is not there, or damaged.
        """
        path = self._past_files()[entry.kept]
        try:
            found = read_ours(path)
        except OSError:
            found = b""
        if hashlib.sha256(found).hexdigest() != entry.past:
            raise OutputError(
                f"'{path}' must be the history of a job, but it is missing or damaged. Run again "
                "without --resume to start from the beginning."
            )
        self._past = entry.kept
        return found

    def _past_files(self) -> tuple[Path, Path]:
        if self._path is None:
            raise AssertionError("only a job that can be resumed keeps a history")
        one, other = map(self._path.with_suffix, PAST)
        return one, other

    def _forget(self) -> None:
        for path in self._past_files():
            remove(path)

    def _append(self, line: dict[str, Any]) -> None:
        if self._path is None:
            return
        with writable(self._target):
            handle = reopen(self._path, os.O_WRONLY | os.O_APPEND)
            with open(handle, "wb") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def last(self) -> Entry | None:
        """The entry to resume from; None if no job was interrupted.

        Raises:
            SchemaError: an input, the artifact or a setting has changed since.
        """
        if self._path is None or not self._path.exists():
            return None
        with writable(self._target):
            written = read_ours(self._path)
        try:
            return self._last_of(written)
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"'{self._path}' must be the journal of a job, but it is damaged. Run again "
                "without --resume to start from the beginning."
            ) from error

    def _last_of(self, written: bytes) -> Entry | None:
        lines = [json.loads(line) for line in written.split(b"\n")[:-1]]
        if not lines:
            return None
        self._refuse_changed(lines[0])
        if "found" in lines[0]:
            self.found = Discoveries(**lines[0]["found"])
        if len(lines) == 1:
            return None
        entry = Entry(**{**lines[-1], "counts": Counts.from_json(lines[-1]["counts"])})
        self.kept = True
        return entry

    def _refuse_changed(self, then: dict[str, Any]) -> None:
        inputs: dict[str, Stamp] = self._identity["inputs"]  # type: ignore[assignment]
        changed = sorted(
            name
            for name in {*then["inputs"], *inputs}
            if then["inputs"].get(name) != inputs.get(name)
        )
        what = f"'{changed[0]}' has" if changed else ""
        what = what or ("the artifact has" if then["model"] != self._identity["model"] else "")
        what = what or ("the settings have" if then["job"] != self._identity["job"] else "")
        if what:
            raise SchemaError(
                f"--resume takes the same input, artifact and settings, but {what} changed since "
                "the job was interrupted. Run again without --resume to start from the beginning."
            )

    def refuse_grown(self, files: tuple[str, ...]) -> None:
        """Refuse an input that was written to while it was read: part of it may be missing."""
        for name, now in stamps_of(files).items():
            if now != self.before.get(name):
                raise SchemaError(
                    f"'{name}' must not change while it is read, but it did. Run again when "
                    "nothing writes to it."
                )

    def close(self, *, keep: bool) -> None:
        if self._path is not None and not keep:
            self._path.unlink(missing_ok=True)
            self._forget()
