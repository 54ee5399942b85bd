"""The page of models: what can be called, what it costs, how its engine is, and why it fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopwright.app import App
from loopwright.console import formats
from loopwright.console.shell import View, Visit
from loopwright.engines.endpoints import Endpoint


class Shelf:
    """Cards of the models the key may call."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, visit: Visit) -> View:
        """Build the page."""
        engines = self._app.engines()
        models = [
            {**card, "serving": _state(engines.get(card["name"]))}
            for card in self._app.cards()
            if visit.who.may_call(card["name"])
        ]
        return View(data={"models": models}, drawn={"facts": [_facts(model) for model in models]})


def _facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a card says, for reading; what is not known is left out."""
    serving = card["serving"]
    tools = serving["supports_tools"] if serving else card["supports_tools"]
    found: list[tuple[str, object]] = [
        ("served by", " as ".join(name for name in (card["engine"] or card["provider"], card["model"]) if name)),
        ("asked for", ", ".join(card["operations"])),
        ("also called", ", ".join(card["aliases"])),
        ("context", _tokens(serving["context"] if serving else card["context"])),
        ("at once", _counted(serving["slots"], "request") if serving else None),
        ("parameters", formats.parameters(card["parameters"]) if card["parameters"] else None),
        ("weights", _weights(card)),
        ("adapters", ", ".join(_adapter(each) for each in card["adapters"])),
        ("licence", card["licence"]),
        ("source", card["source"]),
        ("SHA-256", card["sha256"]),
        ("tools", None if tools is None else "yes" if tools else "no"),
        ("price", card["price"] or "none known: its calls are unpriced"),
        ("process", _process(serving) if serving else None),
    ]
    return [(label, str(value)) for label, value in found if value]


def _adapter(card: Mapping[str, Any]) -> str:
    size = "not there" if card["size_bytes"] is None else formats.size(card["size_bytes"])
    scale = "" if card["scale"] == 1 else f"at {card['scale']:g}, "
    return f"{card['name']} ({scale}{size})"


def _process(serving: Mapping[str, Any]) -> str:
    running = "none" if serving["pid"] is None else f"number {serving['pid']}"
    return f"{running}, {_counted(serving['restarts'], 'restart')}"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _tokens(number: int | None) -> str | None:
    return None if number is None else f"{number:,} tokens"


def _weights(card: Mapping[str, Any]) -> str:
    known = (card["quantisation"], formats.size(card["size_bytes"]) if card["size_bytes"] else None)
    return ", ".join(part for part in known if part)


def _state(engine: Endpoint | None) -> dict[str, Any] | None:
    """An engine as people may see it: without its address and secret."""
    if engine is None:
        return None
    return {
        "kind": engine.kind,
        "healthy": engine.healthy,
        "restarts": engine.restarts,
        "last_exit": engine.last_exit,
        "pid": engine.pid,
        "context": engine.context,
        "slots": engine.slots,
        "operations": list(engine.operations),
        "supports_tools": engine.supports_tools,
        "notes": list(engine.notes),
        "fit": engine.fit,
    }
