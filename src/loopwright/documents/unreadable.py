"""What a file is refused with: it cannot be read here, and why."""

from __future__ import annotations

from loopwright.core.errors import BadRequest


class Unreadable(BadRequest):
    """A file that no text can be had from; the message says what it is and what to do."""

    code = "unreadable_document"

    @property
    def reason(self) -> str:
        """The message."""
        return str(self)
