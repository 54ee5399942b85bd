"""What providers with a dialect of their own have in common: the way of a question there and of its answer back."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import BadRequest, Busy, LoopwrightError, SettingsError, UpstreamBroke, UpstreamRefused
from loopwright.core.money import Usage
from loopwright.kit.http import Answer, HttpClient, Reply
from loopwright.kit.settings import ProviderSettings
from loopwright.kit.sse import Splitter, data_of, events, name_of
from loopwright.providers.aws_frames import Frames
from loopwright.providers.openai_errors import retry_after, scrubbed
from loopwright.providers.pictures import Pictures

_DECODE: Final = msgspec.json.Decoder(dict[str, Any]).decode
_AT_ONCE: Final = 8
"""Calls at once for the texts of one question, where a model embeds one text a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One HTTP request."""

    path: str
    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


class EventReader(Protocol):
    """Folds the events of one stream into Deltas."""

    done: bool

    def take(self, event: Mapping[str, Any], kind: str = "") -> Iterator[Delta]:
        """The Deltas of one event; raises the failure it tells of."""
        ...

    def end(self) -> Iterator[Delta]:
        """The Deltas of the end of the body; raises UpstreamBroke when it came too early."""
        ...


class Dialect(Protocol):
    """How one provider speaks: pure translation, no network."""

    framed: bool
    """Streams are AWS frames, not server-sent events."""
    takes_urls: bool
    """Images may be given by URL; otherwise they are fetched first."""

    def ask(self, body: Mapping[str, Any], model: str, *, stream: bool) -> Question:
        """A chat or a completion. Raises BadRequest."""
        ...

    def embed(self, body: Mapping[str, Any], model: str) -> list[Question]:
        """Embeddings, in as many requests as it takes. Raises BadRequest."""
        ...

    def list_models(self) -> Question:
        """The names of the models."""
        ...

    def whole(self, answer: Mapping[str, Any]) -> list[Delta]:
        """A whole answer as Deltas, the last of which is done."""
        ...

    def reader(self) -> EventReader:
        """For one stream."""
        ...

    def vectors(self, answer: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[list[list[float]], int | None]:
        """The vectors of one answer to `embed`, and the tokens it counted."""
        ...

    def names(self, answer: Mapping[str, Any]) -> list[str]:
        """The models in an answer to `list_models`."""
        ...

    def complaint(self, body: Mapping[str, Any], headers: Mapping[str, str], status: int) -> LoopwrightError | None:
        """The error in a JSON body, or None when there is none."""
        ...


class Sign(Protocol):
    """Signs a request, where a key in a header is not enough."""

    async def __call__(self, question: Question, /) -> Mapping[str, str]:
        """The headers that carry the signature. Raises UpstreamRefused when there are no credentials."""
        ...


class Native:
    """A provider with a dialect of its own. Its answers are Deltas without `raw`."""

    def __init__(
        self,
        name: str,
        settings: ProviderSettings,
        dialect: Dialect,
        *,
        headers: Mapping[str, str],
        sign: Sign | None = None,
    ) -> None:
        """`settings.base_url` is complete by now; `headers` carry the credentials unless `sign` does.

        Raises:
            SettingsError: no `base_url`, or an argument is of the wrong type.
        """
        if settings.base_url is None:
            raise SettingsError(f"providers.{name}.base_url is missing")
        self.name = name
        self._dialect = dialect
        self._sign = sign
        self._secrets = (settings.api_key or "", *settings.headers.values())
        given = {key.lower(): value for key, value in settings.headers.items()}
        proxy, verify = settings.args.get("proxy"), settings.args.get("verify", True)
        private = settings.args.get("private_images", False)
        if not isinstance(verify, bool) or not isinstance(private, bool) or not isinstance(proxy, str | None):
            raise SettingsError(f"providers.{name}.args: verify and private_images are true or false, proxy is a URL")
        self._pictures = Pictures(private=private)
        self._http = HttpClient(
            base_url=settings.base_url,
            headers={"content-type": "application/json", **headers, **given},
            timeouts=settings.timeouts,
            verify=verify,
            proxy=proxy,
            link_local=settings.link_local,
        )

    def chat(self, upstream_model: str, /) -> Chat:
        """A Chat that asks `upstream_model`. Raises as `Provider.chat` says."""

        def ask(request: Request, /) -> AsyncGenerator[Delta, None]:
            if request.operation == "embeddings":
                return self._embedded(request, upstream_model)
            return self._streamed(request, upstream_model) if request.stream else self._once(request, upstream_model)

        return ask

    async def models(self) -> list[str]:
        """The names upstream offers, sorted."""
        return sorted(set(self._dialect.names(self._read(await self._send(self._dialect.list_models())))))

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def _send(self, question: Question) -> Reply:
        headers = question.headers if self._sign is None else {**question.headers, **await self._sign(question)}
        return await self._http.request(question.method, question.path, question.body, headers)

    async def _question(self, request: Request, model: str) -> Question:
        body: Mapping[str, Any] = request.body
        if request.operation in ("moderations", "rerank"):
            raise BadRequest(f"provider {self.name!r} does not do {request.operation}", param="model")
        if not self._dialect.takes_urls:
            body = await self._pictures.inlined(body)
        question = self._dialect.ask(body, model, stream=request.stream)
        if request.privacy is not None:
            request.privacy.sent(question.body)
        return question

    async def _once(self, request: Request, model: str) -> AsyncGenerator[Delta, None]:
        answer = self._read(await self._send(await self._question(request, model)))
        try:
            deltas = self._dialect.whole(answer)
        except LoopwrightError as problem:
            raise self._named(problem) from None
        except (TypeError, ValueError, AttributeError, KeyError):
            raise self._malformed() from None
        deltas[0] = replace(deltas[0], model=model, provider=self.name)
        for delta in deltas:
            yield delta

    async def _embedded(self, request: Request, model: str) -> AsyncGenerator[Delta, None]:
        questions = self._dialect.embed(request.body, model)
        if request.privacy is not None:
            for question in questions:
                request.privacy.sent(question.body)
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(question: Question) -> Reply:
            async with places:
                return await self._send(question)

        replies = await asyncio.gather(*(one(question) for question in questions))
        vectors: list[list[float]] = []
        counted: int | None = 0
        for reply in replies:
            found, tokens = self._dialect.vectors(self._read(reply), reply.headers)
            vectors += found
            counted = None if tokens is None or counted is None else counted + tokens
        raw, usage = _listed(vectors, counted, request)
        yield Delta(raw=raw, usage=usage, done=True, model=model, provider=self.name)

    async def _streamed(self, request: Request, model: str) -> AsyncGenerator[Delta, None]:
        question = await self._question(request, model)
        headers = question.headers if self._sign is None else {**question.headers, **await self._sign(question)}
        answer = await self._http.stream(question.method, question.path, question.body, headers)
        try:
            await self._check_head(answer)
            reader = self._dialect.reader()
            taken = self._framed(answer, reader) if self._dialect.framed else self._events(answer, reader)
            first = True
            async for delta in taken:
                yield replace(delta, model=model, provider=self.name) if first else delta
                first = False
                if delta.done:
                    answer.settle()
                    return
        except LoopwrightError as problem:
            raise self._named(problem) from None
        except (TypeError, ValueError, AttributeError, KeyError):
            raise self._malformed() from None
        finally:
            await answer.aclose()

    async def _events(self, answer: Answer, reader: EventReader) -> AsyncIterator[Delta]:
        splitter = Splitter()
        async for piece in answer:
            for event in events(splitter.feed(piece)):
                for delta in self._event(event, reader):
                    yield delta
        if splitter.rest.strip():  # an end without its blank line
            for delta in self._event(splitter.rest.rstrip(b"\r\n") + b"\n\n", reader):
                yield delta
        for delta in reader.end():
            yield delta

    def _event(self, event: bytes, reader: EventReader) -> Iterator[Delta]:
        data = data_of(event)
        if data is None or data == b"[DONE]":
            if data is None and not event.strip().startswith((b":", b"event:", b"id:", b"retry:")) and event.strip():
                raise UpstreamBroke("it sent an event that is none: its stream is damaged")
            return
        yield from reader.take(_decoded(data), name_of(event) if b"event:" in event else "")

    async def _framed(self, answer: Answer, reader: EventReader) -> AsyncIterator[Delta]:
        frames = Frames()
        async for piece in answer:
            for frame in frames.feed(piece):
                kind = frame.headers.get(":event-type") or frame.headers.get(":exception-type") or ""
                if frame.headers.get(":message-type") == "error":
                    code, why = frame.headers.get(":error-code", ""), frame.headers.get(":error-message", "")
                    kind, payload = f"{code.removesuffix('Exception')}Exception", {"message": why}
                else:
                    payload = _decoded(frame.payload)
                for delta in reader.take(payload, kind):
                    yield delta
        if frames.rest:
            raise UpstreamBroke("its stream ended within a frame: it was cut off")
        for delta in reader.end():
            yield delta

    async def _check_head(self, answer: Answer) -> None:
        kind = answer.headers.get("content-type", "").lower()
        coded = answer.headers.get("content-encoding", "identity").lower() != "identity"
        stream = "eventstream" in kind if self._dialect.framed else "json" not in kind and "html" not in kind
        if 200 <= answer.status < 300 and stream and not coded:
            return
        headers = tuple((name.encode(), value.encode("latin-1")) for name, value in answer.headers.items())
        self._read(Reply(status=answer.status, raw_headers=headers, body=await answer.read()))
        raise UpstreamBroke(f"it sent {kind or 'no content type'} instead of a stream")

    def _read(self, reply: Reply) -> Mapping[str, Any]:
        """The JSON object of an answer, or the error it is."""
        headers = reply.headers
        good = 200 <= reply.status < 300
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise self._named(UpstreamBroke(f"it sent content-encoding {encoding}, though none was asked for"))
        body: Mapping[str, Any] | None
        try:
            body = _first(msgspec.json.decode(reply.body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        complaint = self._dialect.complaint(body, headers, 0 if good else reply.status) if body is not None else None
        if complaint is not None:
            if good:
                raise self._named(UpstreamBroke(f"it sent an error under HTTP {reply.status}: {complaint}"))
            raise self._named(complaint)
        if good and body is not None:
            return body
        html = reply.body.lstrip()[:1] == b"<"
        what = "an HTML page" if html else "what is not JSON" if body is None else "an error without a reason"
        if good:
            raise self._named(UpstreamBroke(f"it sent {what} instead of an answer: check its base_url"))
        message = f"HTTP {reply.status} with {what}"
        bare = self._dialect.complaint({"error": {"message": message}, "message": message}, headers, reply.status)
        raise self._named(bare or UpstreamRefused(message, upstream_status=reply.status))

    def _malformed(self) -> UpstreamBroke:
        return UpstreamBroke(f"provider {self.name!r} sent what is not of its form")

    def _named(self, problem: LoopwrightError) -> LoopwrightError:
        """The same error, saying whose it is and none of our secrets."""
        said = str(problem)
        if self.name in said and said.startswith("provider "):
            return problem
        if isinstance(problem, UpstreamRefused) and problem.upstream_status in (401, 403):
            # Its message often repeats part of the key, so the caller never sees it.
            said = f"it refused our credentials (HTTP {problem.upstream_status}): check `providers.{self.name}`"
        elif problem.status < 500 and not isinstance(problem, Busy):
            problem.args = (scrubbed(said, self._secrets),)
            return problem
        problem.args = (scrubbed(f"provider {self.name!r}: {said}", self._secrets),)
        return problem


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the head of an answer says."""
    return retry_after(headers, now=time.time())


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        return _DECODE(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamBroke("it sent an event that is not JSON: its stream is damaged") from None


def _first(body: Any) -> Mapping[str, Any] | None:
    """Gemini puts errors into a list."""
    if isinstance(body, list) and body:
        body = body[0]
    return body if isinstance(body, Mapping) else None


def _listed(vectors: list[list[float]], counted: int | None, request: Request) -> tuple[bytes, Usage]:
    """Vectors in OpenAI's form. Tokens nobody counted are estimated at four characters each."""
    packed = request.body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if packed else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    given = request.body.get("input", "")
    tokens = max(len(given if isinstance(given, str) else "".join(given)) // 4, 1) if counted is None else counted
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    raw = msgspec.json.encode({"object": "list", "model": request.model, "data": data, "usage": counts})
    return raw, Usage(input=tokens, estimated=counted is None)
