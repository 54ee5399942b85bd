"""Check digits: what tells a card, an account or a tax number from any other row of digits. Pure; time linear."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from typing import Final

_BASE58: Final = {char: at for at, char in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_BECH32: Final = {char: at for at, char in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_BECH32_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_VERHOEFF_TURNS: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 5, 7, 6, 2, 8, 3, 0, 9, 4),
    (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7),
    (9, 4, 5, 3, 1, 2, 6, 8, 7, 0),
    (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5),
    (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)
_ODD_PLACES: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
"""What a letter, or a digit, in an odd place of a codice fiscale counts."""


def luhn(digits: str) -> bool:
    """Cards."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if at % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def mod97(compact: str) -> bool:
    """IBANs, in upper case and without blanks."""
    turned = compact[4:] + compact[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def verhoeff(digits: str) -> bool:
    """Aadhaar numbers. Their table of products is that of the dihedral group of ten."""
    check = 0
    for at, digit in enumerate(reversed(digits)):
        check = _dihedral(check, _VERHOEFF_TURNS[at % 8][int(digit)])
    return check == 0


def _dihedral(one: int, two: int) -> int:
    if one < 5:
        return (one + two) % 5 if two < 5 else 5 + (one + two) % 5
    return 5 + (one - two) % 5 if two < 5 else (one - two) % 5


def steuer_id(digits: str) -> bool:
    """German tax ids: eleven digits, of whose first ten exactly one comes twice or three times."""
    counts = sorted(Counter(digits[:10]).values())
    if digits[0] == "0" or len(counts) not in {8, 9} or counts[-1] not in {2, 3} or counts[-2] != 1:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def nir(compact: str) -> bool:
    """French social security numbers: thirteen places and a key; Corsica's departments have a letter."""
    number = compact[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(compact[13:])


def cpf(digits: str) -> bool:
    """Brazilian taxpayers: nine digits and two check digits."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(digit) * weight for digit, weight in zip(digits, range(length + 1, 1, -1), strict=False))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def dni(compact: str) -> bool:
    """Spanish DNI and NIE: seven or eight digits decide the letter behind them."""
    number = compact[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == compact[-1]


def codice_fiscale(code: str) -> bool:
    """Italian tax codes in upper case: the last letter follows from the fifteen before."""
    total = 0
    for at, char in enumerate(code[:15]):
        value = int(char) if char.isdigit() else ord(char) - 65
        total += value if at % 2 else _ODD_PLACES[value]
    return chr(65 + total % 26) == code[15]


def base58check(address: str) -> bool:
    """Older Bitcoin addresses."""
    number = 0
    for char in address:
        number = number * 58 + _BASE58[char]
    if number.bit_length() > 200:
        return False
    whole = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(whole[:21]).digest()).digest()[:4] == whole[21:]


def bech32(address: str) -> bool:
    """Newer Bitcoin addresses (`bc1…`), in lower case; both kinds of their checksum."""
    check = 1
    values = (3, 3, 0, 2, 3, *(_BECH32[char] for char in address[3:]))  # "bc" spread, then the data
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, constant in enumerate(_BECH32_GENERATOR):
            check ^= constant if top >> bit & 1 else 0
    return check in {1, 0x2BC830A3}


def varied(text: str) -> bool:
    """Whether no character fills it: `xxxx…` and `0000…` stand for a secret and are none."""
    changes = sum(one != two for one, two in pairwise(text))
    return changes * 3 >= len(text) and len(set(text)) >= 6
