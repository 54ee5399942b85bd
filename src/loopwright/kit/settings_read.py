"""Turns YAML nodes into the dataclasses of a schema, and collects every problem with its place.

Knows types and marks, not what any setting means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

import yaml

from loopwright.kit.nearest import hint as did_you_mean
from loopwright.kit.settings_words import Unfit, Wanted, describe, expand, free, kind, read, shown, told, wanted

KeyPath = tuple[str, ...]
"""The keys that lead to a setting; `[0]` for the first of a list."""

_BARE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KNOWN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "value")
)
_MERGE = "tag:yaml.org,2002:merge"
_DEEPEST = 30
_MOST_NODES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where."""

    source: str
    """The file, or `environment`."""
    line: int
    """From 1; 0 when there is no line."""
    column: int
    """From 1; 0 when there is no line."""
    key: str
    """`server.port`; empty for the whole file."""
    text: str
    """What was found and what is allowed."""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


def show_path(path: KeyPath) -> str:
    """`models["gpt-4.1"].aliases[0]`."""
    out = ""
    for part in path:
        if part.startswith("["):
            out += part
        elif _BARE.fullmatch(part):
            out += f".{part}" if out else part
        else:
            out += f"[{part[:64]!r}]"
    return out


class _Bad:
    """Stands where a value could not be read; the problem is already noted."""


_BAD = _Bad()


@dataclass(slots=True, kw_only=True)
class Reader:
    """Reads one file; `problems` fills up while it goes on."""

    source: str
    env: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    given: set[KeyPath] = field(default_factory=set)
    """Settings whose value holds an environment variable: no message shows them."""
    _nodes: int = 0

    def report(self, path: KeyPath, text: str, mark: yaml.Mark | None = None) -> None:
        """Note a problem at `mark`, or where `path` or its nearest parent stands."""
        line, column = (mark.line + 1, mark.column + 1) if mark else self._place(path)
        problem = Problem(source=self.source, line=line, column=column, key=show_path(path), text=text)
        self.problems.append(problem)

    def found(self, path: KeyPath, text: str) -> str:
        """A value that was read, for a message: `the text 'ftp://…'`."""
        return shown(text, plain=False, hidden=path in self.given)

    def failed(self, path: KeyPath, *names: str) -> bool:
        """Whether one of the settings `names` under `path` has a problem already."""
        keys = {show_path((*path, name)) for name in names}
        return any(problem.key in keys for problem in self.problems)

    def _place(self, path: KeyPath) -> tuple[int, int]:
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (0, 0))

    def value(self, node: yaml.Node, want: Wanted, path: KeyPath = ()) -> Any:
        """What `node` says, as the type that is wanted; a `_Bad` after a problem."""
        container = want.section or get_origin(want.base) in (Mapping, tuple)
        if want.base is object:
            return self._free(node, path, 0)
        if self._unknown_tag(node, path):
            return _BAD
        if isinstance(node, yaml.ScalarNode):
            if container and _plain(node) and kind(node.value) == "nothing":
                return None if want.optional else self._container(None, want, path)
            if not container:
                return self._word(node, want, path)
        elif container and isinstance(node, yaml.SequenceNode) == (get_origin(want.base) is tuple):
            return self._container(node, want, path)
        self.report(path, f"found {_noun(node)}; allowed: {describe(want)}", node.start_mark)
        return _BAD

    def _container(self, node: Any, want: Wanted, path: KeyPath) -> object:
        if want.section:
            return self._section(node, want.base, path)
        if get_origin(want.base) is tuple:
            return self._list(node, wanted(get_args(want.base)[0]), path)
        inner = wanted(get_args(want.base)[1])
        read_all = ((key, self.value(each, inner, (*path, key))) for key, _, each in self._pairs(node, path))
        return {key: value for key, value in read_all if value is not _BAD}

    def _section(self, node: yaml.MappingNode | None, schema: Any, path: KeyPath) -> object:
        known = told(schema)
        values: dict[str, object] = {}
        for key, mark, each in self._pairs(node, path):
            if key not in known:
                self.report((*path, key), f"unknown setting{did_you_mean(key, known)}", mark)
                continue
            value = self.value(each, known[key][1], (*path, key))
            if value is not _BAD:
                values[key] = value
        return schema(**values)

    def _list(self, node: yaml.SequenceNode | None, inner: Wanted, path: KeyPath) -> tuple[object, ...]:
        values: list[object] = []
        for index, each in enumerate(node.value if node else ()):
            here = (*path, f"[{index}]")
            self.places[here] = (each.start_mark.line + 1, each.start_mark.column + 1)
            value = self.value(each, inner, here)
            if value is not _BAD and value in values:
                self.report(here, f"{value!r} is already in the list", each.start_mark)
            values.append(value)
        return tuple(value for value in values if value is not _BAD)

    def _pairs(self, node: yaml.MappingNode | None, path: KeyPath) -> Iterator[tuple[str, yaml.Mark, yaml.Node]]:
        """The entries of a mapping, each key once."""
        first: dict[str, int] = {}
        for key_node, each in node.value if node else ():
            mark = key_node.start_mark
            if key_node.tag == _MERGE:
                self.report(path, "merge keys (<<) are not read; write the settings out", mark)
                continue
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value.isprintable() or not key_node.value:
                self.report(path, f"found {_noun(key_node)} as a key; allowed: a word", mark)
                continue
            key = key_node.value
            if key in first:
                self.report((*path, key), f"stands twice; first on line {first[key]}", mark)
                continue
            first[key] = mark.line + 1
            place = each.start_mark if isinstance(each, yaml.ScalarNode) else mark
            self.places[(*path, key)] = (place.line + 1, place.column + 1)
            yield key, mark, each

    def _word(self, node: yaml.ScalarNode, want: Wanted, path: KeyPath) -> object:
        try:
            text = expand(node.value, self.env)
        except Unfit as unfit:
            self.report(path, str(unfit), node.start_mark)
            return _BAD
        given = text != node.value
        if given:
            self.given.add(path)
        quoted = not _plain(node)
        if want.optional and (not text if given else not quoted and kind(text) == "nothing"):
            return None
        return self.word(text, want, path, quoted=quoted and not given, given=given, mark=node.start_mark)

    def word(
        self,
        text: str,
        want: Wanted,
        path: KeyPath,
        *,
        quoted: bool = False,
        given: bool = True,
        mark: yaml.Mark | None = None,
    ) -> Any:
        """One word as the type that is wanted. A `given` one comes from the environment: never shown, never quoted."""
        textual = given and want.base not in (int, float, bool)
        try:
            return read(text, want, quoted=quoted or textual)
        except Unfit as unfit:
            found = shown(text, plain=not quoted and not textual, hidden=want.hidden or given)
            why = f" ({unfit})" if str(unfit) else ""
            self.report(path, f"found {found}; allowed: {describe(want)}{why}", mark)
            return _BAD

    def _free(self, node: yaml.Node, path: KeyPath, depth: int) -> object:
        """Arguments of a plug-in: JSON's types, bounded in depth and number because aliases may multiply."""
        self._nodes += 1
        if depth > _DEEPEST or self._nodes > _MOST_NODES:
            if self._nodes <= _MOST_NODES + 1:
                self.report(path, f"nested deeper than {_DEEPEST} or more than {_MOST_NODES} values", node.start_mark)
                self._nodes = _MOST_NODES + 1
            return _BAD
        if self._unknown_tag(node, path):
            return _BAD
        if isinstance(node, yaml.MappingNode):
            return {key: self._free(each, (*path, key), depth + 1) for key, _, each in self._pairs(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self._free(each, (*path, f"[{at}]"), depth + 1) for at, each in enumerate(node.value)]
        try:
            text = expand(node.value, self.env)
            return free(text, quoted=not _plain(node))
        except Unfit as unfit:
            self.report(path, str(unfit) or "not a number that can be held", node.start_mark)
            return _BAD

    def _unknown_tag(self, node: yaml.Node, path: KeyPath) -> bool:
        if node.tag in _KNOWN_TAGS or node.tag == _MERGE:
            return False
        self.report(path, "tags (words that begin with !) are not read; put the value in quotes", node.start_mark)
        return True


def _noun(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if _plain(node) and kind(node.value) == "nothing" else "a single word"


def _plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None
