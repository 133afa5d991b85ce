"""Objects in S3, Google Cloud Storage and Azure, by their URLs.

Credentials, region and endpoint come from the environment, under the names that the providers' own
tools use (AWS_*, GOOGLE_*, AZURE_*), or from the role of the machine.
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
REQUEST_BYTES = 8 << 20  # so many that a round trip costs little
MOST_PARTS = 9000  # of an upload; the stores take 10,000 or more
AT_ONCE = 4  # parts that are sent at once
# where a machine asks for the credentials of its role if the environment has none -> a variable
# that gives them
MACHINE_ROLE = {
    "/latest/api/token": "AWS_ACCESS_KEY_ID",
    "/latest/meta-data/": "AWS_ACCESS_KEY_ID",
    "/computeMetadata/": "GOOGLE_APPLICATION_CREDENTIALS",
    "/metadata/identity": "AZURE_STORAGE_ACCOUNT_KEY",
}
# the code in a store's answer -> what it means
PLAIN = {
    "NoSuchBucket": "there is no such bucket",
    "ContainerNotFound": "there is no such container",
    "Account must be specified": (
        "no account was found in the environment: set AZURE_STORAGE_ACCOUNT_NAME"
    ),
}


def is_url(name: str) -> bool:
    """Return whether the name is the URL of an object; all others are paths."""
    return name.partition("://")[0] in SCHEMES and "://" in name


def plain(name: str) -> str:
    """Return a file:// URL as a path; any other name as it is.

    Raises:
        ValueError: the URL is of a kind that cannot be opened.
    """
    if "://" not in name or is_url(name):
        return name
    from urllib.request import url2pathname

    url = urlsplit(name)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return url2pathname(url.path)
    known = ", ".join(f"{scheme}://" for scheme in (*SCHEMES, "file"))
    raise ValueError(f"must be a path, or a URL of {known}, got '{name}'.")


@cache
def _store(bucket: str) -> ObjectStore:
    from obstore.store import from_url

    return from_url(bucket)


def _bucket_and_key(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key


def in_folder(url: str) -> list[str]:
    """Return the objects directly under a URL, in order of their names."""
    import obstore

    bucket, key = _bucket_and_key(url)
    with _one_line():
        found = obstore.list_with_delimiter(_store(bucket), key.rstrip("/") or None)
    return sorted(f"{bucket}/{one['path']}" for one in found["objects"])


def matching(url: str) -> list[str]:
    """Return the objects that a glob matches, in order of their names; a star matches no slash."""
    import obstore

    bucket, pattern = _bucket_and_key(url)
    parts = pattern.split("/")
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    prefix = "/".join(parts[:fixed]) or None
    with _one_line():
        keys = [one["path"] for some in obstore.list(_store(bucket), prefix) for one in some]
    fitting = (key for key in keys if PurePosixPath(f"/{key}").match(f"/{pattern}"))
    return sorted(f"{bucket}/{key}" for key in fitting)


def stamp(url: str) -> list[int | str]:
    """Return the size, time of change and entity tag, which differ once the object is replaced."""
    import obstore

    bucket, key = _bucket_and_key(url)
    with _one_line():
        head = obstore.head(_store(bucket), key)
    return [head["size"], head["last_modified"].isoformat(), head["e_tag"] or ""]


def open_object(url: str) -> BinaryIO:
    """Return a stream of an object's bytes, which can seek."""
    return io.BufferedReader(_Object(url), REQUEST_BYTES)


class _Object(io.RawIOBase):
    """Requests one range after the other, each of the same version of the object."""

    def __init__(self, url: str) -> None:
        bucket, self._key = _bucket_and_key(url)
        size, _, tag = stamp(url)
        self._store, self._size, self._at = _store(bucket), int(size), 0
        self._same: dict[str, Any] = {"if_match": tag} if tag else {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        )
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        import obstore

        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        with _one_line():
            options: Any = {"range": (self._at, end), **self._same}
            data = memoryview(obstore.get(self._store, self._key, options=options).bytes())
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def upload(source: Path, url: str) -> None:
    """Write a file to an object, which appears when its last part has arrived."""
    import obstore

    bucket, key = _bucket_and_key(url)
    part = max(REQUEST_BYTES, -(-source.stat().st_size // MOST_PARTS))
    with _one_line(), open(source, "rb") as file:
        obstore.put(_store(bucket), key, file, chunk_size=part, max_concurrency=AT_ONCE)


def put(data: bytes, url: str) -> None:
    """Write a small object."""
    import obstore

    bucket, key = _bucket_and_key(url)
    with _one_line():
        obstore.put(_store(bucket), key, data)


def require_writable(url: str) -> None:
    """Find out before the work is done: write an empty object beside the URL, and delete it."""
    import obstore

    bucket, key = _bucket_and_key(url)
    folder, _, name = key.rpartition("/")
    trial = f"{folder}/.{name}.draft".lstrip("/")
    with _one_line():
        obstore.put(_store(bucket), trial, b"")
        obstore.delete(_store(bucket), trial)


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn the error of a store into one line; obstore adds pages for its developers."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (FileNotFoundError, BaseError) as error:
        raise OSError(_reason(error)) from error


def _reason(error: Exception) -> str:
    from obstore.exceptions import PermissionDeniedError, PreconditionError, UnauthenticatedError

    text = str(error)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return "the credentials do not allow it"
    if isinstance(error, PreconditionError):
        return "it changed while it was read"
    for word, plainly in PLAIN.items():
        if word in text:
            return plainly
    if isinstance(error, FileNotFoundError):
        return "there is no such object, or no such bucket"
    for path, variable in MACHINE_ROLE.items():
        if path in text:
            return (
                f"no credentials were found in the environment (such as {variable}), and this "
                "machine has no role"
            )
    said = re.search(r"<Code>(\w+)</Code>\s*<Message>([^<\n]*)", text)
    if said:
        return f"the store answered {said[1]}: {said[2].rstrip('.')}"
    text = re.sub(r"^((Generic \w+|GCP credential) error: )+", "", text)
    return text.split("\n")[0].removesuffix(": ").rstrip(".")
