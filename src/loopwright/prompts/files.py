"""Prompts as files: one a prompt, YAML or Markdown, named as the prompt is; shared partials in `partials/` beside them.

A file that says what the registry says is left as it is, whatever its layout and comments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import nodes

from loopwright.core.errors import BadRequest, NotFound
from loopwright.prompts.definition import LONGEST, PARTIAL, Definition, definition
from loopwright.prompts.fault import Fault
from loopwright.prompts.markdown import read_markdown, write_markdown
from loopwright.prompts.syntax import template
from loopwright.prompts.version import check_name
from loopwright.prompts.yaml_text import Places, read_yaml, write_yaml

SUFFIXES: Final = (".yaml", ".yml", ".md")
PARTIALS: Final = "partials"
"""The folder of texts that several prompts include."""
_TEXTS: Final = (".md", ".txt", ".jinja", ".j2")
_LARGEST: Final = 4 * LONGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """A prompt as a file says it."""

    name: str
    path: Path
    prompt: Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """A shared text, and the file it is from."""

    path: Path
    text: str


def parsed(text: str, where: str, *, markdown: bool = False, shared: Mapping[str, Partial] | None = None) -> Definition:
    """The definition that a file's text is.

    Raises:
        BadRequest: it cannot be used; names `where` (if it is not empty), the line in it and the variable.
    """
    places, borrowed = Places(), dict[str, Partial]()
    try:
        text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        document, places = read_markdown(text) if markdown else read_yaml(text)
        if isinstance(document, dict):
            document = _with_shared(document, shared or {}, borrowed)
        return definition(document)
    except Fault as fault:
        raise _located(fault, where, places, borrowed) from None


def _located(fault: Fault, where: str, places: Places, borrowed: Mapping[str, Partial]) -> BadRequest:
    """A fault by the line of the file it is in."""
    of_partial = borrowed.get(fault.place.removeprefix(f"{PARTIALS}."))
    if of_partial is not None:
        where, line = str(of_partial.path), fault.line
    else:
        line = places.line(fault.place, fault.line) if fault.place else fault.line
    place = f"{where}:{line}" if where and line else f"line {line}" if line else where
    about = "" if fault.variable is None else f"variable {fault.variable!r} "
    named = f"{fault.place}: " if fault.place and not about else ""
    said = f"{named}{about}{fault.message}"
    return BadRequest(f"{place}: {said}" if place else said, param=fault.param)


def _with_shared(
    document: dict[str, Any], shared: Mapping[str, Partial], borrowed: dict[str, Partial]
) -> dict[str, Any]:
    """A document with the shared partials that it includes and does not define."""
    own = document.get(PARTIALS) or {}
    if not shared or not isinstance(own, dict):
        return document
    waiting = [*_texts(document.get("messages")), *_texts(own)]
    while waiting:
        for name in _included(waiting.pop()):
            if name in shared and name not in own and name not in borrowed:
                borrowed[name] = shared[name]
                waiting.append(shared[name].text)
    if not borrowed:
        return document
    return {**document, PARTIALS: {**own, **{name: each.text for name, each in sorted(borrowed.items())}}}


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _included(text: str) -> list[str]:
    """The partials a text includes; none when it is no template, which is told when it is parsed in its place."""
    try:
        found = template(text, "")
    except Fault:
        return []
    return [each.template.value for node in found.body for each in _includes(node)]


def _includes(node: nodes.Node) -> Iterable[Any]:
    if isinstance(node, nodes.Include):
        yield node
    yield from node.find_all(nodes.Include)


def shared_in(folder: Path) -> dict[str, Partial]:
    """The shared partials of a folder of prompts, by name.

    Raises:
        BadRequest: one is no text, or two have one name.
    """
    found: dict[str, Partial] = {}
    within = folder / PARTIALS
    for path in sorted(within.iterdir()) if within.is_dir() else ():
        if path.suffix in _TEXTS and PARTIAL.fullmatch(path.stem):
            if path.stem in found:
                raise BadRequest(f"{path} and {found[path.stem].path} are both partial {path.stem!r}: rename one")
            found[path.stem] = Partial(path=path, text=_text_of(path).removesuffix("\n"))
    return found


def load(path: Path) -> PromptFile:
    """The prompt in a file, with the shared partials beside it.

    Raises:
        BadRequest: it cannot be used; names file, line and variable.
        NotFound: there is no such file.
    """
    name = check_name(path.stem)
    prompt = parsed(_text_of(path), str(path), markdown=path.suffix == ".md", shared=shared_in(path.parent))
    return PromptFile(name=name, path=path, prompt=prompt)


def gather(paths: Sequence[Path]) -> list[Path]:
    """The files of prompts that are named, and those in folders that are.

    Raises:
        BadRequest: a file is none of a prompt, or two would be one prompt.
        NotFound: there is no such file or folder.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise NotFound(f"there is no {path}: `loopwright prompts new` writes a first prompt", param="PATH")
        if not path.is_dir() and path.suffix not in SUFFIXES:
            raise BadRequest(f"{path}: a prompt is a file that ends with {', '.join(SUFFIXES)}", param="PATH")
        for each in sorted(path.iterdir()) if path.is_dir() else [path]:
            if each.suffix not in SUFFIXES or not each.is_file() or each.stem.lower() == "readme":
                continue
            if found.setdefault(each.stem, each) != each:
                raise BadRequest(f"{each} and {found[each.stem]} are both prompt {each.stem!r}: rename one")
    return list(found.values())


def written(document: Mapping[str, Any], suffix: str) -> str:
    """A definition as the text of a file; YAML where Markdown cannot hold it.

    Raises:
        BadRequest: `suffix` is Markdown's, and it cannot.
    """
    if suffix != ".md":
        return write_yaml(document)
    text = write_markdown(document)
    if text is None:
        raise BadRequest("this prompt has what Markdown cannot hold: write it as YAML", param="format")
    return text


def save(name: str, prompt: Definition, folder: Path, suffix: str = ".yaml") -> tuple[Path, bool]:
    """Write a prompt to its file in `folder`, the one that is there already or one that ends with `suffix`.

    Returns:
        The file, and whether it was written: one that says the same is left as it is.

    Raises:
        OSError: it cannot be written.
    """
    path = next((each for end in SUFFIXES if (each := folder / f"{name}{end}").is_file()), folder / f"{name}{suffix}")
    shared = shared_in(folder)
    if path.is_file():
        try:
            if load(path).prompt.sha == prompt.sha:
                return path, False
        except BadRequest:
            pass  # what cannot be read is written anew
    text, fits = _kept(_without_shared(prompt.document, shared), path)
    if parsed(text, path.name, markdown=fits and path.suffix == ".md", shared=shared).sha != prompt.sha:
        text, fits = _kept(prompt.document, path)
    folder.mkdir(parents=True, exist_ok=True)
    target = path if fits else path.with_suffix(".yaml")
    part = target.with_name(f".{target.name}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(target)
    if target != path and path.is_file():
        path.unlink()  # else there were two files of one prompt
    return target, True


def _kept(document: Mapping[str, Any], path: Path) -> tuple[str, bool]:
    """The text for a file, and whether its ending can stay."""
    text = write_markdown(document) if path.suffix == ".md" else None
    return (write_yaml(document), path.suffix != ".md") if text is None else (text, True)


def _without_shared(document: Mapping[str, Any], shared: Mapping[str, Partial]) -> dict[str, Any]:
    """A document without the partials that the folder has word for word."""
    own = {
        name: text
        for name, text in (document.get(PARTIALS) or {}).items()
        if name not in shared or shared[name].text != text
    }
    rest = {name: value for name, value in document.items() if name != PARTIALS}
    return {**rest, PARTIALS: own} if own else rest


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no {path}", param="PATH") from None
    if len(raw) > _LARGEST:
        raise BadRequest(f"{path}: over {_LARGEST:,} bytes are no prompt", param="PATH")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadRequest(f"{path}:{line}: this is not UTF-8", param="PATH") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
