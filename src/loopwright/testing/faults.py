"""Faults by name: what can go wrong, how it is written, and which of it happens to a request."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loopwright.core.errors import SettingsError
from loopwright.kit.nearest import hint

KINDS: Final[Mapping[str, str]] = {
    "latency": "seconds before the head (0.1)",
    "first-token": "seconds between the head and the first token (0.1)",
    "between-tokens": "seconds between tokens (0.01)",
    "status": "an error of this HTTP status (500); `status=429:2` adds Retry-After: 2",
    "drop": "the connection is closed without an answer",
    "reset": "the connection is reset without an answer",
    "reset-midstream": "reset after this many tokens (3), or in the middle of a whole body",
    "stall": "silence after this many tokens (3), or in the middle of a whole body",
    "truncate": "a stream ends without [DONE], a whole body before its announced length",
    "malformed-http": "bytes that are not HTTP",
    "malformed-json": "an event, or a whole body, that is not JSON",
    "malformed-sse": "garbage between two events, or instead of a whole body",
    "html": "an HTML page with this status (200)",
    "error-body": "an error object under HTTP 200",
    "error-event": "an error event after this many tokens (3)",
    "split-utf8": "every character of several bytes comes in two pieces",
    "no-usage": "usage is missing",
    "usage-in-choices": "usage comes with the last choice instead of by itself",
    "crlf": "lines of events end in CRLF",
    "ping": "a comment before every event",
    "gzip": "the body is compressed though nobody asked for it",
    "until-close": "no length: the end of the connection ends the body",
    "connection-close": "`connection: close`, and it is closed after the answer",
    "hang-up-after": "closed after the answer without a word",
}
"""Every kind of fault, with what its value means (and the value it has when none is given)."""

_DEFAULTS: Final[Mapping[str, float]] = {
    "latency": 0.1,
    "first-token": 0.1,
    "between-tokens": 0.01,
    "status": 500,
    "reset-midstream": 3,
    "stall": 3,
    "error-event": 3,
    "html": 200,
}
_FORM: Final = re.compile(
    r"(?P<kind>[a-z0-9-]+)(?:=(?P<value>\d+(?:\.\d+)?)(?::(?P<wait>\d+(?:\.\d+)?))?)?(?:@(?P<chance>\d+(?:\.\d+)?))?"
)
PREFIX: Final = "fault:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    value: float = 0.0
    """Seconds, a status or a number of tokens, as `KINDS` says."""
    retry_after: float | None = None
    """Seconds, for `status`."""
    chance: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault from `kind[=value[:retry_after]][@chance]`, e.g. `stall@0.5`, `status=429:2`, `latency=0.2`.

        Raises:
            SettingsError: not of this form, or of no known kind.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise SettingsError(f"{text!r} is not a fault: write kind, kind=value or kind=value@chance")
        kind = found["kind"]
        if kind not in KINDS:
            raise SettingsError(f"there is no fault {kind!r}{hint(kind, KINDS)}")
        if found["value"] is not None and kind not in _DEFAULTS:
            raise SettingsError(f"fault {kind!r} takes no value")
        chance = float(found["chance"] or 1)
        if chance > 1:
            raise SettingsError(f"the chance of {text!r} must be between 0 and 1")
        return cls(
            kind=kind,
            value=float(found["value"] or _DEFAULTS.get(kind, 0)),
            retry_after=None if found["wait"] is None else float(found["wait"]),
            chance=chance,
        )


Faults = Mapping[str, Fault]
"""What happens to one request, by kind."""


class Fate:
    """Chooses, reproducibly, what happens to each request."""

    def __init__(self, *, faults: Iterable[str], sequence: Sequence[str], seed: int) -> None:
        """`faults` strike each by its chance; before them, request i meets `sequence[i]` (`ok`, or faults by comma)."""
        self._faults = [Fault.parse(text) for text in faults]
        self._sequence = [parse_all(text) for text in sequence]
        self._next = 0
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret

    def choose(self, model: str) -> Faults:
        """The faults of the next request. A model named `fault:…` chooses for itself.

        Raises:
            SettingsError: the model's name holds no known fault.
        """
        if model.startswith(PREFIX):
            return self._strike(parse_all(model.removeprefix(PREFIX)))
        if self._next < len(self._sequence):
            self._next += 1
            return self._strike(self._sequence[self._next - 1])
        return self._strike(self._faults)

    def _strike(self, faults: Iterable[Fault]) -> Faults:
        return {fault.kind: fault for fault in faults if fault.chance >= 1 or self._random.random() < fault.chance}


def parse_all(text: str) -> list[Fault]:
    """Faults separated by commas; none for `ok`."""
    return [] if text.strip() in ("", "ok") else [Fault.parse(part) for part in text.split(",")]
