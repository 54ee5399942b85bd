"""OpenAI's wire form, read: what the bytes of a chat's answer say, however they were cut. Lenient, as upstreams are loose.

A stream is read as chunks (the objects of its events), a whole answer as the one chunk that would say all of it at
once, so whoever translates an answer handles one form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import UpstreamBroke
from loopwright.kit.sse import Splitter, data_of, events

Chunk = dict[str, Any]

_decode: Final = msgspec.json.Decoder().decode
_DONE: Final = b"[DONE]"


class ChunkReader:
    """The chunks of one stream, from its Deltas or from bare bytes cut anywhere."""

    __slots__ = ("_splitter",)

    def __init__(self) -> None:
        self._splitter = Splitter()

    def take(self, delta: Delta) -> list[Chunk]:
        """The chunks that are whole with `delta`, which may come with or without `raw`.

        Raises:
            UpstreamBroke: an event is not JSON.
        """
        found = self.feed(delta.raw) if delta.raw else [chunk_of(delta)]
        if delta.done:
            found += self.end()
        return found

    def feed(self, raw: bytes) -> list[Chunk]:
        """The chunks that are whole with these bytes. Raises as `take`."""
        whole = self._splitter.feed(raw)
        return _read(whole) if whole else []

    def end(self) -> list[Chunk]:
        """What an end without its blank line leaves. Raises as `take`."""
        rest = self._splitter.rest.rstrip(b"\r\n")
        return _read(rest + b"\n\n") if rest else []


def chunk_of(delta: Delta) -> Chunk:
    """A Delta without `raw` as the chunk it would be encoded as; a Delta that says nothing has no choices."""
    said = dict(delta.extra or {})
    if delta.text:
        said["content"] = delta.text
    if not said and delta.finish is None:
        return {"choices": []}
    return {"choices": [{"index": delta.index, "delta": said, "finish_reason": delta.finish}]}


def whole(raw: bytes) -> Chunk:
    """The body of a non-streamed answer.

    Raises:
        UpstreamBroke: it is not a JSON object.
    """
    try:
        body = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UpstreamBroke("the answer is not a JSON object")
    return body


def at_once(body: Mapping[str, Any]) -> Chunk:
    """A whole answer as one chunk of a stream: each `message` a `delta`, its tool calls numbered."""
    choices = []
    for choice in dicts(body.get("choices")):
        message = choice.get("message")
        said = dict(message) if isinstance(message, dict) else {}
        calls = dicts(said.get("tool_calls"))
        if calls:
            said["tool_calls"] = [{**call, "index": number} for number, call in enumerate(calls)]
        rest = {name: value for name, value in choice.items() if name != "message"}
        choices.append({**rest, "delta": said})
    return {**body, "choices": choices}


def dicts(value: object) -> list[dict[str, Any]]:
    """The objects in a JSON array; none when it is no array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A JSON string, or the texts of an array of parts, as some upstreams write `content`; empty for anything else."""
    if isinstance(value, str):
        return value
    return "".join(part["text"] for part in dicts(value) if isinstance(part.get("text"), str))


def choice_of(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice's piece in a chunk: dialects without `n` say no other."""
    return next((choice for choice in dicts(chunk.get("choices")) if not choice.get("index")), None)


def _read(whole_events: bytes) -> list[Chunk]:
    return list(_objects(whole_events))


def _objects(whole_events: bytes) -> Iterator[Chunk]:
    for event in events(whole_events):
        data = data_of(event)
        if data is None or data == _DONE:
            continue
        try:
            found = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamBroke("an event of the stream is not JSON: the stream is damaged") from None
        if isinstance(found, dict):
            yield found
