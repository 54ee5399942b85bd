"""The models of a house: which names can be called, where their weights lie, and a card for each."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from loopwright.catalog import packages, prices, pulled
from loopwright.catalog.gguf import Facts, facts
from loopwright.catalog.names import DEFAULTS, WEIGHT_LICENCES
from loopwright.core.chat import Operation
from loopwright.core.errors import LoopwrightError, NotFound, SettingsError
from loopwright.core.money import Price
from loopwright.kit.gguf import NotGguf
from loopwright.kit.nearest import hint
from loopwright.kit.settings import EngineSettings, ModelSettings, Settings
from loopwright.kit.settings_adapters import AdapterSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterCard:
    """A low-rank adapter (LoRA) of a local model."""

    name: str
    scale: float
    """Where a variant does not say."""
    size_bytes: int | None = None
    """None: the file is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What people and programs should know of a model before calling it."""

    name: str
    kind: Literal["local", "remote"]
    operations: tuple[Operation, ...]
    aliases: tuple[str, ...] = ()
    provider: str | None = None
    """The entry under `providers` that serves it."""
    engine: str | None = None
    """The kind of engine that hosts it."""
    model: str | None = None
    """The name upstream knows, when it differs."""
    context: int | None = None
    """Tokens of prompt and answer: configured, else what the model was trained for."""
    parameters: int | None = None
    quantisation: str = ""
    licence: str = ""
    """Of the weights; empty when nobody says."""
    source: str = ""
    path: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    """Known for pulled files."""
    supports_tools: bool | None = None
    """Whether the chat template renders tools; None is unknown (remote models)."""
    price: Price | None = None
    """None is unpriced."""
    adapters: tuple[AdapterCard, ...] = ()
    """That it can answer with, where a variant of a task names one."""
    notes: tuple[str, ...] = ()
    """What to know, and what is wrong when its weights cannot be read."""


class Catalog:
    """Reads the models of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home / "models"

    def configured(self) -> dict[str, ModelSettings]:
        """Every model by name: those configured, or the defaults whose packages are installed when none is.

        Raises:
            SettingsError: a model is served by nothing or by both, its provider is unknown, or two share a name.
        """
        models = dict(self._settings.models) or {
            name: model
            for name, model in DEFAULTS.items()
            if model.engine is not None and packages.installed(model.engine.source.partition(":")[2])
        }
        taken: dict[str, str] = {}
        for name, model in models.items():
            self._check(name, model)
            for word in (name, *model.aliases):
                if taken.setdefault(word, name) != name:
                    raise SettingsError(f"models {taken[word]!r} and {name!r} both answer to {word!r}: rename one")
        return models

    def weights(self, source: str) -> Path:
        """Where the weights of `source` lie: `package:NAME`, `file:PATH`, or the name of a pulled model.

        Relative paths start at the folder of the configuration file.

        Raises:
            NotFound: they are not there; the message says how to get them.
            StartError: the parts of a package do not add up.
        """
        kind, colon, where = source.partition(":")
        if colon and kind == "package":
            return packages.weights(where, assembled=self._folder)
        if colon and kind == "file":
            path = self._path(where)
            if not path.exists():
                raise NotFound(f"there is no file {path} (source {source!r})")
            return path
        return pulled.find(self._folder, source)

    def at_hand(self, engine: EngineSettings) -> EngineSettings:
        """The same with where its weights and adapters lie, as `file:PATH` and as paths.

        Raises:
            NotFound, StartError: as `weights`.
        """
        adapters = {name: replace(each, path=str(self._path(each.path))) for name, each in engine.adapters.items()}
        return replace(engine, source=f"file:{self.weights(engine.source)}", adapters=adapters)

    def _path(self, written: str) -> Path:
        """A path of the configuration, relative to the folder of its file."""
        path = Path(written).expanduser()
        base = self._settings.file.parent if self._settings.file is not None else Path()
        return path if path.is_absolute() else (base / path).absolute()

    def _adapter(self, name: str, told: AdapterSettings) -> AdapterCard:
        return AdapterCard(name=name, scale=told.scale, size_bytes=_file_size(self._path(told.path)))

    def cards(self) -> list[ModelCard]:
        """A card for each configured model, sorted by name."""
        return [self._card(name, model) for name, model in sorted(self.configured().items())]

    def card(self, name: str) -> ModelCard:
        """The card of one model, by its name or an alias.

        Raises:
            NotFound: naming the nearest.
        """
        models = self.configured()
        for known, model in models.items():
            if name == known or name in model.aliases:
                return self._card(known, model)
        names = [word for known, model in models.items() for word in (known, *model.aliases)]
        raise NotFound(f"no model is named {name!r}{hint(name, names)}")

    def _check(self, name: str, model: ModelSettings) -> None:
        if (model.engine, model.provider, model.targets or None).count(None) != 2:
            raise SettingsError(
                f"model {name!r} needs either `engine` (hosted here), `provider` (elsewhere) or `targets` (several)"
            )
        if model.engine is not None and not model.engine.source:
            raise SettingsError(
                f"model {name!r}: engine.source is missing: package:NAME, file:PATH or the name of a pulled model"
            )
        if model.provider is not None and model.provider not in self._settings.providers:
            raise SettingsError(
                f"model {name!r}: there is no provider {model.provider!r}{hint(model.provider, self._settings.providers)}"
            )

    def _card(self, name: str, model: ModelSettings) -> ModelCard:
        if model.engine is not None:
            return self._local(name, model, model.engine)
        if model.targets:
            return _route_card(name, model)
        provider = self._settings.providers[model.provider or ""]
        upstream = model.model or name
        return ModelCard(
            name=name,
            kind="remote",
            operations=model.operations,
            aliases=model.aliases,
            provider=model.provider,
            model=None if upstream == name else upstream,
            price=prices.configured(model.price)
            if model.price is not None
            else prices.listed(upstream, base_url=provider.base_url),
        )

    def _local(self, name: str, model: ModelSettings, engine: EngineSettings) -> ModelCard:
        card = ModelCard(
            name=name,
            kind="local",
            operations=model.operations,
            aliases=model.aliases,
            engine=engine.kind,
            context=engine.context,
            licence=_package_licence(engine.source),
            source=engine.source,
            price=None if model.price is None else prices.configured(model.price, slots=engine.slots or 1),
            adapters=tuple(self._adapter(each, told) for each, told in sorted(engine.adapters.items())),
        )
        try:
            path = self.weights(engine.source)
            known = facts(path) if path.is_file() else _folder_facts(path)
        except (LoopwrightError, NotGguf, OSError, ValueError) as error:
            return replace(card, notes=(str(error),))
        note = pulled.note(path)
        return replace(
            card,
            operations=tuple(known.operations),
            context=engine.context or known.context,
            parameters=known.parameters,
            quantisation=known.quantisation,
            licence=card.licence or known.licence,
            path=str(path),
            size_bytes=_size(path),
            sha256=note.sha256 if note is not None else None,
            supports_tools=known.supports_tools,
            notes=known.notes,
        )


def _file_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _route_card(name: str, model: ModelSettings) -> ModelCard:
    """Of a model that several targets answer for; each call is priced by the one that answered."""
    places = [f"{each.provider or 'here'}/{each.model or each.engine_model or name}" for each in model.targets]
    how = "cascade" if model.cascade is not None else model.strategy
    return ModelCard(
        name=name,
        kind="remote" if any(each.provider for each in model.targets) else "local",
        operations=model.operations,
        aliases=model.aliases,
        notes=(f"a route ({how}) over {', '.join(places)}: each call costs what the target that answers does",),
    )


def _package_licence(source: str) -> str:
    kind, _, where = source.partition(":")
    package = where.partition("/")[0]
    if kind != "package" or not packages.installed(package):
        return ""
    return WEIGHT_LICENCES.get(package) or packages.licence(package)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else (path / "model.safetensors").stat().st_size


def _folder_facts(folder: Path) -> Facts:
    """What the configuration of a sentence transformer says.

    Raises:
        OSError, ValueError: it is missing or no JSON object.
    """
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    places = config.get("max_position_embeddings")
    return Facts(
        operations=("embeddings", "rerank"),
        context=places if isinstance(places, int) else None,
        parameters=(folder / "model.safetensors").stat().st_size // 4,
        quantisation="F32",
    )
