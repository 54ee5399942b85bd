"""A collection of Loopwright over its REST API, waiting or async: what the adapters beside this file stand on. Needs httpx."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx


def _key() -> str:
    home = Path(os.environ.get("LOOPWRIGHT_HOME", ".loopwright"))
    return os.environ.get("LOOPWRIGHT_API_KEY") or (home / "admin.key").read_text().strip()


@dataclass(frozen=True, kw_only=True)
class LoopwrightCollection:
    """One collection. Every method raises `httpx.HTTPStatusError` with what the server says is wrong."""

    name: str
    url: str = field(default_factory=lambda: os.environ.get("LOOPWRIGHT_URL", "http://127.0.0.1:4100"))
    api_key: str = field(default_factory=_key, repr=False)
    project: str | None = None
    """Of an administrator: whose collection."""
    timeout: float = 60.0
    """Seconds of one request."""
    patience: float = 600.0
    """Seconds to wait until what was added can be found."""

    # ---- waiting ----

    def search(self, query: str, k: int, **options: Any) -> list[dict[str, Any]]:
        """Passages, the best first; `options` as in docs/search.md."""
        return _passages(self._send("POST", "/search", json=_asked(query, k, options)))

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take records `{"id", "text", "title", "metadata", "labels"}` in, and wait until they can be found."""
        _check(self._send("POST", "/documents", json={"records": [*records]}))
        end = time.monotonic() + self.patience
        while self._send("GET", "/progress")["waiting"]:
            _check_time(end)
            time.sleep(0.2)
        self._check_read([each["id"] for each in records], [self.found(each["id"]) for each in records])

    def found(self, name: str) -> dict[str, Any] | None:
        """A document by its name; None where there is none."""
        return _first(self._send("GET", "/documents", params={"prefix": name, "limit": 1}), name)

    def text(self, number: int) -> str:
        """What a document says."""
        return str(self._send("GET", f"/documents/{number}/text", params={"length": 10_000_000})["text"])

    def delete(self, names: Sequence[str]) -> int:
        """Take documents out; how many there were."""
        found = [each for name in names if (each := self.found(name)) is not None]
        return sum(self._send("DELETE", f"/documents/{each['id']}")["deleted"] for each in found)

    def create(self, **about: Any) -> None:
        """Make it, unless it is there; `about`: `embedder`, `description`, `chunking`."""
        with self._client() as client:
            answer = client.post("/api/collections", json={"name": self.name, **about}, params=self._whose({}))
        if answer.status_code != httpx.codes.CONFLICT:
            _read(answer)

    # ---- async ----

    async def asearch(self, query: str, k: int, **options: Any) -> list[dict[str, Any]]:
        """As `search`."""
        return _passages(await self._asend("POST", "/search", json=_asked(query, k, options)))

    async def aadd(self, records: Sequence[Mapping[str, Any]]) -> None:
        """As `add`."""
        _check(await self._asend("POST", "/documents", json={"records": [*records]}))
        end = time.monotonic() + self.patience
        while (await self._asend("GET", "/progress"))["waiting"]:
            _check_time(end)
            await asyncio.sleep(0.2)
        self._check_read([each["id"] for each in records], [await self.afound(each["id"]) for each in records])

    async def afound(self, name: str) -> dict[str, Any] | None:
        """As `found`."""
        return _first(await self._asend("GET", "/documents", params={"prefix": name, "limit": 1}), name)

    async def adelete(self, names: Sequence[str]) -> int:
        """As `delete`."""
        found = [each for name in names if (each := await self.afound(name)) is not None]
        return sum([(await self._asend("DELETE", f"/documents/{each['id']}"))["deleted"] for each in found])

    # ---- requests ----

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        with self._client() as client:
            return _read(client.request(method, self._path(path), **self._with(options)))

    async def _asend(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        # A client of its own for each: nothing is tied to one event loop.
        async with httpx.AsyncClient(base_url=self.url, headers=self._headers(), timeout=self.timeout) as client:
            return _read(await client.request(method, self._path(path), **self._with(options)))

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self._headers(), timeout=self.timeout)

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}

    def _path(self, path: str) -> str:
        return f"/api/collections/{quote(self.name, safe='')}{path}"

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "params": self._whose(options.get("params", {}))}

    def _whose(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {**params, **({} if self.project is None else {"project": self.project})}

    def _check_read(self, names: Sequence[str], found: Sequence[Mapping[str, Any] | None]) -> None:
        for name, each in zip(names, found, strict=True):
            if each is None or each["state"] == "failed":
                reason = "it was deleted meanwhile" if each is None else each["reason"]
                raise ValueError(f"{name!r} cannot be found in {self.name!r}: {reason}")


def _asked(query: str, k: int, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"query": query, "k": k, **{name: value for name, value in options.items() if value is not None}}


def _passages(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(answer["passages"])


def _first(page: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    found = page["documents"]
    return dict(found[0]) if found and found[0]["name"] == name else None


def _check(answer: Mapping[str, Any]) -> None:
    refused = [each for each in answer["documents"] if each["outcome"] == "refused"]
    if refused:
        raise ValueError("; ".join(f"{each['name']!r}: {each['reason']}" for each in refused))


def _check_time(end: float) -> None:
    if time.monotonic() > end:
        raise TimeoutError("what was added is still being read: it will be found later")


def _read(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        said = answer.text[:500]
        if answer.headers.get("content-type", "").startswith("application/json"):
            said = answer.json().get("error", {}).get("message", said)
        message = f"{answer.status_code}: {said}"
        raise httpx.HTTPStatusError(message, request=answer.request, response=answer)
    return dict(answer.json())
