"""`/v1/embeddings` in OpenAI's dialect, and `/v1/rerank`, over an encoder, as a bare ASGI application."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, TooLarge, Unauthenticated
from loopwright.core.money import Usage
from loopwright.engines.embedding_queue import EmbeddingQueue
from loopwright.engines.encoder import Encoder, unit
from loopwright.kit import reranking

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_BODY_LIMIT = 32_000_000
_MOST_TEXTS = 2_048
_MOST_RANKED = 10_000


class _Ask(msgspec.Struct):
    """The body of a request."""

    input: str | list[str | int | list[int]]
    model: str = ""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    body: bytes
    status: int = 200
    kind: bytes = b"application/json"
    retry_after: float | None = None


class EmbeddingApp:
    """The ASGI application of one embedding model."""

    def __init__(self, name: str, encoder: Encoder, queue: EmbeddingQueue, *, secret: str, longest: int) -> None:
        """`longest`: tokens one text may have."""
        self._name = name
        self._encoder = encoder
        self._queue = queue
        self._bearer = f"Bearer {secret}".encode()
        self._longest = longest
        self._ask = msgspec.json.Decoder(_Ask)
        self._json = msgspec.json.Encoder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that hangs up takes its texts out of the queue."""
        if scope["type"] != "http":
            return
        try:
            reply = await self._answer(scope, receive)
        except LoopwrightError as error:
            reply = self._failed(error)
        except Exception as error:  # noqa: BLE001 - an edge: the client gets an error in its dialect, the log the cause
            print(f"embedding failed: {error!r}", flush=True)  # noqa: T201 - the log of this process is its output
            reply = self._failed(LoopwrightError("the embedding engine failed; its log says why"))
        if reply is None:
            return
        headers = [(b"content-type", reply.kind), (b"content-length", str(len(reply.body)).encode())]
        if reply.retry_after is not None:
            headers.append((b"retry-after", str(int(reply.retry_after)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, scope: Scope, receive: Receive) -> _Reply | None:
        route = (scope["method"], scope["path"])
        if route == ("GET", "/health"):
            return _Reply(body=b'{"status":"ok"}')
        bearer = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(bearer, self._bearer):
            raise Unauthenticated("the engine's port answers only the gateway")
        if route == ("GET", "/metrics"):
            return _Reply(body=self._metrics(), kind=b"text/plain; version=0.0.4")
        if route == ("GET", "/v1/models"):
            return _Reply(body=self._json.encode({"object": "list", "data": [{"id": self._name, "object": "model"}]}))
        if route == ("POST", "/v1/embeddings"):
            body = await _read(receive)
            return None if body is None else await self._while_there(receive, self._embed(body))
        if route == ("POST", "/v1/rerank"):
            body = await _read(receive)
            return None if body is None else await self._while_there(receive, self._rank(body))
        raise NotFound(f"{scope['method']} {scope['path']}: an embedding engine has POST /v1/embeddings and /v1/rerank")

    async def _while_there(self, receive: Receive, work: Awaitable[_Reply]) -> _Reply | None:
        """The work's result; None when the client hangs up first, which cancels the work."""
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(_hung_up(receive))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return await working if working.done() else None
        finally:
            leaving.cancel()
            working.cancel()

    async def _embed(self, body: bytes) -> _Reply:
        try:
            ask = self._ask.decode(body)
        except msgspec.ValidationError as error:
            raise BadRequest(f"{error}", param=_param(str(error))) from error
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is not JSON: {error}") from error
        width = self._dimensions(ask.dimensions)
        tokens = await self._tokens(ask.input)
        vectors = await self._queue.encode(tokens)
        if width < self._encoder.dimensions:
            vectors = unit(np.ascontiguousarray(vectors[:, :width]))
        used = sum(map(len, tokens))
        return _Reply(
            body=self._json.encode(
                {
                    "object": "list",
                    "data": [
                        {"object": "embedding", "index": i, "embedding": _shown(vector, ask.encoding_format)}
                        for i, vector in enumerate(vectors)
                    ],
                    "model": self._name,
                    "usage": {"prompt_tokens": used, "total_tokens": used},
                }
            )
        )

    async def _rank(self, body: bytes) -> _Reply:
        """Documents by the cosine of their vectors to the query's. What is too long is read to where the model ends."""
        reranking.read(body, most=_MOST_RANKED)
        question = reranking.asked(msgspec.json.decode(body))
        tokens = await asyncio.to_thread(self._encoder.tokenize, [question.query, *question.texts])
        cut = [ids if len(ids) <= self._longest else [*ids[: self._longest - 1], ids[-1]] for ids in tokens]
        vectors = await self._queue.encode(cut)
        near = vectors[1:] @ vectors[0]
        results = reranking.ranked({at: round(float(score), 6) for at, score in enumerate(near)}, question)
        usage = Usage(input=sum(map(len, cut)))
        return _Reply(body=reranking.whole(self._name, results, usage))

    def _dimensions(self, wanted: int | None) -> int:
        most = self._encoder.dimensions
        if wanted is not None and not 1 <= wanted <= most:
            raise BadRequest(f"dimensions must be 1 to {most} for {self._name}, not {wanted}", param="dimensions")
        return wanted or most

    async def _tokens(self, given: str | list[str | int | list[int]]) -> list[list[int]]:
        """Token ids of each text, checked."""
        items = _texts_or_ids(given)
        if not items or any(not item for item in items):
            raise BadRequest("input must not be empty, nor any text in it", param="input")
        if len(items) > _MOST_TEXTS:
            raise BadRequest(f"input holds {len(items):,} texts; send {_MOST_TEXTS:,} or fewer at once", param="input")
        texts = [item for item in items if isinstance(item, str)]
        if texts:
            tokens = await asyncio.to_thread(self._encoder.tokenize, texts)
        else:
            tokens = [item for item in items if isinstance(item, list)]
            self._check_ids(tokens)
        for i, ids in enumerate(tokens):
            if len(ids) > self._longest:
                raise BadRequest(
                    f"text {i} of input has {len(ids):,} tokens; {self._name} reads at most {self._longest:,}: "
                    "cut it into smaller texts",
                    param="input",
                )
        return tokens

    def _check_ids(self, tokens: list[list[int]]) -> None:
        most = self._encoder.shape.vocabulary
        if any(not 0 <= token < most for ids in tokens for token in ids):
            raise BadRequest(f"token ids of {self._name} are 0 to {most - 1}", param="input")

    def _metrics(self) -> bytes:
        lines = {
            "queued": ("gauge", self._queue.queued),
            "running": ("gauge", self._queue.running),
            "prompt_tokens_total": ("counter", self._queue.prompt_tokens_total),
        }
        return "".join(
            f"# TYPE loopwright_engine_{name} {kind}\nloopwright_engine_{name} {value}\n"
            for name, (kind, value) in lines.items()
        ).encode()

    def _failed(self, error: LoopwrightError) -> _Reply:
        said = {"message": error.message, "type": error.type, "code": error.code, "param": error.param}
        return _Reply(body=self._json.encode({"error": said}), status=error.status, retry_after=error.retry_after)


def _texts_or_ids(given: str | list[str | int | list[int]]) -> list[str] | list[list[int]]:
    """OpenAI's four forms of `input` (a text, texts, token ids, lists of token ids) as the second or the fourth."""
    if isinstance(given, str):
        return [given]
    texts = [item for item in given if isinstance(item, str)]
    ids = [item for item in given if isinstance(item, int)]
    lists = [item for item in given if isinstance(item, list)]
    if len(given) not in {len(texts), len(ids), len(lists)}:
        raise BadRequest("input must be a text, texts, token ids or lists of token ids, not a mixture", param="input")
    return texts or lists or ([ids] if ids else [])


def _shown(vector: np.ndarray[Any, Any], encoding: str | None) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    floats: list[float] = np.round(vector.astype(np.float64), 8).tolist()  # more digits than f32 holds say nothing
    return floats


def _param(message: str) -> str | None:
    """The member a msgspec message speaks of: `Expected `int` - at `$.dimensions``, `… required field `input``."""
    marked = message.rpartition("`$.")[2] if "`$." in message else message.rpartition("field `")[2]
    name = marked.split("`")[0].split("[")[0].split(".")[0]
    return name if name in _Ask.__struct_fields__ else None


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when the client left."""
    pieces: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        piece: bytes = event.get("body", b"")
        size += len(piece)
        if size > _BODY_LIMIT:
            raise TooLarge(f"the body is over {_BODY_LIMIT:,} bytes: send fewer texts at once")
        pieces.append(piece)
        if not event.get("more_body"):
            return b"".join(pieces)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
