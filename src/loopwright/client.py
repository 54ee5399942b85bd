"""A thin, synchronous client of the management API. Stands on the standard library alone, so importing it is quick.

Model calls need no client of ours: point the `openai` SDK at `<url>/v1` with the same key.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import select
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self
from urllib.parse import quote, urlencode, urlsplit

from loopwright.core import errors

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


class Client:
    """Talks to `/api` of a running Loopwright over one kept connection. Not for several threads at once.

    Args:
        url: Where it listens; by default `LOOPWRIGHT_URL`, else http://127.0.0.1:4100.
        api_key: By default `LOOPWRIGHT_API_KEY`, else what `admin.key` in the data folder holds.
        home: The data folder; by default `LOOPWRIGHT_HOME`, else `.loopwright`.
        timeout: Seconds to wait for a connection and between two pieces of an answer.

    Every method raises the `LoopwrightError` that the server named, and `Unavailable` when nothing answers.
    """

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

    # What runs

    def status(self) -> dict[str, Any]:
        """Version, uptime, workers, engines, database and spool of the running server."""
        return self._object("GET", "/api/status")

    def models(self) -> list[dict[str, Any]]:
        """The card of every model that can be called."""
        return self._list("/api/models", "models")

    def overview(self, **where: str | None) -> dict[str, Any]:
        """Totals, a series over time and totals by model; `where` takes `since`, `until` and `model`."""
        return self._object("GET", "/api/overview", query=where)

    # Keys and projects

    def keys(self, project: str | None = None, *, revoked: bool = False) -> list[dict[str, Any]]:
        """The keys, without their secrets; with `revoked` also those that are of no use any more."""
        return self._list("/api/keys", "keys", {"project": project, "revoked": "true" if revoked else None})

    def create_key(
        self,
        name: str,
        *,
        project: str = "default",
        admin: bool = False,
        models: list[str] | None = None,
        **scopes: list[str] | str | None,
    ) -> dict[str, Any]:
        """Make a key: `{"key": {…}, "secret": "lw-…"}`. The secret is told this once.

        `scopes`: `tasks` and `operations` it is kept to, and `expires_at`, an ISO 8601 moment.
        """
        body: dict[str, Any] = {"name": name, "project": project, "admin": admin, "models": models}
        body |= {scope: value for scope, value in scopes.items() if value is not None}
        return self._object("POST", "/api/keys", body=body)

    def revoke_key(self, key_id: int) -> dict[str, Any]:
        """Make a key useless, at once and for ever."""
        return self._object("DELETE", f"/api/keys/{key_id}")

    def rotate_key(self, key_id: int, *, overlap_s: float = 86_400) -> dict[str, Any]:
        """A new secret for a key, told this once; the old one opens for `overlap_s` seconds more."""
        return self._object("POST", f"/api/keys/{key_id}/rotate", body={"overlap_s": overlap_s})

    def limits(self, key: int | None = None) -> list[dict[str, Any]]:
        """Limits and budgets, with what is used of each now."""
        return self._list("/api/limits", "limits", {"key": None if key is None else str(key)})

    def put_limit(self, kind: str, amount: str, **scope: str | int | None) -> dict[str, Any]:
        """Set a limit; `scope` is `key`, or `project` with perhaps `tag`, and perhaps `alert_at`."""
        body = {"kind": kind, "amount": amount, **{name: value for name, value in scope.items() if value is not None}}
        return self._object("PUT", "/api/limits", body=body)

    def remove_limit(self, limit_id: int) -> dict[str, Any]:
        """Lift a limit."""
        return self._object("DELETE", f"/api/limits/{limit_id}")

    def acts(self, *, limit: int = 50, **where: str | None) -> list[dict[str, Any]]:
        """The audit log, newest first; `where` takes `act` and `subject`."""
        return self._list("/api/audit", "acts", {**where, "limit": str(limit)})

    def projects(self) -> list[dict[str, Any]]:
        """Every project."""
        return self._list("/api/projects", "projects")

    def create_project(self, name: str) -> dict[str, Any]:
        """Make a project."""
        return self._object("POST", "/api/projects", body={"name": name})

    # Encryption

    def encryption(self) -> dict[str, Any]:
        """How many fields are sealed with which key: `{"on", "key", "keys", "left", "fields"}`."""
        return self._object("GET", "/api/encryption")

    def rotate_encryption(self, after: str | None = None) -> dict[str, Any]:
        """Seal a little anew with the first key: `{"done", "after"}`; pass `after` on until it is None."""
        return self._object("POST", "/api/encryption/rotate", body={"after": after})

    # Files and batches

    def upload(
        self, path: str | Path, *, purpose: str = "batch", told: Callable[[int], None] | None = None
    ) -> dict[str, Any]:
        """Send a file in pieces; `told` hears the bytes sent so far."""
        source = Path(path)
        boundary = secrets.token_hex(16)
        name = "".join(char for char in source.name if char.isprintable() and char not in '"\\') or "file"
        part = f'--{boundary}\r\ncontent-disposition: form-data; name="{{}}"{{}}\r\n\r\n'
        head = (part.format("purpose", "") + purpose + "\r\n" + part.format("file", f'; filename="{name}"')).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(len(head) + source.stat().st_size + len(tail)),
        }
        with source.open("rb") as file:
            response = self._send("POST", self._prefix + "/v1/files", _pieces(head, file, tail, told), headers)
            if response.status >= 400:
                raise self._error(response, "/v1/files")
            return self._whole(response, "/v1/files")

    def content(self, file_id: str) -> Iterator[bytes]:
        """The content of a file, in pieces."""
        response = self.open("GET", f"/v1/files/{quote(file_id, safe='')}/content")
        while piece := response.read(1 << 20):
            yield piece

    def create_batch(
        self, input_file_id: str, endpoint: str, metadata: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Have every line of an uploaded file asked, within a day: the batch in OpenAI's form."""
        body = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": "24h", "metadata": metadata}
        return self._object("POST", "/v1/batches", body=body)

    def batches(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"batches": […], "next": id or None}`; `where` takes `status`, `before`, `limit`."""
        return self._object("GET", "/api/batches", query=where)

    def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch: its status, how far it is, what it cost, its files."""
        return self._object("GET", f"/api/batches/{quote(batch_id, safe='')}")

    def cancel_batch(self, batch_id: str) -> dict[str, Any]:
        """End a batch early; what is answered by then is in its files."""
        return self._object("POST", f"/api/batches/{quote(batch_id, safe='')}/cancel")

    # Calls

    def calls(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"calls": […], "next": id or None}`.

        `where` takes `model`, `key`, `outcome`, `task`, `session`, `tag` (`name:value`), `since`, `until`,
        `min_cost_usd`, `min_latency_ms`, `sent_to`, `sent_outside`, `text`, `before` (an id) and `limit`.
        """
        return self._object("GET", "/api/calls", query=where)

    def each_call(self, *, page: int = 200, **where: str | float | None) -> Iterator[dict[str, Any]]:
        """Every call that `where` selects, newest first, fetched `page` at a time."""
        before: str | None = None
        while True:
            found = self.calls(**{**where, "before": before, "limit": page})
            yield from found["calls"]
            before = found.get("next")
            if not before:
                return

    def call(self, call_id: str) -> dict[str, Any]:
        """One call with its texts: `{"call": {…}, "request": {…}, "response": {…}}`."""
        return self._object("GET", f"/api/calls/{quote(call_id, safe='')}")

    def delete_call(self, call_id: str) -> int:
        """Delete one call and its texts for ever; returns how many were deleted."""
        return int(self._object("DELETE", f"/api/calls/{quote(call_id, safe='')}").get("deleted", 1))

    def delete_calls(self, *, session: str | None = None, tag: str | None = None, key: int | None = None) -> int:
        """Delete the calls of a session, a tag (`name:value`) or a key for ever; returns how many were deleted."""
        query = {"session": session, "tag": tag, "key": key}
        return int(self._object("DELETE", "/api/calls", query=query)["deleted"])

    # The wire

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | float | None] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> http.client.HTTPResponse:
        """Send one request and return its answer unread, which may be a stream; read it whole or `close` the client.

        Raises:
            LoopwrightError: the server refused; its own message and code.
            Unavailable: nothing answers at the URL.
        """
        said = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._prefix + path + (f"?{urlencode(said)}" if said else "")
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
        inner = said.get("error") if isinstance(said, dict) else None
        told: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
        kind = _BY_CODE.get(str(told.get("code"))) or _BY_STATUS.get(response.status, errors.LoopwrightError)
        message = str(told.get("message") or f"{self.url}{path} answered {response.status} {response.reason}")
        wait = response.headers.get("retry-after", "")
        return kind(message, param=told.get("param"), retry_after=float(wait) if wait.isdigit() else None)

    def _object(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | float | None] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return self._whole(self.open(method, path, query=query, body=body), path)

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

    def _list(
        self, path: str, member: str, query: Mapping[str, str | float | None] | None = None
    ) -> list[dict[str, Any]]:
        found = self._object("GET", path, query=query).get(member)
        return list(found) if isinstance(found, list) else []


def _pieces(head: bytes, file: BinaryIO, tail: bytes, told: Callable[[int], None] | None) -> Iterator[bytes]:
    yield head
    sent = 0
    while piece := file.read(1 << 18):
        yield piece
        sent += len(piece)
        if told is not None:
            told(sent)
    yield tail


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
