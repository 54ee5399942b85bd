"""The mark with which a text may say in which Unicode encoding it is. Knows no other way to tell."""

from __future__ import annotations

import codecs
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before the mark of UTF-16, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def mark_of(data: bytes) -> tuple[bytes, str] | None:
    """The mark that `data` begins with, and the encoding it stands for; None without one. Four bytes are enough."""
    return next(((mark, encoding) for mark, encoding in _MARKS if data.startswith(mark)), None)
