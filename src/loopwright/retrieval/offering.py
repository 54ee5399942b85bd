"""What people send of a document, checked: its name, its labels, what they say of it. The texts are not looked at."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from loopwright.access.labels import check_labels
from loopwright.core.errors import BadRequest, Refused
from loopwright.core.who import Principal
from loopwright.retrieval.fetching import Fetched
from loopwright.retrieval.intake import SMALL, Intake, Offer

_NAME: Final = 1_000
_TITLE: Final = 1_000
_MEMBERS: Final = 64
_METADATA: Final = 16_000
"""Bytes as JSON."""
_RECORD: Final = "record.txt"


class Offering:
    """Makes offers of what somebody sends."""

    def __init__(self, intake: Intake, by: Principal) -> None:
        self._intake = intake
        self._by = by

    def labels(self, given: Iterable[str]) -> tuple[str, ...]:
        """Labels that who brings a document may give it.

        Raises:
            BadRequest: they are none.
            Refused: the key has others.
        """
        found = check_labels(given)
        if self._by.labels is not None and (strange := set(found) - self._by.labels):
            raise Refused(
                f"key {self._by.key_name!r} does not have the label {min(strange)!r}, so it cannot give it",
                param="labels",
            )
        return found

    def known(self, name: str, sha: str, labels: Iterable[str], metadata: Mapping[str, Any]) -> Offer:
        """A document of which only that is told.

        Raises:
            BadRequest, Refused: something of it is not usable.
        """
        try:
            digest = bytes.fromhex(sha)
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise BadRequest(f"sha: {sha[:80]!r} is no SHA-256 in hex", param="sha")
        return Offer(
            name=checked_name(name),
            origin="file",
            sha=digest,
            size=0,
            labels=self.labels(labels),
            metadata=checked_metadata(metadata),
        )

    def record(self, name: str, text: str, title: str, labels: Iterable[str], metadata: Mapping[str, Any]) -> Offer:
        """A text by its id.

        Raises:
            BadRequest, Refused: something of it is not usable.
        """
        data = _storable(text, "text").encode()
        if not data.strip():
            raise BadRequest(f"text: the record {name[:100]!r} has none", param="text")
        if len(data) > self._intake.settings.upload_limit:
            raise BadRequest(
                f"text: the record {name[:100]!r} has {len(data):,} bytes,"
                f" the limit is {self._intake.settings.upload_limit:,} (collections.upload_limit)",
                param="text",
            )
        title = _storable(title, "title")[:_TITLE]
        return self._offer(
            data,
            name=checked_name(name),
            origin="record",
            sha=sha256(msgspec.json.encode([title, text])).digest(),
            title=title,
            file=_RECORD,
            labels=self.labels(labels),
            metadata=checked_metadata(metadata),
        )

    def file(self, name: str, data: str, labels: Iterable[str], metadata: Mapping[str, Any]) -> Offer:
        """A small file, its bytes in base64.

        Raises:
            BadRequest, Refused: something of it is not usable.
        """
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest(f"data: the bytes of {name[:100]!r} are no base64", param="data") from None
        return self._offer(
            raw,
            name=checked_name(name),
            origin="file",
            sha=sha256(raw).digest(),
            labels=self.labels(labels),
            metadata=checked_metadata(metadata),
        )

    def stored(self, name: str, blob: str, size: int, labels: Iterable[str], metadata: Mapping[str, Any]) -> Offer:
        """A file that is stored already: small enough, it waits in the database all the same.

        Raises:
            BadRequest, Refused: something of it is not usable.
        """
        data = self._intake.blobs.read(blob) if size <= SMALL else None
        return Offer(
            name=checked_name(name),
            origin="file",
            sha=bytes.fromhex(blob),
            size=size,
            labels=self.labels(labels),
            metadata=checked_metadata(metadata),
            data=data,
            blob="" if data is not None else blob,
        )

    def fetched(self, found: Fetched, labels: Iterable[str], metadata: Mapping[str, Any]) -> Offer:
        """What a URL gave.

        Raises:
            BadRequest, Refused: something of it is not usable.
        """
        return self._offer(
            found.data,
            name=checked_name(found.url),
            origin="url",
            sha=sha256(found.data).digest(),
            file=found.file,
            labels=self.labels(labels),
            metadata=checked_metadata(metadata),
        )

    def _offer(self, data: bytes, **said: Any) -> Offer:
        if len(data) <= SMALL:
            return Offer(size=len(data), data=data, **said)
        return Offer(size=len(data), blob=self._intake.blobs.put(data), **said)


def checked_name(name: str) -> str:
    """A name that a document may have: data, so `../x` is one.

    Raises:
        BadRequest: it is empty, too long, or holds what is not printed.
    """
    name = _storable(name, "name").strip()
    if not name or len(name) > _NAME or not name.isprintable():
        raise BadRequest(
            f"name: {name[:80]!r} is none of a document: 1 to {_NAME:,} printable characters", param="name"
        )
    return name


def checked_metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a document, as JSON that can be kept.

    Raises:
        BadRequest: it is too much, or cannot be kept.
    """
    try:
        told = msgspec.json.encode(given)
        found: dict[str, Any] = msgspec.json.decode(told)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError, TypeError, ValueError):
        raise BadRequest("metadata: it holds what cannot be kept as JSON", param="metadata") from None
    if len(found) > _MEMBERS or len(told) > _METADATA or b"\\u0000" in told:
        raise BadRequest(f"metadata: {_MEMBERS} members, {_METADATA:,} bytes and no NUL at most", param="metadata")
    return found


def _storable(text: str, param: str) -> str:
    try:
        return text.encode().decode().replace("\x00", "")
    except UnicodeError:
        raise BadRequest(f"{param}: it holds half a character", param=param) from None
