"""How tests read files: what they say, or why they are refused."""

from __future__ import annotations

import pytest

from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.reading import read
from loopwright.documents.unreadable import Unreadable


def parse(data: bytes | str, name: str = "a", **limits: int) -> Parsed:
    return read(data.encode() if isinstance(data, str) else data, name, limits=Limits(**limits))


def refused(data: bytes, name: str = "a", **limits: int) -> str:
    with pytest.raises(Unreadable) as caught:
        parse(data, name, **limits)
    assert caught.value.status == 400
    return caught.value.reason


def outcome(data: bytes | str, name: str = "a") -> Parsed | str:
    """What comes of it: a text that can be kept, or a reason. Nothing else may be raised."""
    try:
        parsed = parse(data, name)
    except Unreadable as error:
        return error.reason
    assert "\x00" not in parsed.text
    assert parsed.text.encode()
    return parsed
