"""OpenAI's Responses, out: what a chat answers as output items, whole or as events. Pure; serves records as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError
from loopwright.core.money import Usage
from loopwright.kit.dialects.blocks import Block, Blocks, Turn
from loopwright.kit.dialects.responses_echo import echo
from loopwright.kit.dialects.responses_in import ENCRYPTED
from loopwright.kit.dialects.responses_items import free_text, sealed
from loopwright.kit.wire_read import ChunkReader, at_once, whole

_encode: Final = msgspec.json.encode
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_KEEP_ALIVE: Final = b":\n\n"
PREFIX: Final = "resp_"
_IDS: Final = {"reasoning": "rs", "text": "msg", "refusal": "msg", "tool": "fc"}


def response_id(call_id: str) -> str:
    """The id of an answer in this dialect."""
    return PREFIX + call_id.replace("-", "")


def usage_body(usage: Usage) -> dict[str, Any]:
    """Usage as this dialect has it."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_written},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


class ResponseVoice:
    """Says one answer as a response."""

    __slots__ = (
        "_blocks",
        "_custom",
        "_head",
        "_id",
        "_number",
        "_reader",
        "_seals",
        "_started",
        "_summarises",
        "_usage",
    )

    def __init__(self, call_id: str, body: Mapping[str, Any], aside: Mapping[str, Any], created: float) -> None:
        """`body`: the canonical question; `aside`: what only its dialect knew; `created`: Unix time in seconds."""
        self._id = call_id.replace("-", "")
        self._head = {"id": PREFIX + self._id, "object": "response", "created_at": int(created), **echo(body, aside)}
        self._summarises = "summary" in aside
        self._seals = ENCRYPTED in aside.get("include", ())
        self._custom = aside.get("custom") or {}
        self._blocks = Blocks()
        self._reader = ChunkReader()
        self._usage: Usage | None = None
        self._number = 0
        self._started = False

    def whole(self, delta: Delta) -> bytes:
        """The body of a non-streamed answer. Raises UpstreamBroke when it is none."""
        return _encode(self.response(whole(delta.raw), delta.usage))

    def response(self, answer: Mapping[str, Any], usage: Usage | None) -> dict[str, Any]:
        """The response that a chat's whole answer is."""
        for _turn in (*self._blocks.take(at_once(answer)), *self._blocks.end()):
            pass
        self._usage = usage
        return self._ended()

    def piece(self, delta: Delta) -> bytes:
        """The events a Delta becomes. Raises UpstreamBroke when it is damaged."""
        said: list[bytes] = []
        if not self._started:
            self._started = True
            opening = self._said("in_progress", [])
            said += (
                self._event("response.created", response=opening),
                self._event("response.in_progress", response=opening),
            )
        self._usage = delta.usage or self._usage
        chunks = self._reader.take(delta)
        for chunk in chunks:
            said += self._turns(self._blocks.take(chunk))
        if delta.done:
            said += self._turns(self._blocks.end())
            ended = self._ended()
            said.append(self._event(f"response.{ended['status']}", response=ended))
        elif not chunks and not said and delta.raw:
            return _KEEP_ALIVE
        return b"".join(said)

    def failed(self, error: LoopwrightError) -> bytes:
        """The event that ends a stream which cannot go on."""
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        response = self._said("failed", self._output("incomplete"))
        response["error"] = {"code": code, "message": error.message}
        return self._event("response.failed", response=response)

    def _said(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        usage = None if self._usage is None else usage_body(self._usage)
        return {**self._head, "status": status, "output": output, "usage": usage}

    def _ended(self) -> dict[str, Any]:
        reason = _INCOMPLETE.get(self._blocks.finish or "stop")
        output = self._output("completed" if reason is None else "incomplete")
        ours = {} if self._blocks.ours is None else {"loopwright": self._blocks.ours}
        if reason is None:
            return {**self._said("completed", output), **ours}
        return {**self._said("incomplete", output), "incomplete_details": {"reason": reason}, **ours}

    def _output(self, status: str) -> list[dict[str, Any]]:
        """Every item; `status` is that of the last, those before it are whole."""
        blocks = self._blocks.blocks
        return [self._item(block, status if block is blocks[-1] else "completed") for block in blocks]

    def _is_custom(self, block: Block) -> bool:
        return block.kind == "tool" and block.name in self._custom

    def _item_id(self, block: Block) -> str:
        return f"{'ctc' if self._is_custom(block) else _IDS[block.kind]}_{self._id}{block.index:02x}"

    def _item(self, block: Block, status: str) -> dict[str, Any]:
        head = {"id": self._item_id(block), "status": status}
        if self._is_custom(block):
            call = {"call_id": block.id, "name": block.name, "input": free_text(block.text)}
            return {**head, "type": "custom_tool_call", **call}
        if block.kind == "tool":
            call = {"call_id": block.id, "name": block.name, "arguments": block.text}
            return {**head, "type": "function_call", **call}
        if block.kind != "reasoning":
            return {**head, "type": "message", "role": "assistant", "content": [_part(block, block.text)]}
        item: dict[str, Any] = {**head, "type": "reasoning", "summary": [], "content": []}
        if block.text:
            item["summary" if self._summarises else "content"] = [self._thought(block.text)]
        if self._seals and (block.signature or block.redacted):
            thinking = {"type": "thinking", "thinking": block.text, "signature": block.signature}
            redacted = {"type": "redacted_thinking", "data": block.redacted}
            item["encrypted_content"] = sealed([redacted if block.redacted else thinking])
        return item

    def _thought(self, text: str) -> dict[str, Any]:
        return {"type": "summary_text" if self._summarises else "reasoning_text", "text": text}

    def _turns(self, turns: Iterable[Turn]) -> list[bytes]:
        return [said for turn in turns for said in self._events(turn)]

    def _events(self, turn: Turn) -> list[bytes]:
        block = turn.block
        at = {"item_id": self._item_id(block), "output_index": block.index}
        if turn.what == "piece":
            # The input of a custom tool is wrapped in JSON, so it is told when it is whole.
            return [] if self._is_custom(block) else [self._piece(turn, at)]
        if turn.what == "close":
            inside = self._closing(block, at)
            item = self._item(block, self._status())
            return [*inside, self._event("response.output_item.done", output_index=block.index, item=item)]
        bare = Block(kind=block.kind, index=block.index, id=block.id, name=block.name)
        item = self._item(bare, "in_progress")
        if block.kind in ("text", "refusal"):
            item["content"] = []
        added = self._event("response.output_item.added", output_index=block.index, item=item)
        return [added, *self._opening(block, at)]

    def _status(self) -> str:
        return "incomplete" if (self._blocks.finish or "stop") in _INCOMPLETE else "completed"

    def _opening(self, block: Block, at: dict[str, Any]) -> list[bytes]:
        """What begins inside an item; function calls and hidden thoughts have nothing inside."""
        if block.kind == "tool" or block.redacted:
            return []
        if block.kind == "reasoning":
            if self._summarises:
                part = self._thought("")
                return [self._event("response.reasoning_summary_part.added", **at, summary_index=0, part=part)]
            return [self._event("response.content_part.added", **at, content_index=0, part=self._thought(""))]
        return [self._event("response.content_part.added", **at, content_index=0, part=_part(block, "", bare=True))]

    def _piece(self, turn: Turn, at: dict[str, Any]) -> bytes:
        kind, piece = turn.block.kind, turn.piece
        if kind == "tool":
            return self._event("response.function_call_arguments.delta", **at, delta=piece)
        if kind == "reasoning":
            if self._summarises:
                return self._event("response.reasoning_summary_text.delta", **at, summary_index=0, delta=piece)
            return self._event("response.reasoning_text.delta", **at, content_index=0, delta=piece)
        if kind == "refusal":
            return self._event("response.refusal.delta", **at, content_index=0, delta=piece)
        logprobs = turn.logprobs or []
        return self._event("response.output_text.delta", **at, content_index=0, delta=piece, logprobs=logprobs)

    def _closing(self, block: Block, at: dict[str, Any]) -> list[bytes]:
        said = block.text
        if self._is_custom(block):
            said = free_text(said)
            delta = self._event("response.custom_tool_call_input.delta", **at, delta=said)
            return [delta, self._event("response.custom_tool_call_input.done", **at, input=said)]
        if block.kind == "tool":
            return [self._event("response.function_call_arguments.done", **at, name=block.name, arguments=said)]
        if block.redacted:
            return []
        if block.kind == "reasoning":
            part = self._thought(said)
            if self._summarises:
                done = self._event("response.reasoning_summary_text.done", **at, summary_index=0, text=said)
                return [done, self._event("response.reasoning_summary_part.done", **at, summary_index=0, part=part)]
            done = self._event("response.reasoning_text.done", **at, content_index=0, text=said)
        elif block.kind == "refusal":
            part = _part(block, said)
            done = self._event("response.refusal.done", **at, content_index=0, refusal=said)
        else:
            part = _part(block, said)
            logprobs = block.logprobs
            cited = [
                self._event(
                    "response.output_text.annotation.added", **at, content_index=0, annotation_index=n, annotation=each
                )
                for n, each in enumerate(part["annotations"])
            ]
            done = self._event("response.output_text.done", **at, content_index=0, text=said, logprobs=logprobs)
            return [*cited, done, self._event("response.content_part.done", **at, content_index=0, part=part)]
        return [done, self._event("response.content_part.done", **at, content_index=0, part=part)]

    def _event(self, event: str, /, **payload: Any) -> bytes:
        number = self._number
        self._number += 1
        body = _encode({"type": event, "sequence_number": number, **payload})
        return b"event: " + event.encode() + b"\ndata: " + body + b"\n\n"


def _part(block: Block, text: str, *, bare: bool = False) -> dict[str, Any]:
    if block.kind == "refusal":
        return {"type": "refusal", "refusal": text}
    logprobs = [] if bare else block.logprobs
    annotations = [] if bare else [_annotation(each) for each in block.annotations]
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


def _annotation(said: Mapping[str, Any]) -> dict[str, Any]:
    """As this dialect has it: without a member of its own for what it cites."""
    cited = said.get("url_citation")
    return {"type": "url_citation", **cited} if isinstance(cited, dict) else dict(said)
