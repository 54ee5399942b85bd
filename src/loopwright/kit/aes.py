"""AES-256-GCM by OpenSSL, by way of `cryptography`. Imported only where there is a key: it takes 7 MB and 20 ms."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Aes:
    """One key. For any thread."""

    __slots__ = ("_gcm", "encrypt")

    def __init__(self, secret: bytes) -> None:
        self._gcm = AESGCM(secret)
        self.encrypt = self._gcm.encrypt
        """`(nonce, text, about)`, to what is 16 bytes longer. A nonce must never come twice."""

    def decrypt(self, nonce: bytes, sealed: bytes, about: bytes) -> bytes | None:
        """The text; None when any of it is not what it was."""
        try:
            return self._gcm.decrypt(nonce, sealed, about)
        except (InvalidTag, ValueError):
            return None


def aes(secret: bytes) -> Aes:
    """The cipher of a key of 32 bytes."""
    return Aes(secret)
