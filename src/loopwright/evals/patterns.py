r"""Regular expressions of others, matched in time linear in the text whatever pattern and text are.

The engine is Rust's `regex` (an automaton, no backtracking), reached through jsonschema-rs, which we have anyway. So
there are no look-arounds and no back-references, and `\d` and `\w` are ASCII.
"""

from __future__ import annotations

from typing import Final

import jsonschema_rs

from loopwright.core.errors import BadRequest

LONGEST_PATTERN: Final = 2_000
"""Characters."""
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
        except (ValueError, jsonschema_rs.ValidationError) as error:
            said = str(getattr(error, "message", error)).partition("\n")[0][:200]
            raise BadRequest(
                f"{where}: no pattern that can be matched in linear time: {said}; look-arounds and back-references are"
                " not supported",
                param=where,
            ) from None

    def found(self, text: str) -> bool:
        """Whether it matches. Halves of surrogate pairs, which are no characters, count as `?`."""
        try:
            return self._validator.is_valid(text)
        except UnicodeEncodeError:
            return self._validator.is_valid(text.encode("utf-8", "replace").decode())
