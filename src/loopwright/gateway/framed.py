"""How a demand is put to a model: by its own decoder, by a grammar, or in words; and how it is put again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from loopwright.gateway import demanded, emulated
from loopwright.gateway.demanded import Demand, Settle, Settled
from loopwright.kit.fitting import tightened
from loopwright.kit.schema import Schema
from loopwright.kit.wire_read import dicts, text

_SHOWN = 4_000
"""Characters of a wrong answer that are shown to its author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One way to ask for what is demanded."""

    body: Mapping[str, Any]
    settle: Settle
    live: bool
    """The decoder keeps to the form, so the answer may stream before it is checked."""
    envelope: Schema | None = None
    """What an emulated answer is made of; None when tools are the model's own."""
    free: bool = False
    """The envelope may hold free words, which may stream."""
    schema: Schema | None = None
    """Of the text."""
    shorter: Mapping[str, Any] | None = None
    """The body with short values only, for an answer that found no end; None when that cannot be enforced."""

    def broken(self, said: str) -> tuple[str, ...]:
        """What a text breaks as it stands."""
        if self.schema is None:
            return ()
        try:
            return tuple(self.schema.problems(msgspec.json.decode(said)))
        except (msgspec.DecodeError, RecursionError) as error:
            return (f"$: it is not JSON: {error}",)


def frame(body: Mapping[str, Any], want: Demand, schemas: str, *, emulate: bool) -> Frame:
    """The frame of a demand. Raises BadRequest when a tool cannot be emulated."""
    if emulate and want.tools:
        kept = emulated.envelope(want)
        settle: Settle = partial(emulated.settle, want)
        free = want.choice == "auto" and want.schema is None and not want.values
        framed = _enforced(emulated.body_of(body, want), kept.document, schemas, settle, say=not free)
        return replace(framed, envelope=kept, free=free)
    settle = partial(demanded.settle, want)
    if emulate:
        body = {**emulated.body_of(body, None), "response_format": body.get("response_format")}
    if want.values:
        return _valued(body, want, schemas, settle)
    if want.schema is None or schemas == "native":
        return Frame(body=_plain_tools(body, want), settle=settle, live=True, schema=want.schema)
    framed = _enforced(_plain_tools(body, want), want.schema.document, schemas, settle, say=True)
    return replace(framed, schema=want.schema)


def _enforced(
    body: Mapping[str, Any], document: Mapping[str, Any], schemas: str, settle: Settle, *, say: bool
) -> Frame:
    """By the decoder, or in words. `say`: tell the schema, which nothing else has told."""
    rest = {name: value for name, value in body.items() if name != "response_format"}
    if schemas == "asked":
        if say:
            told = msgspec.json.encode(document).decode()
            words = f"Answer with JSON only, valid against this JSON schema, and nothing else:\n{told}"
            rest["messages"] = emulated.with_system(dicts(rest.get("messages")), words)
        return Frame(body=rest, settle=settle, live=False)
    shorter = None if schemas == "native" else {**rest, "response_format": _format(tightened(document))}
    return Frame(body={**rest, "response_format": _format(document)}, settle=settle, live=True, shorter=shorter)


def _valued(body: Mapping[str, Any], want: Demand, schemas: str, settle: Settle) -> Frame:
    """One of some values: a grammar takes the bare text, other decoders want an object round it."""
    rest = {name: value for name, value in body.items() if name != "response_format"}
    if schemas == "asked":
        listed = "\n".join(f"- {value}" for value in want.values)
        words = f"Answer with exactly one of these, and nothing else:\n{listed}"
        rest["messages"] = emulated.with_system(dicts(rest.get("messages")), words)
    elif schemas == "grammar":
        rest["response_format"] = _format({"enum": list(want.values)})
    else:
        properties = {"answer": {"type": "string", "enum": list(want.values)}}
        document = {
            "type": "object", "properties": properties, "required": ["answer"], "additionalProperties": False,
        }  # fmt: skip
        rest["response_format"] = _format(document)
    return Frame(body=rest, settle=settle, live=False)


def _format(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": document}}


def _plain_tools(body: Mapping[str, Any], want: Demand) -> Mapping[str, Any]:
    """The body with tools whose types are JSON's; the very same when they are already."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not any(tool.schema.foreign for tool in want.tools.values()):
        return body
    plain = []
    for tool in tools:
        function = tool.get("function")
        known = want.tools.get(str(function.get("name"))) if isinstance(function, Mapping) else None
        plain.append(tool if known is None else {**tool, "function": {**function, "parameters": known.schema.document}})
    return {**body, "tools": plain}


def again(framed: Frame, settled: Settled) -> dict[str, Any] | None:
    """The question once more, with what was wrong; None when asking again cannot help."""
    if settled.cut:
        return None if framed.shorter is None else {**framed.shorter, "n": 1}
    problems = "\n".join(f"- {problem}" for problem in settled.problems)
    words = f"Your answer is not valid:\n{problems}\nAnswer the question again, whole and corrected, in the same form."
    shown: list[dict[str, Any]] = []
    said = text(settled.message.get("content"))
    for call in dicts(settled.message.get("tool_calls")):
        said += f"\n{msgspec.json.encode(call.get('function')).decode()}"
    if said.strip():
        shown.append({"role": "assistant", "content": said.strip()[:_SHOWN]})
    messages = [*dicts(framed.body.get("messages")), *shown, {"role": "user", "content": words}]
    rest = {name: value for name, value in framed.body.items() if name != "n"}
    return {**rest, "messages": messages}
