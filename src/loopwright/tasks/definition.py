"""Tasks that come from outside the configuration: as JSON by REST, as YAML from a form. Checked like those of a file."""

from __future__ import annotations

from typing import Any, Final

import yaml

from loopwright.core.errors import BadRequest
from loopwright.kit.settings_json import refused, settings_of
from loopwright.kit.settings_tasks import TaskSettings
from loopwright.kit.settings_tasks_check import problems

LARGEST: Final = 1_000_000
"""Characters of a definition."""


def checked(name: str, document: object) -> TaskSettings:
    """The settings of a task.

    Raises:
        BadRequest: something is wrong with them; `param` is its place.
    """
    settings = settings_of(document, TaskSettings)
    for path, text in problems(name, settings):
        raise refused(path, text)
    return settings


def from_text(text: str) -> Any:
    """The document that a person wrote in YAML, of which JSON is a part. Nothing in it is expanded or repeated.

    Raises:
        BadRequest: it is no YAML, or has aliases or tags; names the line.
    """
    if len(text) > LARGEST:
        raise BadRequest(f"the definition has {len(text):,} characters; the limit is {LARGEST:,}", param="definition")
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                line = 0 if event.start_mark is None else event.start_mark.line + 1
                raise BadRequest(f"line {line}: an alias (a word that begins with *): quote it", param="definition")
        return yaml.load(text, Loader=_Plain)  # noqa: S506 - a loader that makes nothing but JSON's types
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise BadRequest(f"{where}{error.problem or 'no YAML'}", param="definition") from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        raise BadRequest("the definition is no YAML", param="definition") from None


def to_text(document: Any) -> str:
    """The document in YAML, for a person: texts of several lines as blocks."""
    return yaml.dump(document, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=110)


class _Plain(yaml.SafeLoader):
    """Makes JSON's types only: a date is the text it is written as."""


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write out what stands there twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)
