"""The other end of `apart`: imports one function, then calls it with what comes on stdin, one call after the other.

What the function prints goes to stderr, so to the log: stdout carries answers.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from loopwright.kit.leash import die_with_parent

_LENGTH: Final = struct.Struct("!Q")


def main() -> None:
    """Serve until stdin ends."""
    die_with_parent(signal.SIGKILL)
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    heard = sys.stdin.buffer
    with said, asyncio.Runner() as runner:
        function: Callable[..., Any] | None = None
        while (asked := _read(heard)) is not None:
            try:
                given = pickle.loads(asked)  # noqa: S301 - our parent's own
                if function is None:
                    function = _imported(*given)
                    found: Any = None
                else:
                    found = _called(runner, function, *given)
                answer = b"+" + pickle.dumps(found)
            except BaseException as error:  # noqa: BLE001 - an edge: whatever it raises is told, and the next call is served
                answer = b"-" + pickle.dumps((type(error).__name__, str(error)))
            said.write(_LENGTH.pack(len(answer)) + answer)
            said.flush()


def _imported(function: str, path: list[str]) -> Callable[..., Any]:
    sys.path[:] = path
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _called(runner: asyncio.Runner, function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    found = function(*given, **named)
    return runner.run(_waited(found)) if inspect.isawaitable(found) else found


async def _waited(found: Any) -> Any:
    return await found


def _read(heard: BinaryIO) -> bytes | None:
    head = heard.read(_LENGTH.size)
    return heard.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else None


if __name__ == "__main__":
    main()
