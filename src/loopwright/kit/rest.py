"""JSON over one kept HTTP connection, synchronous and from the standard library alone: what our thin client stands on."""

from __future__ import annotations

import http.client
import json
import os
import select
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

from loopwright.core import errors
from loopwright.kit.rest_files import Told

LINES: Final = "application/x-ndjson"
"""What to accept of an act that is to be told as it goes."""
Asked = str | float | Sequence[str] | None
"""A parameter of a query; a sequence is asked as often as it is long, None not at all."""
DEFAULT_URL: Final = "http://127.0.0.1:4100"
_BY_CODE: Final[Mapping[str, type[errors.LoopwrightError]]] = {
    kind.code: kind
    for kind in (
        errors.BadRequest,
        errors.ContextOverflow,
        errors.TooLarge,
        errors.Unauthenticated,
        errors.Refused,
        errors.NotFound,
        errors.UnknownModel,
        errors.Conflict,
        errors.Busy,
        errors.UpstreamError,
        errors.UpstreamRefused,
        errors.UpstreamBroke,
        errors.UpstreamTimeout,
        errors.Unavailable,
    )
}
_BY_STATUS: Final[Mapping[int, type[errors.LoopwrightError]]] = {
    400: errors.BadRequest,
    401: errors.Unauthenticated,
    403: errors.Refused,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    422: errors.BadRequest,
    429: errors.Busy,
    502: errors.UpstreamError,
    503: errors.Unavailable,
    504: errors.UpstreamTimeout,
}


class Rest:
    """Where a Loopwright listens, who asks, and the connection to it. Not for several threads at once."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        home: str | Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.url = (url or os.environ.get("LOOPWRIGHT_URL") or DEFAULT_URL).rstrip("/")
        self._secure, self._host, self._port, self._prefix = _address(self.url)
        folder = Path(home or os.environ.get("LOOPWRIGHT_HOME") or ".loopwright")
        self.api_key = api_key or os.environ.get("LOOPWRIGHT_API_KEY") or _admin_key(folder)
        self._timeout = timeout
        self._kept: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connection; the next request opens another."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Asked] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> http.client.HTTPResponse:
        """Send one request and return its answer unread, which may be a stream; read it whole or `close` the client.

        Raises:
            LoopwrightError: the server refused; its own message and code.
            Unavailable: nothing answers at the URL.
        """
        said = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._prefix + path + (f"?{urlencode(said, doseq=True)}" if said else "")
        payload = None if body is None else json.dumps(body).encode()
        response = self._send(method, target, payload, {} if body is None else {"content-type": "application/json"})
        if response.status >= 400:
            raise self._error(response, path)
        return response

    def _send(
        self, method: str, target: str, payload: bytes | Iterator[bytes] | None, said: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        headers = {"accept": "application/json", "user-agent": "loopwright-client", **said}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        try:
            return self._exchange(method, target, payload, headers)
        except ssl.SSLError as error:
            self.close()
            raise errors.Unavailable(f"no secure connection to {self.url}: {error}\nCheck the certificate") from error
        except TimeoutError as error:
            self.close()
            message = f"{self.url} did not answer within {self._timeout:g} s\n`loopwright doctor` says what is wrong"
            raise errors.Unavailable(message) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            message = f"Loopwright does not answer at {self.url} ({reason})\nStart it with `loopwright up`, or say where it is with LOOPWRIGHT_URL"
            raise errors.Unavailable(message) from error

    def _exchange(
        self, method: str, target: str, payload: bytes | Iterator[bytes] | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        if self._kept is not None and _hung_up(self._kept):
            self.close()
        if self._kept is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._kept = kind(self._host, self._port, timeout=self._timeout)
        self._kept.request(method, target, body=payload, headers=dict(headers))
        return self._kept.getresponse()

    def _error(self, response: http.client.HTTPResponse, path: str) -> errors.LoopwrightError:
        said = _json(response.read(1_000_000))
        self.close()
        wait = response.headers.get("retry-after", "")
        return raised(
            said,
            status=response.status,
            otherwise=f"{self.url}{path} answered {response.status} {response.reason}",
            retry_after=float(wait) if wait.isdigit() else None,
        )

    def _object(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Asked] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return self._whole(self.open(method, path, query=query, body=body), path)

    def _every(self, path: str, key: str, query: Mapping[str, Asked]) -> list[dict[str, Any]]:
        """What `key` holds on all pages of a list that goes on with `after` its `next`."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = self._object("GET", path, query={**query, "after": after, "limit": 1000})
            found += page[key]
            after = page.get("next")
            if after is None:
                return found

    def _whole(self, response: http.client.HTTPResponse, path: str) -> dict[str, Any]:
        """The JSON object an answer is."""
        try:
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise errors.Unavailable(f"the answer of {self.url}{path} broke off\nTry again") from error
        if not raw:
            return {}
        said = _json(raw)
        if not isinstance(said, dict):
            message = f"{self.url}{path} did not answer in JSON, so it is no Loopwright\nCheck LOOPWRIGHT_URL"
            raise errors.UpstreamBroke(message)
        return said

    def _followed(
        self, response: http.client.HTTPResponse, path: str, told: Told | None, *, broken: str
    ) -> dict[str, Any]:
        """The last line of an act that is told as it goes; `broken` is what to do when it breaks off.

        Raises:
            LoopwrightError: the server refused, or says on the way that it failed.
            Unavailable: the answer broke off.
        """
        if response.status >= 400:
            raise self._error(response, path)
        last: dict[str, Any] = {}
        try:
            for line in response:
                last = json.loads(line)
                if told is not None and "doing" in last:
                    told(last["doing"], last["done"], last["of"])
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise errors.Unavailable(f"the answer of {path} broke off\n{broken}") from error
        if "error" in last:
            raise raised(last)
        if not last or "doing" in last:
            raise errors.Unavailable(f"the answer of {path} broke off\n{broken}")
        return last

    def _list(self, path: str, member: str, query: Mapping[str, Asked] | None = None) -> list[dict[str, Any]]:
        found = self._object("GET", path, query=query).get(member)
        return list(found) if isinstance(found, list) else []


def raised(
    said: object, *, status: int = 500, otherwise: str = "", retry_after: float | None = None
) -> errors.LoopwrightError:
    """The error that a server told in OpenAI's form; by its status where it told none."""
    inner = said.get("error") if isinstance(said, dict) else None
    told: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    kind = _BY_CODE.get(str(told.get("code"))) or _BY_STATUS.get(status, errors.LoopwrightError)
    return kind(str(told.get("message") or otherwise), param=told.get("param"), retry_after=retry_after)


def _admin_key(folder: Path) -> str | None:
    """The key that `loopwright up` left in the data folder; None when it is not there or not ours to read."""
    try:
        return (folder / "admin.key").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _address(url: str) -> tuple[bool, str, int | None, str]:
    """Whether it is secure, host, port and path of a server's URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise errors.BadRequest(f"{url!r} is not a URL: {error}\nWrite it as {DEFAULT_URL}", param="url") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise errors.BadRequest(f"{url!r} is not a URL of a server\nWrite it as {DEFAULT_URL}", param="url")
    return parts.scheme == "https", host, port, parts.path.rstrip("/")


def _hung_up(connection: http.client.HTTPConnection) -> bool:
    """Whether the server closed a kept connection meanwhile: between two answers nothing else is there to read."""
    if connection.sock is None:
        return False  # not yet connected
    watch = select.poll()
    watch.register(connection.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(watch.poll(0))


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
