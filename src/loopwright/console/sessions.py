"""Who is signed in: a signed cookie that names a key and an expiry, and the secret it is signed with.

The cookie is only a claim. Each request asks the live key table whether the key still stands, so revoking a key ends
its sessions at once, in every worker.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loopwright.core.errors import Busy, StartError

COOKIE = "loopwright_session"
LIFETIME = 7 * 86_400
"""Seconds a session lasts."""
_SECRET_BYTES = 32
_COOKIE_LIMIT = 512


class _Claim(msgspec.Struct, array_like=True, frozen=True):
    key_id: int
    expires: int
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A signed-in browser."""

    key_id: int
    expires: int
    """Unix seconds."""
    csrf: str
    """What every form of this session carries."""


class Sessions:
    """Opens and reads sessions. Any worker with the same secret reads what another one opened."""

    __slots__ = ("_clock", "_secret")

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def open(self, key_id: int) -> str:
        """The cookie of a new session for `key_id`."""
        claim = _Claim(key_id, int(self._clock()) + LIFETIME, secrets.token_urlsafe(12))
        payload = base64.urlsafe_b64encode(msgspec.json.encode(claim)).rstrip(b"=").decode()
        return f"{payload}.{self._sign('session', payload)}"

    def read(self, cookie: str) -> Session | None:
        """The session a cookie claims; None when it is forged, damaged or over."""
        payload, dot, signature = cookie.partition(".")
        if not dot or len(cookie) > _COOKIE_LIMIT or not _same(signature, self._sign("session", payload)):
            return None
        try:
            claim = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claim)
        except (binascii.Error, ValueError, msgspec.DecodeError):
            return None
        if claim.expires <= self._clock():
            return None
        return Session(key_id=claim.key_id, expires=claim.expires, csrf=self.token(claim.nonce))

    def token(self, nonce: str) -> str:
        """What a form must carry when the browser holds `nonce`."""
        return self._sign("csrf", nonce)

    def _sign(self, purpose: str, text: str) -> str:
        digest = hmac.digest(self._secret, f"{purpose}:{text}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def matches(given: str, expected: str) -> bool:
    """Whether a form's token is the session's, compared in constant time."""
    return bool(expected) and _same(given, expected)


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def secret_of(home: Path) -> bytes:
    """The secret of a data folder, made at first use; several workers starting at once agree on one.

    Raises:
        StartError: the folder cannot be written, or the file is damaged.
    """
    path = home / "console.secret"
    try:
        if not path.exists():
            home.mkdir(parents=True, exist_ok=True)
            fresh = home / f"console.secret.{os.getpid()}.{secrets.token_hex(4)}"
            fresh.touch(mode=0o600)
            fresh.write_bytes(secrets.token_bytes(_SECRET_BYTES))
            # A link fails when another worker was first; then its secret counts.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(fresh)
            fresh.unlink()
        secret = path.read_bytes()
    except OSError as error:
        raise StartError(
            f"cannot keep the console's secret in {path}: {error.strerror}; make {home} writable"
        ) from error
    if len(secret) != _SECRET_BYTES:
        raise StartError(f"{path} is damaged ({len(secret)} bytes, not {_SECRET_BYTES}): delete it, all sign in again")
    return secret


class Attempts:
    """Refused sign-ins of the last minutes, per client address. Bounded: the oldest addresses are forgotten."""

    __slots__ = ("_clock", "_failed", "_limit", "_window")

    def __init__(self, *, limit: int = 10, window: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window = window
        self._clock = clock
        self._failed: dict[str, list[float]] = {}

    def check(self, address: str) -> None:
        """Let an attempt pass.

        Raises:
            Busy: too many were refused; `retry_after` says when the next one may come.
        """
        now = self._clock()
        recent = [at for at in self._failed.get(address, ()) if now - at < self._window]
        if len(recent) >= self._limit:
            wait = self._window - (now - recent[0])
            raise Busy(
                f"{len(recent)} sign-ins from your address were refused: try again in {max(1, round(wait))} seconds",
                retry_after=wait,
            )

    def refused(self, address: str) -> None:
        """Remember a refused attempt."""
        now = self._clock()
        recent = [at for at in self._failed.pop(address, ()) if now - at < self._window]
        self._failed[address] = [*recent, now]
        while len(self._failed) > 10_000:
            del self._failed[next(iter(self._failed))]
