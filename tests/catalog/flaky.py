"""A real HTTP server for one file, with the faults that real ones have."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True, kw_only=True)
class Flaky:
    """What it serves and how it misbehaves; change it between requests."""

    body: bytes
    etag: str = '"v1"'
    cut_after: list[int] = field(default_factory=list)
    """Bytes each of the next answers sends before the connection breaks."""
    ranges: bool = True
    claim: int | None = None
    """A Content-Length that is not true."""
    statuses: list[int] = field(default_factory=list)
    """The next answers are just these."""
    linked: str | None = None
    elsewhere: str | None = None
    """Redirect everything there."""
    encoding: str | None = None
    seen: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    flaky: Flaky
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.flaky.seen.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        if self.flaky.statuses:
            self._bare(self.flaky.statuses.pop(0))
        elif self.flaky.elsewhere is not None:
            self._bare(
                302,
                Location=self.flaky.elsewhere,
                **({"X-Linked-Etag": f'"{self.flaky.linked}"'} if self.flaky.linked else {}),
            )
        else:
            self._file()

    def _bare(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.flaky.ranges and self.headers.get("If-Range") == self.flaky.etag else 0
        if start and start >= len(self.flaky.body):
            self._bare(416)
            return
        body = self.flaky.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.flaky.body) - 1}/{len(self.flaky.body)}")
        self.send_header("ETag", self.flaky.etag)
        if self.flaky.encoding:
            self.send_header("Content-Encoding", self.flaky.encoding)
        self.send_header("Content-Length", str(len(body) if self.flaky.claim is None else self.flaky.claim - start))
        self.end_headers()
        if self.flaky.cut_after:
            self.wfile.write(body[: self.flaky.cut_after.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(body)
        if self.flaky.claim is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(flaky: Flaky) -> Iterator[Flaky]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"flaky": flaky}))
    flaky.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield flaky
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
