"""What the process that reads files is asked and answers, as it goes through its pipes."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.records import Fields, Record

HEAD: Final = struct.Struct("<IQ")
"""Before each: bytes of the message, bytes of the file behind it."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A file to read; its bytes follow."""

    name: str
    limits: Limits
    fields: Fields | None = None
    """Read it as records with these."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is in it."""

    parsed: Parsed | None = None
    records: list[Record] = []
    unreadable: str | None = None
    last: bool = False
    """It ends now, because its memory is used up."""


questions: Final = msgspec.msgpack.Encoder()
asked: Final = msgspec.msgpack.Decoder(Question)
answers: Final = msgspec.msgpack.Decoder(Answer)
