"""A version of a prompt: what was pushed, for ever; and how versions are named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.prompts.definition import Definition, definition
from loopwright.prompts.fault import Fault
from loopwright.prompts.variables import Variable

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LABEL: Final = re.compile(r"[a-z][a-z0-9._-]{0,63}")
LATEST: Final = "latest"
PRODUCTION: Final = "production"
"""The label that is meant where none is named."""
_HASH: Final = re.compile(r"[0-9a-f]{6,64}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version; the same content has the same number for ever."""

    id: int
    project_id: int
    name: str
    number: int
    """From 1, in the order in which contents first came."""
    sha: str
    """SHA-256 of the definition in its canonical form, in hex."""
    prompt: Definition
    note: str
    author: str
    created_at: datetime
    labels: tuple[str, ...] = ()
    """Those that point at it, as of when it was read."""

    @property
    def definition(self) -> Mapping[str, Any]:
        """What was pushed, as JSON."""
        return self.prompt.document

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it declares, by name."""
        return self.prompt.variables

    @property
    def spoken(self) -> str:
        """`name@number`, as calls on record have it."""
        return f"{self.name}@{self.number}"

    def render(self, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The messages, in OpenAI's form.

        Raises:
            BadRequest: a variable is missing, unknown or of another kind, or a template fails; names prompt, place,
                line and variable.
        """
        try:
            return self.prompt.render(variables)
        except Fault as fault:
            raise fault.refused(f"prompt {self.spoken}") from None

    def labelled(self, labels: tuple[str, ...]) -> Version:
        """The same, with the labels that point at it now."""
        return self if labels == self.labels else replace(self, labels=labels)


def read(given: Any, where: str) -> Definition:
    """A definition from outside.

    Raises:
        BadRequest: it cannot be used; `where` is said first.
    """
    try:
        return definition(given)
    except Fault as fault:
        raise fault.refused(where) from None


def split(named: str) -> tuple[str, str | None]:
    """`name@ref` in its two parts; the second is None when it is not there."""
    name, sign, ref = named.partition("@")
    return name, ref if sign else None


def check_name(name: str) -> str:
    """A name a prompt may have.

    Raises:
        BadRequest: it may not.
    """
    if not NAME.fullmatch(name):
        raise BadRequest(
            f"{name[:60]!r} is no name of a prompt: letters, digits, `.`, `_` and `-`, at most 100", param="name"
        )
    return name


def check_label(label: str) -> str:
    """A label that can be moved.

    Raises:
        BadRequest: it is none, or `latest`, which moves by itself.
    """
    if not LABEL.fullmatch(label) or label == LATEST:
        raise BadRequest(
            f"{label[:60]!r} is no label: a small letter, then small letters, digits, `.`, `_` and `-`; "
            f"`{LATEST}` moves by itself",
            param="label",
        )
    return label


def number_of(ref: str) -> int | None:
    """The number that a reference may be."""
    return int(ref) if _NUMBER.fullmatch(ref) else None


def hash_of(ref: str) -> str | None:
    """The beginning of a hash that a reference may be: six hex digits or more."""
    return ref if _HASH.fullmatch(ref) else None
