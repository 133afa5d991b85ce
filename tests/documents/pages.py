"""The pages of the documentation, run as a reader runs them: block by block, in one shell.

A page is Markdown. Its `console`, `bash`, `sh` and `python` blocks are run in order in a scratch
folder, in one shell and one Python, against the real command and a real service. Comments steer
it:

    <!-- given: normal.csv artifact -->       what lies in the folder before the page begins
    <!-- after: other.md#a-section -->        another page, run before to the end of a section
    <!-- not run here: needs a cluster -->    the next block is read, not run

Where a page shows an output, each line of it must come out again. Numbers and versions may differ;
`...` stands for anything.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import call
from tests.live import START_SECONDS, ask

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(
        path
        for folder in (".", "guides", "explanation", "reference")
        for path in (ROOT / "docs" / folder).glob("*.md")
    ),
]
LANGUAGES = ("console", "bash", "sh", "python")
FENCE = re.compile(
    r"(?:^<!-- not run here: (?P<reason>[^\n]+) -->\n)?"
    r"^(?P<ticks>```+)(?P<language>\w+)\n(?P<text>.*?)^(?P=ticks)$",
    re.M | re.S,
)
COMMENT = re.compile(r"\s+# .*$")
NUMBER = re.compile(r"\b0x[0-9a-f]+|\b[0-9a-f]{12}\b|[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?")
PORT = "8000"
LOG_LINE = '{"time":'
DONE = "page-command-done"
SECONDS = 60
PLAIN = re.compile(r"vaewatch( [\w./=,:-]+)+")  # without a pipe, a quote, a variable or a `&`


@dataclass(frozen=True)
class Block:
    """One fenced block; `reason` says why it is not run."""

    language: str
    text: str
    reason: str | None

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command with the output that the page shows for it."""
        if self.language != "console":
            yield self.text, []
            return
        command, shown = "", list[str]()
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = COMMENT.sub("", line[2:]), []
            elif command.endswith("\\") and not shown:
                command += "\n" + line.removeprefix("> ")
            else:
                shown.append(line)
        yield command, shown


@dataclass(frozen=True)
class Page:
    """A page: what it starts from, and its blocks."""

    path: Path
    given: tuple[str, ...]
    blocks: tuple[Block, ...]

    @classmethod
    def read(cls, path: Path) -> Page:
        text = path.read_text()
        given = re.search(r"^<!-- given: (.+) -->$", text, re.M)
        text = _before(path, text) + text
        found = FENCE.finditer(text)
        blocks = [Block(m["language"], m["text"], m["reason"]) for m in found]
        shown = tuple(block for block in blocks if block.language in LANGUAGES)
        return cls(path, tuple(given[1].split()) if given else (), shown)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def to_run(self) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.reason is None)


def _before(path: Path, text: str) -> str:
    """Return the part of another page that is run before this one."""
    after = re.search(r"^<!-- after: (\S+)#(\S+) -->$", text, re.M)
    if after is None:
        return ""
    parts = re.split(r"^(?=## )", (path.parent / after[1]).read_text(), flags=re.M)
    names = [part.partition("\n")[0].removeprefix("## ").lower() for part in parts]
    return "".join(parts[: names.index(after[2].replace("-", " ")) + 1])


def shape(line: str) -> str:
    """A line without what may differ: numbers, versions, bars, and how wide the gaps are."""
    line = NUMBER.sub("#", line.replace("█", " "))
    return " ".join(line.split())


def missing(shown: list[str], output: str) -> list[str]:
    """The lines that a page shows and that the output does not have in any place."""
    own_lines = output.replace(LOG_LINE, f"\n{LOG_LINE}")  # a service writes between the lines
    real = {shape(line) for line in own_lines.splitlines()}
    return [line for line in shown if not _is_there(shape(line), real)]


def _is_there(line: str, real: set[str]) -> bool:
    if "..." not in line:
        return not line or line in real
    pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
    return any(pattern.fullmatch(found) for found in real)


@dataclass
class Shell:
    """One bash, in which each command runs after the one before. What needs nothing of it is done
    in this process, which must be in the same folder: it has torch imported already.
    """

    folder: Path
    port: int
    exports: bool = False  # has variables of its own
    process: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Shell:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            ["bash"],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        """End the shell, and whatever a page left running in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def run(self, command: str) -> tuple[int, str]:
        """(exit code, output) of a command; a service that it starts is waited for."""
        self.exports |= "export " in command
        if PLAIN.fullmatch(command) and not self.exports:
            done = call(*command.split()[1:])
            return done.returncode, done.stdout + done.stderr
        return self._run(command)

    def _run(self, command: str) -> tuple[int, str]:
        assert self.process.stdin is not None
        command = command.replace(PORT, str(self.port))
        self.process.stdin.write(f"{command}\nprintf '\\n{DONE} %s\\n' $?\n".encode())
        self.process.stdin.flush()
        output, code = self._read()
        if command.rstrip().endswith("&") and "vaewatch serve" in command:
            self._wait_ready()
            for _ in range(START_SECONDS * 10):  # it says where it listens just after it does
                output += self._run("true")[1]
                if "listening on" in output:
                    break
                time.sleep(0.1)
        return code, output

    def _wait_ready(self) -> None:
        for _ in range(START_SECONDS * 10):
            with contextlib.suppress(httpx.TransportError):
                if ask("GET", f"http://127.0.0.1:{self.port}", "/readyz").status_code == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError("the service that the page starts was never ready")

    def _read(self) -> tuple[str, int]:
        assert self.process.stdout is not None
        got, end = b"", time.monotonic() + SECONDS
        while True:
            found = re.search(rf"\n{DONE} (\d+)\n".encode(), got)
            if found:
                return got[: found.start()].decode().replace(str(self.port), PORT), int(found[1])
            ready, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            assert ready, f"no end after {SECONDS} s:\n{got.decode()}"
            got += os.read(self.process.stdout.fileno(), 1 << 16)


def run_python(text: str, names: dict[str, Any], port: int) -> str:
    """What a Python block prints; `names` are those of the page's blocks before it."""
    out = io.StringIO()
    tree = ast.parse(text.replace(PORT, str(port)))
    with contextlib.redirect_stdout(out):
        exec(compile(tree, "<page>", "exec"), names)
    return out.getvalue()


def vaewatch_commands(text: str) -> Iterator[list[str]]:
    """The words of each `vaewatch ...` in a block, after the name."""
    joined = re.sub(r"\\\n", " ", text)
    for line in joined.splitlines():
        lexer = shlex.shlex(COMMENT.sub("", line), posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words = list(lexer)
        for at, word in enumerate(words[:-1]):
            if re.sub(r":.*", "", Path(word).name) == "vaewatch":
                rest = words[at + 1 :]
                ends = [i for i, one in enumerate(rest) if set(one) <= set("|&;<>()")]
                yield rest[: min(ends, default=len(rest))]
