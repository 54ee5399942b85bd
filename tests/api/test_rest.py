"""The management REST in parts: none is left out, and each is put together once, when it is asked for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import import_module
from threading import Event
from typing import Any

import pytest
from fastapi.routing import APIRoute

from loopwright.api.later import Asgi, Later
from loopwright.api.rest import DOCUMENT, PARTS, parts_of
from tests.house.sources import PACKAGE

pytestmark = pytest.mark.anyio
_UNUSED = """
import sys
import loopwright.cli.gateway, loopwright.cli.recorder
print(*sorted({".".join(name.split(".")[:2]) for name in sys.modules}))
"""


async def answer(scope: Any, receive: Any, send: Any) -> None:
    del receive
    await send(scope["path"])


def words_of(module: str) -> set[str]:
    """The words after `/api/` that its routes begin with."""
    routes = import_module(f"loopwright.api.{module}").router.routes
    return {route.path.split("/")[2] for route in routes if isinstance(route, APIRoute)}


def test_a_part_answers_the_words_its_routes_begin_with() -> None:
    assert {module: set(words.split()) for module, words in PARTS} == {module: words_of(module) for module, _ in PARTS}


def test_every_module_with_routes_is_a_part() -> None:
    have = {path.stem for path in (PACKAGE / "api").glob("*.py") if "\nrouter = APIRouter(" in path.read_text("utf-8")}
    assert have == {module for module, _ in PARTS}


def test_the_document_is_of_all_and_a_word_nobody_knows_of_none() -> None:
    assert parts_of(DOCUMENT) == tuple(module for module, _ in PARTS)
    assert parts_of("nothing") == parts_of("") == ()
    assert parts_of("calls") == ("exports", "management", "feedback")


def test_processes_begin_without_what_they_may_never_need() -> None:
    done = subprocess.run([sys.executable, "-c", _UNUSED], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"fastapi", "pydantic", "typer", "rich", "loopwright.client"} & loaded


async def test_all_who_come_first_wait_for_one_making() -> None:
    made: list[str] = []

    def make() -> Asgi:
        made.append("made")
        return answer

    part, said = Later(make, asyncio.Lock()), []

    async def send(message: str) -> None:
        said.append(message)

    await asyncio.gather(*(part({"path": str(number)}, None, send) for number in range(9)))
    assert (sorted(said), made) == ([*map(str, range(9))], ["made"])


async def test_who_hangs_up_does_not_take_the_making_along() -> None:
    go, begun = Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def make() -> Asgi:
        loop.call_soon_threadsafe(begun.set)
        go.wait()
        return answer

    part, said = Later(make, asyncio.Lock()), []

    async def send(message: str) -> None:
        said.append(message)

    first, second = (asyncio.create_task(part({"path": name}, None, send)) for name in ("first", "second"))
    await begun.wait()
    first.cancel()
    go.set()
    await second
    assert said == ["second"]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_making_that_fails_is_tried_again() -> None:
    fails = [True]

    def make() -> Asgi:
        if fails.pop() if fails else False:
            raise OSError("no room")
        return answer

    part, said = Later(make, asyncio.Lock()), []

    async def send(message: str) -> None:
        said.append(message)

    with pytest.raises(OSError, match="no room"):
        await part({"path": "a"}, None, send)
    await part({"path": "b"}, None, send)
    assert said == ["b"]
