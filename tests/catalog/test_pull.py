"""Pulling from a real server that misbehaves."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopwright.catalog import pulled
from loopwright.catalog.download import Rules
from loopwright.catalog.pull import Pulled, Wish, pull
from loopwright.core.errors import (
    BadRequest,
    Conflict,
    LoopwrightError,
    NotFound,
    Refused,
    TooLarge,
    Unavailable,
    UpstreamError,
)
from tests.catalog.flaky import Flaky, serving
from tests.catalog.tiny import write_gguf

QUICK = Rules(pause=0.01, stall=5.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "m.gguf", weights=800_000).read_bytes()


@pytest.fixture
def server(model: bytes) -> Iterator[Flaky]:
    with serving(Flaky(body=model)) as flaky:
        yield flaky


def get(server: Flaky, folder: Path, source: str | None = None, **more: Any) -> Pulled:
    rules = more.pop("rules", QUICK)
    wish = Wish(source=source or f"{server.url}/files/Tiny-Q4.gguf", rules=rules, **more)
    return asyncio.run(pull(wish, folder, env={}))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_with_a_note(server: Flaky, tmp_path: Path, model: bytes) -> None:
    steps: list[tuple[int, int | None]] = []
    wish = Wish(source=f"{server.url}/files/Tiny-Q4.gguf", rules=QUICK)
    got = asyncio.run(pull(wish, tmp_path, lambda done, total: steps.append((done, total))))
    assert got.path.read_bytes() == model
    assert (got.name, got.verified, got.fresh) == ("tiny-q4", False, True)
    assert got.sha256 == hashlib.sha256(model).hexdigest()
    assert steps[-1] == (len(model), len(model))
    assert left(tmp_path) == ["Tiny-Q4.gguf", "Tiny-Q4.gguf.json"]
    note = pulled.note(got.path)
    assert note is not None
    assert note.size_bytes == len(model)
    assert pulled.find(tmp_path, "tiny-q4") == got.path


def test_cut_connections_are_continued_where_they_broke(server: Flaky, tmp_path: Path, model: bytes) -> None:
    server.cut_after = [1_000_000, 500_000, 7]
    got = get(server, tmp_path)
    assert got.path.read_bytes() == model
    asked = [request.get("range") for request in server.seen]
    assert asked[0] is None
    assert asked[1:] == ["bytes=1000000-", "bytes=1500000-", "bytes=1500007-"]


def test_a_part_left_by_another_program_is_continued(server: Flaky, tmp_path: Path, model: bytes) -> None:
    server.cut_after = [1_200_000]
    with pytest.raises(Unavailable, match="1,200,000 bytes are kept"):
        get(server, tmp_path, rules=replace(QUICK, patience=1))
    assert left(tmp_path) == ["Tiny-Q4.gguf.part", "Tiny-Q4.gguf.part.json"]
    assert get(server, tmp_path).path.read_bytes() == model
    assert server.seen[-1]["range"] == "bytes=1200000-"


def test_a_part_that_is_already_whole_is_only_checked(server: Flaky, tmp_path: Path, model: bytes) -> None:
    server.cut_after = [1_200_000]
    with pytest.raises(Unavailable):
        get(server, tmp_path, rules=replace(QUICK, patience=1))
    (tmp_path / "Tiny-Q4.gguf.part").write_bytes(model)
    assert get(server, tmp_path).path.read_bytes() == model
    assert server.seen[-1]["range"] == f"bytes={len(model)}-"


def test_a_server_without_ranges_starts_over(server: Flaky, tmp_path: Path, model: bytes) -> None:
    server.ranges = False
    server.cut_after = [1_000_000]
    assert get(server, tmp_path).path.read_bytes() == model


def test_a_file_that_changed_meanwhile_starts_over(server: Flaky, tmp_path: Path, model: bytes) -> None:
    server.cut_after = [1_000_000]
    with pytest.raises(Unavailable):
        get(server, tmp_path, rules=replace(QUICK, patience=1))
    other = write_gguf(tmp_path / "other", weights=700_000).read_bytes()
    (tmp_path / "other").unlink()
    server.body, server.etag = other, '"v2"'
    assert get(server, tmp_path).path.read_bytes() == other


def test_a_server_that_promises_more_than_it_has_gives_up_in_the_end(
    server: Flaky, tmp_path: Path, model: bytes
) -> None:
    server.claim = len(model) + 10
    with pytest.raises(Unavailable, match="without bringing more"):
        get(server, tmp_path)
    assert not (tmp_path / "Tiny-Q4.gguf").exists()


def test_a_file_cut_by_a_length_that_is_too_small_is_no_model(server: Flaky, tmp_path: Path, model: bytes) -> None:
    server.claim = 1_000_000
    with pytest.raises(BadRequest, match="cut off"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_the_hash_decides(server: Flaky, tmp_path: Path, model: bytes) -> None:
    right = hashlib.sha256(model).hexdigest()
    with pytest.raises(BadRequest, match="expected was 0000"):
        get(server, tmp_path, sha256="0" * 64)
    assert left(tmp_path) == []
    assert get(server, tmp_path, sha256=right.upper()).verified
    requests = len(server.seen)
    assert not get(server, tmp_path, sha256=right).fresh  # known: nothing is asked
    assert len(server.seen) == requests
    with pytest.raises(BadRequest, match="64 hexadecimal"):
        get(server, tmp_path, sha256="abc", name="x")


def test_what_is_there_is_not_written_over_unasked(server: Flaky, tmp_path: Path) -> None:
    assert get(server, tmp_path).fresh
    assert not get(server, tmp_path).fresh
    with pytest.raises(Conflict, match="--replace"):
        get(server, tmp_path, source=f"{server.url}/elsewhere/Tiny-Q4.gguf")
    assert get(server, tmp_path, source=f"{server.url}/elsewhere/Tiny-Q4.gguf", replace=True).fresh


def test_a_page_is_no_model(server: Flaky, tmp_path: Path) -> None:
    server.body = b"<html>Please sign in</html>"
    with pytest.raises(BadRequest, match="does not begin with GGUF"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_a_damaged_head_is_no_model(server: Flaky, tmp_path: Path, model: bytes) -> None:
    server.body = model[:40] + b"\xff" * 4000
    with pytest.raises(BadRequest, match="is no model"):
        get(server, tmp_path)


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (401, Refused), (403, Refused), (400, UpstreamError), (410, UpstreamError)]
)
def test_a_no_is_said_as_such_at_once(server: Flaky, tmp_path: Path, status: int, error: type[LoopwrightError]) -> None:
    server.statuses = [status]
    with pytest.raises(error):
        get(server, tmp_path)
    assert len(server.seen) == 1
    assert left(tmp_path) == []


def test_a_busy_server_is_asked_again(server: Flaky, tmp_path: Path) -> None:
    server.statuses = [503, 429, 500]
    assert get(server, tmp_path).fresh
    assert len(server.seen) == 4


def test_the_limit_holds(server: Flaky, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="limit is 1,000"):
        get(server, tmp_path, rules=replace(QUICK, limit=1000))


def test_an_encoded_answer_is_refused(server: Flaky, tmp_path: Path) -> None:
    server.encoding = "gzip"
    with pytest.raises(UpstreamError, match="gzip"):
        get(server, tmp_path)


def test_the_hub_redirects_and_its_hash_is_checked(server: Flaky, tmp_path: Path, model: bytes) -> None:
    linked = hashlib.sha256(model).hexdigest()
    with serving(Flaky(body=b"", elsewhere=f"{server.url}/cdn/abc?signature=secret", linked=linked)) as hub:
        wish = Wish(source="hf:owner/repo@v1/sub/Tiny-Q4.gguf", hub=hub.url, rules=QUICK)
        got = asyncio.run(pull(wish, tmp_path, env={"HF_TOKEN": "hf_secret"}))
        assert hub.seen[0]["path"] == "/owner/repo/resolve/v1/sub/Tiny-Q4.gguf"
        assert hub.seen[0]["authorization"] == "Bearer hf_secret"
        hub.linked = "1" * 64
        with pytest.raises(BadRequest, match="expected was 1111"):
            asyncio.run(pull(replace(wish, name="second"), tmp_path, env={}))
    assert got.verified
    assert "authorization" not in server.seen[0]  # the token stays with the hub
    assert "secret" not in (tmp_path / "Tiny-Q4.gguf.json").read_text()
    assert json.loads((tmp_path / "Tiny-Q4.gguf.json").read_text())["source"] == "hf:owner/repo@v1/sub/Tiny-Q4.gguf"


def test_a_redirect_must_not_lead_to_plain_http_elsewhere(server: Flaky, tmp_path: Path) -> None:
    server.elsewhere = "http://192.0.2.1/model.gguf"
    with pytest.raises(BadRequest, match="use https"):
        get(server, tmp_path)


def test_a_circle_of_redirects_ends(server: Flaky, tmp_path: Path) -> None:
    server.elsewhere = "/again.gguf"
    with pytest.raises(UpstreamError, match="redirects"):
        get(server, tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "http://192.0.2.1/model.gguf",
        "ftp://example.com/model.gguf",
        "file:/etc/passwd",
        "hf:owner/model.gguf",
        "hf:../../x/y.gguf",
        "hf:owner/repo/file.bin",
        "package:--index-url=http://x",
        "package:name @ https://example.com/x.whl",
        "package:",
        "nonsense",
        "",
        "https://example.com/",
        "https://example.com/model.bin",
        "https://example.com/.hidden.gguf",
        "https://example.com/a%00b.gguf",
    ],
)
def test_sources_that_are_none_are_refused_before_anything_is_asked(tmp_path: Path, source: str) -> None:
    with pytest.raises(BadRequest):
        asyncio.run(pull(Wish(source=source, rules=QUICK), tmp_path / "models", env={}))
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "con", "x" * 300, "a\nb", "é"])
def test_names_that_are_paths_are_refused(server: Flaky, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest):
        get(server, tmp_path, name=name)
    assert not server.seen


def test_two_programs_do_not_write_one_file(server: Flaky, tmp_path: Path) -> None:
    async def both() -> list[Any]:
        wish = Wish(source=f"{server.url}/files/Tiny-Q4.gguf", rules=QUICK)
        return await asyncio.gather(*(pull(wish, tmp_path, env={}) for _ in range(2)), return_exceptions=True)

    results = asyncio.run(both())
    assert sum(isinstance(result, Pulled) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 1
