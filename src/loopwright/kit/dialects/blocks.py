"""An answer as a row of blocks, one after the other: reasoning, text, refusal, tool calls. What both dialects are made of.

Chat deltas may weave tool calls into each other; other dialects close one block before the next begins. A tool call
that comes while another is unfinished is held back until that one's arguments are whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec

from loopwright.kit.wire_read import choice_of, dicts, text

Kind = Literal["reasoning", "text", "refusal", "tool"]
What = Literal["open", "piece", "close"]

_decode: Final = msgspec.json.Decoder().decode


@dataclass(slots=True, kw_only=True)
class Block:
    """One block as far as it has come."""

    kind: Kind
    index: int = -1
    """Its place in the answer; -1 while it is held back."""
    id: str = ""
    """A tool call's."""
    name: str = ""
    """A tool's."""
    said: list[str] = field(default_factory=list)
    """Its text, or a tool call's arguments, in pieces."""
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    """Of its tokens, in OpenAI's form, when they were asked for."""
    signature: str = ""
    """Anthropic's, which ends a piece of reasoning."""
    redacted: str = ""
    """Reasoning that may only be handed back, not read."""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    """What its text cites, as a chat's message has it."""

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self.said)


class Turn(NamedTuple):
    """Something that happens to a block."""

    what: What
    block: Block
    piece: str = ""
    logprobs: list[dict[str, Any]] | None = None


class Blocks:
    """Takes chunks, tells what happens to blocks, and remembers them."""

    __slots__ = ("_now", "_tools", "_waiting", "blocks", "finish", "ours", "stopped_by")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        """Those that have begun, in order."""
        self.finish: str | None = None
        """OpenAI's finish reason."""
        self.stopped_by: str | None = None
        """The stop sequence that ended the answer, when upstream tells."""
        self.ours: dict[str, Any] | None = None
        """Our own member of the answer, `loopwright`."""
        self._now: Block | None = None
        self._tools: dict[int, Block] = {}
        self._waiting: list[Block] = []

    def take(self, chunk: Mapping[str, Any]) -> Iterator[Turn]:
        """What a chunk does."""
        ours = chunk.get("loopwright")
        if isinstance(ours, dict):
            self.ours = ours
        choice = choice_of(chunk)
        if choice is None:
            return
        delta = choice.get("delta")
        if isinstance(delta, dict):
            yield from self._reason(delta)
            logprobs = choice.get("logprobs")
            tokens = dicts(logprobs.get("content")) if isinstance(logprobs, dict) else []
            yield from self._say("text", text(delta.get("content")), tokens)
            yield from self._say("refusal", text(delta.get("refusal")))
            self._cite(dicts(delta.get("annotations")))
            for call in _calls(delta):
                yield from self._call(call)
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self.finish = finish
        stopped_by = choice.get("stop_reason")  # vLLM's name for it
        if isinstance(stopped_by, str) and stopped_by:
            self.stopped_by = stopped_by

    def end(self) -> Iterator[Turn]:
        """The answer is over: what was held back, and the end of the last block."""
        yield from self._close()
        while self._waiting:
            yield from self._release()
            yield from self._close()

    def _reason(self, delta: Mapping[str, Any]) -> Iterator[Turn]:
        signed = dicts(delta.get("thinking_blocks"))
        if not any(text(block.get("thinking")) for block in signed):
            piece = text(delta.get("reasoning_content") or delta.get("reasoning"))
            if piece:
                yield from self._think(piece)
        for block in signed:
            if block.get("type") == "redacted_thinking":
                yield from self._open(Block(kind="reasoning", redacted=text(block.get("data"))))
                continue
            piece, signature = text(block.get("thinking")), text(block.get("signature"))
            now = self._now
            unsigned = now is not None and now.kind == "reasoning" and not (now.signature or now.redacted)
            if now is not None and unsigned and signature and piece == now.text:
                now.signature = signature  # it came in pieces before, and once more whole to be signed
            elif piece or signature:
                yield from self._think(piece)
                assert self._now is not None
                self._now.signature = signature

    def _think(self, piece: str) -> Iterator[Turn]:
        """Reasoning goes on until it is signed."""
        now = self._now
        if now is None or now.kind != "reasoning" or now.signature or now.redacted:
            yield from self._open(Block(kind="reasoning"))
        yield from self._more(piece)

    def _say(self, kind: Kind, piece: str, logprobs: list[dict[str, Any]] | None = None) -> Iterator[Turn]:
        if not piece:
            return
        if self._busy():
            if not self._waiting or self._waiting[-1].kind != kind:
                self._waiting.append(Block(kind=kind))
            self._waiting[-1].said.append(piece)
            return
        if self._now is None or self._now.kind != kind:
            yield from self._open(Block(kind=kind))
        yield from self._more(piece, logprobs)

    def _cite(self, annotations: list[dict[str, Any]]) -> None:
        """They belong to the text that was said last."""
        said = next((block for block in reversed(self.blocks) if block.kind == "text"), None)
        if annotations and said is not None:
            said.annotations = annotations

    def _call(self, call: dict[str, Any]) -> Iterator[Turn]:
        number = call.get("index")
        number = number if isinstance(number, int) else len(self._tools)
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        called, name = text(call.get("id")), text(function.get("name"))
        block = self._tools.get(number)
        if block is None or (called and name and block.id not in ("", called)):  # some number every call 0
            block = self._tools[number] = Block(kind="tool")
            self._waiting.append(block)
        block.id = block.id or called
        block.name = block.name or name
        arguments = text(function.get("arguments"))
        if block is self._now:
            yield from self._more(arguments)
        elif block.index < 0 and arguments:
            block.said.append(arguments)
        while self._waiting and not self._busy() and (self._waiting[0].name or self._waiting[0].kind != "tool"):
            yield from self._release()

    def _busy(self) -> bool:
        """Whether a tool call is under way whose arguments are not whole yet."""
        now = self._now
        if now is None or now.kind != "tool":
            return False
        # Only what could be the end of an object is worth decoding: arguments may be long.
        return not (now.said and now.said[-1].rstrip().endswith("}") and _whole(now.text))

    def _release(self) -> Iterator[Turn]:
        """What was held back longest begins, with what it has said by now."""
        block = self._waiting.pop(0)
        said = block.text
        block.said.clear()
        yield from self._open(block)
        yield from self._more(said)

    def _open(self, block: Block) -> Iterator[Turn]:
        yield from self._close()
        block.index = len(self.blocks)
        self.blocks.append(block)
        self._now = block
        yield Turn("open", block)

    def _more(self, piece: str, logprobs: list[dict[str, Any]] | None = None) -> Iterator[Turn]:
        if not piece:
            return
        assert self._now is not None
        self._now.said.append(piece)
        if logprobs:
            self._now.logprobs += logprobs
        yield Turn("piece", self._now, piece, logprobs)

    def _close(self) -> Iterator[Turn]:
        if self._now is not None:
            block, self._now = self._now, None
            yield Turn("close", block)


def _calls(delta: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = dicts(delta.get("tool_calls"))
    old = delta.get("function_call")  # what came before tool_calls
    return [{"index": 0, "function": old}] if isinstance(old, dict) and not calls else calls


def _whole(arguments: str) -> bool:
    try:
        _decode(arguments)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
