"""The console's own files: read once, compressed once, addressed by their content so browsers keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from loopwright.core.errors import NotFound

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    kind: str
    plain: bytes
    small: bytes


class Assets:
    """Scripts, styles and the mark. One address for each release, so nothing stale is ever mixed with new pages."""

    __slots__ = ("_files", "base")

    def __init__(self) -> None:
        self._files: Mapping[str, _File] = {path.name: _read(path) for path in sorted(_FOLDER.iterdir())}
        digest = hashlib.sha256(b"".join(name.encode() + file.plain for name, file in self._files.items()))
        self.base = f"/static/{digest.hexdigest()[:12]}"

    async def serve(self, request: Request) -> Response:
        """One file; an address of another release gets today's, uncached.

        Raises:
            NotFound: there is no such file.
        """
        name = request.path_params["name"]
        file = self._files.get(name)
        if file is None:
            raise NotFound(f"the console has no file {name!r}")
        current = request.url.path.startswith(self.base + "/")
        headers = {
            "cache-control": "public, max-age=31536000, immutable" if current else "no-cache",
            "vary": "accept-encoding",
        }
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.small, media_type=file.kind, headers={**headers, "content-encoding": "gzip"})
        return Response(file.plain, media_type=file.kind, headers=headers)


def _read(path: Path) -> _File:
    plain = path.read_bytes()
    return _File(kind=_TYPES[path.suffix], plain=plain, small=gzip.compress(plain, 9, mtime=0))
