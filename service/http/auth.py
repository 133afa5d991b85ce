"""key -> scope: may the caller score, give feedback, or change the model, too?

Keys are long random strings, so a plain SHA-256 hides them well; they are compared in constant
time. The file of hashed keys is read again when it changes, so that a key is rotated without a
restart.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import ssl
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from vaewatch.scoring.errors import SettingError
from vaewatch.service.http.exchange import Request
from vaewatch.service.http.pages import SCRIPTS, STYLES
from vaewatch.service.http.problems import Forbidden, Unauthorized
from vaewatch.service.secret import secret, text_of
from vaewatch.service.settings import Settings

log = logging.getLogger("vaewatch.service")

LEAST_KEY = 16  # characters
MAKE = 'Make one: printf %s "$KEY" | sha256sum'
ENVIRONMENT = "VAEWATCH_KEY"  # the name of the key that the environment gives
NO_KEY = hashlib.sha256().digest()
_HASH = re.compile(r"[0-9A-Fa-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Scope(IntEnum):
    """What a key allows and a route asks for; a higher scope includes the lower ones."""

    NONE = 0
    SCORE = 1
    FEEDBACK = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()


SCOPES = {scope.word: scope for scope in Scope if scope is not Scope.NONE}


HEALTH = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"}
PROBES = HEALTH | {"/metrics"}  # answered however many connections there are
OPEN = HEALTH | {"/", "/docs", "/openapi.json"}
OPEN |= {f"/console/{name}" for name in (*STYLES, *SCRIPTS)}
ADMIN = {"/v1/reload", "/v1/promote"}


@dataclass(frozen=True)
class Key:
    """A key, known only by its SHA-256. `name`: of whoever has it, for the audit log."""

    digest: bytes
    scope: Scope
    name: str


def hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read lines of `SCOPE HASH [NAME]`, where the scope is score, feedback or admin; # starts a
    comment. A key without a name has the first digits of its hash.

    Raises:
        SettingError: the file cannot be read, holds no key, or a line is something else.
    """
    keys = []
    text = text_of(path, f"the keys file '{path}'", regular=True)
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            keys.append(_key(words, f"'{path}', line {number}"))
    if not keys:
        raise SettingError(f"the keys file '{path}' must hold at least one key, got none. {MAKE}")
    return tuple(keys)


def _key(words: list[str], where: str) -> Key:
    scope = SCOPES.get(words[0])
    hexadecimal = len(words) > 1 and _HASH.fullmatch(words[1])
    if scope is None or not hexadecimal or len(words) > 3:
        raise SettingError(
            f"{where} must be 'score', 'feedback' or 'admin' and the SHA-256 of a key in hex, and "
            f"may end with a name. {MAKE}"
        )
    digest = bytes.fromhex(words[1])
    if digest == NO_KEY:
        raise SettingError(f"{where} must have the SHA-256 of a key, got that of nothing. {MAKE}")
    named = len(words) == 3 and words[2] != "-"  # which sha256sum writes in place of a file
    name = words[2] if named else words[1][:8].lower()
    if not _NAME.fullmatch(name):
        raise SettingError(f"{where} must end with a name of letters, digits and '-._'.")
    return Key(digest, scope, name)


@dataclass
class Keys:
    """The keys that are valid now."""

    settings: Settings
    _given: tuple[Key, ...] = ()
    _filed: tuple[Key, ...] = ()
    _stamp: tuple[int, int] = (0, 0)
    _fault: str = ""  # of the file, as it was last logged

    def __post_init__(self) -> None:
        if self.settings.key:
            if len(self.settings.key) < LEAST_KEY:
                raise SettingError(f"a key must have at least {LEAST_KEY} characters.")
            self._given = (Key(hashed(self.settings.key), Scope.ADMIN, ENVIRONMENT),)
        if self.settings.keys_file is not None:
            self._filed = read_keys(self.settings.keys_file)
            self._stamp = _stamp(self.settings.keys_file)
        self.wanted = bool(self._given or self.settings.keys_file)

    def check(self, request: Request) -> None:
        """Refuse a request whose key does not have the scope of its route.

        Raises:
            Unauthorized: the key is missing or unknown.
            Forbidden: it lacks the scope, or the request comes from another site's page.
        """
        if request.path in ADMIN:
            require_same_origin(request)
        needed = self._needed(request.path) if self.wanted else Scope.NONE
        if needed is Scope.NONE:
            return
        given = _given_key(request)
        if given is None:
            raise Unauthorized("a key must be sent, as 'Authorization: Bearer KEY'.")
        key = self._key_of(given)
        if key is None:
            raise Unauthorized("the key must be one of this service; it is not.")
        request.key = key.name
        if key.scope < needed:
            raise lacks(needed, key.scope)

    def require(self, request: Request, needed: Scope) -> None:
        """Refuse a request that may not change anything, on a route whose path does not say what
        it takes.

        Raises:
            Forbidden: its key lacks the scope, or it comes from another site's page.
        """
        require_same_origin(request)
        scope = self.scope_of(request)
        if scope < needed:
            raise lacks(needed, scope)

    def scope_of(self, request: Request) -> Scope:
        """Return what a request may do: everything, where no key is wanted."""
        if not self.wanted:
            return Scope.ADMIN
        given = _given_key(request)
        key = None if given is None else self._key_of(given)
        return Scope.NONE if key is None else key.scope

    def _needed(self, path: str) -> Scope:
        if path in OPEN or (path == "/metrics" and not self.settings.metrics_key):
            return Scope.NONE
        return Scope.ADMIN if path in ADMIN else Scope.SCORE

    def _key_of(self, given: bytes) -> Key | None:
        """Compare with every key, so that the time reveals nothing."""
        digest, found = hashlib.sha256(given).digest(), None
        for key in (*self._given, *self._filed):
            if hmac.compare_digest(digest, key.digest) and (not found or key.scope > found.scope):
                found = key
        return found

    def look_again(self) -> None:
        """Read the file again if it has changed; the server calls this every second."""
        path = self.settings.keys_file
        if path is None:
            return
        try:
            stamp = _stamp(path)
            if stamp != self._stamp:
                self._filed, self._stamp = read_keys(path), stamp
                log.info("keys file read again: %d keys", len(self._filed))
            self._fault = ""
        except (OSError, SettingError) as error:
            if str(error) != self._fault:  # else the log would have it every second
                log.error("the keys file is bad, the keys read before stay valid: %s", error)
            self._fault = str(error)


def lacks(needed: Scope, scope: Scope) -> Forbidden:
    """The refusal of a key without a scope."""
    return Forbidden(f"the key must have the {needed.word} scope for this; it has {scope.word}.")


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()  # by the time of any change: whoever writes a file can set its mtime
    return found.st_ctime_ns, found.st_ino


def require_same_origin(request: Request) -> None:
    """Refuse a request that a browser sends for a page of another origin. Browsers that do not
    name the site of the page, as over plain HTTP, name its origin; other clients name neither.

    Raises:
        Forbidden: it is one.
    """
    headers = request.headers
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None:
        same = site.strip().lower() in (b"same-origin", b"none")
    else:
        same = origin is None or _is_here(origin, headers.get(b"host", b""))
    if not same:
        raise Forbidden("a page of another site may not do this.")


def _is_here(origin: bytes, host: bytes) -> bool:
    """Whether an origin is that of a host; a proxy may have ended its TLS."""
    scheme, _, place = origin.strip().lower().partition(b"://")
    port = {b"http": b":80", b"https": b":443"}.get(scheme)
    if port is None:  # as of `null`, which is any page
        return False
    return place.removesuffix(port) == host.strip().lower().removesuffix(port)


def _given_key(request: Request) -> bytes | None:
    bearer = request.headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip()
    return request.headers.get(b"x-api-key")


def key_of_environment() -> str | None:
    """Read VAEWATCH_KEY, or the file that VAEWATCH_KEY_FILE names; None if neither is set. Blanks
    and line ends around the key are no part of it.

    Raises:
        SettingError: one is set and holds no key: the service must not be open because of that.
    """
    found = secret(ENVIRONMENT)
    if found is None:
        return None
    key, what = found.text.strip(), found.where
    if not key:
        raise SettingError(f"{what} must hold a key, got nothing. Unset it to serve without one.")
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'":
        raise SettingError(f"{what} must hold a key without quotes around it.")
    if not key.isprintable():
        raise SettingError(f"{what} must hold one key on one line of printable text.")
    return key


def require_safe_address(settings: Settings) -> None:
    """Refuse to serve beyond this machine without a key."""
    keyed = settings.key or settings.keys_file
    if settings.uds or keyed or settings.insecure or _is_loopback(settings.host):
        return
    raise SettingError(
        f"a service on {settings.host} must have keys: set VAEWATCH_KEY or --keys-file, "
        "listen on 127.0.0.1, or pass --insecure."
    )


def require_tls_files(settings: Settings) -> None:
    """Refuse a certificate or a key that TLS cannot use."""
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None:
        if key is not None:
            raise SettingError("--tls-cert must be given with --tls-key.")
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key, password=lambda: b"")  # no prompt for a password
    except OSError as error:  # ssl.SSLError is one
        raise SettingError(
            "--tls-cert and --tls-key must be PEM files of a certificate and its key, the key "
            f"without a password: {error.strerror}."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
