"""Adds an entry to loopwright.yaml by inserting lines: whatever stands in the file stays, comments and blanks too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from loopwright.core.errors import Conflict, NotFound, SettingsError
from loopwright.kit.settings_file import examine

_INDENT: Final = "  "


def add_entry(file: Path, section: str, name: str, entry: Mapping[str, Any], *, write: bool) -> str:
    """The text of `file` with `entry` under `section`, which is made when missing; `write` puts it in place.

    Raises:
        Conflict: the entry is there already, or the section is written in braces and cannot be added to line by line.
        NotFound: there is no such file.
        SettingsError: the file has errors, or would have with the entry.
    """
    try:
        before = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no {file}\n`loopwright init` writes one") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    _refuse_problems(file, "correct them first")
    after = _inserted(before, file, section, name, entry)
    _check(before, after, file, section, name, entry)
    folder = file.absolute().parent
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, prefix=f".{file.name}.", suffix=".new") as new:
        new.write(after)
        new.flush()
        _refuse_problems(Path(new.name), f"with {name!r} in it; nothing was written", shown=file)
        if write:
            _put(new.name, file.resolve())
    return after


def _inserted(text: str, file: Path, section: str, name: str, entry: Mapping[str, Any]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found = None
    if isinstance(root, yaml.MappingNode):
        found = next((pair for pair in root.value if pair[0].value == section), None)
    if root is not None and (not isinstance(root, yaml.MappingNode) or root.flow_style):
        raise Conflict(f"{file} is written in braces, to which nothing is added line by line\nAdd {name!r} by hand")
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    if found is None:
        gap = ["\n"] if lines and lines[-1].strip() else []
        return "".join([*lines, *gap, f"{section}:\n", *_block(name, entry, _INDENT)])
    key, value = found
    if isinstance(value, yaml.MappingNode) and any(one.value == name for one, _ in value.value):
        raise Conflict(
            f"{section}.{name} is already in {file} and stays as it is\nEdit it there, or choose another name"
        )
    if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
        indent = " " * value.value[0][0].start_mark.column
        at = _end_of(value)
        return "".join([*lines[:at], *_block(name, entry, indent), *lines[at:]])
    if value.value not in ("", "~", "null", []):
        raise Conflict(
            f"`{section}` in {file}:{key.start_mark.line + 1} is written in braces\n"
            f"Add by hand: {name}: {yaml.safe_dump(dict(entry), default_flow_style=True, sort_keys=False).strip()}"
        )
    # An empty section, `models:` or `models: {}`: the line keeps its comment.
    line = lines[key.end_mark.line]
    head = line[: key.end_mark.column] + ":"
    tail = (
        line[value.end_mark.column :] if value.end_mark.line == key.end_mark.line else line[key.end_mark.column + 1 :]
    )
    comment = tail.strip()
    lines[key.end_mark.line] = f"{head}  {comment}\n" if comment.startswith("#") else f"{head}\n"
    at = key.end_mark.line + 1
    return "".join([*lines[:at], *_block(name, entry, _INDENT), *lines[at:]])


def _end_of(node: yaml.Node) -> int:
    """The line after the last one that says something in `node`: comments below it belong to what follows."""
    while isinstance(node, yaml.MappingNode | yaml.SequenceNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    mark = node.end_mark
    # A block scalar ends at the start of the line after it; everything else within its line.
    return int(mark.line) if mark.column == 0 and mark.line > node.start_mark.line else int(mark.line) + 1


def _block(name: str, entry: Mapping[str, Any], indent: str) -> list[str]:
    text = yaml.safe_dump({name: dict(entry)}, sort_keys=False, allow_unicode=True, width=1000, indent=2)
    return [f"{indent}{line}\n" for line in text.splitlines()]


def _check(before: str, after: str, file: Path, section: str, name: str, entry: Mapping[str, Any]) -> None:
    """The new text must mean the old one and the entry, nothing else: an edit that went wrong is never written."""
    meant = yaml.safe_load(before) or {}
    meant[section] = {**(meant.get(section) or {}), name: dict(entry)}
    try:
        now = yaml.safe_load(after)
    except yaml.YAMLError:
        now = None
    if now != meant:
        raise Conflict(
            f"{name!r} cannot be added to {file} safely, so nothing was written\nAdd it by hand under `{section}`"
        )


def _refuse_problems(file: Path, what: str, shown: Path | None = None) -> None:
    problems = examine(file, env=os.environ).problems
    if problems:
        told = [str(problem).replace(str(file), str(shown or file)) for problem in problems]
        raise SettingsError("\n".join([f"{shown or file} has errors: {what}", *told]))


def _put(new: str, file: Path) -> None:
    """Put a copy of `new` where `file` is, in one step, with its permissions."""
    mode = file.stat().st_mode & 0o7777
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(Path(new).read_bytes())
    part.chmod(mode)
    part.replace(file)
