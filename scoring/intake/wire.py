"""protobuf bytes -> the fields of a message, for the few messages of ONNX that a graph is made of.

This reads the wire format alone (https://protobuf.dev/programming-guides/encoding), so that a
graph is looked at before ONNX Runtime, which would also do what it says, sees it. The `onnx`
package is a training dependency.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from vaewatch.scoring.errors import ArtifactError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10  # bytes
MOST_FIELDS = 2_000  # of a message, but for the graph itself
_WIDTH = {FIXED64: 8, FIXED32: 4}

Field = int | memoryview


@dataclass(frozen=True)
class Message:
    """The fields of one message by number, each in the order of the bytes."""

    kind: str
    fields: Mapping[int, list[Field]]

    def one(self, number: int) -> Field | None:
        """Return a field that may be there once; None if it is not.

        Raises:
            ArtifactError: it is there twice, which readers of protobuf merge, each in its own way.
        """
        values = self.fields.get(number, [])
        if len(values) > 1:
            raise refused(f"must have each field once, got two of a {self.kind}")
        return values[0] if values else None

    def number(self, number: int) -> int:
        """Return a varint; 0 if it is not there."""
        value = self.one(number)
        if isinstance(value, memoryview):
            raise refused(f"must be an ONNX graph, got a broken {self.kind}")
        return value or 0

    def bytes(self, number: int) -> memoryview:
        """Return bytes; none if they are not there."""
        value = self.one(number)
        if isinstance(value, int):
            raise refused(f"must be an ONNX graph, got a broken {self.kind}")
        return memoryview(b"") if value is None else value

    def text(self, number: int) -> str:
        """Return a text, with control characters escaped; it may end up in an error."""
        return _text(self.bytes(number))

    def texts(self, number: int) -> list[str]:
        return [_text(value) for value in self._every(number)]

    def ints(self, number: int) -> list[int]:
        """Return repeated signed integers, packed or one by one."""
        out: list[int] = []
        for value in self.fields.get(number, []):
            if isinstance(value, int):
                out.append(value)
                continue
            at = 0
            while at < len(value):
                item, at = _varint(value, at)
                out.append(item)
                if len(out) > MOST_FIELDS:
                    raise refused(f"must be a plain graph, got a long list in a {self.kind}")
        return [value - (1 << 64) if value >> 63 else value for value in out]

    def messages(self, number: int, kind: str, known: Collection[int]) -> list[Message]:
        return [message(value, kind, known) for value in self._every(number)]

    def message(
        self, number: int, kind: str, known: Collection[int], most: int = MOST_FIELDS
    ) -> Message:
        return message(self.bytes(number), kind, known, most)

    def _every(self, number: int) -> list[memoryview]:
        values = [v for v in self.fields.get(number, []) if isinstance(v, memoryview)]
        if len(values) != len(self.fields.get(number, [])):
            raise refused(f"must be an ONNX graph, got a broken {self.kind}")
        return values


def message(
    data: memoryview, kind: str, known: Collection[int], most: int = MOST_FIELDS
) -> Message:
    """Split a message into its fields.

    Raises:
        ArtifactError: the bytes are no message, or have a field that is not `known`, or too many.
    """
    fields: dict[int, list[Field]] = {}
    for count, (number, value) in enumerate(_fields(data)):
        if number not in known:
            raise refused(f"must be a plain graph, got field {number} in a {kind}")
        if count == most:
            raise refused(f"must be a plain graph, got more than {most:,} fields in a {kind}")
        fields.setdefault(number, []).append(value)
    return Message(kind, fields)


def refused(rule: str) -> ArtifactError:
    """Return the error of a graph that is not run."""
    return ArtifactError(f"network.onnx {rule}. Do not use it; train or export it again.")


def _fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value: Field
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == BYTES:
            length, at = _varint(data, at)
        elif wire in _WIDTH:
            length = _WIDTH[wire]
        else:
            raise refused("must be an ONNX graph, got other bytes")
        if length > end - at:
            raise refused("must be an ONNX graph, got one that ends too early")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return an unsigned integer and where the next field starts."""
    value = shift = 0
    for byte in data[at : at + LONGEST_VARINT]:
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
    raise refused("must be an ONNX graph, got one that ends too early")


def _text(value: memoryview) -> str:
    return bytes(value).decode(errors="replace").encode("unicode_escape").decode()[:200]
