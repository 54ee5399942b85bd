"""Our own HTTP/1.1 client for upstreams: pooled, `request` and `stream`, a few microseconds a call.

It sends what it is told, follows no redirect, reads no environment, and asks for no compression.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from loopwright.core.errors import BadRequest, SettingsError
from loopwright.kit.addresses import Resolve, is_metadata, is_public, resolved
from loopwright.kit.http_aio import ProxiedClient
from loopwright.kit.http_face import Answer, Reply
from loopwright.kit.http_pool import Pool
from loopwright.kit.settings import Timeouts

__all__ = ["Answer", "HttpClient", "Reply"]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PATH: Final = re.compile(r"/[\x21-\x7e]*")
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect"})
_BODY_LIMIT: Final = 64 * 1024 * 1024
_HEADS_KEPT: Final = 64


class HttpClient:
    """A client of one base URL. Made outside a loop if you like; used in one."""

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        limit: int = 1024,
        body_limit: int = _BODY_LIMIT,
        verify: bool | ssl.SSLContext = True,
        proxy: str | None = None,
        link_local: bool = False,
        resolve: Resolve = resolved,
    ) -> None:
        """`limit` counts connections, `body_limit` bytes of one answer that is read whole.

        `proxy` is the URL of an HTTP proxy (`kit.http_aio.proxy_for` finds the one an environment names): such a
        client goes through aiohttp, which costs a hundred microseconds a call more. `link_local` allows addresses
        at which clouds tell a machine its credentials.

        Raises:
            SettingsError: the URL, the proxy or a header cannot be used.
        """
        url = _checked(base_url)
        if not link_local and is_metadata(url.hostname or ""):
            raise SettingsError(
                f"{base_url!r} is where a cloud tells a machine its credentials: `link_local: true` allows it"
            )
        self.base_url = base_url
        timeouts = timeouts or Timeouts()
        self._prefix = url.path.rstrip("/")
        self._query = url.query
        try:
            _check_headers(headers or {})
        except BadRequest as problem:
            raise SettingsError(f"{problem} (headers for {base_url})") from None
        self._headers = dict(headers or {})
        self._host = url.netloc
        self._heads: dict[tuple[str, str], bytes] = {}
        tls = _tls(verify) if url.scheme == "https" else None
        self._proxied: ProxiedClient | None = None
        if proxy is not None:
            self._proxied = ProxiedClient(
                origin=f"{url.scheme}://{url.netloc}",
                headers=self._headers,
                timeouts=timeouts,
                limit=limit,
                body_limit=body_limit,
                tls=tls,
                proxy=proxy,
            )
        self.pool = Pool(
            host=url.hostname or "",
            port=url.port or (443 if tls is not None else 80),
            tls=tls,
            timeouts=timeouts,
            limit=limit,
            body_limit=body_limit,
            link_local=link_local,
            resolve=resolve,
        )

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send and read the whole answer. `path` is appended to the base URL's.

        The first byte of such an answer comes when it is ready, so `first_token` does not apply: `connect`,
        `between_tokens` (once the body has begun) and `total` do.

        Raises:
            BadRequest: a header holds what would break out of it.
            Unavailable: refused, or the name is not known.
            UpstreamTimeout: names the time-out and its value.
            UpstreamBroke: cut off, malformed or over `body_limit`.
        """
        if self._proxied is not None:
            return await self._proxied.request(method, self._target(path), body, headers)
        exchange = await self.pool.exchange(self._written(method, path, body, headers), whole=True)
        return Reply(status=exchange.status, raw_headers=exchange.raw_headers, body=exchange.whole())

    async def stream(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send and wait for the head of the answer; the body is read from what is returned. Raises as `request`."""
        if self._proxied is not None:
            return await self._proxied.stream(method, self._target(path), body, headers)
        return await self.pool.exchange(self._written(method, path, body, headers), whole=False)

    async def inside(self) -> bool:
        """Whether it is asked at an address that is not on the public internet.

        Raises:
            Unavailable: nobody knows the name.
        """
        if self._proxied is not None:
            return False
        return not all(is_public(address) for address in await self.pool.resolved())

    async def close(self) -> None:
        """Close every connection."""
        self.pool.close()
        if self._proxied is not None:
            await self._proxied.close()

    def _target(self, path: str) -> str:
        target = self._prefix + path
        if self._query:
            target += ("&" if "?" in path else "?") + self._query
        if _PATH.fullmatch(target) is None:
            raise BadRequest(f"{target!r} is not a path for a URL: it holds blanks, line breaks or bare Unicode")
        return target

    def _written(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None) -> bytes:
        """The request as it goes on the wire, in one piece."""
        head = self._heads.get((method, path))
        if head is None:
            head = self._head(method, path)
        if headers:
            _check_headers(headers)
            head += "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
        if body or method == "POST":
            return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        return head + b"\r\n"

    def _head(self, method: str, path: str) -> bytes:
        if _TOKEN.fullmatch(method) is None or method in ("HEAD", "CONNECT"):
            raise BadRequest(f"{method!r} is not a method this client can send")
        lines = [f"{method} {self._target(path)} HTTP/1.1", f"host: {self._host}", "accept-encoding: identity"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        head = ("\r\n".join(lines) + "\r\n").encode("latin-1")
        if len(self._heads) < _HEADS_KEPT:
            self._heads[method, path] = head
        return head


def _checked(base_url: str) -> SplitResult:
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError as problem:
        raise SettingsError(f"{base_url!r} is not a URL: {problem}") from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise SettingsError(f"{base_url!r} is not an HTTP address: write it like http://127.0.0.1:8000/v1")
    if url.username is not None or url.password is not None:
        raise SettingsError(f"the address of {url.hostname} holds a password: use `api_key` or `headers` instead")
    if not base_url.isascii() or _UNSAFE.search(base_url) or " " in base_url:
        raise SettingsError(f"{base_url!r} holds blanks, line breaks or bare Unicode")
    return url


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if _TOKEN.fullmatch(name) is None or name.lower() in _OURS:
            raise BadRequest(f"{name[:80]!r} cannot be sent as the name of a header", param=name[:80])
        if _UNSAFE.search(value) is not None or not _latin(value):
            raise BadRequest(f"header {name!r} holds a line break or what HTTP cannot carry", param=name)


def _latin(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _tls(verify: bool | ssl.SSLContext) -> ssl.SSLContext:  # noqa: FBT001 - the name every HTTP client gives it
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
