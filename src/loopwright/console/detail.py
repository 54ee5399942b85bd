"""The page of one call: the conversation, where the time went, what it cost, how to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from loopwright.app import App
from loopwright.console.conversation import answered, asked, plain, pretty, tools_offered
from loopwright.console.listing import row_of
from loopwright.console.overview import api_base
from loopwright.console.retrieved import retrieved
from loopwright.console.said import drawn_of, said_of
from loopwright.console.shell import View, Visit
from loopwright.console.snippets import curl, python
from loopwright.kit.wire_read import dicts

_WIDE = 1000
"""SVG units of the waterfall."""
_STEPS = 100
"""Requests of one call of a task on a page."""
_TURNS = 200
"""Turns on a page."""
_SNIPPET_LIMIT = 200_000
"""Bytes of a request that is written as commands: laying out more would hold up the answers of this process."""


class Detail:
    """One call with its texts."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, visit: Visit) -> View:
        """Build the page; a call of another project is not there."""
        found = await self._app.calls.get(visit.request.path_params["call_id"], project_id=visit.project_id)
        project = None if visit.who.admin else visit.who.project
        names = {key.id: key.name for key in await self._app.keys.list(project, revoked=True)}
        call = row_of(found.call, names)
        data: dict[str, Any] = {
            "call": call,
            "request": found.request,
            "response": found.response,
            "request_raw": found.request_raw,
            "sealed": found.sealed,
            "sent": found.sent,
            **await said_of(self._app, found.call.id),
        }
        as_curl, as_python = _again(api_base(visit), call["operation"], _asked_again(found.request))
        made = _made(found.request if found.call.task is not None else None)
        turns = asked(call["operation"], found.request if not made["messages"] else made)
        answers = answered(call["operation"], found.response)
        return View(
            data=data,
            drawn={
                "asked": turns[-_TURNS:],
                "left_out": max(len(turns) - _TURNS, 0),
                "answered": answers,
                **drawn_of(data, answers),
                "offered": tools_offered(found.request),
                "waterfall": _waterfall(call),
                "speed": _speed(call),
                "raw_request": pretty(found.request) if found.request is not None else None,
                "raw_response": pretty(found.response) if found.response is not None else None,
                "curl": as_curl,
                "python": as_python,
                "parameters": _parameters(found.request),
                "looked_up": retrieved(found.request),
                "memory": _memory(found.request if found.call.task is not None else None),
                "steps": [
                    {**step, "turns": asked("chat", step)[-_TURNS:], "answers": answered("chat", _answer(step))}
                    for step in made["steps"]
                ],
            },
        )


def _asked_again(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What the client sent: of our own member, no more than the inputs of a task."""
    aside = None if body is None else body.get("loopwright")
    if body is None or not isinstance(aside, Mapping) or "variables" not in aside:
        return body
    return {**body, "loopwright": {"variables": aside["variables"]}}


def _again(base: str, operation: str, body: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """The call for a shell and in Python; None when there is nothing to run, or too much to write."""
    if not body or operation not in ("chat", "completion", "embeddings"):
        return None, None
    try:
        if len(msgspec.json.encode(body)) > _SNIPPET_LIMIT:
            return None, None
        return curl(base, operation, body), python(base, operation, body)
    except RecursionError:
        return None, None


def _waterfall(call: dict[str, Any]) -> list[dict[str, Any]]:
    """Stretches of the call's time: name, look, milliseconds, and where they lie in SVG units."""
    total, first = call["latency_ms"], call["ttft_ms"]
    if not total:
        return []
    if first is None:
        whole = call["outcome"] == "ok"
        parts = [("until the whole answer", "work", total) if whole else ("until it ended", "wait", total)]
    elif call["stream"] or call["output_tokens"] > 1:
        parts = [("until the first token", "wait", min(first, total)), ("generation", "work", max(total - first, 0))]
    else:
        parts = [("until the answer", "wait", total)]
    stretches = []
    start = 0.0
    for name, look, ms in parts:
        wide = ms / total * _WIDE
        # Wide enough to be seen.
        stretches.append({"name": name, "look": look, "ms": ms, "x": round(start, 1), "width": round(max(wide, 2), 1)})
        start += wide
    return stretches


def _speed(call: dict[str, Any]) -> float | None:
    """Tokens a second while generating."""
    return 1000 / call["tpot_ms"] if call["tpot_ms"] else None


def _parameters(body: Any) -> dict[str, str]:
    """What the request set besides its texts."""
    if body is None:
        return {}
    texts = ("model", "messages", "prompt", "input", "tools", "stream_options", "loopwright")
    return {str(name)[:60]: plain(value)[:200] for name, value in body.items() if name not in texts}


def _memory(body: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What memory did for a call of a task, in a form that a page can count on; None where it had no part."""
    aside = None if body is None else body.get("loopwright")
    said = aside.get("memory") if isinstance(aside, Mapping) else None
    if not isinstance(said, Mapping):
        return None
    rows = [
        {
            "id": str(each.get("id", "")),
            "similarity": each["similarity"] if isinstance(each.get("similarity"), int | float) else 0.0,
            "author": str(each.get("author", "")),
            "call_id": each["call_id"] if isinstance(each.get("call_id"), str) else None,
        }
        for each in dicts(said.get("corrections"))
    ]
    return {"outcome": str(said.get("outcome", "")), "why": str(said.get("why") or ""), "corrections": rows}


def _made(body: Any) -> dict[str, Any]:
    """What the call of a task asked of models: the messages of its one request, or several requests."""
    aside = body.get("loopwright") if isinstance(body, Mapping) else None
    found = aside if isinstance(aside, Mapping) else {}
    return {"messages": dicts(found.get("messages")), "steps": dicts(found.get("steps"))[:_STEPS]}


def _answer(step: Mapping[str, Any]) -> dict[str, Any]:
    return {"choices": [{"message": {"content": plain(step.get("answer", ""))}, "finish_reason": None}]}
