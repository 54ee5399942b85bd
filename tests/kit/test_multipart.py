import asyncio
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from loopwright.core.errors import BadRequest, TooLarge
from loopwright.kit.blobs import Blobs
from loopwright.kit.multipart import Form, receive

pytestmark = pytest.mark.anyio
BOUNDARY = "xyz-boundary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def form(content: bytes, *, filename: str = "in.jsonl", **fields: str) -> bytes:
    parts = [f'content-disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    head = f'content-disposition: form-data; name="file"; filename="{filename}"\r\ncontent-type: text/plain\r\n\r\n'
    parts.append(head.encode() + content)
    return b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


async def sent(pieces: list[bytes], folder: Path, *, limit: int = 10_000_000, kind: str = TYPE, **more: Any) -> Form:
    waiting = list(pieces)

    async def arriving() -> dict[str, Any]:
        if not waiting:
            await asyncio.sleep(60)
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting) or more.get("hangs", False)}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    return await receive(Request(scope, arriving), Blobs(folder), limit=limit, patience=more.get("patience", 5.0))


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 700), max_size=12))
def test_any_content_arrives_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    raw = form(content, purpose="batch")
    at = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    pieces = [raw[start:end] for start, end in pairwise(at)]
    if f"--{BOUNDARY}".encode() in content:
        return
    found = asyncio.run(sent(pieces, folder))
    assert found.fields == {"purpose": "batch"}
    assert (found.filename, found.size) == ("in.jsonl", len(content))
    assert Blobs(folder).read(found.blob) == content


async def test_a_large_file_goes_to_the_disk_in_pieces(tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    raw = form(content, purpose="user_data")
    found = await sent([raw[at : at + 65_536] for at in range(0, len(raw), 65_536)], tmp_path)
    assert Blobs(tmp_path).read(found.blob) == content


@pytest.mark.parametrize(
    ("given", "kept"),
    [("../../etc/passwd", "passwd"), ("C:\\\\x\\\\a.txt", "a.txt"), ("..", "file"), ("", "file"), ("a\x01b\x7f", "ab")],
)
async def test_a_name_is_only_a_name(tmp_path: Path, given: str, kept: str) -> None:
    assert (await sent([form(b"x", filename=given)], tmp_path)).filename == kept


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"", TYPE),
        (b"nonsense", TYPE),
        (form(b"x")[:-20], TYPE),
        (form(b"x", **{f"f{n}": "v" for n in range(40)}), TYPE),
        (form(b"x", big="v" * 100_000), TYPE),
        (form(b"x").replace(b"content-type: text/plain", b"x: " + b"y" * 100_000), TYPE),
    ],
)
async def test_what_is_no_form_is_refused(tmp_path: Path, raw: bytes, kind: str) -> None:
    with pytest.raises(BadRequest):
        await sent([raw], tmp_path, kind=kind)
    assert not os.listdir(tmp_path / "incoming")  # noqa: PTH208 - iterdir is not for async functions


async def test_too_large_is_said_before_the_rest_arrives(tmp_path: Path) -> None:
    raw = form(b"x" * 50_000)
    with pytest.raises(TooLarge):
        await sent([raw[:20_000]], tmp_path, limit=10_000, hangs=True)
    assert not os.listdir(tmp_path / "incoming")  # noqa: PTH208 - iterdir is not for async functions


async def test_a_body_that_never_ends_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="nothing more"):
        await sent([form(b"x" * 100)[:100]], tmp_path, hangs=True, patience=0.05)


async def test_a_form_without_a_file_has_none(tmp_path: Path) -> None:
    raw = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{BOUNDARY}--\r\n'.encode()
    found = await sent([raw], tmp_path)
    assert (found.filename, found.fields) == (None, {"purpose": "batch"})
