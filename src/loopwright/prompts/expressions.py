"""Expressions of templates evaluated, node by node, within a budget. Sees values only: no attribute, no call out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from jinja2 import nodes

from loopwright.prompts.budget import LONGEST_RANGE, MOST_BITS, Budget
from loopwright.prompts.fault import Fault
from loopwright.prompts.filters import FILTERS, METHODS, UNWEIGHED
from loopwright.prompts.questions import TESTS
from loopwright.prompts.syntax import NAMELESS, path_of
from loopwright.prompts.values import Missing, bounded, kind_of, member, text_of


class Scope:
    """Names and their values, within those around them."""

    __slots__ = ("around", "names")

    def __init__(self, names: dict[str, Any], around: Scope | None = None) -> None:
        self.names = names
        self.around = around

    def find(self, name: str) -> Any:
        """The value of a name, the nearest; Missing when nobody has it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.around
        return Missing(name)


@dataclass(slots=True)
class Namespace:
    """What `namespace()` makes: members that loops may set."""

    members: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """A macro, and where it was written."""

    node: nodes.Macro
    scope: Scope


@dataclass(slots=True)
class Loop:
    """Where a loop is."""

    items: list[Any]
    at: int = 0

    def member(self, name: str) -> Any:
        """What a template may know of it."""
        count, at = len(self.items), self.at
        found = {
            "index": at + 1,
            "index0": at,
            "revindex": count - at,
            "revindex0": count - at - 1,
            "first": at == 0,
            "last": at == count - 1,
            "length": count,
        }
        if name == "previtem":
            return self.items[at - 1] if at else Missing("loop.previtem")
        if name == "nextitem":
            return self.items[at + 1] if at + 1 < count else Missing("loop.nextitem")
        return found.get(name, Missing(f"loop.{name}", name, [*found, "previtem", "nextitem", "cycle"]))


_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda left, right: operator.contains(right, left),
    "notin": lambda left, right: not operator.contains(right, left),
}
_OPERATIONS: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    nodes.Add: operator.add,
    nodes.Sub: operator.sub,
    nodes.Mul: operator.mul,
    nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv,
    nodes.Mod: operator.mod,
    nodes.Pow: operator.pow,
}
_SIGNS: Final[Mapping[type, str]] = {
    nodes.Add: "+", nodes.Sub: "-", nodes.Mul: "*", nodes.Div: "/", nodes.FloorDiv: "//", nodes.Mod: "%",
    nodes.Pow: "**",
}  # fmt: skip


class Expressions:
    """What a rendering evaluates; `place` and `line` are where it is."""

    __slots__ = ("budget", "line")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.line: int | None = None

    def expanded(self, macro: Macro, args: Sequence[Any], named: Mapping[str, Any]) -> str:
        """The text of a macro that is called: statements, so not known here."""
        raise NotImplementedError

    def eval(self, node: Any, scope: Scope) -> Any:
        """The value of an expression; Missing when it names what was not given."""
        self.budget.pay()
        self.line = node.lineno or self.line
        return self._STEPS[type(node)](self, node, scope)

    def value(self, node: Any, scope: Scope) -> Any:
        """The value of an expression that must have one."""
        found = self.eval(node, scope)
        if isinstance(found, Missing):
            raise self._absent(node, found)
        return found

    def _absent(self, node: Any, missing: Missing) -> Fault:
        path = path_of(node)
        if path.startswith(NAMELESS):
            return Fault(f"there is no {missing.path[:60]!r} here{missing.nearest}")
        if isinstance(node, nodes.Name):
            return Fault("was not given: give it, or write `| default(…)`", variable=path)
        return Fault(f"is not there{missing.nearest}", variable=path)

    def _name(self, node: Any, scope: Scope) -> Any:
        return scope.find(node.name)

    def _const(self, node: Any, _scope: Scope) -> Any:
        return bounded(node.value)

    def _list(self, node: Any, scope: Scope) -> Any:
        return self.budget.weigh([self._plain(item, scope) for item in node.items])

    def _tuple(self, node: Any, scope: Scope) -> Any:
        return self.budget.weigh(tuple(self._plain(item, scope) for item in node.items))

    def _dict(self, node: Any, scope: Scope) -> Any:
        made: dict[str, Any] = {}
        for pair in node.items:
            key = self.value(pair.key, scope)
            if not isinstance(key, str):
                raise Fault(f"an object has texts for names, not {kind_of(key)}")
            made[key] = self._plain(pair.value, scope)
        return self.budget.weigh(made)

    def _plain(self, node: Any, scope: Scope) -> Any:
        """A value that may be held by another."""
        found = self.value(node, scope)
        if isinstance(found, Namespace | Macro | Loop):
            raise Fault("a macro, a namespace and `loop` cannot be put into a list or an object")
        return found

    def _condition(self, node: Any, scope: Scope) -> Any:
        if self.eval(node.test, scope):
            return self.eval(node.expr1, scope)
        return "" if node.expr2 is None else self.eval(node.expr2, scope)

    def _getattr(self, node: Any, scope: Scope) -> Any:
        return self._member(node, self.value(node.node, scope), node.attr)

    def _getitem(self, node: Any, scope: Scope) -> Any:
        value = self.value(node.node, scope)
        if not isinstance(node.arg, nodes.Slice):
            return self._member(node, value, self.value(node.arg, scope))
        ends = [
            None if part is None else self.value(part, scope) for part in (node.arg.start, node.arg.stop, node.arg.step)
        ]
        if not isinstance(value, str | list | tuple):
            raise Fault(f"is {kind_of(value)}, of which there are no parts", variable=path_of(node.node))
        return self.budget.weigh(value[slice(*ends)])

    def _member(self, node: Any, value: Any, name: Any) -> Any:
        if isinstance(value, Loop):
            return value.member(name) if isinstance(name, str) else Missing("loop")
        if isinstance(value, Namespace):
            value = value.members
        found = member(value, name)
        if isinstance(found, Missing):
            named = isinstance(value, dict) and isinstance(name, str)
            return Missing(path_of(node), name[:60] if named else "", value if named else ())
        return found

    def _filter(self, node: Any, scope: Scope) -> Any:
        return self.filtered(node, self.eval(node.node, scope), scope)

    def filtered(self, node: Any, value: Any, scope: Scope) -> Any:
        """A value through a filter; only `default` takes what was not given."""
        if isinstance(value, Missing) and node.name not in {"default", "d"}:
            raise self._absent(node.node, value)
        if node.name not in UNWEIGHED:
            self.budget.weigh(list(value) if isinstance(value, range) else value)
        args, named = self._arguments(node, scope)
        try:
            made = FILTERS[node.name](self.budget, value, *args, **named)
        except Fault as fault:
            raise Fault(f"filter {node.name!r}: {fault.message}", variable=self._named(node.node)) from None
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise Fault(
                f"filter {node.name!r} cannot take this: {_reason(error)}", variable=self._named(node.node)
            ) from None
        return made if node.name in UNWEIGHED else self.budget.weigh(made)

    def _named(self, node: Any) -> str | None:
        path = NAMELESS if node is None else path_of(node)
        return None if path.startswith(NAMELESS) else path

    def _arguments(self, node: Any, scope: Scope) -> tuple[list[Any], dict[str, Any]]:
        args = [self._plain(arg, scope) for arg in node.args]
        return args, {each.key: self._plain(each.value, scope) for each in node.kwargs}

    def _test(self, node: Any, scope: Scope) -> bool:
        value = self.eval(node.node, scope)
        if isinstance(value, Missing) and node.name not in {"defined", "undefined"}:
            raise self._absent(node.node, value)
        args, named = self._arguments(node, scope)
        for each in (value, *args):
            self.budget.weigh(each)
        return bool(TESTS[node.name](self.budget, value, *args, **named))

    def _concat(self, node: Any, scope: Scope) -> str:
        texts = [text_of(self.value(each, scope), self.budget) for each in node.nodes]
        self.budget.text(sum(map(len, texts)))
        return "".join(texts)

    def _compare(self, node: Any, scope: Scope) -> bool:
        left = self.value(node.expr, scope)
        for operand in node.ops:
            right = self.value(operand.expr, scope)
            self.budget.weigh(left)
            self.budget.weigh(right)
            if not _COMPARISONS[operand.op](left, right):
                return False
            left = right
        return True

    def _and(self, node: Any, scope: Scope) -> Any:
        return self.eval(node.left, scope) and self.eval(node.right, scope)

    def _or(self, node: Any, scope: Scope) -> Any:
        return self.eval(node.left, scope) or self.eval(node.right, scope)

    def _not(self, node: Any, scope: Scope) -> bool:
        return not self.eval(node.node, scope)

    def _sign(self, node: Any, scope: Scope) -> Any:
        value = self.value(node.node, scope)
        return -value if isinstance(node, nodes.Neg) else +value

    def _arithmetic(self, node: Any, scope: Scope) -> Any:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        kind = type(node)
        if isinstance(left, int | float) and isinstance(right, int | float):
            if kind is nodes.Pow and isinstance(left, int) and left.bit_length() * abs(right) > MOST_BITS:
                raise Fault(f"makes a number of more than {MOST_BITS} bits")
            return bounded(_OPERATIONS[kind](left, right))
        if kind is nodes.Add and isinstance(left, str) and isinstance(right, str):
            self.budget.text(len(left) + len(right))
            return left + right
        if kind is nodes.Add and isinstance(left, list) and isinstance(right, list):
            return self.budget.weigh(left + right)
        if kind is nodes.Mul and isinstance(left, str | list) and isinstance(right, int):
            # Paid before it is made: what it will hold, as often as it will hold it.
            self.budget.text(len(left) * max(right, 0) * (64 if isinstance(left, list) else 1))
            return self.budget.weigh(left * right)
        raise Fault(f"{_SIGNS[kind]!r} does not go with {kind_of(left)} and {kind_of(right)}")

    def _call(self, node: Any, scope: Scope) -> Any:
        if isinstance(node.node, nodes.Getattr):
            return self._method(node, scope)
        name = node.node.name
        found = scope.find(name)
        if isinstance(found, Macro):
            return self.expanded(found, *self._arguments(node, scope))
        if not isinstance(found, Missing) or name not in {"range", "namespace"}:
            raise Fault("is no macro, so it cannot be called", variable=name)
        args, named = self._arguments(node, scope)
        if name == "namespace":
            if args:
                raise Fault("namespace takes names with values: namespace(count=0)")
            return Namespace(named)
        made = range(*args)
        if len(made) > LONGEST_RANGE:
            raise Fault(f"a range of {len(made):,}; at most {LONGEST_RANGE:,}")
        return made

    def _method(self, node: Any, scope: Scope) -> Any:
        value, name = self.value(node.node.node, scope), node.node.attr
        args, named = self._arguments(node, scope)
        if isinstance(value, Loop) and name == "cycle" and args:
            return args[value.at % len(args)]
        if not isinstance(value, str | dict) or named:
            raise Fault(f"{kind_of(value)} has no method {name!r}", variable=self._named(node.node.node))
        if name != "get":
            self.budget.weigh(value)
        return METHODS[name](self.budget, value, *args)

    _STEPS: ClassVar[Mapping[type, Callable[..., Any]]] = {
        nodes.Const: _const,
        nodes.TemplateData: _const,
        nodes.Name: _name,
        nodes.List: _list,
        nodes.Tuple: _tuple,
        nodes.Dict: _dict,
        nodes.CondExpr: _condition,
        nodes.Filter: _filter,
        nodes.Test: _test,
        nodes.Getattr: _getattr,
        nodes.Getitem: _getitem,
        nodes.Concat: _concat,
        nodes.Compare: _compare,
        nodes.And: _and,
        nodes.Or: _or,
        nodes.Not: _not,
        nodes.Neg: _sign,
        nodes.Pos: _sign,
        nodes.Call: _call,
        **dict.fromkeys(_OPERATIONS, _arithmetic),
    }


def _reason(error: Exception) -> str:
    """What Python says of it, without the names of our functions."""
    said = str(error)
    return "wrong arguments" if "argument" in said and "(" in said else said[:200] or type(error).__name__
