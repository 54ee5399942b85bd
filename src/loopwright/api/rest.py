"""The management REST under `/api`, put together as it is asked for: most workers answer models and nothing of it.

All of it takes a second and more to import, and a quarter of a worker's memory. So each word after `/api/` brings the
modules whose routes begin with it when somebody first asks for one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final

from loopwright.api.later import Asgi, Later
from loopwright.app import App

DOCUMENT: Final = "openapi.json"
"""The word that asks for all of it."""
PARTS: Final[tuple[tuple[str, str], ...]] = (
    ("exports", "calls exports"),  # before calls by their id: `/api/calls/export` is none
    ("management", "calls overview models keys projects status"),
    ("alerts", "alerts channels notices silences objectives"),
    ("allowances", "limits keys audit"),
    ("batch_list", "batches"),
    ("charts", "charts dashboards"),
    ("cost", "cost"),
    ("cache", "cache"),
    ("canaries", "canaries"),
    ("drift", "drift"),
    ("encryption", "encryption"),
    ("routes", "routes savings"),
    ("tasks", "tasks"),
    ("traces", "traces sessions"),
    ("telemetry", "telemetry"),
    ("prompts", "prompt-patterns prompts"),
    ("feedback", "calls corrections"),
    ("scores", "scores tasks"),
    ("reviews", "reviews"),
    ("memory", "memory"),
    ("judges", "judges"),
    ("evaluations", "evaluations"),
    ("runs", "experiments runs"),
    ("mlflow", "2.0"),
    ("datasets", "datasets"),
    ("datasets_in", "datasets"),
    ("retrieval_costs", "collections"),  # before those that take any name
    ("collections", "collections"),
    ("searching", "collections"),
    ("calibration", "collections"),
    ("documents", "collections"),
    ("documents_in", "collections"),
    ("retrieval_evaluations", "collections"),
    ("retrieval_questions", "collections"),
)
"""Modules of `api` that have a `router`, and the words after `/api/` that its routes begin with; who comes first answers."""


def parts_of(word: str) -> tuple[str, ...]:
    """The modules that answer what begins with a word, in their order; none for a word that nothing begins with."""
    return tuple(module for module, words in PARTS if word == DOCUMENT or word in words.split())


class Rest:
    """The REST of one worker, as an ASGI application."""

    __slots__ = ("_alone", "_app", "_parts")

    def __init__(self, app: App, alone: asyncio.Lock) -> None:
        self._app = app
        self._alone = alone
        self._parts: dict[tuple[str, ...], Later] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        names = parts_of(scope["path"].split("/", 3)[2])
        part = self._parts.get(names)
        if part is None:
            part = self._parts[names] = Later(partial(assembled, self._app, names), self._alone)
        await part(scope, receive, send)


def assembled(app: App, names: Sequence[str]) -> Asgi:
    """The routes of these modules as one application, its document written when they are all there are."""
    routers = [import_module(f"loopwright.api.{name}").router for name in names]
    made: Any = import_module("loopwright.api.assembled").assembled(app, routers)
    if len(names) == len(PARTS):
        made.openapi()  # kept by it, and here nobody waits but who asked
    answer: Asgi = made
    return answer
