"""The artifact -> a table of its files, and one of its manifest's members."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from _ext.markdown import code, table
from _ext.running import ARTIFACT
from vaewatch.scoring import artifact

MANIFEST = "manifest.json"
TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}


def artifact_files() -> str:
    """The files of an artifact, and which of them scoring needs."""
    needed = (*artifact.NEEDED, MANIFEST)
    shown = json.loads((ARTIFACT / MANIFEST).read_text())
    names = dict.fromkeys([MANIFEST, *shown["sha256"]], "")
    meanings: Mapping[str, str] = getattr(artifact, "FILES", names)
    rows = (
        (code(name), meaning, "yes" if name in needed else "")
        for name, meaning in meanings.items()
    )
    return table(("file", "holds", "to score"), rows)


def manifest_members() -> str:
    """The members of `manifest.json`: from the typed struct where there is one, else as the kept
    artifact shows them.
    """
    schema = _schema()
    if schema is None:
        shown = json.loads((ARTIFACT / MANIFEST).read_text())
        return table(("member", "type"), _seen(shown))
    rows = _declared(schema, schema["$defs"], "", set())
    return table(("member", "type", "meaning"), rows)


def settings_of_manifest() -> Mapping[str, str]:
    """training setting -> what the manifest's struct says of it."""
    schema = _schema()
    if schema is None:
        return {}
    member, known = _struct(schema, schema["$defs"])["properties"]["training"], schema["$defs"]
    settings = _struct(_inner(member)[0], known)["properties"]
    return {name: described.get("description", "") for name, described in settings.items()}


def _schema() -> dict[str, Any] | None:
    """The JSON schema of a manifest."""
    try:
        struct = importlib.import_module("vaewatch.scoring.manifest").Manifest
    except ModuleNotFoundError:
        return None
    return msgspec.json.schema(struct)


def _seen(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        yield code(f"{prefix}{name}"), TYPES.get(type(value), "number or null")
        if isinstance(value, dict) and not prefix and value:
            yield from _seen(value, f"{name}.")


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
