"""Mirrors calls to anything that takes OTLP/HTTP: a collector, Phoenix, Tempo, another Loopwright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from loopwright.exports.exporter import Said
from loopwright.exports.outgoing import Outgoing
from loopwright.exports.posting import Posting
from loopwright.exports.spans import told_request

_PATH: Final = "/v1/traces"


class Otlp:
    """Spans by the GenAI conventions; scores and corrections that are there by then are events of them.

    Args:
        url: of the collector (`http://127.0.0.1:4318`), or whole, up to and with `/v1/traces`.
        headers: further ones, such as a key.
        texts: as the settings say.
        link_local: let it be at a link-local or metadata address.
    """

    def __init__(
        self,
        url: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        texts: bool = False,  # noqa: ARG002 - what it gets has them or not
        link_local: bool = False,
    ) -> None:
        whole = urlsplit(url).path.endswith("/traces")
        self._path = "" if whole else _PATH
        self._place = Posting(url, headers, link_local=link_local)

    async def send(self, calls: Sequence[Outgoing]) -> None:
        """See `Exporter`."""
        await self._place.spans(self._path, told_request(calls))

    async def score(self, _said: Sequence[Said]) -> None:
        """A span that was sent is not changed: what was said later stays here."""

    async def forget(self, _traces: Sequence[str]) -> int:
        """OTLP has no word for it."""
        return 0

    async def close(self) -> None:
        """See `Exporter`."""
        await self._place.close()
