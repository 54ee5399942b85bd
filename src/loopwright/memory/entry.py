"""A correction as memory keeps it: what was asked, what should have been answered, and when it may be shown. No tables."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.seal import Seal

Source = Literal["correction", "import"]
SAME: Final = 0.96
"""Cosine of two inputs from which on they count as nearly the same: another output then is a contradiction."""
LONGEST: Final = 200_000
"""Bytes of inputs, and of an output, as JSON."""
_EMBEDDED: Final = 8_000
"""Characters of inputs that are embedded."""
_UNSEALED: Final = b"loopwright memory"
_canonical: Final = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What an entry says."""

    inputs: Mapping[str, Any]
    output: Any
    """A text, or JSON."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One correction in memory."""

    id: str
    project_id: int
    task: str
    source: Source
    call_id: str | None
    """Of the call that was corrected."""
    sha: bytes
    """Of its inputs, under the key that sealed it."""
    output_sha: bytes
    content: bytes
    """Sealed."""
    embedder: str | None
    """That made its vector; None when it has none yet."""
    author: str
    scope: Mapping[str, str] = field(default_factory=dict)
    """Tags that a call must carry to be shown it."""
    beside: frozenset[str] = frozenset()
    """Entries that say something else of nearly the same, and may."""
    expires_at: datetime | None = None
    disabled_at: datetime | None = None
    superseded_by: str | None = None
    created_at: datetime
    changed: int

    def state(self, now: datetime) -> str:
        """`active`, or why it is shown to nobody."""
        if self.superseded_by is not None:
            return "superseded"
        if self.disabled_at is not None:
            return "disabled"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def holds(self, now: datetime, tags: Mapping[str, str]) -> bool:
        """Whether a call that carries `tags` may be shown it now."""
        return self.state(now) == "active" and all(tags.get(name) == value for name, value in self.scope.items())

    def lesson(self, seal: Seal) -> Lesson:
        """What it says.

        Raises:
            Sealed: with a key that is not here.
        """
        inputs, output, note = msgspec.json.decode(seal.open(self.content, about(self.id)))
        return Lesson(inputs=inputs, output=output, note=note)


def about(entry_id: str) -> bytes:
    """What the content of an entry is bound to: it may not come to stand in another's place, or another project."""
    return b"memory_entries.content " + entry_id.encode()


def packed(lesson: Lesson) -> bytes:
    """What is sealed of a lesson.

    Raises:
        BadRequest: it holds what cannot be kept, or too much.
    """
    for value, name in ((lesson.inputs, "input"), (lesson.output, "output")):
        if len(_bytes(value, name)) > LONGEST:
            raise BadRequest(f"{name}: over {LONGEST:,} bytes as JSON", param=name)
    if lesson.output is None or lesson.output == "":
        raise BadRequest("output: say what the answer should have been, as a text or as JSON", param="output")
    return msgspec.json.encode([lesson.inputs, lesson.output, lesson.note])


def marks(seal: Seal, key_id: str | None, entry: tuple[int, str], lesson: Lesson) -> tuple[bytes, bytes]:
    """Hashes of inputs and output, by which the same is known again without being read.

    Under a key nobody without it can try out what was asked.

    Args:
        seal: has the key.
        key_id: that seals the entry; None for none.
        entry: project and task.
        lesson: what is hashed.
    """
    return tuple(_mark(seal, key_id, entry, value) for value in (lesson.inputs, lesson.output))  # type: ignore[return-value]


def marks_of(seal: Seal, entry: tuple[int, str], inputs: Mapping[str, Any]) -> list[bytes]:
    """The hashes that the same inputs may have on record, whichever key sealed them."""
    return [_mark(seal, key_id, entry, inputs) for key_id in (*seal.ids, None)]


def text_of(inputs: Mapping[str, Any], text_input: str | None) -> str:
    """What is embedded of inputs: the one text, or each with its name."""
    if text_input is not None and inputs.keys() == {text_input} and isinstance(inputs[text_input], str):
        text = str(inputs[text_input])
    else:
        text = "\n".join(
            f"{name}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
            for name, value in sorted(inputs.items())
        )
    # An embedder refuses an empty text, and half a character.
    return text[:_EMBEDDED].encode("utf-8", "replace").decode() or " "


def _mark(seal: Seal, key_id: str | None, entry: tuple[int, str], value: Any) -> bytes:
    secret = (None if key_id is None else seal.blind(key_id)) or _UNSEALED
    said = _bytes([*entry, value], "input")
    return hmac.new(secret, said, hashlib.sha256).digest()[:16]


def _bytes(value: Any, name: str) -> bytes:
    try:
        return _canonical(value)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError, TypeError) as error:
        raise BadRequest(f"{name}: it holds what cannot be kept: {str(error)[:200]}", param=name) from None
