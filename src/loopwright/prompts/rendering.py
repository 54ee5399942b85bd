"""Templates evaluated, statement by statement, within a budget: a prompt reads no file and cannot run for long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from jinja2 import nodes

from loopwright.kit.nearest import hint
from loopwright.prompts.budget import Budget
from loopwright.prompts.expressions import Expressions, Loop, Macro, Namespace, Scope
from loopwright.prompts.fault import Fault
from loopwright.prompts.syntax import Template
from loopwright.prompts.values import Missing, items_of, text_of

_DEEPEST: Final = 16
"""Macros and partials within each other."""


class Run(Expressions):
    """One rendering: all templates of a prompt share its budget."""

    __slots__ = ("_depth", "_partials", "_place")

    def __init__(self, partials: Mapping[str, Template], budget: Budget | None = None) -> None:
        super().__init__(budget or Budget())
        self._partials = partials
        self._depth = 0
        self._place = ""

    def render(self, template: Template, variables: Mapping[str, Any]) -> str:
        """The text that a template becomes.

        Raises:
            Fault: it cannot; names the place, the line and the variable.
        """
        self._place, self.line, self._depth = template.place, None, 0
        try:
            return self.budget.put(self._block(template.body, Scope(dict(variables))))
        except Fault as fault:
            raise fault.at(self._place, self.line) from None
        except RecursionError:
            raise Fault("is nested too deeply", place=self._place, line=self.line) from None
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            said = str(error)[:200] or type(error).__name__
            raise Fault(f"cannot be evaluated: {said}", place=self._place, line=self.line) from None

    # Statements: each gives the text it puts out

    def _block(self, body: Iterable[nodes.Node], scope: Scope) -> str:
        return "".join([self._statement(node, scope) for node in body])

    def _statement(self, node: nodes.Node, scope: Scope) -> str:
        self.budget.pay()
        if node.lineno:
            self.line = node.lineno
        return self._STATEMENTS[type(node)](self, node, scope)

    def _output(self, node: Any, scope: Scope) -> str:
        parts = []
        for each in node.nodes:
            if isinstance(each, nodes.TemplateData):
                parts.append(self._data(each, scope))
            else:
                parts.append(self._made(text_of(self.value(each, scope), self.budget)))
        return "".join(parts)

    def _data(self, node: Any, _scope: Scope) -> str:
        return self._made(node.data)

    def _made(self, text: str) -> str:
        self.budget.text(len(text))
        return text

    def _for(self, node: Any, scope: Scope) -> str:
        found = self.value(node.iter, scope)
        items = items_of(found)
        self.budget.pay(len(items))
        if node.test is not None:
            items = [one for one in items if self._passes(node, one, scope)]
        if not items:
            return self._block(node.else_, Scope({}, scope))
        loop, parts = Loop(items), []
        for at, one in enumerate(items):
            loop.at = at
            inner = Scope({"loop": loop}, scope)
            self._bind(node.target, one, inner)
            parts.append(self._block(node.body, inner))
        return "".join(parts)

    def _passes(self, node: Any, one: Any, scope: Scope) -> bool:
        inner = Scope({}, scope)
        self._bind(node.target, one, inner)
        return bool(self.eval(node.test, inner))

    def _if(self, node: Any, scope: Scope) -> str:
        if self.eval(node.test, scope):
            return self._block(node.body, scope)
        for other in node.elif_:
            if self.eval(other.test, scope):
                return self._block(other.body, scope)
        return self._block(node.else_, scope)

    def _assign(self, node: Any, scope: Scope) -> str:
        self._bind(node.target, self.eval(node.node, scope), scope)
        return ""

    def _assign_block(self, node: Any, scope: Scope) -> str:
        text: Any = self._block(node.body, Scope({}, scope))
        if node.filter is not None:
            text = self.filtered(node.filter, text, scope)
        self._bind(node.target, text, scope)
        return ""

    def _with(self, node: Any, scope: Scope) -> str:
        inner = Scope({}, scope)
        for target, value in zip(node.targets, node.values, strict=True):
            self._bind(target, self.eval(value, scope), inner)
        return self._block(node.body, inner)

    def _filter_block(self, node: Any, scope: Scope) -> str:
        text = self._block(node.body, Scope({}, scope))
        return text_of(self.filtered(node.filter, text, scope), self.budget)

    def _macro(self, node: Any, scope: Scope) -> str:
        scope.names[node.name] = Macro(node=node, scope=scope)
        return ""

    def _include(self, node: Any, scope: Scope) -> str:
        name = node.template.value
        found = self._partials.get(name)
        if found is None:
            raise Fault(f"there is no partial {name!r}{hint(name, self._partials)}")
        place, line = self._place, self.line
        self._deeper()
        self._place = found.place
        text = self._block(found.body, Scope({}, scope))
        self._place, self.line = place, line
        self._depth -= 1
        return text

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Fault(f"partials and macros are nested more than {_DEEPEST} deep")

    def _bind(self, target: Any, value: Any, scope: Scope) -> None:
        if isinstance(target, nodes.Name):
            scope.names[target.name] = value
        elif isinstance(target, nodes.NSRef):
            space = scope.find(target.name)
            if not isinstance(space, Namespace):
                raise Fault(f"is no namespace, so {target.attr!r} cannot be set", variable=target.name)
            space.members[target.attr] = value
        else:
            values = items_of(value)
            if len(values) != len(target.items):
                raise Fault(f"{len(values)} values for {len(target.items)} names")
            for each, one in zip(target.items, values, strict=True):
                self._bind(each, one, scope)

    def expanded(self, macro: Macro, args: Sequence[Any], named: Mapping[str, Any]) -> str:
        """The text of a macro that is called."""
        node, names = macro.node, [argument.name for argument in macro.node.args]
        given = dict(zip(names, args, strict=False)) | dict(named)
        if len(args) > len(names) or set(given) - set(names):
            raise Fault(f"macro {node.name!r} takes: {', '.join(names) or 'nothing'}")
        inner = Scope(given, macro.scope)
        for name, default in zip(names[len(names) - len(node.defaults) :], node.defaults, strict=True):
            if name not in given:
                given[name] = self.eval(default, inner)
        given |= {name: Missing(name) for name in names if name not in given}
        self._deeper()
        text = self._block(node.body, inner)
        self._depth -= 1
        return text

    _STATEMENTS: ClassVar[Mapping[type, Callable[..., str]]] = {
        nodes.Output: _output,
        nodes.TemplateData: _data,
        nodes.For: _for,
        nodes.If: _if,
        nodes.Assign: _assign,
        nodes.AssignBlock: _assign_block,
        nodes.With: _with,
        nodes.Macro: _macro,
        nodes.Include: _include,
        nodes.FilterBlock: _filter_block,
    }
