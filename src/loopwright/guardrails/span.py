"""Where something personal stands in a text, and of what kind it is."""

from __future__ import annotations

from typing import Final, NamedTuple

KINDS: Final = ("secret", "email", "iban", "card", "crypto", "person_id", "ssn", "ip", "mac", "phone")
"""All kinds; where two claim the same characters, the earlier one has them."""


class Span(NamedTuple):
    """One find: `text[start:end]` is of `kind`."""

    start: int
    end: int
    kind: str
