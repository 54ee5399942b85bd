"""Writes the parts of docs/ that are made from the code: the settings from their dataclasses, the commands from the CLI.

`--check` writes nothing and exits 1 when a file is not what it would write.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from typer.main import get_command

from loopwright.cli.main import ENTRIES
from loopwright.kit import settings as schemas
from loopwright.kit.settings_file import variables
from loopwright.kit.settings_words import Wanted, describe, told, wanted

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- made by scripts/write_docs.py: begin -->", "<!-- made by scripts/write_docs.py: end -->"
Section = tuple[str, Any]


def docstrings() -> dict[str, dict[str, str]]:
    """The line under each field, by class and field; the class's own under the empty name."""
    found: dict[str, dict[str, str]] = {}
    files = sorted(Path(inspect.getfile(schemas)).parent.glob("settings*.py"))
    for node in (node for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.ClassDef):
            lines = found[node.name] = {"": ast.get_docstring(node) or ""}
            for before, after in pairwise(node.body):
                match before, after:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(line))):
                        lines[name] = line
    return found


def sections(schema: Any, path: str) -> Iterator[Section]:
    """Every dataclass with the key path it stands at, parents first."""
    yield path, schema
    for name, (_, want) in told(schema).items():
        here = f"{path}.{name}".lstrip(".")
        if want.section:
            yield from sections(want.base, here)
        elif (inner := _entries(want)) is not None:
            yield from sections(inner, f"{here}.NAME" if get_origin(want.base) is not tuple else f"{here}[]")


def _entries(want: Wanted) -> Any | None:
    args = get_args(want.base)
    listed = get_origin(want.base) is tuple
    inner = wanted(args[0 if listed else 1]) if len(args) == 2 and (listed or args[0] is str) else None
    return inner.base if inner is not None and inner.section else None


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        value = field.default
    elif field.default_factory is not MISSING:
        value = field.default_factory()
    else:
        return "required"
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    if value in ("", {}):
        return "not set"
    return f"`{value}`"


def settings_page() -> str:
    """A table for each section."""
    docs = docstrings()
    names = {".".join(path): name for name, path in variables()}
    out: list[str] = []
    for path, schema in sections(schemas.Settings, ""):
        title = f"`{path}`" if path else "Top level"
        out += [f"### {title}", "", docs[schema.__name__][""], ""]
        out += ["| setting | allowed | default | meaning |", "|---|---|---|---|"]
        for name, (field, want) in told(schema).items():
            if want.section or _entries(want) is not None:
                continue
            key = f"{path}.{name}".lstrip(".")
            also = f"<br>`{names[key]}`" if key in names else ""
            meaning = docs[schema.__name__].get(name, "").replace("|", "\\|")
            out.append(f"| `{name}`{also} | {describe(want)} | {_default(field)} | {meaning} |")
        out.append("")
    return "\n".join(out)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden, with the words that call it."""
    for entry in ENTRIES:
        app: typer.Typer = getattr(importlib.import_module(entry.module), entry.app)
        yield from _walk(f"loopwright {entry.name}", get_command(app))


def _walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if not inner:
        yield words, command
        return
    for name, each in inner.items():
        if not each.hidden:
            yield from _walk(f"{words} {name}", each)


def commands_page() -> str:
    """A section for each command: what it does, its arguments and options."""
    out: list[str] = []
    for words, command in commands():
        out += [f"### `{words}`", "", inspect.cleandoc(command.help or "").replace("\f", ""), ""]
        rows = [_parameter(each) for each in command.params if not getattr(each, "hidden", False)]
        rows = [row for row in rows if row]
        if rows:
            out += ["| argument, option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(out)


def _parameter(parameter: Any) -> str:
    if {"--help", "--install-completion", "--show-completion"} & {*parameter.opts}:
        return ""
    argument = not parameter.opts[0].startswith("-")
    names = [(parameter.metavar or parameter.name or "").upper()] if argument else [*parameter.opts]
    names += [] if argument else parameter.secondary_opts
    meaning = re.sub(r"\s+", " ", getattr(parameter, "help", "") or "").replace("|", "\\|")
    default = parameter.default
    if isinstance(default, (str, int, float)) and not isinstance(default, bool) and default != "":
        meaning += f" (default `{default}`)"
    return f"| {', '.join(f'`{name}`' for name in names)} | {meaning} |"


def between(text: str, made: str) -> str:
    """`text` with what stands between the marks replaced."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{made.strip()}\n\n{END}{tail}"


def main() -> int:
    """Write, or with `--check` compare."""
    stale = []
    for name, made in (("configuration.md", settings_page), ("cli.md", commands_page)):
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        fresh = between(text, made())
        if fresh != text:
            stale.append(name)
            if "--check" not in sys.argv[1:]:
                path.write_text(fresh, encoding="utf-8")
                print(f"wrote docs/{name}")
    if stale and "--check" in sys.argv[1:]:
        print(f"not fresh: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
