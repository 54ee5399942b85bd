import asyncio
import contextvars
import gzip
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from loopwright.observing import Observer
from loopwright.observing.sending import Pace


class Fake:
    """What a house hears at `/otlp/v1/traces`."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        """Statuses to give before 200."""
        self.url = ""

    def named(self, name: str) -> Any:
        [span] = [span for span in self.spans if span.name == name]
        return span

    def told(self, name: str) -> dict[str, Any]:
        return {pair.key: pair.value.string_value for pair in self.named(name).attributes}


@contextmanager
def listening() -> Iterator[Fake]:
    fake = Fake()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            fake.headers.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            status = fake.answers.pop(0) if fake.answers else 200
            if status == 200:
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                asked = ExportTraceServiceRequest.FromString(body)
                fake.spans += [s for r in asked.resource_spans for scope in r.scope_spans for s in scope.spans]
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def fake() -> Iterator[Fake]:
    with listening() as found:
        yield found


@pytest.fixture
def observe(fake: Fake) -> Observer:
    return Observer(fake.url, "lw-test", Pace(every=0.02))


def test_steps_nest_and_say_what_went_in_and_out(fake: Fake, observe: Observer) -> None:
    @observe(kind="tool")
    def look(city: str, *, api_key: str) -> dict[str, int]:
        return {"degrees": len(city)}

    @observe
    def answer(question: str) -> str:
        with observe("think", session="s1", tags={"env": "test"}) as step:
            step.output("about it")
            look("Bern", api_key="hidden")
        return f"answer to {question}"

    assert answer("why") == "answer to why"
    assert observe.flush()
    root, think, tool = (fake.named(name) for name in ("test_steps_nest_and_say_what_went_in_and_out.answer", "think",
                                                       "test_steps_nest_and_say_what_went_in_and_out.look"))  # fmt: skip
    assert not root.parent_span_id
    assert think.parent_span_id == root.span_id
    assert tool.parent_span_id == think.span_id
    assert {each.trace_id for each in fake.spans} == {root.trace_id}
    told = fake.told(tool.name)
    assert json.loads(told["loopwright.input"]) == {"city": "Bern", "api_key": "***"}
    assert json.loads(told["loopwright.output"]) == {"degrees": 4}
    assert told["loopwright.kind"] == "tool"
    assert told["loopwright.session"] == "s1"  # inherited
    assert fake.told("think")["loopwright.tag.env"] == "test"
    assert fake.told(root.name)["loopwright.output"] == "answer to why"
    assert fake.headers[0]["authorization"] == "Bearer lw-test"
    assert fake.headers[0]["path"] == "/otlp/v1/traces"


def test_exceptions_pass_and_are_told(fake: Fake, observe: Observer) -> None:
    @observe("breaks")
    def breaks() -> None:
        raise ValueError("bad sk-abcdefghijklmnop1234 here")

    @observe("mute", capture=False)
    def mute(secret_plan: str) -> str:
        raise ValueError("said " + secret_plan)

    with pytest.raises(ValueError, match="bad sk"):
        breaks()
    with pytest.raises(ValueError, match="said x"):
        mute("x")
    assert observe.flush()
    failed = fake.named("breaks")
    assert (failed.status.code, failed.status.message) == (2, "ValueError: bad *** here")
    assert failed.events[0].name == "exception"
    assert fake.named("mute").status.message == "ValueError"
    assert "loopwright.input" not in fake.told("mute")


def test_coroutines_and_generators_are_whole_steps(fake: Fake, observe: Observer) -> None:
    @observe("inner")
    async def inner() -> int:
        await asyncio.sleep(0)
        return 7

    @observe("stream")
    async def stream(n: int) -> AsyncIterator[str]:
        for _ in range(n):
            await inner()
            yield "ab"

    @observe("count")
    def count(n: int) -> Generator[int, int, int]:
        got = 0
        for at in range(n):
            got += (yield at) or 0
        return got

    async def main() -> list[str]:
        async with observe("outer"):
            return [piece async for piece in stream(2)]

    assert asyncio.run(main()) == ["ab", "ab"]
    counting = count(3)
    assert [next(counting), counting.send(5)] == [0, 1]
    with pytest.raises(StopIteration) as over:
        counting.send(6), next(counting)
    assert over.value.value == 11
    cut = count(5)
    next(cut)
    cut.close()
    assert observe.flush()
    streamed = fake.named("stream")
    assert streamed.parent_span_id == fake.named("outer").span_id
    assert [span.parent_span_id for span in fake.spans if span.name == "inner"] == [streamed.span_id] * 2
    assert fake.told("stream")["loopwright.output"] == "abab"
    assert [span.status.code for span in fake.spans if span.name == "count"] == [0, 0]


def test_who_takes_pieces_is_not_inside_the_generator(fake: Fake, observe: Observer) -> None:
    @observe("source")
    def source() -> Iterator[int]:
        yield 1

    for _ in source():
        with observe("outside"):
            pass
    assert observe.flush()
    assert not fake.named("outside").parent_span_id


def test_methods_and_threads(fake: Fake, observe: Observer) -> None:
    class Shop:
        @observe("sell")
        def sell(self, item: str) -> str:
            return item

        @staticmethod
        @observe("price")
        def price(item: str) -> int:
            return len(item)

    with observe("day"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(contextvars.copy_context().run, Shop().sell, "tea").result() == "tea"
        assert Shop.price("tea") == 3
    assert observe.flush()
    assert json.loads(fake.told("sell")["loopwright.input"]) == {"item": "tea"}
    assert fake.named("sell").parent_span_id == fake.named("day").span_id
    with pytest.raises(TypeError, match="takes functions"):
        observe(Shop)


def test_instrumented_libraries_nest_in_it(fake: Fake, observe: Observer) -> None:
    theirs = TracerProvider(shutdown_on_exit=False).get_tracer("library")
    with observe("ours") as step, theirs.start_as_current_span("theirs") as inside:
        assert inside.get_span_context().trace_id == int(step.trace_id, 16)
        with observe("deep"):
            carried = observe.headers()["traceparent"]
    assert carried.split("-")[1] == step.trace_id
    assert observe.flush()
    assert fake.named("deep").parent_span_id == inside.get_span_context().span_id.to_bytes(8)
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_spans_wait_for_a_house_that_is_busy(fake: Fake, observe: Observer) -> None:
    fake.answers = [503, 429]
    with observe("late"):
        pass
    assert observe.flush(20)
    assert [span.name for span in fake.spans] == ["late"]
    assert len(fake.headers) == 3


def test_a_wrong_key_is_said_once_and_breaks_nothing(
    fake: Fake, observe: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answers = [401] * 50
    for _ in range(3):
        with observe("unwanted"):
            pass
        assert observe.flush()
    assert observe.dropped == 3
    assert caplog.text.count("LOOPWRIGHT_API_KEY is not one of its keys") == 1


def test_a_full_queue_drops_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    nobody = Observer("http://127.0.0.1:9", "k", Pace(queue=10, every=0.01, farewell=0.05))
    for _ in range(25):
        with nobody("step"):
            pass
    assert nobody.dropped == 15
    assert caplog.text.count("more than 10 spans wait") == 1
    assert not nobody.flush(0.05)


def test_a_program_says_all_before_it_ends_and_forks_well(fake: Fake) -> None:
    program = """
import os
from loopwright import observe
with observe("before"):
    pass
child = os.fork()
with observe("child" if child == 0 else "parent"):
    pass
if child == 0:
    observe.flush()
    os._exit(0)
os.waitpid(child, 0)
"""
    env = {"LOOPWRIGHT_URL": fake.url, "LOOPWRIGHT_API_KEY": "k", "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(span.name for span in fake.spans) == ["before", "child", "parent"]


def test_without_a_house_a_program_ends_all_the_same_and_off_is_off() -> None:
    program = "from loopwright import observe\n@observe\ndef f():\n    return 3\nassert f() == 3\nprint('done')"
    for more in ({}, {"LOOPWRIGHT_OBSERVE": "off"}):
        env = {"LOOPWRIGHT_URL": "http://127.0.0.1:9", "LOOPWRIGHT_API_KEY": "k", "PATH": "/usr/bin", **more}
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stdout) == (0, "done\n")
        assert ("not answer" in done.stderr) is not bool(more)
        assert "Traceback" not in done.stderr


def test_importing_loopwright_does_not_import_opentelemetry() -> None:
    program = "import sys, loopwright; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
