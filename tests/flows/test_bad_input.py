"""What a client can send that nobody should: each has one defined answer, is no 5xx, and harms nobody else."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.flows.house import SCRIPTED, House, wait

CONFIG = "server: {body_timeout: 1s, body_limit: 5MB}\n" + SCRIPTED + "  odd: {provider: fake, model: 日本}\n"
ROUTES = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
HELLO = '"model": "fake", "messages": [{"role": "user", "content": "hello"}], "input": "hello", "max_tokens": 99'
TREE = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}
RECURSIVE = {**TREE, "$defs": {"tree": TREE}}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("bad"), config=CONFIG).start()
    yield house
    assert house.calls(limit=1) is not None
    assert "Traceback" not in "".join(path.read_text() for path in house.folder.rglob("*.log"))
    assert house.stop() == 0, house.log.read_text()


def post(house: House, path: str, body: bytes | str | dict[str, Any], **headers: str) -> httpx.Response:
    data = json.dumps(body) if isinstance(body, dict) else body
    told = {"authorization": f"Bearer {house.key}", "content-type": "application/json", **headers}
    return httpx.post(house.url + path, content=data, headers=told, timeout=60)


def said(path: str, answer: httpx.Response) -> str:
    """The text of an answer, whatever its dialect."""
    found = answer.json()
    if path == "/v1/messages":
        return str(found["content"][0]["text"])
    if path == "/v1/responses":
        return str(found["output"][0]["content"][0]["text"])
    return str(found["choices"][0]["message"]["content"])


# ---- bodies ----


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{" + HELLO.encode(), id="unfinished"),
        pytest.param(f"{{{HELLO}}}".encode("utf-16"), id="utf-16"),
        pytest.param(b"\xef\xbb\xbf{%b}" % HELLO.encode(), id="byte-order-mark"),
        pytest.param(b'{%b, "x": "\xff\xfe"}' % HELLO.encode(), id="no-utf8"),
        pytest.param(b'{%b, "x": {"\xff": 1}}' % HELLO.encode(), id="no-utf8-in-a-name"),
        pytest.param(b'{%b, "x": "\xed\xa0\x80"}' % HELLO.encode(), id="surrogate-in-bytes"),
        pytest.param(b'{%b, "x": "\\ud800"}' % HELLO.encode(), id="lone-surrogate"),
        pytest.param(b'{%b, "x": "\\udc00\\ud800"}' % HELLO.encode(), id="surrogates-turned"),
        pytest.param(b'{%b, "temperature": NaN}' % HELLO.encode(), id="nan"),
        pytest.param(b'{%b, "x": Infinity}' % HELLO.encode(), id="infinity"),
        pytest.param(b'{%b, "x": -Infinity}' % HELLO.encode(), id="minus-infinity"),
        pytest.param(b'{%b, "temperature": 1e999}' % HELLO.encode(), id="number-too-large"),
        pytest.param(b'{%b, "x": "\x01"}' % HELLO.encode(), id="control-character"),
        pytest.param(b'{%b, "x": %b%b}' % (HELLO.encode(), b"[" * 100_000, b"]" * 100_000), id="nested"),
    ],
)
def test_a_body_that_is_no_json_is_a_400(guarded: House, path: str, body: bytes) -> None:
    answer = post(guarded, path, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("depth", [100, 400, 800, 900, 940, 950, 960, 965, 970, 975, 980, 985, 990, 995, 1000, 1010])
def test_no_depth_is_a_crash(guarded: House, path: str, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    answer = post(guarded, path, f'{{{HELLO}, "metadata": {{}}, "x": {nested}}}')
    assert answer.status_code in (200, 400), answer.text
    shown = guarded.api("GET", f"/api/calls/{answer.headers['x-loopwright-call-id']}")
    assert shown.status_code == 200, shown.text


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("value", ["1e999", "9" * 400, "-0.0", '"\\u0000"', '"\\ud83d\\ude00"', "{}", "[[]]", "true"])
def test_what_we_do_not_know_is_no_crash(guarded: House, path: str, value: str) -> None:
    answer = post(guarded, path, f'{{{HELLO}, "x": {value}}}')
    assert answer.status_code in (200, 400), answer.text
    shown = guarded.api("GET", f"/api/calls/{answer.headers['x-loopwright-call-id']}")
    assert shown.status_code == 200, shown.text


def test_of_a_member_that_is_there_twice_the_last_counts(guarded: House) -> None:
    twice = '{"model": "odd", "messages": [{"role": "user", "content": "one"}], ' + HELLO + "}"
    answer = post(guarded, ROUTES[0], twice)
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert answer.headers["x-loopwright-model"] == "fake"
    call = guarded.api("GET", f"/api/calls/{answer.headers['x-loopwright-call-id']}").json()
    assert call["request"]["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("path", ROUTES)
def test_two_megabytes_are_asked_and_on_record(guarded: House, path: str) -> None:
    text = "naïve words " * 170_000
    question: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": text}], "max_tokens": 9}
    if path == "/v1/responses":
        question = {"model": "fake", "input": text, "max_output_tokens": 9}
    answer = post(guarded, path, json.dumps(question, ensure_ascii=False))
    assert said(path, answer).startswith("naïve words naïve")
    shown = guarded.api("GET", f"/api/calls/{answer.headers['x-loopwright-call-id']}").json()
    assert shown["request"]["messages"][0]["content"] == text


def test_two_megabytes_are_too_much_for_a_small_model(house: House) -> None:
    client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="smollm2-135m-instruct", messages=[{"role": "user", "content": "word " * 400_000}]
        )
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("path", [*ROUTES, "/v1/embeddings", "/v1/rerank", "/api/keys", "/sign-in"])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_a_413(guarded: House, path: str, *, announced: bool) -> None:
    body = b'{"name": "' + b"x" * 6_000_000 + b'"}'
    kind = "application/x-www-form-urlencoded" if path == "/sign-in" else "application/json"
    pieces = (body[at : at + 100_000] for at in range(0, len(body), 100_000))
    answer = httpx.post(
        guarded.url + path,
        content=body if announced else pieces,
        headers={"authorization": f"Bearer {guarded.key}", "content-type": kind},
        timeout=60,
    )
    assert answer.status_code == 413, answer.text


def test_a_nul_in_a_text_is_on_record_as_what_it_is_not(guarded: House) -> None:
    body = '{"model": "fake", "messages": [{"role": "user", "content": "a\\u0000b"}], "loopwright": '
    answer = post(guarded, ROUTES[0], body + '{"session": "s\\u0000", "tags": {"t\\u0000": "\\u0000"}}}')
    assert answer.status_code in (200, 400), answer.text
    shown = guarded.api("GET", f"/api/calls/{answer.headers['x-loopwright-call-id']}")
    assert shown.status_code == 200


# ---- schemas ----


def asked_with(path: str, schema: object) -> dict[str, Any]:
    """A question whose tool takes what `schema` says."""
    question: dict[str, Any] = json.loads(f"{{{HELLO}}}")
    if path == "/v1/messages":
        question["tools"] = [{"name": "f", "input_schema": schema}]
    elif path == "/v1/responses":
        question["tools"] = [{"type": "function", "name": "f", "parameters": schema}]
    else:
        question["tools"] = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    return question


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (RECURSIVE, "recursive"),
        ({"$ref": "#"}, "recursive"),
        ({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, "not there"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/x.json"}}}, "same schema"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "same schema"),
        ({"type": "nonsense"}, "type"),
        ({"type": 5}, "type"),
        ({"type": "object", "properties": []}, "properties"),
        ({"type": "object", "required": "a"}, "required"),
        ({"type": "object", "properties": {"a": {"enum": []}}}, "empty"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, ""),
        ({"type": "object", "properties": {"a": {"minimum": 3, "maximum": 2}}}, "contradicts"),
        ({"type": "object", "properties": {"a": {"description": "x" * 300_000}}}, "bytes"),
        ({"type": "object", "properties": {str(i): {} for i in range(6_000)}}, "5000"),
        ({"type": "array"}, "object"),
    ],
)
def test_a_tool_nobody_could_call_is_a_400_that_names_the_place(
    guarded: House, path: str, schema: dict[str, Any], says: str
) -> None:
    answer = post(guarded, path, asked_with(path, schema))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert says in error["message"]
    assert "tools[0]" in error["message"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("schema", [5, "object", [], [{}], True])
def test_a_schema_that_is_no_object_is_a_400(guarded: House, path: str, schema: object) -> None:
    assert post(guarded, path, asked_with(path, schema)).status_code == 400


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "tools",
    [5, "x", [5], [None], [[]], [{}], [{"type": "function"}], [{"type": "function", "function": 5}], {"a": 1}]
    + [[{"type": "function", "function": {"name": name}}] for name in ("", "x" * 1000, 5, None)],
)
def test_tools_that_are_none_are_a_400(guarded: House, path: str, tools: object) -> None:
    question = json.loads(f"{{{HELLO}}}")
    assert post(guarded, path, {**question, "tools": tools}).status_code == 400


def test_a_recursive_form_is_a_400(guarded: House) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "tree", "schema": RECURSIVE}}
    answer = post(guarded, ROUTES[0], {**json.loads(f"{{{HELLO}}}"), "response_format": form})
    assert (answer.status_code, "recursive" in answer.text) == (400, True)


# ---- headers ----


def test_no_name_reaches_a_header_line(guarded: House) -> None:
    evil = "\r\nx-evil: 1"
    for model, status in (("fake" + evil, 404), ("odd", 200)):
        house = {"session": "s" + evil, "tags": {"t" + evil: "v" + evil}}
        question = {"model": model, "messages": [{"role": "user", "content": evil}], "loopwright": house}
        answer = post(guarded, ROUTES[0], question)
        assert answer.status_code == status
        assert "x-evil" not in answer.headers
    assert answer.headers["x-loopwright-model"] == "??"
    call = guarded.api("GET", f"/api/calls/{answer.headers['x-loopwright-call-id']}").json()["call"]
    assert (call["session"], call["tags"]) == ("s" + evil, {"t" + evil: "v" + evil})


@pytest.mark.parametrize(
    "line",
    [b"x: a\x00b", b"x: a\rb", b"x y: 1", b"x\x00: 1", b": 1", b"content-length: -1", b"content-length: 1, 2",
     b"content-length: 5\r\ncontent-length: 6", b"content-length: 5\r\ntransfer-encoding: chunked",
     b"transfer-encoding: chunked, nonsense", b" folded: 1"],
)  # fmt: skip
def test_headers_that_could_be_read_in_two_ways_end_the_connection(guarded: House, line: bytes) -> None:
    async def main() -> None:
        reader, writer = await open_at(guarded)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n{}{}{}" % line)
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))
        assert answer.count(b"HTTP/1.1") <= 1
        writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("value", ["\xff\xfe", "Bearer", "Bearer \xe9", "Basic eDp5", "Bearer " + "x" * 50_000])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/api/keys"])
def test_a_strange_key_is_a_401(guarded: House, path: str, value: str) -> None:
    method = "POST" if path == ROUTES[0] else "GET"
    headers = [(b"authorization", value.encode("latin-1"))]
    answer = httpx.request(method, guarded.url + path, headers=headers, content=b"{}", timeout=60)
    assert answer.status_code == 401


# ---- slow, endless, huge ----


async def open_at(house: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = house.url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/keys", "/v1/nothing"])
def test_a_chunked_body_that_never_ends_is_ended(guarded: House, path: str) -> None:
    async def main() -> None:
        reader, writer = await open_at(guarded)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {guarded.key}\r\n"
        writer.write(head.encode() + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        answer = await asyncio.wait_for(dripped(reader, writer, b"1\r\n \r\n"), 30)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")

    asyncio.run(main())


@pytest.mark.parametrize("begun", [b"", b"POST /v1/chat/completions HTTP/1.1\r\n"])
def test_headers_that_trickle_are_not_waited_for(guarded: House, begun: bytes) -> None:
    async def main() -> None:
        reader, writer = await open_at(guarded)
        writer.write(begun)
        answer = await asyncio.wait_for(dripped(reader, writer, b"X"), 30)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")

    asyncio.run(main())


async def dripped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drop: bytes) -> bytes:
    """Whatever is answered until the connection ends, while drops of a request keep coming."""

    async def drip() -> None:
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    answer = b""
    try:
        while piece := await reader.read(65_536):
            answer += piece
    except ConnectionError:
        pass
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /v1/models HTTP/1.1\r\nx: ",
        b"GET /",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;x=",
    ],
    ids=["header", "address", "trailer", "chunk-extension"],
)
def test_a_line_without_an_end_is_not_collected(guarded: House, begun: bytes) -> None:
    async def main() -> int:
        reader, writer = await open_at(guarded)
        sent = 0
        try:
            writer.write(begun)
            while sent < 50_000_000 and not reader.at_eof():
                writer.write(b"y" * 50_000)
                sent += 50_000
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        writer.close()
        return sent

    assert asyncio.run(main()) < 20_000_000


def test_after_all_that_it_still_answers(guarded: House) -> None:
    before = time.time()
    wait(lambda: guarded.api("GET", "/readyz").json()["status"] == "ready")
    client = OpenAI(base_url=f"{guarded.url}/v1", api_key=guarded.key)
    answer = client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "count 5"}])
    assert answer.choices[0].message.content == "answer 5"
    assert answer.created >= int(before)
    guarded.settled()
