"""What may stand in a run: names, parameters, points and paths, checked before anything of them is kept."""

from __future__ import annotations

import json
import math
import mimetypes
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.runs.run import Metric, Point

NAME: Final = 250
"""Characters of a name."""
TEXT: Final = 20_000
"""Characters of a note or a description."""
PARAMS: Final = 1_000
"""Parameters, metrics or tags of one run."""
VALUE: Final = 100_000
"""Bytes of all parameters of one call, as JSON."""
POINTS: Final = 100_000
"""Points of one call."""
_STEPS: Final = 2**53
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SEGMENT: Final = re.compile(r"[^/\x00-\x1f\x7f\\]{1,120}")
_SAFE: Final = ("text/plain", "application/json", "text/csv", "image/png", "image/jpeg", "image/gif", "image/webp")


def name(given: object, param: str, *, most: int = NAME, empty: bool = False) -> str:
    """A name that can be stored and shown.

    Raises:
        BadRequest: it is no such text.
    """
    if not isinstance(given, str) or len(given) > most or not (given.strip() or empty) or not printable(given):
        raise BadRequest(f"{param}: a text of {0 if empty else 1} to {most} printable characters", param=param)
    return given.strip()


def text(given: str, param: str) -> str:
    """A text for people.

    Raises:
        BadRequest: it is too long or cannot be stored.
    """
    if len(given) > TEXT:
        raise BadRequest(f"{param}: {len(given):,} characters; allowed are {TEXT:,}", param=param)
    storable(given, param)
    return given


def printable(given: str) -> bool:
    """Without what breaks a line, a header or an encoding."""
    return not any(ord(char) < 32 or ord(char) == 127 or "\ud800" <= char <= "\udfff" for char in given)


def stored(given: str | None) -> str | None:
    """A text to look for as the database could hold it: without NUL and half characters."""
    return None if given is None else given.replace("\x00", "").encode("utf-8", "replace").decode()[: 2 * NAME]


def storable(given: Any, param: str, *, most: int = VALUE) -> Any:
    """JSON that the database takes.

    Raises:
        BadRequest: it is not JSON, holds NUL or half a character, or is too large.
    """
    try:
        written = json.dumps(given, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise BadRequest(f"{param}: is not JSON that can be stored ({type(error).__name__})", param=param) from None
    if _NUL.search(written):
        raise BadRequest(f"{param}: holds a NUL character, which cannot be stored", param=param)
    if len(written) > most:
        raise BadRequest(f"{param}: {len(written):,} bytes as JSON; allowed are {most:,}", param=param)
    return given


def params(given: Mapping[str, Any], param: str = "params") -> dict[str, Any]:
    """Parameters of a run.

    Raises:
        BadRequest: names the one that cannot be kept.
    """
    if len(given) > PARAMS:
        raise BadRequest(f"{param}: {len(given):,} of them; allowed are {PARAMS:,}", param=param)
    storable(dict(given), param)
    return {name(key, f"{param} {str(key)[:40]!r}"): value for key, value in given.items()}


def tags(given: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a run: texts by name.

    Raises:
        BadRequest: one is no text.
    """
    found = params(given, "tags")
    wrong = next((key for key, value in found.items() if not isinstance(value, str) or len(value) > 5_000), None)
    if wrong is not None:
        raise BadRequest(f"tags: {wrong[:40]!r} is no text of up to 5,000 characters", param="tags")
    return found


def points(given: Sequence[Point]) -> list[Point]:
    """Points with their moment.

    Raises:
        BadRequest: too many, or one has an unusable name or step.
    """
    if len(given) > POINTS:
        raise BadRequest(f"metrics: {len(given):,} points; at most {POINTS:,} in one call", param="metrics")
    known: set[str] = set()
    now = datetime.now(UTC)
    found = []
    for each in given:
        if each.name not in known:
            name(each.name, "metrics: name")
            known.add(each.name)
        if abs(each.step) > _STEPS:
            raise BadRequest(f"metrics: step of {each.name[:40]!r} is out of range", param="metrics")
        value = each.value if each.value is not None and math.isfinite(each.value) else None
        at = each.at or now
        moment = at if at.tzinfo else at.replace(tzinfo=UTC)
        found.append(Point(name=each.name.strip(), value=value, step=each.step, at=moment))
    return found


def merged(before: Mapping[str, Metric], new: Sequence[Point]) -> dict[str, Metric]:
    """What each metric comes to with `new` points.

    Raises:
        BadRequest: the run would have too many metrics.
    """
    found = dict(before)
    for point in new:
        assert point.at is not None
        old = found.get(point.name)
        if old is None:
            ends, count = (point.value, point.step, point.at), 0
            values = [point.value]
        else:
            later = (point.step, point.at) >= (old.step, old.at)
            ends = (point.value, point.step, point.at) if later else (old.last, old.step, old.at)
            count = old.points
            values = [old.least, old.greatest, point.value]
        numbers = [value for value in values if value is not None]
        found[point.name] = Metric(
            last=ends[0],
            step=ends[1],
            at=ends[2],
            least=min(numbers, default=None),
            greatest=max(numbers, default=None),
            points=count + 1,
        )
    if len(found) > PARAMS:
        raise BadRequest(f"metrics: the run would have {len(found):,} of them; allowed are {PARAMS:,}", param="metrics")
    return found


def path(given: str) -> str:
    """The path of an artifact, relative, of plain segments.

    Raises:
        BadRequest: it leads elsewhere or cannot be stored.
    """
    parts = given.split("/")
    wrong = [part for part in parts if part in (".", "..") or not _SEGMENT.fullmatch(part) or not printable(part)]
    if wrong or len(given) > 500:
        raise BadRequest(
            f"path: {given[:80]!r} is none of an artifact: write it as folder/name, without . and ..", param="path"
        )
    return given


def media_type(of: str) -> str:
    """What a browser may take an artifact for: by its name, and never a page or a script."""
    found = mimetypes.guess_type(PurePosixPath(of).name)[0] or ""
    if found in _SAFE:
        return found
    return (
        "text/plain"
        if found.startswith("text/") or of.endswith((".jsonl", ".yaml", ".md", ".log"))
        else "application/octet-stream"
    )
