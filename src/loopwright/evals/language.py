"""In which language a text is written, told by py3langid's model, which comes with the package."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import py3langid

_READ: Final = 10_000
"""Characters: more of a text makes no difference."""


def language(text: str) -> str | None:
    """Its ISO 639-1 code, `en`; None when there are no letters to tell it by.

    Upper and lower case are the same: the model was made of ordinary text, and takes capitals for other languages.
    """
    return _told(text[:_READ].casefold())


@lru_cache(maxsize=256)  # the same answer is looked at in strict and loose ways, and by several instructions
def _told(text: str) -> str | None:
    if not any(letter.isalpha() for letter in text):
        return None
    code, _ = py3langid.classify(text)
    return str(code)
