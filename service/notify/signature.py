"""secrets, message -> the headers that prove who sent it, as Standard Webhooks 1.0 has them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from vaewatch.scoring.errors import SettingError
from vaewatch.service.secret import secret

PREFIX = "whsec_"
LEAST, MOST = 24, 64  # bytes of a secret
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
    """Read the secrets of VAEWATCH_NOTIFY_SECRET or its file; empty if neither is set.

    Raises:
        SettingError: one is set and holds no secret.
    """
    found = secret(ENVIRONMENT)
    if found is None:
        return ()
    secrets = read_secrets(found.text, found.where)
    if not secrets:
        raise SettingError(f"{found.where} must hold a secret, got nothing. {MAKE}")
    return secrets
