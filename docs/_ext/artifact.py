"""The artifact -> a table of its files, and one of its manifest's members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from _ext.markdown import code, table
from vaewatch.scoring.artifact import FILES, NEEDED, NEEDED_OF_WINDOWS
from vaewatch.scoring.manifest import MANIFEST, Manifest


def artifact_files() -> str:
    """The files of an artifact, and which of them scoring needs."""
    rows = (
        (code(name), meaning, "yes" if name in (*NEEDED, *NEEDED_OF_WINDOWS, MANIFEST) else "")
        for name, meaning in FILES.items()
    )
    return table(("file", "holds", "to score"), rows)


def manifest_members() -> str:
    """The members of `manifest.json`."""
    schema = msgspec.json.schema(Manifest)
    return table(("member", "type", "meaning"), _declared(schema, schema["$defs"], "", set()))


def settings_of_manifest() -> Mapping[str, str]:
    """Return what the manifest's struct says of each training setting."""
    schema = msgspec.json.schema(Manifest)
    member, known = _struct(schema, schema["$defs"])["properties"]["training"], schema["$defs"]
    settings = _struct(_inner(member)[0], known)["properties"]
    return {name: described.get("description", "") for name, described in settings.items()}


def _declared(
    schema: Mapping[str, Any], known: Mapping[str, Any], prefix: str, above: set[str]
) -> Iterator[tuple[str, str, str]]:
    """Each member of a struct, those of structs within it after their own line."""
    for name, member in _struct(schema, known).get("properties", {}).items():
        inner, many = _inner(member)
        text = member.get("description", "")
        kind = _kind(member, known)
        yield code(f"{prefix}{name}"), kind, text
        ref = inner.get("$ref", "")
        if ref and ref not in above:
            beneath = f"{prefix}{name}{'[]' if many else ''}."
            yield from _declared(inner, known, beneath, above | {ref})


def _struct(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference leads to."""
    while "$ref" in schema:
        schema = known[schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def _inner(member: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """(the schema of what a member holds, whether it holds many of them)."""
    for option in member.get("anyOf", ()):
        if option.get("type") != "null":
            return _inner(option)
    items = member.get("items")
    if isinstance(items, dict):
        return items, True
    return member, False


def _kind(member: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "anyOf" in member:
        return " or ".join(_kind(option, known) for option in member["anyOf"])
    if "$ref" in member:
        return _kind(known[member["$ref"].rsplit("/", 1)[-1]], known)
    if "enum" in member:
        return " or ".join(f"`{value}`" for value in member["enum"])
    items = member.get("items")
    if isinstance(items, dict):
        return f"array of {_kind(items, known)}s"
    found = member.get("type", "any")
    return " or ".join(found) if isinstance(found, list) else str(found)
