r"""Regular expressions of others, matched in time linear in the text whatever pattern and text are.

The engine is Rust's `regex` (an automaton, no backtracking), reached through jsonschema-rs, which we have anyway. So
there are no look-arounds and no back-references, and `\d` and `\w` are ASCII.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

import jsonschema_rs

from loopwright.core.errors import BadRequest

LONGEST_PATTERN: Final = 2_000
"""Characters."""
_BEYOND: Final = re.compile(r"\(\?<?[=!]|\(\?P=\w+\)|\\[1-9]")
"""What takes an engine that goes back."""
_SIZE: Final = 200_000
"""Bytes of the compiled automaton: what `(a{99}){99}` would ask for is refused."""


class Pattern:
    """A compiled pattern."""

    __slots__ = ("_validator", "source")

    def __init__(self, source: str, where: str, *, whole: bool = False, ignore_case: bool = False) -> None:
        """Compile.

        Args:
            source: the pattern.
            where: its place, for the message.
            whole: it must match the whole text, not some part of it.
            ignore_case: upper and lower case are the same.

        Raises:
            BadRequest: it is no pattern, or one that cannot be matched in linear time.
        """
        if len(source) > LONGEST_PATTERN:
            raise BadRequest(
                f"{where}: the pattern has {len(source)} characters; the limit is {LONGEST_PATTERN}", param=where
            )
        self.source = source
        inner = rf"\A(?:{source})\z" if whole else source
        flags = "(?i)" if ignore_case else ""
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                {"type": "string", "pattern": flags + inner},
                pattern_options=jsonschema_rs.RegexOptions(size_limit=_SIZE, dfa_size_limit=_SIZE),
            )
        except (ValueError, jsonschema_rs.ValidationError):
            raise BadRequest(f"{where}: {source[:80]!r} is no pattern here: {_fault(source)}", param=where) from None

    def found(self, text: str) -> bool:
        """Whether it matches. Halves of surrogate pairs, which are no characters, count as `?`."""
        try:
            return self._validator.is_valid(text)
        except UnicodeEncodeError:
            return self._validator.is_valid(text.encode("utf-8", "replace").decode())


def _fault(source: str) -> str:
    """What is wrong with a pattern: as Python says where it is none there either, else what only others can match."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    found = _BEYOND.search(source)
    if found is None:
        return "too large, or too unlike others, to be matched in time linear in the text"
    what = "look-arounds" if found[0][-1] in "=!" and "P" not in found[0] else "back-references"
    return f"{what} ({found[0]!r}) cannot be matched in time linear in the text"
