"""how far a job has come -> a file beside the draft, for `--resume`.

A line of it is written only after all that it speaks of was synced. A job that goes on cuts the
draft back to the last whole line, and meets the same chunks again from there: the bytes in the end
are those of a job that ran through.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaewatch.batch.job import Counts, Job
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.remote import is_url, state
from vaewatch.scoring.files.source import STDIN, readable
from vaewatch.scoring.files.writer import draft_of, writable

SECONDS = 2.0  # between two lines


@dataclass(frozen=True)
class Progress:
    """All before this is in the output or in the rejects file: `file` counts the inputs; `offset`
    and `line` are a place in that one; `out` and `rejects` are places in what was written. Once
    all is written and only names are missing, it is `whole`.
    """

    file: int
    offset: int
    line: int
    out: int
    rejects: int
    counts: Counts
    whole: bool = False


State = list[int | str]  # of an input: its size, and what differs if it was written to


def state_of(files: tuple[str, ...]) -> dict[str, State]:
    """The State of each input."""
    states = {}
    for name in files:
        if name != STDIN:
            with readable(name):
                states[name] = state(name) if is_url(name) else _state(name)
    return states


def _state(path: str) -> State:
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]


def journal_of(job: Job) -> Path | None:
    """Where the journal of a job is; None where its output has no draft."""
    draft = draft_of(job.out, job.drafts)
    return draft.with_suffix(".journal") if draft else None


class Journal:
    """Of one job; without a file where the output has no draft."""

    def __init__(self, job: Job, files: tuple[str, ...], version: str) -> None:
        self.files, self._target, self.before = files, job.out, state_of(files)
        self._path = None if STDIN in files else journal_of(job)
        self._identity = {
            "job": hashlib.sha256(json.dumps(job.identity(), sort_keys=True).encode()).hexdigest(),
            "model": version,
            "inputs": self.before,
        }
        self._told = time.monotonic()
        self.kept = False  # whether there is something to go on from

    def start(self) -> None:
        """Forget what an earlier job has left."""
        if self._path is not None:
            self._append(self._identity, "w")

    def due(self) -> bool:
        return self._path is not None and time.monotonic() - self._told >= SECONDS

    def write(self, progress: Progress) -> None:
        if self._path is None:
            return
        counts = progress.counts.to_json()
        self._append({**progress.__dict__, "counts": counts}, "a")
        self._told, self.kept = time.monotonic(), True

    def _append(self, line: dict[str, Any], mode: str) -> None:
        if self._path is None:
            return
        with writable(self._target), open(self._path, mode) as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def last(self) -> Progress | None:
        """Where to go on; None if no job was interrupted.

        Raises:
            SchemaError: an input, the artifact or a setting has changed since.
        """
        if self._path is None or not self._path.exists():
            return None
        lines = [json.loads(line) for line in self._path.read_text().split("\n")[:-1]]
        if not lines:
            return None
        self._refuse_changed(lines[0])
        if len(lines) == 1:
            return None
        self.kept = True
        return Progress(**{**lines[-1], "counts": Counts.from_json(lines[-1]["counts"])})

    def _refuse_changed(self, then: dict[str, Any]) -> None:
        inputs: dict[str, State] = self._identity["inputs"]  # type: ignore[assignment]
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
        """An input that was written to while it was read may have been read in part."""
        for name, now in state_of(files).items():
            if now != self.before[name]:
                raise SchemaError(
                    f"'{name}' must not change while it is read, but it did. Run again when "
                    "nothing writes to it."
                )

    def close(self, *, keep: bool) -> None:
        if self._path is not None and not keep:
            self._path.unlink(missing_ok=True)
