"""Posts OTLP over HTTP to one receiver: protobuf, gzip. One call is one attempt."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final, Literal

from loopwright import __version__
from loopwright.core.errors import LoopwrightError
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import Timeouts
from loopwright.kit.settings_metrics import SendingSettings

Signal = Literal["traces", "metrics"]
_TIMEOUT: Final = 10.0
"""Seconds an attempt may take."""
_ANSWER: Final = 65_536
_GZIP_FROM: Final = 1_000
_LATER: Final = frozenset((401, 403, 404, 408, 425, 429))
"""Beside 5xx: somebody may put it right. Of others OTLP says that sending the same again is no use."""
_LONGEST_WAIT: Final = 3_600.0


class NotTaken(Exception):
    """A receiver did not take a request. `again`: sending the same later may help, after `wait` seconds where it said so."""

    def __init__(self, why: str, *, again: bool, wait: float | None = None, too_large: bool = False) -> None:
        super().__init__(why)
        self.again = again
        self.wait = wait
        self.too_large = too_large


class Sending:
    """One receiver."""

    def __init__(self, settings: SendingSettings) -> None:
        self._client = HttpClient(
            base_url=settings.url.rstrip("/"),
            headers={"user-agent": f"Loopwright/{__version__}", **settings.headers},
            timeouts=Timeouts(connect=5.0, first_token=_TIMEOUT, between_tokens=_TIMEOUT, total=_TIMEOUT),
            limit=2,
            body_limit=_ANSWER,
        )

    async def __call__(self, signal: Signal, message: bytes) -> None:
        """Send an encoded request.

        Raises:
            NotTaken: why.
        """
        headers = {"content-type": "application/x-protobuf"}
        if len(message) >= _GZIP_FROM:
            message = await asyncio.to_thread(_packed, message)
            headers["content-encoding"] = "gzip"
        try:
            reply = await asyncio.wait_for(
                self._client.request("POST", f"/v1/{signal}", message, headers), _TIMEOUT + 5.0
            )
        except TimeoutError:
            raise NotTaken(f"no answer within {_TIMEOUT:g} s", again=True) from None
        except LoopwrightError as error:
            raise NotTaken(f"not reached: {error.code}", again=True) from None
        if not 200 <= reply.status < 300:
            wait = reply.headers.get("retry-after", "")
            raise NotTaken(
                f"answered with status {reply.status}",
                again=reply.status >= 500 or reply.status in _LATER,
                wait=min(float(wait), _LONGEST_WAIT) if wait.isdecimal() else None,
                too_large=reply.status == 413,
            )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def _packed(message: bytes) -> bytes:
    packer = zlib.compressobj(4, wbits=zlib.MAX_WBITS | 16)
    return packer.compress(message) + packer.flush()
