"""A definition as YAML, read with the line each text begins at, and written so that Git shows what changed.

A block of text (`|`) ends with a line end that belongs to the file, not to the text. Aliases and doubled names are
refused: what a file says is what it shows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import yaml

from loopwright.prompts.fault import Fault

_DEEPEST: Final = 30
_MOST_NODES: Final = 20_000
_WIDE: Final = 1 << 30
"""Characters of a line: none is broken."""
_ORDER: Final = ("description", "variables", "messages", "partials", "metadata")
_TAG: Final = "tag:yaml.org,2002:"


class Places(dict[str, int]):
    """The line, from 1, at which each part of a definition begins in its file."""

    def line(self, place: str, within: int | None) -> int | None:
        """Where a line of a part stands; for a part that has no place of its own, where the part around it does."""
        while place and place not in self:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
            within = None
        first = self.get(place)
        return first if first is None or within is None else first + within - 1


def read_yaml(text: str, first_line: int = 1) -> tuple[Any, Places]:
    """What a YAML text says, and where. `first_line` is where it begins in its file.

    Raises:
        Fault: it cannot be read; `line` is that of the file.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + first_line
        raise Fault(f"this is no YAML: {error.problem or error.context or error}", line=line) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Fault(f"this is no YAML: {str(error).splitlines()[0][:200]}") from None
    reader = _Reader(first_line)
    return (None if node is None else reader.value(node, "", 0)), reader.places


class _Reader:
    """Makes values of nodes."""

    def __init__(self, first_line: int) -> None:
        self.places = Places()
        self._first = first_line
        self._seen: set[int] = set()
        self._scalars = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, place: str, depth: int) -> Any:
        """What a node says."""
        line = node.start_mark.line + self._first
        if id(node) in self._seen:
            raise Fault("an alias (`*name`): write it out", line=line)
        self._seen.add(id(node))
        if depth > _DEEPEST or len(self._seen) > _MOST_NODES:
            raise Fault("is nested too deeply or has too many parts", line=line)
        self.places[place] = line
        if not isinstance(node, yaml.ScalarNode) and node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            raise Fault(f"a value of type {node.tag[:60]!r} is nothing a prompt may have", line=line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, f"{place}[{at}]", depth + 1) for at, each in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, place, line)

    def _mapping(self, node: yaml.MappingNode, place: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, each in node.value:
            line = key.start_mark.line + self._first
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
                raise Fault("a name is a plain text", line=line)
            if key.value in made:
                raise Fault(f"{key.value[:60]!r} stands here twice", line=line)
            made[key.value] = self.value(each, f"{place}.{key.value}" if place else key.value, depth + 1)
        return made

    def _scalar(self, node: yaml.ScalarNode, place: str, line: int) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("str", "timestamp", "value"):
            if node.style not in ("|", ">"):
                return node.value
            self.places[place] = line + 1  # what stands under the sign
            return node.value.removesuffix("\n")
        if kind not in ("int", "float", "bool", "null"):
            raise Fault(f"a value of type {node.tag[:60]!r} is nothing a prompt may have", line=line)
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError):
            raise Fault(f"{node.value[:60]!r} cannot be read: put it in quotes", line=line) from None


class _Block(str):
    """A text that is written as a block."""

    __slots__ = ()


class _Quoted(str):
    """A text that is written in double quotes."""

    __slots__ = ()


class _Writer(yaml.SafeDumper):
    """Writes each value where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never an alias."""
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - PyYAML's
        """Lists stand in from what they belong to."""
        del indentless
        super().increase_indent(flow=flow, indentless=False)

    def block(self, data: _Block) -> yaml.ScalarNode:
        """A text as a block, with the line end that belongs to the file."""
        return self.represent_scalar(f"{_TAG}str", f"{data}\n", style="|")

    def quoted(self, data: _Quoted) -> yaml.ScalarNode:
        """A text in quotes, with escapes for what YAML would take for a line end."""
        return self.represent_scalar(f"{_TAG}str", str(data), style='"')


_Writer.add_representer(_Block, _Writer.block)
_Writer.add_representer(_Quoted, _Writer.quoted)


def write_yaml(document: Mapping[str, Any]) -> str:
    """A definition as YAML; `read_yaml` gives it back as it was."""
    ordered = {name: document[name] for name in (*_ORDER, *document) if name in document}
    text = _dumped(_blocks(ordered))
    try:
        same = read_yaml(text)[0] == ordered
    except Fault:
        same = False
    # What no block can hold (a line end of another kind, say) is written in quotes instead.
    return text if same else _dumped(_in_quotes(ordered))


def _dumped(value: Any) -> str:
    return str(
        yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True, default_flow_style=False, width=_WIDE)
    )


def _blocks(value: Any) -> Any:
    """Texts of several lines as blocks; names stay as they are."""
    if isinstance(value, str):
        return _Block(value) if "\n" in value and _fits(value) else value
    if isinstance(value, Mapping):
        return {name: _blocks(each) for name, each in value.items()}
    return [_blocks(each) for each in value] if isinstance(value, list | tuple) else value


def _in_quotes(value: Any) -> Any:
    """Texts that are more than printable characters in quotes, names too."""
    if isinstance(value, str):
        return value if value.isprintable() else _Quoted(value)
    if isinstance(value, Mapping):
        return {_in_quotes(name): _in_quotes(each) for name, each in value.items()}
    return [_in_quotes(each) for each in value] if isinstance(value, list | tuple) else value


def _fits(text: str) -> bool:
    return bool(_Writer(io.StringIO()).analyze_scalar(f"{text}\n").allow_block)
