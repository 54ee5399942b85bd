"""The variables a prompt declares: their kinds, defaults and examples, and whether given values fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from loopwright.kit.nearest import hint
from loopwright.prompts.fault import Fault
from loopwright.prompts.syntax import RESERVED
from loopwright.prompts.values import Missing, kind_of

Kind = Literal["string", "number", "integer", "boolean", "array", "object", "messages", "any"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
ROLES: Final = ("system", "developer", "user", "assistant", "tool")
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
MOST: Final = 100
_NOTHING: Final = Missing("")
_MEMBERS: Final = ("type", "description", "required", "default", "example", "enum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One name that templates may use."""

    name: str
    kind: Kind = "string"
    description: str = ""
    required: bool = True
    default: Any = _NOTHING
    """Taken when it is not given; `Missing` without one."""
    example: Any = _NOTHING
    """A value to try it and to count its tokens with."""
    choices: tuple[Any, ...] | None = None
    """The only values it may have."""

    @property
    def sample(self) -> Any:
        """Its example, else its default; `Missing` without either."""
        return self.default if isinstance(self.example, Missing) else self.example

    def shown(self) -> dict[str, Any]:
        """As a definition writes it."""
        said: dict[str, Any] = {"type": self.kind}
        if self.description:
            said["description"] = self.description
        if self.choices is not None:
            said["enum"] = list(self.choices)
        if not isinstance(self.default, Missing):
            said["default"] = self.default
        elif not self.required:
            said["required"] = False
        if not isinstance(self.example, Missing):
            said["example"] = self.example
        return said

    def check(self, value: Any) -> None:
        """Whether a value fits.

        Raises:
            Fault: it does not.
        """
        if not _FITS[self.kind](value):
            raise Fault(f"must be {_SAID[self.kind]}, not {kind_of(value)}", variable=self.name)
        if self.choices is not None and value not in self.choices:
            allowed = ", ".join(repr(each) for each in self.choices)[:200]
            raise Fault(f"must be one of {allowed}", variable=self.name)


def variables_of(given: Any) -> dict[str, Variable]:
    """What `variables` of a definition declares: names with a kind, or with an object that says more.

    Raises:
        Fault: it cannot be read.
    """
    if given is None:
        return {}
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        given = dict.fromkeys(given)
    if not isinstance(given, Mapping) or len(given) > MOST:
        raise Fault(f"must name the variables, each with its type; at most {MOST}", place="variables")
    return {name: _variable(name, said) for name, said in given.items()}


def _variable(name: Any, said: Any) -> Variable:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise Fault(
            f"{str(name)[:60]!r} is no name of a variable: letters, digits and _, and none of Jinja's own words",
            place="variables",
        )
    place = f"variables.{name}"
    said = _spelled_out({"type": said or "string"} if said is None or isinstance(said, str) else said, place)
    kind = said.get("type", "string")
    choices = said.get("enum")
    if choices is not None and (not isinstance(choices, list) or not choices or len(choices) > 100):
        raise Fault("enum must list 1 to 100 values", place=place)
    if not isinstance(said.get("required", True), bool) or not isinstance(said.get("description", ""), str):
        raise Fault("required is true or false, description a text", place=place)
    made = Variable(
        name=name,
        kind=kind,
        description=said.get("description", ""),
        required="default" not in said and said.get("required", True),
        default=said.get("default", _NOTHING),
        example=said.get("example", _NOTHING),
        choices=None if choices is None else tuple(choices),
    )
    for said_as, value in (("default", made.default), ("example", made.example)):
        try:
            if not isinstance(value, Missing):
                made.check(value)
        except Fault as fault:
            raise Fault(f"{said_as} {fault.message}", place=place) from None
    return made


def _spelled_out(said: Any, place: str) -> Mapping[str, Any]:
    """What is said of a variable, when it is something that can be said.

    Raises:
        Fault: it is not.
    """
    if not isinstance(said, Mapping):
        raise Fault(f"must be a type, or an object with {', '.join(_MEMBERS)}", place=place)
    for key in said:
        if key not in _MEMBERS:
            raise Fault(f"{str(key)[:60]!r} is no member{hint(str(key), _MEMBERS)}", place=place)
    kind = said.get("type", "string")
    if kind not in KINDS:
        raise Fault(f"type {str(kind)[:60]!r} is none{hint(str(kind), KINDS)}", place=place)
    return said


def filled(declared: Mapping[str, Variable], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values to render with: given ones, checked, then defaults. What is optional and not there is absent.

    Raises:
        Fault: one is missing, unknown or of another kind.
    """
    for name in given:
        if name not in declared:
            raise Fault(f"is none of this prompt{hint(str(name)[:100], declared)}", variable=str(name)[:100])
    values: dict[str, Any] = {}
    for name, variable in declared.items():
        value = given.get(name, _NOTHING)
        if value is None and variable.kind != "any" and not variable.required:
            value = _NOTHING
        if isinstance(value, Missing):
            if variable.required:
                raise Fault("is required, and was not given", variable=name)
            if not isinstance(variable.default, Missing):
                values[name] = variable.default
            continue
        variable.check(value)
        values[name] = value
    return values


def is_messages(value: Any) -> bool:
    """Whether a value is a list of messages in OpenAI's form."""
    return isinstance(value, list | tuple) and all(
        isinstance(each, Mapping)
        and each.get("role") in ROLES
        and (each.get("content") is None or isinstance(each["content"], str | list))
        for each in value
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_FITS: Final[Mapping[Kind, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: _whole(value) or isinstance(value, float),
    "integer": _whole,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list | tuple),
    "object": lambda value: isinstance(value, dict),
    "messages": is_messages,
    "any": lambda _value: True,
}
_SAID: Final[Mapping[Kind, str]] = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "messages": "a list of messages, each with a role and a content",
    "any": "anything",
}
