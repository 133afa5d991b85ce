"""lines -> stderr, by a thread of its own: a stderr that takes nothing holds up nobody.

A pipe that is full blocks whoever writes to it. Here that is a thread; lines that it cannot write
are kept up to a bound and then dropped, and so are those that fail.
"""

from __future__ import annotations

import atexit
import os
import select
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread

STDERR = 2
MOST_WRITES = 200  # kept
LAST_SECONDS = 1.0  # for what is kept when the process ends


@dataclass
class Lines:
    """Writes lines in their order."""

    _kept: SimpleQueue[bytes | Event] = field(default_factory=SimpleQueue)
    _thread: Thread | None = None

    def write(self, lines: str) -> None:
        """Write whole lines soon."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="stderr", daemon=True)
            self._thread.start()
            atexit.register(self.finish)
        if self._kept.qsize() < MOST_WRITES:
            self._kept.put(lines.encode(errors="backslashreplace"))

    def finish(self) -> None:
        """Wait a moment until everything is written."""
        written = Event()
        self._kept.put(written)
        written.wait(LAST_SECONDS)

    def _run(self) -> None:
        while True:
            lines = self._kept.get()
            if isinstance(lines, Event):
                lines.set()
            else:
                _write(lines)


def _write(lines: bytes) -> None:
    left = memoryview(lines)
    while left:
        try:
            left = left[os.write(STDERR, left) :]
        except BlockingIOError:  # whoever started the service has made it non-blocking
            select.select([], [STDERR], [], LAST_SECONDS)
        except OSError:
            return


def open_streams() -> None:
    """Open what is closed of stdin, stdout and stderr, or a socket gets its number and is written
    to in its place.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(opened, True)
    os.close(opened)


lines = Lines()
