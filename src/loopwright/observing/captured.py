"""What arguments and results look like on record: JSON, bounded, without secrets. Runs no code of what it looks at."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

MASK: Final = "***"
TEXT: Final = 16_000
"""Characters of one text."""
ITEMS: Final = 100
"""Members of one list or object."""
DEPTH: Final = 8
WHOLE: Final = 120_000
"""Characters of one value as JSON."""
_CUT: Final = "… (cut)"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET: Final = frozenset(
    {
        "key", "keys", "apikey", "token", "password", "passwd", "pwd", "passphrase", "secret", "secrets", "authorization",
        "auth", "credential", "credentials", "cookie", "cookies", "bearer", "signature", "pin",
    }
)  # fmt: skip
_LOOKS: Final = re.compile(
    r"\b(?:sk|lw|pk|rk|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_\-]{16,}|\bAKIA[0-9A-Z]{16}\b|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
    r"|(?i:\bbearer\s+)[^\s\"',;]{8,}"
)
_PLAIN: Final = (dt.datetime, dt.date, dt.time, dt.timedelta, UUID, PurePath, Decimal)


def secret(name: str) -> bool:
    """Whether what goes by `name` is not to be kept: one of its words is key, token, password and the like."""
    return any(word.lower() in _SECRET for word in _WORDS.findall(name[:200]))


def masked(text: str) -> str:
    """`text` without what looks like a key, wherever it stands."""
    return _LOOKS.sub(MASK, text)


def captured(value: object) -> str:
    """`value` as JSON, or the text itself where it is one; at most `WHOLE` characters."""
    if isinstance(value, str):
        return _text(value)
    said = json.dumps(_shown(value, DEPTH), ensure_ascii=False, default=_named)
    return said if len(said) <= WHOLE else said[:WHOLE] + _CUT


def arguments(function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
    """By name what `function` is called with, without the object a method is of."""
    try:
        bound = inspect.signature(function).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):  # the call itself will say so; builtins have no signature
        return {**{str(at): each for at, each in enumerate(args)}, **kwargs}
    names = list(bound)
    if names and names[0] in ("self", "cls"):
        del bound[names[0]]
    return dict(bound)


def _shown(value: object, depth: int) -> Any:  # noqa: PLR0911 - one line a kind
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124 - NaN
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value):,} bytes>"
    if isinstance(value, enum.Enum):
        return _shown(value.value, depth)
    if isinstance(value, _PLAIN):
        return str(value)
    if isinstance(value, BaseException):
        return _text(f"{type(value).__name__}: {value}")
    return _composed(value, depth)


def _composed(value: object, depth: int) -> Any:
    members: Mapping[Any, object] | None = None
    if isinstance(value, Mapping):
        members = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {each.name: getattr(value, each.name, None) for each in dataclasses.fields(value)}
    elif hasattr(type(value), "__pydantic_fields__"):
        members = vars(value)
    if members is None and not isinstance(value, list | tuple | AbstractSet):
        return _named(value)
    if depth == 0:
        return "…"
    if members is None:
        assert isinstance(value, list | tuple | AbstractSet)
        listed = [_shown(each, depth - 1) for _, each in zip(range(ITEMS), value, strict=False)]
        return [*listed, f"… {len(value) - ITEMS:,} more"] if len(value) > ITEMS else listed
    found: dict[str, Any] = {}
    for name, each in members.items():
        if len(found) == ITEMS:
            found["…"] = f"{len(members) - ITEMS:,} more"
            break
        told = name if isinstance(name, str) else _text(str(name)) if isinstance(name, int | float) else _named(name)
        found[told[:200]] = MASK if each is not None and secret(told) else _shown(each, depth - 1)
    return found


def _named(value: object) -> str:
    """An object that is no data: what it is, not its `repr`, which may be slow, huge or fail."""
    kind = type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"


def _text(text: str) -> str:
    return masked(text if len(text) <= TEXT else text[:TEXT] + _CUT)
