"""A load generator for any OpenAI-compatible chat endpoint. Knows neither how lengths are drawn nor how results look.

Closed loop: so many users, each asks again once it is answered. Open loop: requests fall due at random moments
(Poisson) whether or not the endpoint keeps up, and every time is counted from the moment a request was due, so that a
stall is not hidden by the requests it kept from being sent (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.kit.http import HttpClient
from loopwright.kit.http_face import Answer
from loopwright.kit.lengths import Length, prompt_text
from loopwright.kit.sse import Splitter, data_of, events

PATH: Final = "/chat/completions"
_HEADERS: Final = {"content-type": "application/json"}
_CALIBRATION: Final = (16, 272)
"""Words of the two prompts that tell how many tokens a word is."""


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Error(msgspec.Struct):
    message: str = ""
    code: str | int | None = None
    type: str | None = None


class _Body(msgspec.Struct):
    """What matters of a chunk, or of a whole answer."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | str | None = None


_BODY: Final = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to ask, and how hard."""

    model: str
    lengths: Iterator[Length]
    stream: bool = True
    concurrency: int = 1
    """Users of a closed loop; unused when `rate` is given."""
    rate: float | None = None
    """Requests a second of an open loop."""
    requests: int | None = None
    """Stop after so many; None goes on until `duration`."""
    duration: float | None = None
    """Seconds in which requests are begun; those in flight are waited for."""
    warmup: int = 0
    """Requests before the measured ones."""
    seed: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)
    """Further members of each request, e.g. `{"temperature": 0, "ignore_eos": true}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request. Times are seconds; `due`, from the start of the measurement."""

    due: float
    late: float
    """How long after `due` it was sent: what the generator itself added."""
    asked: Length
    ttft: float | None
    """From due to the first piece of the answer; None when not streamed or nothing came."""
    latency: float
    """From due to the end of the answer."""
    gaps: array[float]
    """Between one event that said something and the next."""
    input_tokens: int
    output_tokens: int
    counted: bool
    """Tokens come from the endpoint's usage; otherwise each event counts as one token of the answer."""
    error: str | None = None
    """A class of errors, e.g. `429 rate_limit_exceeded` or `upstream_timeout`; None when answered whole."""
    message: str = ""

    @property
    def tpot(self) -> float | None:
        """Seconds per output token after the first."""
        if self.ttft is None or self.output_tokens < 2:
            return None
        return (self.latency - self.ttft) / (self.output_tokens - 1)


class Generator:
    """Drives one load against one endpoint. `heard` is called with each measured Sample as it comes."""

    def __init__(self, client: HttpClient, load: Load, heard: Callable[[Sample], None] = lambda _sample: None) -> None:
        if load.requests is None and load.duration is None:
            raise BadRequest("say when to stop: --requests or --duration")
        self.in_flight = 0
        self.words_a_token = 1.0
        """Found by `warm_up` where the endpoint reports usage."""
        self.overhead = 0.0
        """Prompt tokens of the chat template."""
        self._client = client
        self._load = load
        self._heard = heard
        self._random = Random(load.seed)  # noqa: S311 - repeatable, not secret
        self._left = load.requests
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Begin nothing more and leave what is in flight."""
        self._stopped.set()

    async def warm_up(self) -> list[Sample]:
        """Send the warm-up requests, learning from the first two how many tokens a word makes."""
        count = self._load.warmup
        samples: list[Sample] = []
        if count:
            await self._calibrate()
        pending = iter(range(count))

        async def user() -> None:
            for _ in pending:
                if self._stopped.is_set():
                    return
                samples.append(await self._ask(next(self._load.lengths), time.perf_counter(), 0.0))

        await self._unless_stopped(asyncio.gather(*(user() for _ in range(min(self._load.concurrency, count)))))
        return samples

    async def run(self) -> float:
        """Send the load; returns the seconds from the first request to the end of the last answer."""
        begun = time.perf_counter()
        work = self._users(begun) if self._load.rate is None else self._arrivals(begun, self._load.rate)
        await self._unless_stopped(asyncio.ensure_future(work))
        return time.perf_counter() - begun

    async def _unless_stopped(self, work: asyncio.Future[Any]) -> None:
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)
        if not work.cancelled():
            work.result()

    def _more(self, elapsed: float) -> bool:
        """Take one request of what is left, if there is one."""
        if self._load.duration is not None and elapsed >= self._load.duration:
            return False
        if self._left is not None:
            if self._left == 0:
                return False
            self._left -= 1
        return True

    async def _users(self, begun: float) -> None:
        async def user() -> None:
            while self._more(time.perf_counter() - begun):
                now = time.perf_counter()
                self._heard(await self._ask(next(self._load.lengths), now, now - begun))

        async with asyncio.TaskGroup() as group:
            for _ in range(self._load.concurrency):
                group.create_task(user())

    async def _arrivals(self, begun: float, rate: float) -> None:
        async def one(due: float) -> None:
            self._heard(await self._ask(next(self._load.lengths), begun + due, due))

        due = self._random.expovariate(rate)
        async with asyncio.TaskGroup() as group:
            while self._more(due):
                wait = begun + due - time.perf_counter()
                # Also without a wait the loop must turn, or a generator that lags would never read an answer.
                await asyncio.sleep(max(wait, 0))
                group.create_task(one(due))
                due += self._random.expovariate(rate)

    async def _calibrate(self) -> None:
        """Two short questions tell tokens a word and the template's overhead; without usage both stay as they are."""
        told = []
        for words in _CALIBRATION:
            body = self._body(prompt_text(words, self._random), 1, stream=False)
            try:
                reply = await self._client.request("POST", PATH, body, _HEADERS)
                usage = _BODY.decode(reply.body).usage if reply.status == 200 else None
            except (LoopwrightError, msgspec.DecodeError):
                return  # the warm-up requests after this one will show what is wrong
            if usage is None:
                return
            told.append(usage.prompt_tokens)
        slope = (told[1] - told[0]) / (_CALIBRATION[1] - _CALIBRATION[0])
        if 0.2 < slope < 20:
            self.words_a_token = 1 / slope
            self.overhead = max(told[0] - slope * _CALIBRATION[0], 0.0)

    def _body(self, prompt: str, output: int, *, stream: bool) -> bytes:
        body: dict[str, Any] = {
            "model": self._load.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": output,
            **self._load.body,
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return msgspec.json.encode(body)

    async def _ask(self, length: Length, due_at: float, due: float) -> Sample:
        words = round((length.prompt - self.overhead) * self.words_a_token)
        body = self._body(prompt_text(words, self._random), length.output, stream=self._load.stream)
        taking = _Taking(due_at=due_at)
        sent = time.perf_counter()
        self.in_flight += 1
        try:
            if self._load.stream:
                answer = await self._client.stream("POST", PATH, body, _HEADERS)
                try:
                    await taking.follow(answer)
                finally:
                    await answer.aclose()
            else:
                reply = await self._client.request("POST", PATH, body, _HEADERS)
                taking.whole(reply.status, reply.body)
        except LoopwrightError as error:
            taking.failed(error.code, error.message)
        finally:
            self.in_flight -= 1
        return taking.sample(length, due, sent - due_at)


@dataclass(slots=True, kw_only=True)
class _Taking:
    """One answer as it comes in."""

    due_at: float
    first: float | None = None
    last: float = 0.0
    gaps: array[float] = field(default_factory=lambda: array("d"))
    spoken: int = 0
    usage: _Usage | None = None
    error: str | None = None
    message: str = ""

    async def follow(self, answer: Answer) -> None:
        if answer.status != 200:
            self.refused(answer.status, await answer.read())
            return
        splitter = Splitter()
        done = False
        async for piece in answer:
            now = time.perf_counter()
            for event in events(splitter.feed(piece)):
                data = data_of(event)
                if data == b"[DONE]":
                    done = True
                elif data is not None and not self.read(data, now):
                    return
        if not done:
            self.failed("cut_off", "the stream ended without [DONE]")

    def read(self, data: bytes, now: float) -> bool:
        """Take one event; False when nothing good can follow."""
        try:
            body = _BODY.decode(data)
        except msgspec.DecodeError as error:
            self.failed("malformed", str(error))
            return False
        if body.error is not None:
            self.refused(200, data)
            return False
        if body.usage is not None:
            self.usage = body.usage
        if any(_speaks(choice.delta) for choice in body.choices):
            self.spoken += 1
            if self.first is None:
                self.first = now
            else:
                self.gaps.append(now - self.last)
            self.last = now
        return True

    def whole(self, status: int, raw: bytes) -> None:
        if status != 200:
            self.refused(status, raw)
            return
        try:
            self.usage = _BODY.decode(raw).usage
        except msgspec.DecodeError as error:
            self.failed("malformed", str(error))

    def refused(self, status: int, raw: bytes) -> None:
        try:
            inner = _BODY.decode(raw).error
            said = inner if isinstance(inner, _Error) else _Error(message=inner or "")
        except msgspec.DecodeError:
            said = _Error(message=raw[:200].decode("utf-8", "replace"))
        self.failed(f"{status} {said.code or said.type or 'error'}", said.message)

    def failed(self, error: str, message: str) -> None:
        self.error, self.message = error, message

    def sample(self, asked: Length, due: float, late: float) -> Sample:
        usage = self.usage
        return Sample(
            due=due,
            late=max(late, 0.0),
            asked=asked,
            ttft=None if self.first is None else self.first - self.due_at,
            latency=time.perf_counter() - self.due_at,
            gaps=self.gaps,
            input_tokens=usage.prompt_tokens if usage else 0,
            output_tokens=usage.completion_tokens if usage else self.spoken,
            counted=usage is not None,
            error=self.error,
            message=self.message,
        )


def _speaks(delta: _Delta | None) -> bool:
    return delta is not None and bool(delta.content or delta.reasoning_content or delta.tool_calls)
