"""A small real HTTP server that speaks as much of `/api` and `/v1` as the command line asks for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loopwright import __version__

SECRET = "lw-" + "s" * 43
STATUS: dict[str, Any] = {
    "version": __version__,
    "uptime_s": 61.0,
    "workers": 1,
    "models": 1,
    "database": "up",
    "engines": [],
    "spool_bytes": 0,
    "drain_lag_s": None,
}
MODELS: list[dict[str, Any]] = [
    {"name": "vectors", "kind": "local", "engine": "embedding", "operations": ["embeddings"], "context": 256},
    {
        "name": "small",
        "kind": "local",
        "engine": "llamacpp",
        "operations": ["chat", "completion"],
        "context": 2048,
        "price": "$0.5 an hour of one slot (loopwright.yaml)",
        "rates": {"hour": "0.5"},
    },
]


def call(number: int, **changed: Any) -> dict[str, Any]:
    """A call as the management REST tells it."""
    plain: dict[str, Any] = {
        "id": f"0197a000-0000-7000-8000-{number:012d}",
        "started_at": "2026-11-21T09:00:00Z",
        "project_id": 1,
        "key_id": 1,
        "operation": "chat",
        "model": "small",
        "target": "small",
        "provider": "llamacpp",
        "outcome": "ok",
        "status": 200,
        "error_code": None,
        "error": None,
        "finish": "stop",
        "stream": True,
        "input_tokens": 1234,
        "output_tokens": 21,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "usage_estimated": False,
        "cost_usd": "0.000123",
        "price_source": "loopwright.yaml",
        "ttft_us": 41_000,
        "tpot_us": 9_950.0,
        "latency_us": 240_000,
        "client": "tests",
        "session": None,
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "parent_id": None,
        "task": None,
        "variant": None,
        "prompt_version": None,
        "tags": {},
    }
    return {**plain, **changed}


@dataclass
class House:
    """What the stand-in serves, and what it was asked."""

    url: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    words: tuple[str, ...] = ("Hello", " there", "!")
    gap: float = 0.0
    """Seconds between two pieces of an answer."""
    fault: str = ""
    """`error`, `cut` or `refuse`: what goes wrong with a chat."""
    usage: bool = True
    status: dict[str, Any] = field(default_factory=dict)
    """What is different in `/api/status`."""
    unsealed: int = 0
    """Fields that are sealed with an older key."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.asked]


class _Speaker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    house: House

    def log_message(self, *_args: object) -> None:
        """Tests read what was asked from the house."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        url = urlsplit(self.path)
        self.house.asked.append((method, self.path, body))
        if self.headers.get("authorization") != f"Bearer {SECRET}":
            self._refuse(401, "invalid_api_key", "nobody knows this key")
            return
        name = f"{method} {url.path}"
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if name == "POST /v1/chat/completions":
            self._chat(body or {})
            return
        if name == "GET /api/calls/export":
            self._export(query)
            return
        told = self._told(name, query, body)
        if told is None:
            self._refuse(404, "not_found", f"there is no {url.path}")
        else:
            self._json(200, told)

    def _told(self, name: str, query: dict[str, str], body: Any) -> Any:
        house = self.house
        plain: dict[str, Any] = {
            "GET /api/status": {**STATUS, **house.status},
            "GET /api/models": {"models": MODELS},
            "GET /v1/models": {"object": "list", "data": [{"id": "small", "object": "model"}]},
            "GET /api/keys": {"keys": [key for key in house.keys if query.get("revoked") or not key["revoked_at"]]},
            "POST /api/keys": {"key": {"id": 7, "prefix": SECRET[:9], **(body or {})}, "secret": SECRET},
            "GET /api/overview": {"summary": {"requests": len(house.calls)}, "series": [], "models": []},
            "GET /api/projects": {"projects": [{"id": 1, "name": "default"}, {"id": 2, "name": "clinic"}]},
            "DELETE /api/calls": {"deleted": 3},
            "GET /api/calls": self._page(query),
            "GET /api/encryption": self._encryption(),
        }
        if name in plain:
            return plain[name]
        if name == "POST /api/encryption/rotate":
            done = min(house.unsealed, 2)
            house.unsealed -= done
            return {"done": done, "after": "texts:2026-11-21.7" if house.unsealed else None}
        if name.startswith("DELETE /api/keys/"):
            return next(key for key in house.keys if key["id"] == int(name.rsplit("/", 1)[1]))
        if name.startswith("DELETE /api/calls/"):
            return {"deleted": 1}
        if name.endswith("/scores"):
            said = {"name": "refusal", "value": 1.0, "label": "refused", "passed": False, "explanation": "it says so"}
            return {"scores": [{**said, "source": "code", "author": "monitor"}]}
        return self._detail(name.removeprefix("GET /api/calls/"))

    def _encryption(self) -> dict[str, Any]:
        left = self.house.unsealed
        field = {"kind": "texts", "what": "blocks of calls", "here": True}
        fields = [
            {**field, "key": "new", "count": 10 - left},
            *([{**field, "key": "old", "count": left}] if left else []),
        ]
        return {"on": True, "key": "new", "keys": ["new", "old"], "left": left, "fields": fields}

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        found = self.house.calls
        if "before" in query:
            found = [one for one in found if one["id"] < query["before"]]
        limit = int(query.get("limit", 50))
        more = len(found) > limit
        return {"calls": found[:limit], "next": found[limit - 1]["id"] if more else None}

    def _detail(self, call_id: str) -> Any:
        for one in self.house.calls:
            if one["id"] == call_id:
                request = {"model": "small", "messages": [{"role": "user", "content": "Who?"}], "temperature": 0}
                answer = {"role": "assistant", "content": "It was \x1b[31mme."}
                told = {"call": one, "request": request, "response": {"choices": [{"message": answer}]}}
                return {**told, "sent": one.get("sent")}
        return None

    def _export(self, query: dict[str, str]) -> None:
        """In chunks; `cut` is an answer that breaks off in the middle."""
        found = self.house.calls[: int(query.get("limit", 10_000))]
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for one in found:
            told = self._detail(one["id"]) if query["texts"] == "true" else one
            line = json.dumps({**told, "scores": [], "corrections": []}).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if self.house.fault == "cut":
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def _chat(self, body: dict[str, Any]) -> None:
        house = self.house
        if house.fault == "refuse":
            self._refuse(429, "rate_limit_exceeded", "too many requests; try again in 2 s")
            return
        usage = {"prompt_tokens": 10 + len(str(body["messages"]).split()), "completion_tokens": len(house.words)}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(house.words)}
            self._json(200, {"choices": [{"message": message}], **({"usage": usage} if house.usage else {})})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("x-loopwright-call-id", call(1)["id"])
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for event in self._events(usage):
                self._chunk(event)
        except OSError:
            house.hung_up.set()
            self.close_connection = True

    def _events(self, usage: dict[str, int]) -> Iterator[bytes]:
        house = self.house
        for word in house.words:
            yield _event({"choices": [{"index": 0, "delta": {"content": word}}]})
            time.sleep(house.gap)
            if house.fault == "error":
                yield _event({"error": {"message": "the engine died", "code": "upstream_broke"}})
                yield b""
                return
            if house.fault == "cut":
                self.close_connection = True
                return
        yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if house.usage:
            yield _event({"choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"
        yield b""

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _json(self, status: int, said: Any) -> None:
        raw = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": "test", "code": code, "param": None}})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is no fault here."""


def _event(said: Any) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


@contextmanager
def standing() -> Iterator[House]:
    """A stand-in on a free port of loopback."""
    house = House()
    speaker = type("Speaker", (_Speaker,), {"house": house})
    server = _Server(("127.0.0.1", 0), speaker)
    house.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield house
    finally:
        server.shutdown()
        with suppress(OSError):
            server.server_close()
        thread.join()
