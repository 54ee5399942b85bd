"""The same client through an HTTP proxy, on aiohttp: for what our own client does not do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from loopwright.core.errors import LoopwrightError, SettingsError, Unavailable, UpstreamBroke, UpstreamTimeout
from loopwright.kit.http_face import Answer, Reply, fold
from loopwright.kit.postponed import Postponed
from loopwright.kit.settings import Timeouts

T = TypeVar("T")
aiohttp: Final = Postponed("aiohttp")
yarl: Final = Postponed("yarl")


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """The proxy that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of `env` name for `url`, or None.

    Lower-case names win. `NO_PROXY` holds host names (which cover their sub-domains), addresses, networks (CIDR),
    each perhaps with a port, or `*`. Loopback addresses are never proxied.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    name = f"{parts.scheme}_proxy"
    proxy = env.get(name) or env.get(name.upper())
    if not proxy or host == "localhost" or _spared(host, parts.port, env.get("no_proxy") or env.get("NO_PROXY") or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _spared(host: str, port: int | None, listed: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if address is not None and address.is_loopback:
        return True
    for entry in (part.strip().lower() for part in listed.split(",")):
        if entry == "*":
            return True
        if address is not None and _holds(entry, str(address)):
            return True
        name, _, entry_port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        name = name.lstrip(".")
        if name and (host == name or host.endswith("." + name)) and (not entry_port or entry_port == str(port)):
            return True
    return False


def _holds(network: str, address: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False


class ProxiedClient:
    """What `HttpClient` hands its calls to when it has a proxy."""

    def __init__(
        self,
        *,
        origin: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        limit: int,
        body_limit: int,
        tls: ssl.SSLContext | None,
        proxy: str,
    ) -> None:
        if urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname:
            raise SettingsError("the proxy must be the address of an HTTP proxy, like http://proxy.example:3128")
        self._origin = origin
        self._headers = {"accept-encoding": "identity", **headers}
        self._timeouts = timeouts
        self._limit = limit
        self._body_limit = body_limit
        self._tls = tls
        self._proxy = proxy
        self._session: Any = None

    async def request(self, method: str, target: str, body: bytes, headers: Mapping[str, str] | None) -> Reply:
        """As `HttpClient.request`."""
        answer = await self._send(method, target, body, headers, first=self._timeouts.total, which="total")
        payload = await answer.read()
        return Reply(status=answer.status, raw_headers=answer.raw_headers, body=payload)

    async def stream(self, method: str, target: str, body: bytes, headers: Mapping[str, str] | None) -> Answer:
        """As `HttpClient.stream`."""
        first = self._timeouts.first_token
        return await self._send(method, target, body, headers, first=first, which="first_token")

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _send(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str] | None, *, first: float, which: str
    ) -> ProxiedAnswer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limit, ssl=True if self._tls is None else self._tls),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        url = yarl.URL(self._origin + target, encoded=True)
        merged = {**self._headers, **(headers or {})}
        ends = asyncio.get_running_loop().time() + self._timeouts.total
        response = await _within(
            self._session.request(
                method, url, data=body or None, headers=merged, proxy=self._proxy, allow_redirects=False
            ),
            min(first, self._timeouts.total),
            (which if first <= self._timeouts.total else "total"),
            self._origin,
        )
        return ProxiedAnswer(response, self._timeouts, self._origin, self._body_limit, first, which, ends)


class ProxiedAnswer(Answer):
    """A streaming response that came through a proxy."""

    __slots__ = ("_broken", "_first", "_limit", "_origin", "_response", "_timeouts", "_which", "_ends")  # fmt: skip # noqa: RUF023

    def __init__(
        self,
        response: Any,
        timeouts: Timeouts,
        origin: str,
        limit: int,
        first: float,
        which: str,
        ends: float,
    ) -> None:
        self._response = response
        self._timeouts = timeouts
        self._origin = origin
        self._limit = limit
        self._first = first
        self._which = which
        self._ends = ends

    @property
    def status(self) -> int:
        """The HTTP status."""
        status: int = self._response.status
        return status

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name."""
        return fold(self._response.raw_headers)

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Headers as they came."""
        return tuple(self._response.raw_headers)

    @property
    def buffered(self) -> int:
        """Bytes that have arrived and were not yet taken: aiohttp holds at most 128 KiB and does not tell."""
        return 0

    async def read(self) -> bytes:
        """The rest of the body."""
        taken: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > self._limit:
                await self.aclose()
                raise UpstreamBroke(f"the answer is larger than {self._limit} bytes")
            taken.append(piece)
        return b"".join(taken)

    async def __anext__(self) -> bytes:
        left = self._ends - asyncio.get_running_loop().time()
        seconds, which = self._first, self._which
        if left < seconds:
            seconds, which = max(left, 0.0), "total"
        try:
            piece: bytes = await _within(self._response.content.readany(), seconds, which, self._origin)
        except BaseException:  # cut off, late or cancelled: never back to the pool
            self._response.close()
            raise
        if not piece:
            raise StopAsyncIteration
        self._first, self._which = self._timeouts.between_tokens, "between_tokens"
        return piece

    async def aclose(self) -> None:
        """Leave at once."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    def settle(self) -> None:
        """Keep the connection only if the end is here already."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


async def _within(doing: Awaitable[T], seconds: float, which: str, origin: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await doing
    except (aiohttp.ClientError, OSError) as problem:
        raise _explained(problem, seconds, which, origin) from None


def _explained(problem: Exception, seconds: float, which: str, origin: str) -> LoopwrightError:
    if isinstance(problem, aiohttp.ConnectionTimeoutError):
        return UpstreamTimeout(f"no connection to {origin} through the proxy within `timeouts.connect`")
    if isinstance(problem, TimeoutError):
        return UpstreamTimeout(f"nothing came from {origin} within `timeouts.{which}` = {seconds:g} s")
    if isinstance(problem, aiohttp.ClientConnectorError):
        why = problem.os_error.strerror or str(problem.os_error)
        return Unavailable(f"cannot connect to {origin} through the proxy: {why}", retry_after=1.0)
    return UpstreamBroke(f"{origin}, through the proxy: {type(problem).__name__}: {str(problem)[:200]}")
