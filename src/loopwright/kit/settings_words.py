"""What one word of a configuration may be: reads it as the type that is meant, and says in words what is allowed.

The type decides how a plain word is read, so `model: no` is the text "no" and `payloads: no` is false. Numbers are
decimal: YAML's octal and base-60 forms are text here. Knows nothing of files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from loopwright.kit.nearest import nearest
from loopwright.kit.settings_marks import Between, Hidden

_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)")
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^}]*))?\})?")
_USERINFO = re.compile(r"//[^@/\s]*@")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_SECONDS: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
_SIZES = ["b", "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib"]
_BYTES: Mapping[str, float] = dict(
    zip(_SIZES, (1, *(10**n for n in (3, 6, 9, 12)), *(2**n for n in (10, 20, 30, 40))), strict=True)
)
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LONGEST_NUMBER = 40
_ANY_NUMBER = Between()


class Unfit(ValueError):
    """The word cannot be what is meant; the message says why when `describe` alone does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A type of the schema, taken apart."""

    base: Any
    optional: bool = False
    between: Between = _ANY_NUMBER
    hidden: bool = False

    @property
    def section(self) -> bool:
        """Whether it is a mapping with known keys."""
        return is_dataclass(self.base)


def wanted(hint: Any) -> Wanted:
    """Take a type hint apart: `X | None`, `Annotated[X, Between(...), Hidden()]`, or plain."""
    optional, between, hidden = False, _ANY_NUMBER, False
    while (origin := get_origin(hint)) in (Annotated, Union, UnionType):
        if origin is Annotated:
            hint, *marks = get_args(hint)
            between = next((mark for mark in marks if isinstance(mark, Between)), between)
            hidden = hidden or any(isinstance(mark, Hidden) for mark in marks)
        else:
            optional = True
            (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return Wanted(base=hint, optional=optional, between=between, hidden=hidden)


def told(schema: Any) -> Mapping[str, tuple[Field[Any], Wanted]]:
    """The settings of a dataclass, by name, in its order; fields marked `told: False` are ours to fill."""
    return _told(schema)


@cache  # each reading asks for each section, and evaluating their hints was most of what it took
def _told(schema: Any) -> Mapping[str, tuple[Field[Any], Wanted]]:
    hints = get_type_hints(schema, include_extras=True)
    shown = [each for each in fields(schema) if each.metadata.get("told", True)]
    return MappingProxyType({each.name: (each, wanted(hints[each.name])) for each in shown})


def describe(want: Wanted) -> str:
    """What is allowed, in words: `a whole number from 0 to 65535`."""
    base = want.base
    if want.section:
        return "a mapping with " + ", ".join(told(base))
    origin = get_origin(base)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(base))
    if origin is tuple:
        return "a list of " + describe(wanted(get_args(base)[0])).removeprefix("one of ")
    if origin is not None:
        inner = wanted(get_args(base)[1])
        return "a mapping of names to " + ("sections" if inner.section else describe(inner))
    if base in (int, float):
        return _describe_number(want)
    return {bool: "true or false", str: "text", Path: "a path"}.get(base, "anything")


def _describe_number(want: Wanted) -> str:
    low, high = (_plain(bound) for bound in (want.between.low, want.between.high))
    bounds = f" from {low} to {high}" if low and high else f" of {low} or more" if low else ""
    if want.between.unit == "seconds":
        return f"a number of seconds{bounds}, or a duration such as 30s or 2m"
    if want.between.unit == "bytes":
        return f"a whole number of bytes{bounds}, or a size such as 20MB"
    return ("a whole number" if want.base is int else "a number") + bounds


def _plain(bound: float | None) -> str:
    return "" if bound is None else f"{bound:.15g}"


def kind(text: str) -> Literal["nothing", "truth", "number", "text"]:
    """What a plain word is when no type is meant."""
    if text in ("", "~", "null", "Null", "NULL"):
        return "nothing"
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return "truth"
    return "number" if _INT.fullmatch(text) or _FLOAT.fullmatch(text) else "text"


def shown(text: str, *, plain: bool, hidden: bool) -> str:
    """What was found, for a message: clipped, without passwords in URLs, and not at all when it is a secret."""
    what = kind(text) if plain else "text"
    if what == "nothing":
        return "nothing"
    noun = "the text" if what == "text" else "the number" if what == "number" else "the word"
    if hidden:
        return f"{noun} (not shown)"
    clipped = _USERINFO.sub("//…@", text)
    clipped = clipped if len(clipped) <= 60 else clipped[:60] + "…"
    return f"{noun} {clipped!r}" if what == "text" else f"{noun} {clipped}"


def read(text: str, want: Wanted, *, quoted: bool) -> object:
    """The value of one word.

    Raises:
        Unfit: it is not what is meant.
    """
    base = want.base
    if _CONTROL.search(text):
        raise Unfit("it holds a line break or a control character")
    if not quoted and kind(text) == "nothing":
        raise Unfit
    if get_origin(base) is Literal:
        return _choice(text, get_args(base))
    if base is str or base is Path:
        return _text(text, want, quoted=quoted)
    if base is bool and not quoted:
        if text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        raise Unfit
    return _number(text, want, quoted=quoted)


def _choice(text: str, choices: Iterable[str]) -> str:
    if text in choices:
        return text
    close = nearest(text, choices)
    raise Unfit(f"did you mean {close!r}?" if close else "")


def _text(text: str, want: Wanted, *, quoted: bool) -> object:
    if not quoted and kind(text) in ("number", "truth"):
        raise Unfit("put it in quotes if it is meant as text")
    if not text.strip():
        raise Unfit("it is empty")
    return Path(text) if want.base is Path else text


def _number(text: str, want: Wanted, *, quoted: bool) -> float:
    amount = _AMOUNT.fullmatch(text.strip())
    if amount and want.between.unit:
        scales = _SECONDS if want.between.unit == "seconds" else _BYTES
        scale = scales.get(amount[2].lower())
        if scale is None:
            raise Unfit(f"the units are {', '.join(scales)}")
        number = float(amount[1]) * scale
    else:
        shape, digits = (_INT, text) if want.base is int else (_FLOAT, text.replace("_", ""))
        if quoted or len(text) > _LONGEST_NUMBER or not shape.fullmatch(digits):
            raise Unfit
        number = want.base(digits)
    return _bounded(number, want)


def _bounded(number: float, want: Wanted) -> float:
    low, high = want.between.low, want.between.high
    if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
        raise Unfit
    if want.base is float:
        return float(number)
    if int(number) != number:
        raise Unfit
    return int(number)


def free(text: str, *, quoted: bool) -> object:
    """A word where anything is allowed, read as YAML's JSON subset would."""
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Unfit("it holds a character that no text can")
    what = "text" if quoted else kind(text)
    if what == "nothing":
        return None
    if what == "truth":
        return text.lower() == "true"
    if what == "number":
        return _number(text, Wanted(base=int if _INT.fullmatch(text) else float), quoted=False)
    return text


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `${NAME}` and `${NAME:-default}`; `$${` stays `${`. As in a shell, the default stands for empty too.

    Raises:
        Unfit: a variable that is not set, or a reference that is none.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name = found[1]
        if name is None:
            raise Unfit("a reference is written ${NAME} or ${NAME:-default}, and $${ stands for ${ itself")
        given = env.get(name)
        if found[2]:
            return given or found[3]
        if given is None:
            raise Unfit(f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-…}}")
        return given

    return _REFERENCE.sub(value, text)
