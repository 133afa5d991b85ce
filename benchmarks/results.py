"""a table -> RESULTS.md: each benchmark replaces its own section and names its command."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean


def write_section(path: Path, chapter: str, title: str, text: str) -> None:
    """Write the section `### title` under `## chapter` in place of the previous one."""
    whole = path.read_text() if path.exists() else "# Results\n\nWhat was measured, and how.\n"
    section = f"### {title}\n\n{_origin()}\n\n{text.strip()}\n"
    whole = re.sub(rf"### {re.escape(title)}\n.*?(?=\n##|\Z)", "", whole, flags=re.S)
    head = f"## {chapter}\n"
    if head not in whole:
        whole = f"{whole.rstrip()}\n\n{head}"
    before, after = whole.split(head, 1)
    following = re.search(r"^## ", after, flags=re.M)
    at = following.start() if following else len(after)
    body, rest = after[:at].strip(), after[at:]
    parts = [
        f"{before}{head}",
        *([body + "\n"] if body else []),
        section,
        *([rest] if rest else []),
    ]
    path.write_text("\n".join(parts).rstrip() + "\n")
    print(section)


def spread(rates: list[float]) -> str:
    """Return the mean of rates, and their range."""
    return f"{fmean(rates):.2%} ({min(rates):.2%} to {max(rates):.2%})"


def _origin() -> str:
    """Return the date, the machine and the command."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.stem
    words = " ".join([f"-m benchmarks.{name}", *map(_shown, sys.argv[1:])])
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores "
        f"(OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}), Python "
        f"{platform.python_version()}, {_torch()}: `python {words}`"
    )


def _torch() -> str:
    """Sizing is measured where there is none, too."""
    try:
        return f"torch {version('torch')}"
    except PackageNotFoundError:
        return "no torch"


def _shown(word: str) -> str:
    """A folder of the reader's own has another name there."""
    return Path(word).name if "/" in word else word


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"model name\s*: (.*)", info)
    return found.group(1) if found else platform.machine()
