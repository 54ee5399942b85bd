"""Markdown: as it stands, but front matter becomes metadata and comments, which nobody sees, are left out."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from loopwright.documents.decoding import cleaned, decoded
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.sniffing import MARKDOWN
from loopwright.documents.structure import headings

_FRONT: Final = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_COMMENT_OR_CODE: Final = re.compile(
    r"(?P<code>^(?P<fence>```+|~~~+).*?(?:^(?P=fence)|\Z)|`[^`\n]+`)|<!--.*?(?:-->|\Z)", re.DOTALL | re.MULTILINE
)


def read(data: bytes, kind: str, limits: Limits) -> Parsed:  # noqa: ARG001 - as every reader
    """The text of it."""
    text, told = decoded(data)
    text, more = cleaned(text)
    metadata: dict[str, Any] = {}
    if front := _FRONT.match(text):
        found = _front(front[1])
        if found is not None:
            metadata, text = found, text[front.end() :]
    shown = _COMMENT_OR_CODE.sub(lambda found: found[0] if found["code"] else "", text)
    if len(shown) < len(text):
        more.append(f"{len(text) - len(shown):,} characters in comments, which nobody sees, were left out")
    title = str(metadata.pop("title", "")) or next((heading.text for heading in headings(shown)), "")
    return Parsed(text=shown, media_type=MARKDOWN, title=title[:500], metadata=metadata, warnings=[*told, *more])


def _front(text: str) -> dict[str, Any] | None:
    """What the front matter says, flat; None where it is none."""
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    kept: dict[str, Any] = {}
    for key, value in list(found.items())[:50]:
        if isinstance(value, str | int | float | bool):
            kept[str(key)[:100]] = value[:500] if isinstance(value, str) else value
        elif isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
            kept[str(key)[:100]] = [str(each)[:100] for each in value[:50]]
        elif value is not None:
            kept[str(key)[:100]] = str(value)[:200] if not isinstance(value, list | dict) else "…"
    return kept
