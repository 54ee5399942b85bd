"""Templates read: Jinja's own parser, then only the nodes we know. Nothing is compiled to Python, nothing runs here.

Jinja compiles a template to Python, folding constants while it does so: `{{ 'a' * 10 ** 9 }}` takes a gigabyte before
anything is rendered, and its sandbox bounds neither loops nor sizes. So we take its grammar and evaluate it ourselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jinja2
from jinja2 import nodes

from loopwright.kit.nearest import hint
from loopwright.prompts.fault import Fault
from loopwright.prompts.filters import FILTERS, METHODS
from loopwright.prompts.questions import TESTS

LONGEST: Final = 200_000
"""Characters of a template."""
_DEEPEST: Final = 60
"""Nodes within nodes."""
_MOST_NODES: Final = 50_000
_SYNTAX: Final = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # noqa: S701 - only parses, and makes no HTML
GLOBALS: Final = ("range", "namespace")
RESERVED: Final = frozenset({*GLOBALS, "loop", "true", "false", "none", "True", "False", "None", "self", "caller"})
"""Names that no variable may have."""
_STATEMENTS: Final = (
    nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.Macro,
    nodes.Include, nodes.FilterBlock, nodes.Scope,
)  # fmt: skip
_EXPRESSIONS: Final = (
    nodes.Const, nodes.Name, nodes.NSRef, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.CondExpr,
    nodes.Filter, nodes.Test, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand,
    nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos,
    nodes.Not, nodes.And, nodes.Or, nodes.Call, nodes.Keyword,
)  # fmt: skip
_KNOWN: Final = frozenset({*_STATEMENTS, *_EXPRESSIONS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One text of a prompt, parsed."""

    place: str
    """Which part of the definition it is."""
    text: str
    body: tuple[nodes.Node, ...]


def template(text: str, place: str) -> Template:
    """Parse a text.

    Raises:
        Fault: it is no template, or has what no prompt may have; names the line.
    """
    if len(text) > LONGEST:
        raise Fault(f"has {len(text):,} characters; a template may have {LONGEST:,}", place=place)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "{" not in text:  # plain, as most are
        return Template(place=place, text=text, body=(nodes.TemplateData(text, lineno=1),))
    try:
        parsed = _SYNTAX.parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise Fault(str(error.message), place=place, line=error.lineno) from None
    except (RecursionError, ValueError, OverflowError):
        raise Fault("an expression is nested too deeply, or a number has too many digits", place=place) from None
    _check(parsed, place)
    return Template(place=place, text=text, body=tuple(parsed.body))


def _check(root: nodes.Template, place: str) -> None:
    """Only what we evaluate."""
    stack: list[tuple[nodes.Node, int]] = [(child, 1) for child in root.iter_child_nodes()]
    seen = 0
    while stack:
        node, depth = stack.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_NODES:
            raise Fault("is nested too deeply or has too many parts", place=place, line=node.lineno)
        if type(node) not in _KNOWN:
            said = type(node).__name__.lower()
            raise Fault(f"`{said}` is nothing a prompt may use", place=place, line=node.lineno)
        rule = _RULES.get(type(node))
        if rule is not None:
            problem = rule(node)
            if problem:
                raise Fault(problem, place=place, line=node.lineno)
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())


def _filter(node: Any) -> str:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return "`*` and `**` in arguments are nothing a prompt may use"
    return "" if node.name in FILTERS else f"there is no filter {node.name!r}{hint(node.name, FILTERS)}"


def _test(node: Any) -> str:
    return "" if node.name in TESTS else f"there is no test {node.name!r}{hint(node.name, TESTS)}"


def _for(node: Any) -> str:
    return "a recursive loop is nothing a prompt may use" if node.recursive else ""


def _include(node: Any) -> str:
    if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
        return 'a partial is included by its name in quotes: {% include "tone" %}'
    return "" if node.with_context and not node.ignore_missing else "include takes no more than the name of a partial"


def _call(node: Any) -> str:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return "`*` and `**` in arguments are nothing a prompt may use"
    if isinstance(node.node, nodes.Name):
        return ""
    if isinstance(node.node, nodes.Getattr):
        return (
            ""
            if node.node.attr in (*METHODS, "cycle")
            else f"there is no method {node.node.attr!r}{hint(node.node.attr, METHODS)}"
        )
    return "only a macro, `range`, `namespace` and a few methods can be called"


def _attribute(node: Any) -> str:
    return f"{node.attr!r} is no name of a member" if node.attr.startswith("_") else ""


_RULES: Final[Mapping[type, Callable[[Any], str]]] = {
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.For: _for,
    nodes.Include: _include,
    nodes.Call: _call,
    nodes.Getattr: _attribute,
}


NAMELESS: Final = "…"
"""What has no name of its own."""


def path_of(node: nodes.Node) -> str:
    """How an expression reads, as far as it names a variable and its members: `doc.title`."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{path_of(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        index = repr(node.arg.value) if isinstance(node.arg, nodes.Const) else "…"
        return f"{path_of(node.node)}[{index[:40]}]"
    return NAMELESS


def names_in(target: nodes.Node) -> Iterator[str]:
    """What an assignment binds."""
    if isinstance(target, nodes.Name):
        yield target.name
    elif isinstance(target, nodes.Tuple):
        for item in target.items:
            yield from names_in(item)
