"""Fetches what URLs give: only what is allowed, never from inside the house unless that is allowed too, bounded.

Each redirect is looked at like a URL that somebody asked for. An address is looked at when the connection is made, so
that a name cannot change its mind in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from mimetypes import guess_extension
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from loopwright.core.errors import BadRequest, LoopwrightError, SettingsError
from loopwright.kit.addresses import is_address, is_public, resolved
from loopwright.kit.http import Answer, HttpClient
from loopwright.kit.settings import Timeouts
from loopwright.kit.settings_collections import CollectionSettings

_REDIRECTS: Final = 5
_PORTS: Final = {"http": 80, "https": 443}
_LONGEST: Final = 2_000
_AGENT: Final = "loopwright"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a URL gave."""

    url: str
    """As it was asked for, written plainly."""
    file: str
    """A name for it that ends as what it is."""
    data: bytes


class Fetching:
    """Fetches as settings allow."""

    def __init__(self, settings: CollectionSettings) -> None:
        self._settings = settings
        self._allowed = tuple(_Allowed.of(each) for each in settings.urls)

    def check(self, url: str) -> str:
        """A URL that may be fetched, written plainly: no fragment, no blanks, host in lower case.

        Raises:
            BadRequest: it is none, or none that is allowed.
        """
        parts = _parts(url)
        if not any(each.allows(parts) for each in self._allowed):
            why = "no URL may be" if not self._allowed else "it is not among those that may be"
            raise BadRequest(f"{url[:200]!r} cannot be fetched: {why} (collections.urls)", param="urls")
        return urlunsplit(parts)

    async def fetch(self, url: str) -> Fetched:
        """What `url` gives, after at most five redirects.

        Raises:
            BadRequest: it is not allowed, gives too much, takes too long, or gives nothing; says which.
        """
        begun = self.check(url)
        try:
            async with asyncio.timeout(self._settings.url_seconds):
                at = begun
                for _ in range(_REDIRECTS + 1):
                    found = await self._step(at)
                    if isinstance(found, Fetched):
                        return Fetched(url=begun, file=found.file, data=found.data)
                    at = self._redirected(begun, at, found)
        except TimeoutError:
            raise BadRequest(
                f"{begun} took more than {self._settings.url_seconds:g} s (collections.url_seconds)", param="urls"
            ) from None
        raise BadRequest(f"{begun} redirects more than {_REDIRECTS} times", param="urls")

    def _redirected(self, begun: str, at: str, location: str) -> str:
        try:
            return self.check(urljoin(at, location))
        except BadRequest as error:
            raise BadRequest(f"{begun} redirects to where nobody may go: {error.message}", param="urls") from None

    async def _step(self, url: str) -> Fetched | str:
        """What a URL gives, or where it redirects to."""
        parts = urlsplit(url)
        host, most = parts.hostname or "", self._settings.upload_limit
        if is_address(host) and not self._may_go_to([host]):
            raise _private(url)
        private = False

        async def resolve(name: str, port: int) -> list[str]:
            nonlocal private
            found = await resolved(name, port)
            if not self._may_go_to(found):
                private = True
                raise OSError("a private address")
            return found

        client = HttpClient(
            base_url=f"{parts.scheme}://{parts.netloc}",
            headers={"user-agent": _AGENT, "accept": "*/*"},
            timeouts=Timeouts(total=self._settings.url_seconds),
            limit=1,
            body_limit=most + 1,
            resolve=resolve,
        )
        try:
            answer = await client.stream("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
            async with aclosing(answer):
                location = answer.headers.get("location")
                if answer.status in (301, 302, 303, 307, 308) and location:
                    return location
                data = await _body(url, answer, most)
                return Fetched(url=url, file=_file(parts, answer.headers.get("content-type", "")), data=data)
        except BadRequest:
            raise
        except (LoopwrightError, OSError) as error:
            if private:
                raise _private(url) from None
            told = error.message if isinstance(error, LoopwrightError) else str(error)
            raise BadRequest(f"{url} cannot be fetched: {told}", param="urls") from None
        finally:
            await client.close()

    def _may_go_to(self, addresses: Sequence[str]) -> bool:
        return self._settings.private_addresses or all(map(is_public, addresses))


def _private(url: str) -> BadRequest:
    return BadRequest(
        f"{url} leads to a private address, and nothing is fetched from there (collections.private_addresses)",
        param="urls",
    )


async def _body(url: str, answer: Answer, most: int) -> bytes:
    if answer.status != 200:
        raise BadRequest(f"{url} answers with HTTP {answer.status}", param="urls")
    data = bytearray()
    async for piece in answer:
        data += piece
        if len(data) > most:
            raise BadRequest(f"{url} gives more than {most:,} bytes (collections.upload_limit)", param="urls")
    return bytes(data)


@dataclass(frozen=True, slots=True)
class _Allowed:
    """One entry of `collections.urls`."""

    scheme: str
    """Empty allows both."""
    host: str
    """Begins with a dot where its sub-domains are meant."""
    port: int | None
    """None is the scheme's own."""
    path: str

    @classmethod
    def of(cls, entry: str) -> _Allowed:
        """Read one.

        Raises:
            SettingsError: it is neither host nor URL.
        """
        try:
            parts = urlsplit(entry if "://" in entry else f"//{entry}")
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            host, port, parts = "", None, SplitResult("", "", "", "", "")
        if not host or parts.scheme not in ("", *_PORTS) or parts.query or ("://" not in entry and parts.path):
            raise SettingsError(
                f"collections.urls: {entry!r} is neither a host (docs.example.com, *.example.com)"
                " nor the beginning of a URL (https://example.com/help/)"
            )
        return cls(parts.scheme, host.removeprefix("*") if host.startswith("*.") else host, port, parts.path)

    def allows(self, url: SplitResult) -> bool:
        """Whether a URL in its plain form is one of these."""
        if self.scheme and url.scheme != self.scheme:
            return False
        if (url.port or _PORTS[url.scheme]) != (self.port or _PORTS[url.scheme]):
            return False
        host = url.hostname or ""
        if not (host.endswith(self.host) if self.host.startswith(".") else host == self.host):
            return False
        base = self.path.rstrip("/")
        return not base or url.path == base or url.path.startswith(base + "/")


def _parts(url: str) -> SplitResult:
    """A URL in its plain form.

    Raises:
        BadRequest: it is none.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode().lower()
    except (ValueError, UnicodeError):
        parts, port, host = SplitResult("", "", "", "", ""), None, ""
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc or len(url) > _LONGEST or port == 0:
        raise BadRequest(f"{url[:200]!r} is no URL that can be fetched: https://host/path, no password", param="urls")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    # What a server makes of `..` is its own business: then a beginning of a URL would say nothing of what is fetched.
    if ".." in unquote(unquote(path)).replace("\\", "/").split("/"):
        raise BadRequest(f"{url[:200]!r}: a path with `..` is not fetched", param="urls")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[parts.scheme]:
        netloc += f":{port}"
    return SplitResult(parts.scheme, netloc, path, quote(parts.query, safe="/?%:@!$&'()*+,;=~-._"), "")


def _file(parts: SplitResult, content_type: str) -> str:
    name = PurePosixPath(unquote(parts.path)).name or "index"
    kind = content_type.partition(";")[0].strip().lower()
    ending = guess_extension(kind) if kind and kind != "application/octet-stream" else None
    known = PurePosixPath(name).suffix.lower()
    return name if ending is None or known == ending else f"{name}{ending}"
