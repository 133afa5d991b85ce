"""secrets, message -> the headers that prove who sent it, as Standard Webhooks 1.0 has them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from vaewatch.scoring.errors import SettingError

PREFIX = "whsec_"
LEAST, MOST = 24, 64  # bytes of a secret
MOST_TEXT = 4096  # bytes of a file of secrets
ENVIRONMENT = "VAEWATCH_NOTIFY_SECRET"
MAKE = 'Make one: echo "whsec_$(openssl rand -base64 32)"'


def headers(secrets: Iterable[bytes], message: str, seconds: int, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt: each secret signs, so that a receiver can change to
    another one without a message lost.

    message: the id of what is sent, the same in each attempt. seconds: Unix time of this attempt.
    """
    signed = f"{message}.{seconds}.".encode() + body
    digests = (hmac.digest(secret, signed, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }


def read_secrets(text: str, what: str) -> tuple[bytes, ...]:
    """Read the secrets of a text, with blanks between: the present one, and those before it that
    receivers may still know.

    Raises:
        SettingError: one is not as Standard Webhooks has it.
    """
    return tuple(_secret(word, what) for word in text.split())


def _secret(word: str, what: str) -> bytes:
    try:
        secret = base64.b64decode(word.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not word.startswith(PREFIX) or not LEAST <= len(secret) <= MOST:
        raise SettingError(
            f"{what} must hold {PREFIX} and then base64 of {LEAST} to {MOST} bytes. {MAKE}"
        )
    return secret


def of_environment() -> tuple[bytes, ...]:
    """Read VAEWATCH_NOTIFY_SECRET, or the file that VAEWATCH_NOTIFY_SECRET_FILE names; empty if
    neither is set.

    Raises:
        SettingError: one is set and holds no secret.
    """
    text, what = text_of_environment(ENVIRONMENT)
    if text is None:
        return ()
    secrets = read_secrets(text, what)
    if not secrets:
        raise SettingError(f"{what} must hold a secret, got nothing. {MAKE}")
    return secrets


def text_of_environment(name: str) -> tuple[str | None, str]:
    """Return what a variable holds, or the file that NAME_FILE names, and words for where it was
    found; None if neither is set.

    Raises:
        SettingError: the file cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        return os.environ.get(name), name
    what = f"the file '{path}' of {name}_FILE"
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_TEXT + 1)
        if len(content) > MOST_TEXT:
            raise SettingError(f"{what} must be at most {MOST_TEXT:,} bytes.")
        return content.decode("utf-8-sig"), what
    except OSError as error:
        raise SettingError(f"{what} must be readable: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{what} must be text in UTF-8, got other bytes.") from error
