"""Tokens of texts: counted where somebody can, taken from their bytes where not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from loopwright.core.errors import Unavailable
from loopwright.gateway.measured import Measured

pytestmark = pytest.mark.anyio


class Words:
    """Counts words, and ten for the frame round them."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    async def count(self, body: Mapping[str, Any], /) -> int:
        if self.broken:
            raise Unavailable("the engine is gone")
        return 10 + len(str(body["messages"][0]["content"]).split())


async def test_a_tokenizer_at_hand_counts() -> None:
    measured = Measured({"m": Words()})
    assert await measured("m", ["one two three", "one"]) == [3, 1]
    assert await measured("m", []) == []


async def test_bytes_are_divided_where_nobody_counts() -> None:
    assert await Measured({})("m", ["x" * 30, ""]) == [11, 1]
    assert await Measured({"m": Words(broken=True)})("m", ["x" * 30]) == [11]
