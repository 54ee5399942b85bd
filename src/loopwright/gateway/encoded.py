"""Gives an answer its wire form, for providers that do not speak OpenAI's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.kit import wire_out


@dataclass(frozen=True, slots=True)
class Encoded:
    """Every Delta that leaves carries `raw`: events when streaming, otherwise one Delta with the whole body."""

    inner: Chat

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer in wire form."""
        return self._events(request) if request.stream else self._whole(request)

    async def _events(self, request: Request) -> AsyncGenerator[Delta, None]:
        seen: set[int] = set()
        async with answering(self.inner, request) as answer:
            async for delta in answer:
                if delta.raw:
                    yield delta
                    continue
                raw = b""
                if delta.text or delta.extra or delta.finish or not delta.done:
                    raw = wire_out.chunk(delta, request, first=delta.index not in seen)
                    seen.add(delta.index)
                if delta.done:
                    if delta.usage is not None and request.wants_usage:
                        raw += wire_out.usage_chunk(delta.usage, request)
                    raw += wire_out.DONE
                yield replace(delta, raw=raw)

    async def _whole(self, request: Request) -> AsyncGenerator[Delta, None]:
        first: Delta | None = None
        last: Delta | None = None
        choices: dict[int, dict[str, Any]] = {}
        async with answering(self.inner, request) as answer:
            async for delta in answer:
                if delta.raw:
                    yield delta
                    continue
                first = first or delta
                last = delta
                _gather(choices, delta)
        if first is None or last is None:
            return
        body = wire_out.whole([choices[index] for index in sorted(choices)], last.usage, request)
        yield replace(last, raw=body, model=first.model, provider=first.provider, done=True)


def _gather(choices: dict[int, dict[str, Any]], delta: Delta) -> None:
    choice = choices.setdefault(delta.index, {"index": delta.index, "text": "", "finish": None, "extra": {}})
    choice["text"] += delta.text
    choice["finish"] = delta.finish or choice["finish"]
    for name, value in (delta.extra or {}).items():
        held = choice["extra"].get(name)
        if name == "tool_calls":
            choice["extra"][name] = _merge_tools(held or [], value)
        elif isinstance(held, str) and isinstance(value, str) and name != "role":
            choice["extra"][name] = held + value
        else:
            choice["extra"][name] = value


def _merge_tools(held: list[dict[str, Any]], pieces: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tool calls come in pieces: the first names the function, the others add to its arguments."""
    calls = [dict(call) for call in held]
    for piece in pieces:
        index = piece.get("index", len(calls))
        rest = {key: value for key, value in piece.items() if key != "index"}
        if index >= len(calls):
            calls.append(rest)
            continue
        function = dict(calls[index].get("function") or {})
        more = rest.get("function") or {}
        function["arguments"] = function.get("arguments", "") + more.get("arguments", "")
        calls[index] = {**calls[index], "function": function}
    return calls
