"""Cards, accounts and the numbers states give to people: a form, and check digits where there are any."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from loopwright.guardrails import checksums
from loopwright.guardrails.span import Span

_GROUPS: Final = re.compile(r"(?<![A-Za-z0-9_])[0-9]++(?:[ -][0-9]++)*+")
_GROUP: Final = re.compile(r"[0-9]+")
_CARD_LENGTHS: Final = range(12, 20)
_NETWORKS: Final = (
    # First digits from and to, and the lengths that a network gives out.
    ("4", "4", (13, 16, 19)),
    ("51", "55", (16,)),
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("300", "305", (14, 16, 19)),
    ("36", "36", (14, 16, 19)),
    ("38", "39", (14, 16, 19)),
    ("1800", "1800", (15,)),
    ("2131", "2131", (15,)),
    ("35", "35", (16, 17, 18, 19)),
    ("50", "50", tuple(_CARD_LENGTHS)),
    ("56", "61", tuple(_CARD_LENGTHS)),
    ("62", "65", (16, 17, 18, 19)),
    ("63", "63", tuple(_CARD_LENGTHS)),
    ("66", "69", tuple(_CARD_LENGTHS)),
)
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,31}")
_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ DZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG FK PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_BITCOIN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{38,60})(?![A-Za-z0-9])"
)
_ETHER: Final = re.compile(r"(?<![A-Za-z0-9])0x[0-9A-Fa-f]{40}(?![A-Za-z0-9])")
_SSN: Final = re.compile(
    r"(?<![0-9A-Za-z_.-])(?!000|666|9)[0-9]{3}([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9A-Za-z_]|-[0-9])"
)
_SSN_SAID: Final = re.compile(
    r"(?<![A-Za-z])(?:ssn|social security)(?![a-z])[^\n0-9]{0,24}+((?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4})(?![0-9A-Za-z_])",
    re.IGNORECASE,
)
_NATIONAL: Final = (
    # Each: the form, and what its characters without blanks and signs must fulfil.
    (re.compile(r"(?<![0-9A-Za-z])[1-9][0-9](?: ?[0-9]{3}){3}(?![0-9A-Za-z])"), checksums.steuer_id),
    (
        re.compile(
            r"(?<![0-9A-Za-z])[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}(?![0-9A-Za-z])"
        ),
        checksums.nir,
    ),
    (re.compile(r"(?<![0-9A-Za-z])[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}(?![0-9A-Za-z]|[ -][0-9])"), checksums.verhoeff),
    (re.compile(r"(?<![0-9A-Za-z])[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}(?![0-9A-Za-z])"), checksums.cpf),
    (re.compile(r"(?<![0-9A-Za-z])(?:[0-9]{8}|[XYZ][- ]?[0-9]{7})[- ]?[A-HJ-NP-TV-Z](?![0-9A-Za-z])"), checksums.dni),
    (
        re.compile(r"(?<![0-9A-Za-z])[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z](?![0-9A-Za-z])"),
        checksums.codice_fiscale,
    ),
)
_NINO: Final = re.compile(
    r"(?<![0-9A-Za-z])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D](?![0-9A-Za-z])"
)
_SIGNS: Final = str.maketrans("", "", " .-")


def cards(text: str) -> Iterator[Span]:
    """Payment cards: the digits' groups as they are written, a network's prefix and length, and Luhn's sum."""
    for run in _GROUPS.finditer(text):
        if run.end() - run.start() < _CARD_LENGTHS.start:
            continue
        groups = [(found.start(), found.end()) for found in _GROUP.finditer(text, run.start(), run.end())]
        first = 0
        while first < len(groups):
            last = _card(text, groups, first)
            if last is None:
                first += 1
                continue
            yield Span(groups[first][0], groups[last][1], "card")
            first = last + 1


def _card(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The last group of the card that begins with the group `first`, if one does."""
    digits = ""
    for at in range(first, len(groups)):
        start, end = groups[at]
        if len(digits) + end - start > _CARD_LENGTHS[-1]:
            return None
        digits += text[start:end]
        if len(digits) in _CARD_LENGTHS and _issued(digits) and checksums.luhn(digits):
            after = text[end : end + 1]
            return None if after.isalnum() or after == "_" else at
    return None


def _issued(digits: str) -> bool:
    """Whether a network gives out numbers of this beginning and length."""
    return any(low <= digits[: len(low)] <= high and len(digits) in lengths for low, high, lengths in _NETWORKS)


def ibans(text: str) -> Iterator[Span]:
    """Accounts: as many characters as their country has, and the remainder by 97."""
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(found[1].upper())
        end = found.start()
        for _ in range(length or 0):
            while text[end : end + 1] in (" ", "-"):
                end += 1
            end += 1
        if length is None or end > found.end() or text[end : end + 1].isalnum():
            continue
        compact = text[found.start() : end].translate(_SIGNS).upper()
        if checksums.mod97(compact):
            yield Span(found.start(), end, "iban")


def coins(text: str) -> Iterator[Span]:
    """Addresses of Bitcoin, by their checksums, and of Ethereum, by their form."""
    for found in _BITCOIN.finditer(text):
        right = checksums.bech32(found[0]) if found[0].startswith("bc1") else checksums.base58check(found[0])
        if right:
            yield Span(found.start(), found.end(), "crypto")
    for found in _ETHER.finditer(text):
        yield Span(found.start(), found.end(), "crypto")


def social_security(text: str) -> Iterator[Span]:
    """The United States' numbers: with signs between, or nine digits after a word for them."""
    for found in _SSN.finditer(text):
        yield Span(found.start(), found.end(), "ssn")
    for found in _SSN_SAID.finditer(text):
        yield Span(found.start(1), found.end(1), "ssn")


def national(text: str) -> Iterator[Span]:
    """Steuer-ID, NIR, Aadhaar, CPF, DNI and NIE, codice fiscale; NINO by its form only, for it has no check digit."""
    for form, right in _NATIONAL:
        for found in form.finditer(text):
            if right(found[0].translate(_SIGNS)):
                yield Span(found.start(), found.end(), "person_id")
    for found in _NINO.finditer(text):
        yield Span(found.start(), found.end(), "person_id")
