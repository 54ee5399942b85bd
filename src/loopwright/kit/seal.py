"""Seals texts before they are written: AES-256-GCM, each bound to the place it lies in. Knows no tables and no files.

A sealed text is: magic, length and letters of the key's id, a salt (16 bytes), a nonce (12), and what AES-GCM makes of
the text (its length and 16 bytes more). The key itself seals nothing: HKDF-Expand makes of it and the salt a subkey,
which seals at most 2^20 texts under random nonces. So 2^48 texts under one key leave a chance of 2^-29 that any nonce
came twice; NIST's bound for one key without subkeys would be 2^32 texts at 2^-32. See docs/adr/0014-sealed-texts.md.
"""

from __future__ import annotations

import hmac
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Final, Protocol, Self

from loopwright.core.errors import Changed, Sealed
from loopwright.kit.keyring import SealingKey, keys_of
from loopwright.kit.settings_encryption import EncryptionSettings

MAGIC: Final = b"\xf5LW1"
"""No JSON, no UTF-8 and no MessagePack of ours begins so."""
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SUBKEY_TEXTS: Final = 1 << 20
"""Texts that one subkey seals."""
_ESCAPED: Final = MAGIC + b"\x00"
"""Stands before a plain text that begins like a sealed one."""
_REMEMBERED: Final = 4096
"""Subkeys of others that are kept."""
_LONGEST_ID: Final = 64


class Cipher(Protocol):
    """See kit/aes.py."""

    @property
    def encrypt(self) -> Callable[[bytes, bytes, bytes], bytes]:
        """`(nonce, text, about)` to what can be stored."""
        ...

    def decrypt(self, nonce: bytes, sealed: bytes, about: bytes) -> bytes | None:
        """The text; None when any of it is not what it was."""
        ...


class Seal:
    """Seals with the first of its keys and opens with any; without keys all passes through. For any thread."""

    __slots__ = ("_aes", "_first", "_keys", "_known", "_left", "_now")

    def __init__(self, keys: Sequence[SealingKey] = ()) -> None:
        self._keys = {key.id: key.secret for key in keys}
        self._first = keys[0].id if keys else None
        # Who has no key need not pay for a library.
        self._aes: Callable[[bytes], Cipher] | None = (
            importlib.import_module("loopwright.kit.aes").aes if keys else None
        )
        self._known: dict[bytes, Cipher] = {}
        self._now: tuple[bytes, Cipher] | None = None
        self._left = 0

    @classmethod
    def of(cls, settings: EncryptionSettings) -> Self:
        """With the keys that are configured.

        Raises:
            SettingsError: they cannot be read, or are none.
        """
        return cls(keys_of(settings))

    def __bool__(self) -> bool:
        """Whether it seals."""
        return self._first is not None

    def __repr__(self) -> str:
        return f"Seal(keys={list(self._keys)})"

    @property
    def first(self) -> str | None:
        """Id of the key that seals; None when nothing is sealed."""
        return self._first

    @property
    def ids(self) -> tuple[str, ...]:
        """Of every key, the one that seals first."""
        return tuple(self._keys)

    def seal(self, text: bytes, about: bytes) -> bytes:
        """`text` sealed, to be opened only with the same `about`: which table, column and row it is for."""
        if self._first is None:
            return _ESCAPED + text if text.startswith(MAGIC) else text
        # One value: another thread may be renewing it.
        now = self._now
        if now is None or self._left <= 0:
            now = self._renew()
        self._left -= 1
        head, cipher = now
        nonce = os.urandom(NONCE_BYTES)
        return head + nonce + cipher.encrypt(nonce, text, head + about)

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """What was sealed for `about`; what was never sealed as it is.

        Raises:
            Sealed: with a key that is not here.
            Changed: it was changed, cut short, or sealed for something else.
        """
        if not sealed.startswith(MAGIC):
            return sealed
        if sealed.startswith(_ESCAPED):
            return sealed[len(_ESCAPED) :]
        key_id, head = head_of(sealed)
        cipher = self.subkey(key_id, head)
        nonce = sealed[len(head) : len(head) + NONCE_BYTES]
        text = cipher.decrypt(nonce, sealed[len(head) + NONCE_BYTES :], head + about)
        if text is None:
            raise Changed(key_id)
        return text

    def subkey(self, key_id: str, head: bytes) -> Cipher:
        """The cipher behind a head.

        Raises:
            Sealed: its key is not here.
        """
        cipher = self._known.get(head)
        if cipher is None:
            secret = self._keys.get(key_id)
            if secret is None or self._aes is None:
                raise Sealed(key_id)
            cipher = self._aes(_expanded(secret, b"text " + head))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[head] = cipher
        return cipher

    def fresh(self, magic: bytes) -> tuple[bytes, Cipher]:
        """A head that begins with `magic`, and the cipher behind it, for one use: a file, say.

        Raises:
            ValueError: there is no key.
        """
        if self._first is None or self._aes is None:
            raise ValueError("nothing is sealed without a key")
        named = self._first.encode()
        head = magic + bytes([len(named)]) + named + os.urandom(SALT_BYTES)
        return head, self._aes(_expanded(self._keys[self._first], b"text " + head))

    def blind(self, key_id: str) -> bytes | None:
        """The secret under which words are hashed that nobody may guess; None when that key is not here."""
        secret = self._keys.get(key_id)
        return None if secret is None else _expanded(secret, b"words")

    def _renew(self) -> tuple[bytes, Cipher]:
        now = head, cipher = self.fresh(MAGIC)
        self._known[head] = cipher
        self._now, self._left = now, SUBKEY_TEXTS
        return now


PLAIN: Final = Seal()
"""Seals nothing."""


def key_of(stored: bytes) -> str | None:
    """Id of the key that `stored` is sealed with; None when it is not sealed."""
    if not stored.startswith(MAGIC) or stored.startswith(_ESCAPED):
        return None
    return head_of(stored)[0]


def head_of(sealed: bytes, *, magic: int = len(MAGIC)) -> tuple[str, bytes]:
    """(id of the key, head) of something sealed.

    Raises:
        Changed: it is cut short.
    """
    size = sealed[magic] if len(sealed) > magic else 0
    end = magic + 1 + size + SALT_BYTES
    named = sealed[magic + 1 : magic + 1 + size]
    if not 0 < size <= _LONGEST_ID or len(sealed) < end or not named.isascii():
        raise Changed("?")
    return named.decode("ascii"), sealed[:end]


def _expanded(secret: bytes, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869) with SHA-256, 32 bytes: keys are random already, so nothing has to be extracted."""
    return hmac.digest(secret, b"loopwright seal 1 " + info + b"\x01", "sha256")
