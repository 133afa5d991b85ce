"""Signatures, read by the library that Standard Webhooks publishes for receivers."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from vaewatch.scoring.errors import SettingError
from vaewatch.service.notify.signature import headers, of_environment, read_secrets

NEW, OLD = bytes(range(32)), bytes(range(24))
BODY = b'{"type":"incident.opened"}'


def text_of(secret: bytes) -> str:
    return f"whsec_{base64.b64encode(secret).decode()}"


def test_a_receiver_accepts_what_is_signed_with_its_secret():
    now = int(time.time())
    found = headers((NEW,), "msg_a_1", now, BODY)
    assert Webhook(text_of(NEW)).verify(BODY, found) == {"type": "incident.opened"}
    assert found["webhook-id"] == "msg_a_1" and found["webhook-timestamp"] == str(now)


def test_a_receiver_with_the_secret_before_accepts_it_as_well():
    found = headers((NEW, OLD), "msg_a_1", int(time.time()), BODY)
    for secret in (NEW, OLD):
        Webhook(text_of(secret)).verify(BODY, found)


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body", "secret"])
def test_a_receiver_refuses_what_was_changed(change: str):
    found, body, secret = headers((NEW,), "msg_a_1", int(time.time()), BODY), BODY, NEW
    if change == "body":
        body = BODY.replace(b"opened", b"ended")
    elif change == "secret":
        secret = OLD
    elif change == "webhook-id":
        found[change] = "msg_a_2"
    else:
        found[change] = str(int(found[change]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(text_of(secret)).verify(body, found)


def test_the_example_of_the_specification_is_signed_as_there():
    """The vector of the specification's reference libraries."""
    (secret,) = read_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "it")
    body = b'{"test": 2432232314}'
    found = headers((secret,), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_several_secrets_may_be_given():
    assert read_secrets(f"{text_of(NEW)}\n {text_of(OLD)}\n", "it") == (NEW, OLD)


BAD = ["whsec_", "whsec_short", text_of(bytes(23)), text_of(bytes(65)), text_of(NEW)[6:]]


@pytest.mark.parametrize("text", [*BAD, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSé"])
def test_what_is_no_secret_is_refused_without_being_shown(text: str):
    with pytest.raises(SettingError, match="must hold whsec_ and then base64 of 24") as caught:
        read_secrets(text, "it")
    assert len(text) < 10 or text not in str(caught.value)


def test_secrets_come_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert of_environment() == ()
    monkeypatch.setenv("VAEWATCH_NOTIFY_SECRET", text_of(OLD))
    assert of_environment() == (OLD,)
    path = tmp_path / "secret"
    path.write_text(f"{text_of(NEW)}\n")
    monkeypatch.setenv("VAEWATCH_NOTIFY_SECRET_FILE", str(path))
    assert of_environment() == (NEW,)
    path.write_text("\n")
    with pytest.raises(SettingError, match="must hold a secret, got nothing"):
        of_environment()
    path.unlink()
    with pytest.raises(SettingError, match="must be readable: No such file"):
        of_environment()
