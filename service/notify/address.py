"""text of --notify -> Address: where notifications go. Its path and its user may be secrets, so
that no message, log line or store holds more of it than the host.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from vaewatch.scoring.errors import SettingError

WEBHOOK, SLACK, ALERTMANAGER = FORMATS = ("webhook", "slack", "alertmanager")
ALERTS = "/api/v2/alerts"  # of Alertmanager
SLACK_HOSTS = (".slack.com", ".slack-gov.com")
PORTS = {"http": 80, "https": 443}
MUST = "must be http://HOST/PATH or https://HOST/PATH"


@dataclass(frozen=True)
class Address:
    """A place that takes POST. format: one of FORMATS.

    target: the path and query. authorization: the header that its user and password make.
    """

    format: str
    secure: bool
    host: str
    port: int
    target: str
    authorization: str | None = None

    @classmethod
    def of(cls, text: str, format: str | None = None, what: str = "--notify") -> Address:
        """Read a URL. Without a format it is that which the URL looks like.

        Raises:
            SettingError: it is no URL of this kind; the text does not say which one it was.
        """
        parts = _parts(text, what)
        host = parts.hostname
        assert host is not None
        path = parts.path or "/"
        format = format or _format_of(host, path)
        if format == ALERTMANAGER and not path.endswith(ALERTS):
            path = path.rstrip("/") + ALERTS
        return cls(
            format,
            parts.scheme == "https",
            host,
            parts.port or PORTS[parts.scheme],
            f"{path}?{parts.query}" if parts.query else path,
            _authorization(parts),
        )

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that stand for the address in the store."""
        content = f"{self.format}\0{self.host}\0{self.port}\0{self.target}"
        return hashlib.blake2b(content.encode(), digest_size=6).hexdigest()

    def __str__(self) -> str:
        return self.host


def _parts(text: str, what: str) -> SplitResult:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise SettingError(f"{what} {MUST} in printable ASCII, got other characters.")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018, which raises here if it is no port
    except ValueError as error:
        raise SettingError(f"{what} {MUST}, got another text.") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise SettingError(f"{what} {MUST}, got another text.")
    if parts.fragment:
        raise SettingError(f"{what} must have no part after #.")
    return parts


def _format_of(host: str, path: str) -> str:
    if host.endswith(SLACK_HOSTS):
        return SLACK
    return ALERTMANAGER if path.endswith(ALERTS) else WEBHOOK


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
