"""What one rendering may use: work, so that no template runs for long, and characters of output.

A unit of work is one node of a template evaluated, one element of a list touched, or 64 characters read or made; so
the budget bounds time and memory at once. Every operation pays before its result grows.
"""

from __future__ import annotations

from typing import Any, Final

from loopwright.prompts.fault import Fault

WORK: Final = 40_000
"""Units: at most a fifteenth of a second or so, for which calls of others wait. A text of OUTPUT read and made is 31,250."""
OUTPUT: Final = 1_000_000
"""Characters of all messages together."""
LONGEST_RANGE: Final = 10_000
MOST_BITS: Final = 256
"""Of a whole number that a template makes."""
_CHARS: Final = 64


class Budget:
    """Counts down."""

    __slots__ = ("output", "work")

    def __init__(self, work: int = WORK, output: int = OUTPUT) -> None:
        self.work = work
        self.output = output

    def pay(self, units: int = 1) -> None:
        """Use up work.

        Raises:
            Fault: there is no more.
        """
        self.work -= units
        if self.work < 0:
            raise Fault("takes more work than a rendering may: a loop over too much, or a text that grows too long")

    def text(self, length: int) -> None:
        """Read or make a text of that many characters.

        Raises:
            Fault: there is no more.
        """
        self.pay(length // _CHARS)

    def put(self, text: str) -> str:
        """Send a text out.

        Raises:
            Fault: the output is too long.
        """
        self.output -= len(text)
        if self.output < 0:
            raise Fault(f"renders to more than {OUTPUT:,} characters")
        return text

    def weigh(self, value: Any) -> Any:
        """Pay for all that a value holds, what is held twice twice, and give it back.

        Raises:
            Fault: there is no more.
        """
        if isinstance(value, str):
            self.text(len(value))
            return value
        if not isinstance(value, list | tuple | dict):
            return value
        stack: list[Any] = [value]
        while stack:
            each = stack.pop()
            if isinstance(each, str):
                self.text(len(each))
            elif isinstance(each, list | tuple):
                self.pay(len(each) + 1)
                stack.extend(each)
            elif isinstance(each, dict):
                self.pay(len(each) + 1)
                stack.extend(each.keys())
                stack.extend(each.values())
        return value
