"""Personal data and secrets in a text, by patterns and check digits; linear in the text's length, whatever it holds.

Names of persons, addresses and birthdays have no form of their own and are not found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from loopwright.guardrails.credentials import credentials
from loopwright.guardrails.numbers import cards, coins, ibans, national, social_security
from loopwright.guardrails.phones import phones
from loopwright.guardrails.span import KINDS, Span

_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9À-ɏ._%+-])[A-Za-z0-9À-ɏ_][A-Za-z0-9À-ɏ._%+'-]{0,63}+"
    r"@([A-Za-z0-9À-ɏ-]{1,63}+(?:\.[A-Za-z0-9À-ɏ-]{1,63}+){1,8}+)"
)
_TOP: Final = re.compile(r"[A-Za-zÀ-ɏ]{2,24}|xn--[A-Za-z0-9-]{2,59}")
_IP4: Final = re.compile(
    r"(?<![A-Za-z0-9_.])(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
    r"(?![A-Za-z0-9_]|\.[0-9])"
)
_IP6: Final = re.compile(
    r"(?<![A-Za-z0-9_:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}+(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?"
    r"(?![A-Za-z0-9_:]|\.[0-9])"
)
_MAC: Final = re.compile(
    r"(?<![A-Za-z0-9_:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![A-Za-z0-9_:-])"
)
_DIGIT: Final = re.compile(r"[0-9]")


def _emails(text: str) -> Iterator[Span]:
    for found in _EMAIL.finditer(text):
        host = found[1]
        # What follows an address without a blank may look like a further label: `a@b.com.5`.
        while "." in host and not _TOP.fullmatch(host.rpartition(".")[2].rstrip("-")):
            host = host.rpartition(".")[0]
        if "." in host:
            yield Span(found.start(), found.start(1) + len(host.rstrip("-")), "email")


def _ips(text: str) -> Iterator[Span]:
    """Addresses but those of the machine itself, which say nothing about anybody."""
    for found in _IP4.finditer(text):
        if not found[0].startswith(("127.", "0.")):
            yield Span(found.start(), found.end(), "ip")
    if text.count(":") < 2:
        return
    for found in _IP6.finditer(text):
        end = found.end()
        if text[end - 1] == ":" and text[end - 2] != ":":
            end -= 1  # a colon after the address
        if _is_ip6(text[found.start() : end]):
            yield Span(found.start(), end, "ip")


def _is_ip6(text: str) -> bool:
    if len(text) < 6 or not _DIGIT.search(text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _macs(text: str) -> Iterator[Span]:
    for found in _MAC.finditer(text):
        yield Span(found.start(), found.end(), "mac")


_RECOGNISERS: Final[Mapping[str, Callable[[str], Iterable[Span]]]] = {
    "secret": credentials,
    "email": _emails,
    "iban": ibans,
    "card": cards,
    "crypto": coins,
    "person_id": national,
    "ssn": social_security,
    "ip": _ips,
    "mac": _macs,
    "phone": phones,
}
_NEEDED: Final[Mapping[str, str]] = {"email": "@"}
"""A character without which there is none of the kind."""
_WITHOUT_DIGITS: Final = frozenset({"secret", "email", "ip", "mac"})


def find(text: str, kinds: frozenset[str] | None = None) -> list[Span]:
    """What of `kinds` (all without) stands in `text`, in order and without overlaps.

    Where two kinds claim the same characters, the one that is earlier in `KINDS` has them, then the longer.
    """
    if len(text) < 6:
        return []
    digits = _DIGIT.search(text) is not None
    taken: bytearray | None = None
    found: list[Span] = []
    for kind in KINDS:
        if kinds is not None and kind not in kinds:
            continue
        if not digits and kind not in _WITHOUT_DIGITS:
            continue
        if (needed := _NEEDED.get(kind)) is not None and needed not in text:
            continue
        spans = list(_RECOGNISERS[kind](text))
        if not spans:
            continue
        if taken is None:
            taken = bytearray(len(text))
        for span in sorted(spans, key=lambda each: (each.start - each.end, each.start)):
            if taken.find(1, span.start, span.end) < 0:
                taken[span.start : span.end] = b"\1" * (span.end - span.start)
                found.append(span)
    found.sort()
    return found
