"""Whether a template names only what is declared: found before a call does, with the line and the nearest name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from jinja2 import nodes

from loopwright.kit.nearest import hint
from loopwright.prompts.budget import Budget
from loopwright.prompts.fault import Fault
from loopwright.prompts.syntax import GLOBALS, Template, names_in


def check_names(template: Template, partials: Mapping[str, Template], declared: set[str]) -> None:
    """Every name of a template and of the partials it includes is declared, or bound where it stands.

    Raises:
        Fault: one is not; or a partial is not there, or includes itself.
    """
    Naming(partials, declared).check(template, {*declared, *GLOBALS})


class Naming:
    """One walk. Names bound in either branch of a condition count as bound: what was not given is seen in rendering."""

    __slots__ = ("_budget", "_declared", "_open", "_partials")

    def __init__(self, partials: Mapping[str, Template], declared: set[str]) -> None:
        self._partials = partials
        self._declared = declared
        self._open: list[Template] = []
        self._budget = Budget()

    def check(self, template: Template, bound: set[str]) -> None:
        """All of a template."""
        self._open.append(template)
        self._all(template.body, bound)
        self._open.pop()

    def _all(self, found: Iterable[nodes.Node], bound: set[str]) -> None:
        for node in found:
            self._one(node, bound)

    def _one(self, node: Any, bound: set[str]) -> None:
        self._budget.pay()
        step = self._STEPS.get(type(node))
        if step is None:
            self._all(node.iter_child_nodes(), bound)
        else:
            step(self, node, bound)

    def _name(self, node: Any, bound: set[str]) -> None:
        if node.ctx == "load" and node.name not in bound:
            raise self._fault(f"is not declared{hint(node.name, self._declared)}", node, variable=node.name)

    def _for(self, node: Any, bound: set[str]) -> None:
        self._one(node.iter, bound)
        inner = {*bound, *names_in(node.target)}
        if node.test is not None:
            self._one(node.test, inner)
        self._all(node.body, {*inner, "loop"})
        self._all(node.else_, set(bound))

    def _assign(self, node: Any, bound: set[str]) -> None:
        self._one(node.node, bound)
        self._bind(node.target, bound)

    def _assign_block(self, node: Any, bound: set[str]) -> None:
        self._filter_block(node, bound)
        self._bind(node.target, bound)

    def _filter_block(self, node: Any, bound: set[str]) -> None:
        self._all(node.body, set(bound))
        if node.filter is not None:
            self._one(node.filter, bound)

    def _with(self, node: Any, bound: set[str]) -> None:
        self._all(node.values, bound)
        self._all(node.body, {*bound, *(name for target in node.targets for name in names_in(target))})

    def _macro(self, node: Any, bound: set[str]) -> None:
        bound.add(node.name)
        self._all(node.defaults, bound)
        self._all(node.body, {*bound, *(argument.name for argument in node.args)})

    def _bind(self, target: nodes.Node, bound: set[str]) -> None:
        if isinstance(target, nodes.NSRef):
            if target.name not in bound:
                raise self._fault("is not declared", target, variable=target.name)
        else:
            bound.update(names_in(target))

    def _include(self, node: Any, bound: set[str]) -> None:
        name = node.template.value
        found = self._partials.get(name)
        if found is None:
            raise self._fault(f"there is no partial {name!r}{hint(name, self._partials)}", node)
        if any(found is each for each in self._open):
            raise self._fault(f"partial {name!r} includes itself", node)
        self.check(found, set(bound))

    def _fault(self, message: str, node: nodes.Node, *, variable: str | None = None) -> Fault:
        return Fault(message, place=self._open[-1].place, line=node.lineno, variable=variable)

    _STEPS: ClassVar[Mapping[type, Callable[..., None]]] = {
        nodes.Name: _name,
        nodes.For: _for,
        nodes.Assign: _assign,
        nodes.AssignBlock: _assign_block,
        nodes.With: _with,
        nodes.Macro: _macro,
        nodes.Include: _include,
        nodes.FilterBlock: _filter_block,
    }
