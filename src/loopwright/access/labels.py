"""Access labels: words on documents and on keys. Who has one of a document's labels may find it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from loopwright.core.errors import BadRequest

MOST: Final = 100
"""Labels that a key or a document may have."""
_LONGEST: Final = 100


def check_labels(given: Iterable[str]) -> tuple[str, ...]:
    """Labels, each once, in order.

    Raises:
        BadRequest: one is empty, too long, holds a comma or what is not printed; or there are too many.
    """
    found = tuple(sorted({label.strip() for label in given}))
    for label in found:
        if not label or len(label) > _LONGEST or not label.isprintable() or "," in label:
            raise BadRequest(
                f"labels: {label[:40]!r} is none: 1 to {_LONGEST} printable characters, no comma", param="labels"
            )
    if len(found) > MOST:
        raise BadRequest(f"labels: {len(found)} are too many, {MOST} at most", param="labels")
    return found
