"""Exporters are made from settings, say what is missing, and read answers for what they mean."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loopwright.core.errors import LoopwrightError, NotFound, SettingsError
from loopwright.exports.exporter import NotTaken, made
from loopwright.exports.posting import Posting
from loopwright.kit.settings_exports import ExportSettings
from loopwright.kit.settings_file import load

pytestmark = pytest.mark.anyio


@pytest.fixture
def answering() -> Iterator[str]:
    """A server that answers with the status its path names, and says what it was sent."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(int(self.path.strip("/")))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "again"), [(400, False), (413, False), (401, True), (429, True), (503, True)])
async def test_an_answer_says_whether_to_try_again(answering: str, status: int, *, again: bool) -> None:
    place = Posting(answering)
    with pytest.raises(NotTaken) as told:
        await place.ask("POST", f"/{status}", b"MARKER of a call")
    assert told.value.again is again
    assert str(status) in str(told.value)
    # What refuses our texts may quote them; what refuses us does not.
    assert ("MARKER" in str(told.value)) is (status == 401)
    await place.close()


async def test_nothing_there_is_tried_again() -> None:
    place = Posting("http://127.0.0.1:9")
    with pytest.raises(NotTaken) as told:
        await place.ask("POST", "/", b"x")
    assert told.value.again
    await place.close()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (ExportSettings(kind="langfuze"), NotFound),
        (ExportSettings(kind="langfuse", args={"url": "https://x.example"}), SettingsError),
        (ExportSettings(kind="otlp"), SettingsError),
        (ExportSettings(kind="mlflow", args={"uri": "http://x.example"}), SettingsError),
        (ExportSettings(kind="otlp", args={"url": "http://169.254.169.254"}), SettingsError),
    ],
)
async def test_what_cannot_be_made_says_why(settings: ExportSettings, error: type[LoopwrightError]) -> None:
    with pytest.raises(error):
        made(settings)


@pytest.mark.parametrize("wrong", ["{filter: {tag: x}}", "{args: {texts: true}}", "{filter: {colour: red}}"])
def test_settings_that_cannot_be_meant_are_told(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "loopwright.yaml"
    file.write_text(f"exports: {{m: {wrong}}}\n")
    with pytest.raises(SettingsError, match=r"exports\.m"):
        load(file, env={})
