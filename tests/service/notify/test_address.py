"""Where notifications go, and what of it may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.deployed import settings_of
from vaewatch.scoring.errors import SettingError
from vaewatch.service.notify.address import ALERTMANAGER, SLACK, WEBHOOK, Address
from vaewatch.service.notify.receiver import receivers_of

SECRET = bytes(range(32))


@pytest.mark.parametrize(
    ("url", "format", "target"),
    [
        ("https://pager.example/in?team=a", WEBHOOK, "/in?team=a"),
        ("https://pager.example", WEBHOOK, "/"),
        ("https://hooks.slack.com/services/T0/B0/x", SLACK, "/services/T0/B0/x"),
        ("http://alerts:9093/api/v2/alerts", ALERTMANAGER, "/api/v2/alerts"),
    ],
)
def test_the_format_is_that_which_a_url_looks_like(url: str, format: str, target: str):
    address = Address.of(url)
    assert (address.format, address.target) == (format, target)


@pytest.mark.parametrize("path", ["", "/", "/api/v2/alerts"])
def test_alertmanager_may_be_named_by_its_root(path: str):
    address = Address.of(f"http://127.0.0.1:9093{path}", ALERTMANAGER)
    assert (address.host, address.port) == ("127.0.0.1", 9093)
    assert address.target == "/api/v2/alerts"


def test_a_prefix_of_alertmanager_stays():
    assert Address.of("http://am:80/alerts/", ALERTMANAGER).target == "/alerts/api/v2/alerts"


def test_a_user_and_a_password_are_sent_as_a_header():
    address = Address.of("https://ann:p%40ss@pager.example/in")
    assert address.authorization == "Basic YW5uOnBAc3M="
    assert Address.of("https://pager.example/in").key == address.key


@pytest.mark.parametrize(
    "url",
    [
        "pager.example/hidden",
        "ftp://pager.example/hidden",
        "https:///hidden",
        "https://pager.example:99999/hidden",
        "https://pager.example/hid den",
        "https://pager.example/hidden#part",
        "https://pager.example/hidden\u2028",
        "https://[::1/hidden",
    ],
)
def test_what_is_no_address_is_refused_without_being_shown(url: str):
    with pytest.raises(SettingError, match=r"--notify must") as caught:
        Address.of(url)
    assert "hidden" not in str(caught.value) and "hid" not in str(caught.value)


def test_receivers_are_named_by_format_and_number():
    urls = ("https://a.example/1", "https://hooks.slack.com/services/2", "https://a.example/3")
    receivers = receivers_of(urls, secrets=(SECRET,))
    assert [each.name for each in receivers] == ["webhook", "slack", "webhook-2"]
    assert [str(each) for each in receivers][1] == "slack at hooks.slack.com"
    assert [each.secrets for each in receivers] == [(SECRET,), (), (SECRET,)]


def test_one_format_is_for_all_receivers_or_there_is_one_for_each():
    urls = ("https://a.example/1", "https://a.example/2")
    assert [r.address.format for r in receivers_of(urls, ["slack"])] == ["slack", "slack"]
    mixed = receivers_of(urls, ["slack", "alertmanager"])
    assert [r.address.format for r in mixed] == ["slack", "alertmanager"]
    with pytest.raises(SettingError, match="once for each of the 2 --notify, got it 3 times"):
        receivers_of(urls, ["slack"] * 3)


def test_a_receiver_that_is_named_twice_is_refused():
    with pytest.raises(SettingError, match="got one twice"):
        receivers_of(["https://a.example/1"] * 2, secrets=(SECRET,))


def test_a_bad_one_of_several_is_named_by_its_place():
    with pytest.raises(SettingError, match=r"the 2\. --notify must be"):
        receivers_of(["https://a.example/1", "nothing"], secrets=(SECRET,))


def test_a_webhook_without_a_secret_is_refused():
    with pytest.raises(SettingError, match="must be signed: set VAEWATCH_NOTIFY_SECRET"):
        receivers_of(["https://a.example/1"])


def test_addresses_come_from_a_file(tmp_path: Path):
    path = tmp_path / "receivers"
    path.write_text("# who is on call\nhttps://hooks.slack.com/services/1\n\n http://am:9093/ \n")
    env = {"VAEWATCH_NOTIFY_FILE": str(path), "VAEWATCH_NOTIFY": "http://other:9093"}
    found = ("https://hooks.slack.com/services/1", "http://am:9093/")
    assert settings_of(["serve", "a"], env)["notify"] == found
    assert settings_of(["serve", "a", "--notify", "http://b"], env)["notify"] == ("http://b",)
    assert settings_of(["serve", "a"])["notify"] == ()
    path.write_text("# nobody\n")
    for bad in (env, {"VAEWATCH_NOTIFY": ""}):
        with pytest.raises(SettingError, match="must hold a URL, got nothing"):
            settings_of(["serve", "a"], bad)
