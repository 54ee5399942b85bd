"""One large file over HTTP: resumable, bounded, never a half file under its final name. Knows nothing of models.

What has come so far is `NAME.part`, with a `NAME.part.json` that says of which version of the file it is a part. A part
is only continued when the server confirms, by `If-Range`, that the file is still the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import ipaddress
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from loopwright.core.errors import BadRequest, Conflict, NotFound, Refused, TooLarge, Unavailable, UpstreamError
from loopwright.kit.postponed import Postponed

aiohttp: Final = Postponed("aiohttp")
yarl: Final = Postponed("yarl")

Progress = Callable[[int, int | None], None]
"""Told (bytes so far, bytes in all or None) after each piece."""

_PIECE = 1 << 20
_MARGIN = 64 << 20  # bytes that stay free on the disk
_HOPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a download may do."""

    limit: int = 500_000_000_000
    """Bytes a file may have."""
    insecure: bool = False
    """Allow plain http to other machines."""
    patience: int = 5
    """Attempts in a row that bring nothing before giving up."""
    pause: float = 1.0
    """Seconds before the second attempt; doubles up to 30."""
    stall: float = 60.0
    """Seconds without a byte after which a connection is given up."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For the first host only: never sent along to where it redirects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came."""

    part: Path
    """The whole file, still under its `.part` name."""
    size: int
    linked: str | None
    """The sha256 a model hub states for the file behind its redirect."""


class _Version(msgspec.Struct, kw_only=True, frozen=True):
    """Of which file the part is a part."""

    url: str
    validator: str
    """Strong ETag, else Last-Modified; empty when the server gives neither."""
    total: int | None


class _Again(Exception):
    """This attempt broke off; the next may go on."""


@contextlib.asynccontextmanager
async def fetched(url: str, target: Path, rules: Rules, progress: Progress | None = None) -> AsyncIterator[Fetched]:
    """Fetch `url` into `target` + `.part`, going on where an earlier attempt or program stopped.

    Within the block the part is held against other programs: check it and rename it there.

    Raises:
        BadRequest: the URL is not allowed. Conflict: another program is fetching the same file.
        NotFound, Refused, UpstreamError: the server says no. TooLarge: over `rules.limit`.
        Unavailable: it broke off again and again, or the disk is full; what came is kept for the next time.
    """
    check_url(yarl.URL(url), insecure=rules.insecure)
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    timeout = aiohttp.ClientTimeout(total=None, connect=30, sock_read=rules.stall)
    with _alone(part) as file:
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=True) as session:
            result = await _attempts(_Download(session, url, part, file, rules, progress), rules)
        yield result


async def _attempts(download: _Download, rules: Rules) -> Fetched:
    failures, pause = 0, rules.pause
    while True:
        before = download.most
        try:
            return await download.once()
        except (_Again, aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            failures = 1 if download.most > before else failures + 1
            pause = rules.pause if failures == 1 else min(pause * 2, 30.0)
            if failures >= rules.patience:
                raise Unavailable(
                    f"the download broke off {failures} times without bringing more: {str(error) or type(error).__name__}. "
                    f"{download.most:,} bytes are kept; the same command goes on from there"
                ) from error
            await asyncio.sleep(pause)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise Unavailable(f"the disk of {download.part.parent} is full: make room and pull again") from error
            raise


class _Download:
    """One file on its way."""

    def __init__(
        self,
        session: Any,
        url: str,
        part: Path,
        file: BinaryIO,
        rules: Rules,
        progress: Progress | None,
    ) -> None:
        self._session = session
        self._url = url
        self.part = part
        self._file = file
        self._rules = rules
        self._progress = progress
        self._about = part.with_name(part.name + ".json")
        self._linked: str | None = None
        self.most = 0
        """The furthest any attempt came, in bytes: an attempt that brings more is progress."""

    async def once(self) -> Fetched:
        """One attempt: ask for what is missing, or for everything when the part cannot be trusted."""
        version = self._version()
        have = os.fstat(self._file.fileno()).st_size if version is not None else 0
        headers = {"Accept-Encoding": "identity"}
        if version is not None and have:
            headers |= {"Range": f"bytes={have}-", "If-Range": version.validator}
        async with self._open(headers) as answer:
            if answer.status == 416 and version is not None:
                if have == version.total:
                    return Fetched(part=self.part, size=have, linked=self._linked)
                self._about.unlink(missing_ok=True)
                raise _Again("the part is longer than the file")
            _refuse(answer, self._url)
            start, total = _extent(answer)
            if start != (have if start else 0) or (start and version is not None and total != version.total):
                self._about.unlink(missing_ok=True)
                raise _Again("the server sent another range than it was asked for")
            self._check_room(total, start)
            if not start:
                self._begin(answer, total)
            size = await self._copy(answer, start, total)
        if total is not None and size != total:
            raise _Again(f"{size:,} of {total:,} bytes came")
        return Fetched(part=self.part, size=size, linked=self._linked)

    def _version(self) -> _Version | None:
        """What the part is a part of; None when that is unknown or another file."""
        try:
            version = msgspec.json.decode(self._about.read_bytes(), type=_Version)
        except (OSError, msgspec.DecodeError):
            return None
        return version if version.url == self._url and version.validator else None

    def _begin(self, answer: Any, total: int | None) -> None:
        """Start over, and note of which version."""
        self._about.unlink(missing_ok=True)
        self._file.truncate(0)
        version = _Version(url=self._url, validator=_validator(answer), total=total)
        self._about.write_bytes(msgspec.json.encode(version))

    async def _copy(self, answer: Any, start: int, total: int | None) -> int:
        size = start
        self._file.seek(start)
        try:
            async for piece in answer.content.iter_chunked(_PIECE):
                size += len(piece)
                if size > self._rules.limit:
                    raise TooLarge(f"{self._url} is over the limit of {self._rules.limit:,} bytes")
                self._file.write(piece)
                self.most = max(self.most, size)
                if self._progress is not None:
                    self._progress(size, total)
        finally:
            self._file.flush()  # the next attempt starts where the file ends
        return size

    def _check_room(self, total: int | None, start: int) -> None:
        if total is None:
            return
        if total > self._rules.limit:
            raise TooLarge(f"{self._url} has {total:,} bytes, the limit is {self._rules.limit:,}")
        held = os.fstat(self._file.fileno()).st_size - start  # what starting over gives back
        free = shutil.disk_usage(self.part.parent).free + held
        if total - start + _MARGIN > free:
            raise Unavailable(
                f"{total - start:,} bytes are missing and {self.part.parent} has room for {max(free - _MARGIN, 0):,}: "
                "make room and pull again"
            )

    @contextlib.asynccontextmanager
    async def _open(self, headers: Mapping[str, str]) -> AsyncIterator[Any]:
        """The answer behind all redirects; each hop is checked, and secrets stay with the first host."""
        url = yarl.URL(self._url)
        for _ in range(_HOPS):
            check_url(url, insecure=self._rules.insecure)
            mine = self._rules.headers if url.origin() == yarl.URL(self._url).origin() else {}
            async with self._session.get(url, headers={**headers, **mine}, allow_redirects=False) as answer:
                self._linked = _linked(answer) or self._linked
                if answer.status not in {301, 302, 303, 307, 308}:
                    yield answer
                    return
                url = url.join(yarl.URL(answer.headers.get("Location", "")))
        raise UpstreamError(f"{self._url} redirects more than {_HOPS} times")


def check_url(url: Any, *, insecure: bool) -> None:
    """Allow https, and http to this machine.

    Raises:
        BadRequest: anything else.
    """
    if url.scheme == "https" and url.host:
        return
    if url.scheme == "http" and url.host and (insecure or _loopback(url.host)):
        return
    raise BadRequest(f"{url.with_user(None)} is not allowed: use https (plain http only to this machine)")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse(answer: Any, url: str) -> None:
    """Raise what the status means; 5xx and 429 are worth another attempt."""
    status = answer.status
    if status in {200, 206}:
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise UpstreamError(f"{url} comes encoded as {encoding}, which cannot be resumed or checked")
        return
    if status == 429 or status >= 500:
        raise _Again(f"the server said {status}")
    if status == 404:
        raise NotFound(f"there is nothing at {url} (404)")
    if status in {401, 403}:
        raise Refused(
            f"{url} is not open to you ({status}): accept the model's licence there, or give a token (HF_TOKEN)"
        )
    raise UpstreamError(f"{url} answered {status}", upstream_status=status)


def _extent(answer: Any) -> tuple[int, int | None]:
    """Where the body starts in the file, and the file's size."""
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if found is None:
            raise _Again("the server sent a part without saying which")
        return int(found[1]), None if found[3] == "*" else int(found[3])
    return 0, answer.content_length


def _validator(answer: Any) -> str:
    etag: str = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else str(answer.headers.get("Last-Modified", ""))


def _linked(answer: Any) -> str | None:
    found = re.fullmatch(r'"?([0-9a-f]{64})"?', answer.headers.get("X-Linked-Etag", "").lower())
    return found[1] if found else None


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """The part, opened for writing and held against other programs."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another program is fetching {part.name.removesuffix('.part')} right now") from None
        held = os.fstat(descriptor)
        if not part.exists() or part.stat().st_ino != held.st_ino:
            raise Conflict(f"another program has just fetched {part.name.removesuffix('.part')}")
        try:
            yield file
        finally:
            if os.fstat(descriptor).st_size == 0:
                part.unlink(missing_ok=True)
