"""msgspec's error -> which key of JSON is missing or wrong, in our words."""

from __future__ import annotations

import re

import msgspec

from vaewatch.scoring.intake.text import one_line

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
}


def _worded(kinds: str) -> str:
    """Return msgspec's `int | null` in words."""
    kinds = kinds.replace("int | float", "float")
    return " or ".join(_WORDS.get(kind, kind) for kind in kinds.split(" | "))


def broken_key(error: msgspec.ValidationError) -> str:
    """Say in our words which key is missing or wrong, such as `calibration.n`."""
    text, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", text):
        return f"lacks the key '{'.'.join(filter(None, [path, missing[1]]))}'"
    if wrong := re.fullmatch(r"Expected `(.+)`, got `(.+)`", text):
        must, got = (_worded(x) for x in wrong.groups())
        return f"must hold {must} in the key '{path}', got {got}"
    return f"has a wrong key '{one_line(path)}': {one_line(text).rstrip('.')}"
