"""HTTP as exporters speak it: what an answer means for whoever tries again, OTLP as it is posted."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from loopwright import __version__
from loopwright.core.errors import LoopwrightError, SettingsError
from loopwright.exports.exporter import NotTaken
from loopwright.kit.http import HttpClient, Reply
from loopwright.kit.http_aio import proxy_for
from loopwright.kit.settings import Timeouts

_FOR_GOOD: Final = frozenset({400, 413, 422})
"""Sending the same again would not help: less of it may, or none."""
_ABOUT_US: Final = frozenset({401, 403, 404, 405})
"""What such an answer says is about the address and the key, and quotes no call."""
_ANSWER: Final = 4_000_000
_TIMEOUTS: Final = Timeouts(connect=5.0, first_token=60.0, between_tokens=30.0, total=60.0)


class Posting:
    """A place over HTTP."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, *, link_local: bool = False) -> None:
        if not url:
            raise SettingsError("exporters: `url` is missing in args; allowed: http://HOST[:PORT] or https://…")
        self.url = url.rstrip("/")
        self._client = HttpClient(
            base_url=self.url,
            headers={"user-agent": f"loopwright/{__version__}", **(headers or {})},
            timeouts=_TIMEOUTS,
            limit=4,
            body_limit=_ANSWER,
            proxy=proxy_for(url, os.environ),
            link_local=link_local,
        )

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, fine: int = 0
    ) -> Reply:
        """Ask, and read the answer; `fine` is a further status that is no fault.

        Raises:
            NotTaken: nothing answers, or it does not take this.
        """
        try:
            reply = await self._client.request(method, path, body, headers)
        except LoopwrightError as error:
            raise NotTaken(f"{self.url}: {error.message}") from error
        if not 200 <= reply.status < 300 and reply.status != fine:
            said = reply.body[:200].decode("utf-8", "replace") if reply.status in _ABOUT_US else ""
            raise NotTaken(
                f"{self.url}{path.partition('?')[0]} answered {reply.status}{f': {said}' if said else ''}",
                again=reply.status not in _FOR_GOOD,
            )
        return reply

    async def json(self, method: str, path: str, body: object = None, *, fine: int = 0) -> dict[str, Any]:
        """Ask in JSON; the object of the answer, empty when it is none.

        Raises:
            NotTaken: as `ask`.
        """
        raw = b"" if body is None else msgspec.json.encode(body)
        reply = await self.ask(method, path, raw, {"content-type": "application/json"} if raw else None, fine=fine)
        try:
            said = msgspec.json.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}

    async def spans(
        self, path: str, request: ExportTraceServiceRequest, headers: Mapping[str, str] | None = None
    ) -> None:
        """Post spans as OTLP/HTTP.

        Raises:
            NotTaken: as `ask`.
        """
        body = await asyncio.to_thread(lambda: gzip.compress(request.SerializeToString(), 1))
        told = {"content-type": "application/x-protobuf", "content-encoding": "gzip", **(headers or {})}
        await self.ask("POST", path, body, told)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()


def basic(user: str, password: str) -> str:
    """An `Authorization` header of a name and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
