"""Whether the calls of tools an answer makes are the right ones, by name and arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Method, Output
from loopwright.evals.plain import Plain

Call = tuple[str, Mapping[str, Any]]
_MOST: Final = 100
_OTHER: Final = "no call of"
_DROPPED: Final = re.compile(r"[ ,./\-_*^]")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "str": (str,), "integer": (int,), "int": (int,), "float": (int, float), "number": (int, float),
    "double": (int, float), "boolean": (bool,), "bool": (bool,), "array": (list,), "list": (list,), "tuple": (list,),
    "dict": (dict,), "object": (dict,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """The arguments a tool takes."""

    types: Mapping[str, str]
    """As its schema names them; without any, nothing is known of them."""
    required: tuple[str, ...] = ()


_UNKNOWN: Final = Shape({})


class Unusable(Exception):
    """A call, made or expected, is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallsArgs:
    """Of `tool_calls`."""

    form: Annotated[
        Literal["calls", "bfcl"],
        'How the example says what is expected: `calls` as `[{"name": …, "arguments": {…}}]` (or OpenAI\'s form), '
        "`bfcl` as the Berkeley leaderboard, `[{NAME: {ARGUMENT: [VALUES ALLOWED]}}]`; an empty list is no call",
    ] = "calls"
    order: Annotated[Literal["any", "given"], "Whether the order of several calls counts"] = "any"
    arguments: Annotated[bool, "Whether arguments count, or names only"] = True


class ToolCalls(Plain[ToolCallsArgs]):
    """Whether exactly the expected tools are called with the expected arguments."""

    Args = ToolCallsArgs
    method: Method = "benchmark"

    def find(self, example: Example, output: Output) -> Score:
        """1 when each expected call is made once, and no other."""
        try:
            wanted = self._wanted(example.expected)
        except Unusable as error:
            return self.missing(str(error))
        try:
            made = [_made(each) for each in output.tool_calls]
        except Unusable as error:
            return self.verdict(passed=False, why=str(error), label="malformed")
        if len(made) != len(wanted):
            label = "too few" if len(made) < len(wanted) else "too many"
            return self.verdict(passed=False, why=f"{len(made)} calls where {len(wanted)} are expected", label=label)
        return self._compared(made, wanted, _shapes(example))

    def _compared(self, made: Sequence[Call], wanted: Sequence[Call], shapes: Mapping[str, Shape]) -> Score:
        left = list(made)
        for at, each in enumerate(wanted):
            among = left[:1] if self.args.order == "given" else left
            problems = [self._problem(call, each, shapes) for call in among]
            if None not in problems:
                # The nearest miss tells most: a call of that name with other arguments.
                why = min((problem for problem in problems if problem), key=lambda said: said.startswith(_OTHER))
                label = "other name" if why.startswith(_OTHER) else "other arguments"
                return self.verdict(passed=False, why=f"call {at + 1}: {why}", label=label)
            del left[problems.index(None)]
        return self.verdict(passed=True)

    def _wanted(self, expected: Any) -> list[Call]:
        if expected is None:
            raise Unusable("the example has no expected calls")
        listed = expected if isinstance(expected, list | tuple) else [expected]
        if len(listed) > _MOST:
            raise Unusable(f"the example expects more than {_MOST} calls")
        if self.args.form == "bfcl":
            return [_allowed(each) for each in listed]
        return [_made(each) for each in listed]

    def _problem(self, call: Call, wanted: Call, shapes: Mapping[str, Shape]) -> str | None:
        name, given = call
        if plain_name(name) != plain_name(wanted[0]):
            return f"{_OTHER} {wanted[0]!r}"[:200]
        if not self.args.arguments:
            return None
        if self.args.form == "bfcl":
            shape = shapes.get(plain_name(name), _UNKNOWN)
            return bfcl_problem(given, wanted[1], shape.types, shape.required)
        return _differing(given, wanted[1])


def plain_name(name: str) -> str:
    """A name as any dialect takes it: OpenAI's allows no dots."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)


def _made(given: Any) -> Call:
    """A call in OpenAI's form, or as name and arguments."""
    inner = given.get("function", given) if isinstance(given, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise Unusable("a call has a name and arguments")
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments or "{}")
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            raise Unusable(f"the arguments of {inner['name'][:80]!r} are no JSON") from None
    if not isinstance(arguments, Mapping):
        raise Unusable(f"the arguments of {inner['name'][:80]!r} are no object")
    return inner["name"], arguments


def _allowed(given: Any) -> Call:
    if not isinstance(given, Mapping) or len(given) != 1:
        raise Unusable("an expected call is {NAME: {ARGUMENT: [VALUES ALLOWED]}}")
    [(name, arguments)] = given.items()
    if not isinstance(arguments, Mapping) or not all(isinstance(each, list | tuple) for each in arguments.values()):
        raise Unusable(f"the expected call of {str(name)[:80]!r} lists no values allowed")
    return str(name), arguments


def _shapes(example: Example) -> dict[str, Shape]:
    """The arguments of each tool, as its schema tells them."""
    found: dict[str, Shape] = {}
    tools = example.inputs.get("tools")
    for each in tools if isinstance(tools, list | tuple) else ():
        inner = each.get("function", each) if isinstance(each, Mapping) else None
        parameters = inner.get("parameters") if isinstance(inner, Mapping) else None
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        if isinstance(inner, Mapping) and isinstance(properties, Mapping):
            required = parameters.get("required") if isinstance(parameters, Mapping) else None
            types = {str(name): str(one.get("type")) for name, one in properties.items() if isinstance(one, Mapping)}
            found[plain_name(str(inner.get("name")))] = Shape(
                types, tuple(str(each) for each in required) if isinstance(required, list | tuple) else ()
            )
    return found


def bfcl_problem(
    given: Mapping[str, Any],
    allowed: Mapping[str, Sequence[Any]],
    kinds: Mapping[str, str],
    required: Sequence[str] = (),
) -> str | None:
    """What is wrong with a call's arguments by the rules of the Berkeley leaderboard's AST checker; None is right.

    Each argument has one of the values allowed for it and the type of its schema (a whole number will do for a float);
    `""` among the values allows it to be absent, unless its schema requires it. Texts are compared without spaces, punctuation and case.
    """
    for name, value in given.items():
        if name not in allowed or (kinds and name not in kinds):
            return f"{name!r} is not expected"[:200]
        if not _typed(value, kinds.get(name), allowed[name]):
            return f"{name!r} is {str(value)[:80]!r}, which is no {kinds.get(name)}"
        if not _among(value, allowed[name]):
            return f"{name!r} is {str(value)[:80]!r}, which is none of the values allowed"
    for name, values in allowed.items():
        if name not in given and ("" not in values or name in required):
            return f"{name!r} is missing"[:200]
    return None


def _typed(value: Any, kind: str | None, allowed: Sequence[Any]) -> bool:
    wanted = _KINDS.get(kind or "")
    if wanted is None or (isinstance(value, str) and value in allowed):
        return True  # no type is known, or it is a variable's name, as the reference allows it
    if isinstance(value, bool):
        return bool in wanted or any(isinstance(each, bool) for each in allowed)
    return isinstance(value, wanted) or any(type(value) is type(each) for each in allowed if each != "")


def _among(value: Any, allowed: Sequence[Any]) -> bool:
    return any(_fits(value, each) for each in allowed)


def _fits(value: Any, wanted: Any) -> bool:
    """As the leaderboard compares; in objects each member lists the values allowed for it."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, str) and isinstance(wanted, str):
        return _bare(value) == _bare(wanted)
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        return all(name in wanted and _member(each, wanted[name]) for name, each in value.items()) and all(
            name in value or (isinstance(values, list) and "" in values) for name, values in wanted.items()
        )
    if isinstance(value, list) and isinstance(wanted, list | tuple):
        return len(value) == len(wanted) and all(_fits(*pair) for pair in zip(value, wanted, strict=True))
    return type(value) is not str and type(wanted) is not str and bool(value == wanted)


def _member(value: Any, allowed: Any) -> bool:
    return _among(value, allowed) if isinstance(allowed, list | tuple) else _fits(value, allowed)


def _bare(text: str) -> str:
    return _DROPPED.sub("", text).lower().replace("'", '"')


def _differing(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    for key in (*wanted, *given):
        if key not in given:
            return f"{key!r} is missing"[:200]
        if key not in wanted:
            return f"{key!r} is not expected"[:200]
        if not _equal(given[key], wanted[key]):
            return f"{key!r} is {str(given[key])[:80]!r}, not {str(wanted[key])[:80]!r}"
    return None


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_equal(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)
