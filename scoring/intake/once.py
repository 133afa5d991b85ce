"""JSON -> refused where an object has a key twice: readers differ in which value they keep."""

from __future__ import annotations

import json
from typing import Any

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.text import one_line


def read_json(content: bytes, name: str) -> Any:
    """Return what a file of JSON holds.

    Raises:
        ArtifactError: one has a key twice, or the file is no JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for i, key in enumerate(keys) if key in keys[:i])
            raise ArtifactError(f"{name} must have each key once, got '{one_line(twice)}' twice.")
        return found

    try:
        return json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} is not JSON: {one_line(error)}.") from error
