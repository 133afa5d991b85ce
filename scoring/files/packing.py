"""packed bytes -> bytes, and back: gzip and Zstandard, as the ending of a name says."""

from __future__ import annotations

import gzip
import io
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

PACKED = (".gz", ".zst")


def packing_of(name: str) -> str:
    """Return the ending of a packed file's name; empty if the file is not packed."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in PACKED else ""


def unpack(stream: BinaryIO, packing: str, stack: ExitStack) -> Any:
    """Return the stream without its packing; `stack` closes it."""
    if packing == ".gz":
        return stack.enter_context(gzip.open(stream, "rb"))
    if packing == ".zst":
        return stack.enter_context(io.BufferedReader(_Zst(stream), 1 << 20))
    return stream


def pack(data: bytes, packing: str) -> bytes:
    """Return the bytes as one packed member or frame; these may follow each other in a file."""
    if packing == ".gz":
        return gzip.compress(data, 6, mtime=0)
    return zstandard.compress(data) if packing == ".zst" else data


class _Zst(io.RawIOBase):
    """Unpacks frame after frame. Unlike the library's own reader, it notices that a file was cut
    off, and it can seek to any offset, from the start if need be.
    """

    def __init__(self, packed: BinaryIO) -> None:
        self._file = packed
        self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun, self._ready, self._at = False, b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._unpack():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready, self._at = self._ready[size:], self._at + size
        return size

    def _unpack(self) -> bool:
        packed = self._frame.unused_data if self._frame.eof else b""
        packed = packed or self._file.read(1 << 16)
        if not packed:
            if self._begun and not self._frame.eof:
                raise zstandard.ZstdError("it ends in the middle")
            return False
        if self._frame.eof:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun, self._ready = True, self._frame.decompress(packed)
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("can only seek from the start")
        if offset < self._at:
            self._restart()
        while self._at < offset and self.read(min(offset - self._at, 1 << 20)):
            pass
        return self._at

    def tell(self) -> int:
        return self._at
