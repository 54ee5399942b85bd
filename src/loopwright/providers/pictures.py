"""Fetches images that a request points at, for those that take bytes only or that stand inside the house themselves.

Never from inside the house: whoever may ask a model could otherwise see what only machines in there may see.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from loopwright.core.errors import BadRequest
from loopwright.kit import wire
from loopwright.kit.addresses import is_address, is_public
from loopwright.kit.postponed import Postponed

aiohttp: Final = Postponed("aiohttp")
_LIMIT: Final = 20_000_000
_SECONDS: Final = 15.0
_MOST: Final = 20
_KINDS: Final = ("image_url", "audio_url", "video_url")


class _PrivateError(OSError):
    """An address that is not on the public internet."""


class _PublicOnly:
    """A resolver of aiohttp that looks at what a name leads to when the connection is made.

    So that a name cannot change its mind in between.
    """

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        """The addresses of a name; raises _PrivateError when one of them is not public."""
        found: list[Any] = await self._inner.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise _PrivateError(host)
        return found

    async def close(self) -> None:
        """Nothing to close."""
        await self._inner.close()


class Pictures:
    """Replaces `http(s)` URLs of images by their bytes."""

    def __init__(self, *, private: bool = False, limit: int = _LIMIT, seconds: float = _SECONDS) -> None:
        """`private` allows addresses inside the house; `limit` in bytes and `seconds` hold for each image."""
        self._private = private
        self._limit = limit
        self._seconds = seconds

    def pointed(self, body: Mapping[str, Any]) -> bool:
        """Whether `body` points at anything that somebody would have to fetch."""
        return bool(_pointed(body, "image_url") or _unfetched(body))

    async def inlined(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """`body` with each image as a data URL; the very same when no image is pointed at.

        Sounds and films by URL are refused: no model needs them fetched by us.

        Raises:
            BadRequest: an image cannot be had, is none, or lies where nobody may look; `param` names it.
        """
        wanted = dict(_pointed(body, "image_url"))
        for where in _unfetched(body):
            raise BadRequest(f"{where}: only images are fetched; send a data: URL", param=where)
        if not wanted:
            return body
        if len(wanted) > _MOST:
            raise BadRequest(f"messages: more than {_MOST} images are pointed at", param="messages")
        async with asyncio.TaskGroup() as group:
            tasks = {where: group.create_task(self._try(url, where)) for where, url in wanted.items()}
        found = {where: task.result() for where, task in tasks.items()}
        for result in found.values():
            if isinstance(result, BadRequest):
                raise result
        return {**body, "messages": _replaced(body["messages"], found)}

    async def _try(self, url: str, where: str) -> str | BadRequest:
        """The data URL, or why there is none: an error is handed back, so that a task group does not wrap it."""
        try:
            return await self._fetch(url, where)
        except BadRequest as problem:
            return problem

    async def _fetch(self, url: str, where: str) -> str:
        host = urlsplit(url).hostname or ""
        resolver = None if self._private else _PublicOnly()
        if not self._private and _is_numeric(host) and not is_public(host):
            raise _forbidden(where)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False),
                    timeout=aiohttp.ClientTimeout(total=self._seconds),
                ) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise BadRequest(f"{where}: it answers with HTTP {answer.status}", param=where)
                if not answer.content_type.startswith("image/"):
                    raise BadRequest(f"{where}: it is {answer.content_type}, no image", param=where)
                data = b""
                async for piece in answer.content.iter_any():
                    data += piece
                    if len(data) > self._limit:
                        raise BadRequest(f"{where}: it has more than {self._limit} bytes", param=where)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as problem:
            if isinstance(problem.__cause__, _PrivateError):
                raise _forbidden(where) from None
            raise BadRequest(f"{where}: it cannot be fetched; send a data: URL", param=where) from None
        return f"data:{answer.content_type};base64,{base64.b64encode(data).decode()}"


def _forbidden(where: str) -> BadRequest:
    return BadRequest(f"{where}: images are not fetched from private addresses; send a data: URL", param=where)


def _is_numeric(host: str) -> bool:
    """Whether aiohttp takes it for an address, and so asks nobody where it is: also `2130706433` and `127.1`."""
    return is_address(host) or ":" in host or host.replace(".", "").isdigit()


def may_point(raw: bytes | None) -> bool:
    """Whether the bytes of a question could hold a URL of an image; None are bytes nobody has."""
    if raw is None or wire.escapes_ascii(raw):
        return True
    return raw.rfind(b"_url") >= 0  # from the end: in texts its first letter is the rare one


def _unfetched(body: Mapping[str, Any]) -> list[str]:
    """Where sounds and films are pointed at, and files of the machine that would read them."""
    found = [where for kind in ("audio_url", "video_url") for where, _ in _pointed(body, kind)]
    return found + [where for kind in _KINDS for where, _ in _pointed(body, kind, schemes=("file:",))]


def _pointed(
    body: Mapping[str, Any], kind: str, *, schemes: tuple[str, ...] = ("http://", "https://")
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for at, message in enumerate(body.get("messages") or ()):
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            url = _url(part, kind)
            if url[:8].lower().startswith(schemes):
                found.append((f"messages[{at}].content[{number}].{kind}.url", url))
    return found


def _url(part: Any, kind: str) -> str:
    held = part.get(kind) if isinstance(part, Mapping) and part.get("type") == kind else None
    url = held.get("url") if isinstance(held, Mapping) else held
    return url.strip() if isinstance(url, str) else ""


def _beside(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said of an image besides its URL."""
    held = part["image_url"]
    return held if isinstance(held, Mapping) else {}


def _replaced(messages: list[Mapping[str, Any]], found: Mapping[str, str | BadRequest]) -> list[Mapping[str, Any]]:
    out: list[Mapping[str, Any]] = []
    for at, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, list):
            parts = [
                {**part, "image_url": {**_beside(part), "url": found[where]}}
                if (where := f"messages[{at}].content[{number}].image_url.url") in found
                else part
                for number, part in enumerate(content)
            ]
            out.append({**message, "content": parts})
        else:
            out.append(message)
    return out
