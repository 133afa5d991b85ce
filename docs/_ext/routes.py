"""The service's own OpenAPI document -> routes, parameters, bodies, answers and schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from _ext.markdown import code, directive, sentence, table
from _ext.running import observed


def route_reference() -> str:
    """An entry for each route and method."""
    paths = observed().openapi["paths"]
    return "\n".join(
        _entry(f"{method.upper()} {path}", operation)
        for path, operations in paths.items()
        for method, operation in operations.items()
    )


def error_reference() -> str:
    """The statuses that are not 200, with what each means."""
    found: dict[str, str] = {}
    for operations in observed().openapi["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status != "200":
                    found.setdefault(status, answer["description"])
    return table(("status", "when"), ((code(s), sentence(found[s])) for s in sorted(found)))


def schema_reference() -> str:
    """A table of members for each object that bodies and answers hold; the words of a word."""
    schemas = observed().openapi["components"]["schemas"]
    return "\n".join(
        f"### {name}\n\n{_about(schema)}{_members(schema)}"
        for name, schema in sorted(schemas.items())
        if schema.get("properties") or "enum" in schema
    )


def _entry(title: str, operation: Mapping[str, Any]) -> str:
    parts = [sentence(operation.get("summary", "")), operation.get("description", "")]
    asked = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    if asked:
        parts.append(table(("query", "type", "meaning"), map(_parameter, asked)))
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        parts.append(f"Body: {_media(body)}")
    answer = operation["responses"].get("200", {}).get("content", {})
    if answer:
        parts.append(f"Answer: {_media(answer)}")
    return directive("route", title, "\n\n".join(filter(None, parts)))


def _media(content: Mapping[str, Any]) -> str:
    """The media type, or a line for each of several, with what it holds."""
    lines = [f"`{media}`{_object(entry)}" for media, entry in content.items()]
    return lines[0] if len(lines) == 1 else "".join(f"\n\n- {line}" for line in lines)


def _object(entry: Mapping[str, Any]) -> str:
    schema = entry.get("schema", {})
    text = _type(schema) if "$ref" in schema else schema.get("description", "")
    return f": {text}" if text else ""


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    schema, meaning = parameter["schema"], parameter.get("description", "")
    return code(parameter["name"]), _type(schema), meaning


def _about(schema: Mapping[str, Any]) -> str:
    text = " ".join(schema.get("description", "").split())
    return f"{text}\n\n" if text else ""


def _members(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"{_type(schema)}\n"
    required = set(schema.get("required", ()))
    rows = (
        (code(name), _type(member), "yes" if name in required else "", _described(member))
        for name, member in schema["properties"].items()
    )
    return table(("member", "type", "always", "meaning"), rows)


def _described(member: Mapping[str, Any]) -> str:
    return str(member.get("description", ""))


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON type in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    return ", ".join(_types(schema)) or "any"


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    if "enum" in schema:
        yield " or ".join(f"`{value}`" for value in schema["enum"])
    elif "anyOf" in schema or "oneOf" in schema:
        yield " or ".join(map(_type, schema.get("anyOf") or schema["oneOf"]))
    elif isinstance(schema.get("type"), list):
        yield " or ".join(schema["type"])
    elif schema.get("type") == "array":
        yield f"array of {_type(schema.get('items', {}))}"
    elif "type" in schema:
        yield f"{schema['type']}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum", schema.get("exclusiveMaximum"))
    return f", {low:g} to {high:g}" if low is not None and high is not None else ""
