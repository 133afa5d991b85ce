"""JSON -> refused where an object has a key twice: readers differ in which value they keep."""

from __future__ import annotations

import json
from typing import Any

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.text import one_line


def require_keys_once(content: bytes, name: str) -> None:
    """Check the objects of a file, on every level.

    Raises:
        ArtifactError: one has a key twice, or the file is no JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for i, key in enumerate(keys) if key in keys[:i])
            raise ArtifactError(f"{name} must have each key once, got '{one_line(twice)}' twice.")

    try:
        json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} is not JSON: {one_line(error)}.") from error
