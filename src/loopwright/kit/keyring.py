"""The keys that seal texts at rest: read from an environment variable or a file, never shown. Computes nothing.

Written `id:base64`, several parted by commas or lines. The first seals, all open. No message quotes a key.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loopwright.core.errors import SettingsError
from loopwright.kit.settings import Settings
from loopwright.kit.settings_encryption import EncryptionSettings
from loopwright.kit.settings_read import Reader

KEY_BYTES: Final = 32
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_MOST: Final = 64
_HOW: Final = "a key is written id:base64, the base64 of 32 random bytes; `loopwright encryption new-key` makes one"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """A key and the name by which sealed texts call it."""

    id: str
    secret: bytes = field(repr=False)
    """32 bytes."""


def keys_of(settings: EncryptionSettings) -> tuple[SealingKey, ...]:
    """The keys that are configured; none is encryption off.

    Raises:
        SettingsError: they cannot be read, or are none.
    """
    if settings.keys is not None:
        return _parsed(settings.keys, "encryption.keys")
    if settings.keys_file is None:
        return ()
    where = f"encryption.keys_file: {settings.keys_file}"
    try:
        text = settings.keys_file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{where} is not text: {_HOW}") from None
    except OSError as error:
        raise SettingsError(f"{where} cannot be read: {error.strerror}") from None
    found = _parsed(text, where)
    if not found:
        raise SettingsError(f"{where} holds no key: {_HOW}")
    return found


def check_encryption(settings: Settings, reader: Reader) -> None:
    """Report keys that are none, and what cannot be had beside encryption."""
    asked = settings.encryption
    if asked.keys is not None and asked.keys_file is not None:
        reader.report(("encryption", "keys_file"), "stands beside encryption.keys; allowed: one of them")
        return
    try:
        keys = keys_of(asked)
    except SettingsError as error:
        where, colon, what = error.message.partition(": ")
        told = what if colon and where == "encryption.keys" else error.message
        reader.report(("encryption", "keys" if asked.keys is not None else "keys_file"), told)
        return
    for name, model in settings.models.items() if keys else ():
        if model.cache is not None and model.cache.semantic is not None:
            reader.report(
                ("models", name, "cache", "semantic"),
                "keeps vectors of questions, which cannot be sealed; allowed: without it, or without encryption",
            )


def readable_by_others(path: Path) -> bool:
    """Whether a file of keys is open to more than its owner."""
    try:
        return bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def new_key(key_id: str) -> str:
    """A fresh key, written as the settings take it.

    Raises:
        SettingsError: `key_id` cannot name one.
    """
    if not _ID.fullmatch(key_id):
        raise SettingsError(f"{key_id[:40]!r} cannot name a key: up to 32 letters, digits, dots, dashes, underscores")
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def _parsed(text: str, where: str) -> tuple[SealingKey, ...]:
    lines = [line.partition("#")[0] for line in text.splitlines()]
    words = [word.strip() for line in lines for word in line.split(",") if word.strip()]
    if len(words) > _MOST:
        raise SettingsError(f"{where}: {len(words)} keys, {_MOST} at most")
    found: dict[str, SealingKey] = {}
    for number, word in enumerate(words, 1):
        key_id, colon, encoded = word.partition(":")
        if not colon or not _ID.fullmatch(key_id):
            # Without an id the word may be all secret.
            raise SettingsError(f"{where}: key {number} has no id of letters, digits, dots, dashes: {_HOW}")
        if key_id in found:
            raise SettingsError(f"{where}: two keys are named {key_id!r}; give each an id of its own")
        secret = _decoded(encoded)
        if len(secret) != KEY_BYTES:
            raise SettingsError(f"{where}: key {key_id!r} is not the base64 of {KEY_BYTES} bytes: {_HOW}")
        found[key_id] = SealingKey(id=key_id, secret=secret)
    return tuple(found.values())


def _decoded(encoded: str) -> bytes:
    """Standard and URL-safe base64, with or without its padding; nothing when it is neither."""
    plain = encoded.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return b""
