"""settings -> Receivers: the addresses of notifications, each with its format and its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vaewatch.scoring.errors import SettingError
from vaewatch.service.notify import signature
from vaewatch.service.notify.address import WEBHOOK, Address
from vaewatch.service.notify.formats.choice import OF, Format
from vaewatch.service.notify.signature import ENVIRONMENT, MAKE
from vaewatch.service.settings import Settings


@dataclass(frozen=True)
class Receiver:
    """Who is notified. name: in metrics and the log; it holds nothing of the address.

    secrets: those that sign what it is sent; empty where its format knows no signature.
    """

    name: str
    address: Address
    secrets: tuple[bytes, ...] = ()

    @property
    def format(self) -> Format:
        return OF[self.address.format]

    def __str__(self) -> str:
        return f"{self.name} at {self.address}"


def receivers_of(
    texts: Sequence[str], formats: Sequence[str] = (), secrets: tuple[bytes, ...] = ()
) -> tuple[Receiver, ...]:
    """Read the URLs of receivers. formats: one for all of them or one for each; none: by the URL.

    Raises:
        SettingError: one is no address, or is signed and there is no secret.
    """
    if len(formats) > 1 and len(formats) != len(texts):
        raise SettingError(
            f"--notify-format must be given once, or once for each of the {len(texts)} --notify, "
            f"got it {len(formats)} times."
        )
    each = formats if len(formats) == len(texts) else tuple(formats) * len(texts)
    addresses = [
        Address.of(text, each[i] if each else None, _what(i, len(texts)))
        for i, text in enumerate(texts)
    ]
    if len({address.key for address in addresses}) < len(addresses):
        raise SettingError("each --notify must have an address of its own, got one twice.")
    if not secrets and any(address.format == WEBHOOK for address in addresses):
        raise SettingError(
            f"a webhook must be signed: set {ENVIRONMENT} or {ENVIRONMENT}_FILE. {MAKE}"
        )
    return tuple(_named(addresses, secrets))


def receivers_of_settings(texts: Sequence[str], formats: Sequence[str]) -> tuple[Receiver, ...]:
    """Return the receivers that a command was given.

    Raises:
        SettingError: a setting is not as it must be.
    """
    return receivers_of(texts, formats, signature.of_environment()) if texts else ()


def require_receivers(settings: Settings) -> None:
    """Refuse receivers that cannot be notified.

    Raises:
        SettingError: a setting is not as it must be.
    """
    receivers_of_settings(settings.notify, settings.notify_format)
    link = settings.notify_link
    if link is not None:
        Address.of(link, what="--notify-link")


def _what(index: int, count: int) -> str:
    return "--notify" if count == 1 else f"the {index + 1}. --notify"


def _named(addresses: Sequence[Address], secrets: tuple[bytes, ...]) -> list[Receiver]:
    """Name receivers by their format, and by a number from the second one of a format on."""
    counts: Counter[str] = Counter()
    found = []
    for address in addresses:
        counts[address.format] += 1
        n = counts[address.format]
        name = address.format if n == 1 else f"{address.format}-{n}"
        found.append(Receiver(name, address, secrets if address.format == WEBHOOK else ()))
    return found
