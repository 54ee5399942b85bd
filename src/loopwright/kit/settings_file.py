"""Loads `loopwright.yaml` and the environment into Settings, or says everything that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import yaml

from loopwright.core.errors import SettingsError
from loopwright.kit.keyring import check_encryption
from loopwright.kit.nearest import hint as did_you_mean
from loopwright.kit.settings import ModelSettings, PresetName, ProviderSettings, Settings
from loopwright.kit.settings_adapters_check import check_adapters
from loopwright.kit.settings_alerts_check import check_alerts
from loopwright.kit.settings_exports_check import check_exports
from loopwright.kit.settings_metrics_check import check_metrics
from loopwright.kit.settings_privacy_check import check_privacy
from loopwright.kit.settings_read import KeyPath, Problem, Reader
from loopwright.kit.settings_routes_check import check_route
from loopwright.kit.settings_tasks_check import check_tasks
from loopwright.kit.settings_words import told, wanted

DEFAULT_FILE = "loopwright.yaml"
CONFIG_VARIABLE = "LOOPWRIGHT_CONFIG"
_LARGEST = 2_000_000
_MOST_TOLD = 50
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SOURCE = re.compile(r"(package:[A-Za-z0-9._-]+|file:.+|[^:]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A configuration that was read, with all that is wrong with it; only without problems may it be used."""

    settings: Settings
    problems: tuple[Problem, ...]


def load(path: Path | None = None, *, env: Mapping[str, str]) -> Settings:
    """The settings from `path`, else from `LOOPWRIGHT_CONFIG`, else from `./loopwright.yaml`, else the defaults.

    Raises:
        SettingsError: names every problem, each with file, line, column, key, what was found and what is allowed.
    """
    examined = examine(path, env=env)
    problems = examined.problems
    if problems:
        lines = [str(problem) for problem in problems[:_MOST_TOLD]]
        more = len(problems) - len(lines)
        lines += [f"… and {more} more"] if more else []
        head = f"{len(problems)} problems in the configuration:\n" if len(problems) > 1 else ""
        raise SettingsError(head + "\n".join(lines))
    return examined.settings


def examine(path: Path | None = None, *, env: Mapping[str, str]) -> Examined:
    """Read the configuration without raising: what `load` would give, and the problems it would raise."""
    file = path or _named(env) or Path(DEFAULT_FILE)
    asked = path is not None or _named(env) is not None
    reader = Reader(source=str(file), env=env)
    settings = Settings()
    text = _text(file, reader, asked=asked)
    if text is not None:
        node = _compose(text, reader)
        if node is not None:
            found = reader.value(node, wanted(Settings))
            settings = replace(found, file=file) if isinstance(found, Settings) else settings
        settings = replace(settings, file=file)
        _cross_check(settings, reader)
    outside = Reader(source="environment", env=env)
    settings = _overridden(settings, outside, (), {name for name, _ in variables()})
    _check_database(settings.database.url, outside if env.get(_variable(("database", "url"))) else reader)
    check_encryption(settings, outside if env.get(_variable(("encryption", "keys"))) else reader)
    problems = sorted(reader.problems, key=lambda problem: (problem.line, problem.column))
    return Examined(settings=settings, problems=(*problems, *outside.problems))


def example() -> str:
    """A commented `loopwright.yaml` with every setting, its default and its meaning; it loads as it is."""
    return files("loopwright.kit").joinpath("example.yaml").read_text(encoding="utf-8")


def variables() -> Iterator[tuple[str, KeyPath]]:
    """Every environment variable that overrides a setting, with the key path it stands for."""
    yield from _variables(Settings, ())


def _variables(schema: Any, path: KeyPath) -> Iterator[tuple[str, KeyPath]]:
    for name, (_, want) in told(schema).items():
        if want.section:
            yield from _variables(want.base, (*path, name))
        elif want.base in (str, int, float, bool, Path) or name == "log_level":
            yield _variable((*path, name)), (*path, name)


def _variable(path: KeyPath) -> str:
    return "LOOPWRIGHT_" + "_".join(path).upper()


def _overridden(settings: Any, outside: Reader, path: KeyPath, names: AbstractSet[str]) -> Any:
    """`settings` with what those variables of the environment say; an empty variable counts as not set."""
    changed: dict[str, object] = {}
    for name, (_, want) in told(type(settings)).items():
        here = (*path, name)
        variable = _variable(here)
        if want.section:
            changed[name] = _overridden(getattr(settings, name), outside, here, names)
        elif variable in names and outside.env.get(variable):
            before = len(outside.problems)
            value = outside.word(outside.env[variable], want, (variable,))
            if len(outside.problems) == before:
                changed[name] = value
    return replace(settings, **changed)


def _named(env: Mapping[str, str]) -> Path | None:
    named = env.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def _text(file: Path, reader: Reader, *, asked: bool) -> str | None:
    """The file's text; None when there is none, with a problem noted if it was asked for by name."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        if asked:
            reader.report((), f"there is no such file; `loopwright init` writes a {DEFAULT_FILE}")
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        reader.report((), f"it cannot be read: {reason}")
        return None
    if len(data) > _LARGEST:
        reader.report((), f"it is larger than {_LARGEST:,} bytes")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reader.report((), f"it is not UTF-8 text: byte 0x{data[error.start]:02x}", _mark(line - 1, 0))
        return None


def _mark(line: int, column: int) -> yaml.Mark:
    return yaml.Mark("", 0, line, column, None, 0)


def _compose(text: str, reader: Reader) -> yaml.Node | None:
    """The document's one node; None when it is empty or no YAML (the problem is noted, without quoting the file)."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = _mark(before.count("\n"), len(before) - before.rfind("\n") - 1)
        reader.report((), f"the character U+{error.character:04X} is not allowed", mark)
    except yaml.MarkedYAMLError as error:
        problem = error.problem or "no YAML"
        if "alias" in problem:
            problem = "an alias (a word that begins with *) that nothing defines; put the value in quotes"
        reader.report((), f"not YAML: {problem}", error.problem_mark or error.context_mark)
    except (RecursionError, ValueError, OverflowError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else "it holds a number out of range"
        reader.report((), f"not YAML: {reason}")
    return None


def _cross_check(settings: Settings, reader: Reader) -> None:
    for name, provider in settings.providers.items():
        _check_provider(("providers", name), provider, reader)
    for name, model in settings.models.items():
        _check_model(("models", name), model, settings.providers, reader)
        check_route(("models", name), model, settings, reader)
        if model.engine is not None:
            check_adapters(("models", name), model.engine, reader)
    _check_names(settings.models, reader)
    check_privacy(settings, reader)
    check_alerts(settings, reader)
    check_exports(settings, reader)
    check_metrics(settings, reader)
    check_tasks(settings, reader)


def _check_provider(path: KeyPath, provider: ProviderSettings, reader: Reader) -> None:
    unplaced = provider.base_url is None and provider.preset is None and path[-1] not in get_args(PresetName)
    if provider.kind == "openai" and unplaced and not reader.failed(path, "base_url", "kind", "preset"):
        reader.report(path, "base_url is missing; allowed: http://HOST[:PORT]/PATH or https://…, up to and with /v1")
    if provider.base_url is not None and not _answers_http(provider.base_url):
        found = reader.found((*path, "base_url"), provider.base_url)
        reader.report((*path, "base_url"), f"found {found}; allowed: http://HOST[:PORT]/PATH or https://…")
    for name in provider.headers:
        if not _HEADER_NAME.fullmatch(name):
            reader.report((*path, "headers", name), "not the name of a header; allowed: letters, digits, hyphens")


def _answers_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:
        return False


def _check_model(
    path: KeyPath, model: ModelSettings, providers: Mapping[str, ProviderSettings], reader: Reader
) -> None:
    served = (model.provider, model.engine, model.targets or None).count(None)
    if served != 2 and not (served == 3 and reader.failed(path, "provider", "engine", "targets")):
        which = "neither of provider and engine" if served == 3 else "both of provider and engine"
        which = which if not model.targets else "targets beside provider or engine"
        reader.report(path, f"has {which}; allowed: exactly one of provider, engine and targets")
    if model.provider is not None and ("providers", model.provider) not in reader.places:
        here = (*path, "provider")
        known = did_you_mean(model.provider, providers) or "; there are none under `providers`"
        reader.report(here, f"found {reader.found(here, model.provider)}, which is no provider{known}")
    if model.engine is not None and not _SOURCE.fullmatch(model.engine.source):
        here = (*path, "engine", "source")
        found = reader.found(here, model.engine.source) if model.engine.source else "nothing"
        reader.report(here, f"found {found}; allowed: package:NAME, file:PATH, or the name of a pulled model")
    if not model.operations:
        reader.report(
            (*path, "operations"), "found an empty list; allowed: some of chat, completion, embeddings, rerank"
        )
    if model.price is not None and model.price.as_of is not None:
        _check_date((*path, "price", "as_of"), model.price.as_of, reader)


def _check_date(path: KeyPath, text: str, reader: Reader) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        reader.report(path, f"found {reader.found(path, text)}; allowed: a date such as 2026-11-02")


def _check_names(models: Mapping[str, ModelSettings], reader: Reader) -> None:
    """A word calls one model only, and `task/…` is kept for tasks."""
    owner: dict[str, str] = {name: name for name in models}
    for name, model in models.items():
        words: list[tuple[KeyPath, str]] = [
            (("models", name, "aliases", f"[{at}]"), alias) for at, alias in enumerate(model.aliases)
        ]
        for path, word in words:
            first = owner.setdefault(word, name)
            if first != name or word in models:
                found = reader.found(path, word)
                reader.report(path, f"found {found}, which already calls {first!r}; allowed: one model a word")
        for path, word in [(("models", name), name), *words]:
            if word.startswith("task/"):
                reader.report(path, "names that begin with task/ are tasks; allowed: another name")


def _check_database(url: str | None, reader: Reader) -> None:
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        reader.report(("database", "url"), "not a PostgreSQL URL; allowed: postgresql://USER:PASSWORD@HOST:PORT/NAME")
