"""The real command where some packages cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = """
import sys
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Nowhere())
from vaewatch.__main__ import main
sys.argv[0] = "vaewatch"
main()
"""


def run_without(
    packages: tuple[str, ...], *words: object, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command, which fails if it imports one of the packages."""
    code = COMMAND.format(packages=packages)
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
