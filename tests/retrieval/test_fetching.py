import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from loopwright.core.errors import BadRequest, SettingsError
from loopwright.kit.settings_collections import CollectionSettings
from loopwright.retrieval.fetching import Fetching

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("docs.example.com", "https://docs.example.com/a?b=c"),
        ("docs.example.com", "HTTP://DOCS.example.com"),
        ("*.example.com", "https://a.b.example.com/"),
        ("docs.example.com:8080", "http://docs.example.com:8080/x"),
        ("https://example.com/help/", "https://example.com/help/a b"),
        ("https://example.com/help", "https://example.com/help"),
        ("bücher.example", "https://bücher.example/x"),
    ],
)
def test_what_is_allowed_may_be_fetched(allowed: str, url: str) -> None:
    if allowed.startswith("b"):
        allowed = allowed.encode("idna").decode()
    assert Fetching(CollectionSettings(urls=(allowed,))).check(url).startswith("http")


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("docs.example.com", "https://docs.example.com.evil.org/"),
        ("docs.example.com", "https://evil.org/docs.example.com"),
        ("docs.example.com", "https://docs.example.com:8443/"),
        ("docs.example.com", "https://docs.example.com@evil.org/"),
        ("docs.example.com", "file:///etc/passwd"),
        ("docs.example.com", "gopher://docs.example.com/"),
        ("*.example.com", "https://example.com/"),
        ("*.example.com", "https://badexample.com/"),
        ("https://example.com/help/", "http://example.com/help/"),
        ("https://example.com/help/", "https://example.com/helpers"),
        ("https://example.com/help/", "https://example.com/help/../admin"),
        ("https://example.com/help/", "https://example.com/help/%2e%2e/admin"),
        ("https://example.com/help/", "https://example.com/help/%252e%252e/admin"),
        ("https://example.com/help/", "https://example.com/help/..\\admin"),
        ("docs.example.com", "not a url"),
        ("docs.example.com", "https://[::1"),
        ("docs.example.com", "https://docs.example.com/" + "x" * 2_000),
    ],
)
def test_what_is_not_allowed_is_refused(allowed: str, url: str) -> None:
    with pytest.raises(BadRequest):
        Fetching(CollectionSettings(urls=(allowed,))).check(url)


def test_nothing_is_allowed_by_default_and_settings_are_checked() -> None:
    with pytest.raises(BadRequest, match="no URL may be"):
        Fetching(CollectionSettings()).check("https://example.com/")
    for wrong in ("", "ftp://example.com", "https://", "example.com/path", "http://example.com:x"):
        with pytest.raises(SettingsError):
            Fetching(CollectionSettings(urls=(wrong,)))


Answering = Callable[[str], bytes]


@asynccontextmanager
async def site(answer: Answering) -> AsyncIterator[str]:
    """A web site on loop-back: what it answers to each path, head and body."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(head.split()[1].decode()))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def reply(body: bytes, *more: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *more])
    return head.encode() + b"\r\n\r\n" + body


ANSWERS = {
    "/open/page": reply(b"<p>Hello</p>", "content-type: text/html; charset=utf-8"),
    "/open/moved": reply(b"", "location: page", status="302 Found"),
    "/open/out": reply(b"", "location: /secret", status="307 Temporary Redirect"),
    "/open/round": reply(b"", "location: /open/round", status="301 Moved Permanently"),
    "/open/large": reply(b"x" * 5_000),
    "/open/slow": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfew",
}


def answers(path: str) -> bytes:
    return ANSWERS.get(path) or reply(b"nothing", status="404 Not Found")


async def test_redirects_sizes_and_times_are_bounded() -> None:
    async with site(answers) as url:
        settings = CollectionSettings(
            urls=(f"{url}/open/",), private_addresses=True, upload_limit=1_000, url_seconds=2.0
        )
        fetching = Fetching(settings)
        found = await fetching.fetch(f"{url}/open/moved#part")
        assert (found.url, found.file, found.data) == (f"{url}/open/moved", "page.html", b"<p>Hello</p>")
        for path, says in (
            ("out", "redirects to where nobody may go"),
            ("round", "more than 5 times"),
            ("large", "more than 1,000 bytes"),
            ("slow", "cannot be fetched"),
            ("none", "HTTP 404"),
        ):
            with pytest.raises(BadRequest, match=says):
                await fetching.fetch(f"{url}/open/{path}")


async def test_private_addresses_are_refused_however_they_are_written() -> None:
    async with site(answers) as url:
        port = url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"):
            with pytest.raises(BadRequest, match=r"private address|no URL that can be fetched|cannot be fetched"):
                await Fetching(CollectionSettings(urls=(f"{host}:{port}",))).fetch(f"http://{host}:{port}/open/page")
        with pytest.raises(BadRequest, match="private address"):
            await Fetching(CollectionSettings(urls=(f"localhost:{port}",))).fetch(f"http://localhost:{port}/open/page")
