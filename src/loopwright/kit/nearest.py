"""The nearest known name to a mistyped one, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing comes near."""
    by_lower = {word.lower(): word for word in known}
    found = get_close_matches(name.lower()[:200], list(by_lower), n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the list of what there is when nothing comes near."""
    names = sorted(known)
    close = nearest(name, names)
    if close is not None:
        return f"; did you mean {close!r}?"
    shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
    return f"; there are: {shown}" if names else ""
