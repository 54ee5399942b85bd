"""The playground: ask one or two models, streamed through this site to the browser, or as a plain form.

The browser never holds a key: the session stands for it, and calls are recorded as the signed-in key's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from loopwright.app import App
from loopwright.console.conversation import answered, asked
from loopwright.console.forms import body_of, check_same_site
from loopwright.console.overview import chat_models, chat_tasks
from loopwright.console.shell import Shell, View, Visit, check_token
from loopwright.core.chat import Delta, answering
from loopwright.core.chat import Request as Question
from loopwright.core.errors import BadRequest, LoopwrightError, Unauthenticated
from loopwright.core.money import usd
from loopwright.kit.ids import Ids
from loopwright.kit.wire import new_trace, parse
from loopwright.kit.wire_out import error_body, event

_log = logging.getLogger(__name__)
_CLIENT: Final = "loopwright console"
_NUMBERS: Mapping[str, type[int | float]] = {
    "temperature": float,
    "top_p": float,
    "max_tokens": int,
    "seed": int,
}


class Playground:
    """Two columns at most; each is a call of its own."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._ids = Ids()

    def routes(self) -> list[Route]:
        """The page, the form without scripts, and the stream."""
        return [
            *self._shell.page("/playground", "playground.html", self._view),
            self._shell.action("/playground", self._plain),
            self._shell.route("/playground/chat", self._stream, methods=["POST"], page=False),
        ]

    async def _view(self, visit: Visit) -> View:
        models = [*chat_models(self._app, visit), *chat_tasks(self._app, visit)]
        routes = {each.name: each.strategy for each in self._app.routes if len(each.targets) > 1}
        typed = {"model": visit.asked("model") or (models[0] if models else ""), "max_tokens": "256"}
        if call_id := visit.asked("from"):
            typed = {**typed, **await self._from_call(visit, call_id)}
        return View(data={"models": models, "form": typed, "answers": []}, drawn={"problem": None, "routes": routes})

    async def _from_call(self, visit: Visit, call_id: str) -> dict[str, str]:
        """The form filled with a recorded chat's last question and parameters."""
        found = await self._app.calls.get(call_id, project_id=visit.project_id)
        turns = asked("chat", found.request)
        body = found.request or {}
        filled = {name: str(body[name]) for name in _NUMBERS if isinstance(body.get(name), int | float)}
        system = [turn["text"] for turn in turns if turn["role"] in ("system", "developer")]
        user = [turn["text"] for turn in turns if turn["role"] == "user"]
        return {**filled, "model": found.call.model, "system": "\n".join(system), "prompt": user[-1] if user else ""}

    async def _plain(self, visit: Visit, form: dict[str, str]) -> Response:
        """Ask without streaming, and show the answers on the page."""
        view = await self._view(visit)
        try:
            bodies = _bodies(form)
        except BadRequest as error:
            shown = View(data={**view.data, "form": form}, drawn={**view.drawn, "problem": error.message}, status=400)
            return self._shell.html(visit, "playground.html", shown)
        answers = await asyncio.gather(*(self._answer(visit, body) for body in bodies))
        shown = View(data={**view.data, "form": form, "answers": list(answers)}, drawn=view.drawn)
        return self._shell.html(visit, "playground.html", shown)

    async def _answer(self, visit: Visit, body: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        answer: dict[str, Any] = {"model": body["model"], "call_id": None, "turns": [], "error": None, "about": {}}
        try:
            question = self.question(visit, msgspec.json.encode(body))
            answer["call_id"] = question.id
            delta = await self.whole(question)
            answer["turns"] = answered("chat", msgspec.json.decode(delta.raw))
            answer["about"] = _about(delta)
        except LoopwrightError as error:
            answer["error"] = error.message
        return {**answer, "latency_ms": round((time.perf_counter() - started) * 1000, 1)}

    async def _stream(self, request: Request) -> Response:
        """OpenAI's events of one answer, byte for byte as the gateway made them."""
        check_same_site(request.headers, request.url.netloc)
        visit = self._shell.visit(request)
        if visit is None:
            raise Unauthenticated("the session is over: sign in again")
        check_token(visit, request.headers.get("x-csrf-token", ""))
        question = self.question(visit, await body_of(request, self._app.settings.server.body_limit))
        headers = {"x-loopwright-call-id": question.id, "x-accel-buffering": "no"}
        if not question.stream:
            delta = await self.whole(question)
            return Response(delta.raw, media_type="application/json", headers=headers | _about(delta))
        deltas = self._app.chat(question)
        try:
            # A refusal is a status of its own as long as nothing was sent.
            first = await anext(deltas, None)
        except BaseException:
            await deltas.aclose()
            raise
        return _Events(first, deltas, headers if first is None else headers | _about(first))

    async def whole(self, question: Question) -> Delta:
        """The one Delta of a non-streamed answer."""
        found = Delta()
        async with answering(self._app.chat, question) as deltas:
            async for delta in deltas:
                found = delta
        return found

    def question(self, visit: Visit, raw: bytes) -> Question:
        """What the body asks. One that cannot be used is on record as refused, as at the endpoint."""
        call_id, started_ns = self._ids.new(), time.time_ns()
        try:
            return parse(raw, "chat", call_id=call_id, who=visit.who, started_ns=started_ns, client=_CLIENT)
        except LoopwrightError as error:
            refused = Question(
                id=call_id,
                operation="chat",
                model="",
                body={},
                raw=raw,
                stream=False,
                who=visit.who,
                started_ns=started_ns,
                trace=new_trace(call_id=call_id),
                client=_CLIENT,
            )
            self._app.recorded.refuse(refused, error)
            raise


class _Events(StreamingResponse):
    """A stream that lets go of the model as soon as the reader is gone, wherever it was."""

    def __init__(self, first: Delta | None, deltas: AsyncGenerator[Delta, None], headers: Mapping[str, str]) -> None:
        super().__init__(_sent(first, deltas), media_type="text/event-stream", headers=headers)
        self._deltas = deltas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._deltas):
            await super().__call__(scope, receive, send)


async def _sent(first: Delta | None, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[bytes, None]:
    try:
        if first is not None:
            yield first.raw
        async for delta in deltas:
            yield delta.raw
    except LoopwrightError as error:
        yield event(error_body(error))
    except Exception:  # noqa: BLE001 - an edge: the reader gets a clean event, the log the rest
        _log.exception("a playground stream failed")
        yield event(error_body(LoopwrightError("something failed inside Loopwright: its log says what")))


def _about(delta: Delta) -> dict[str, str]:
    """What answered and how, in the headers of the endpoint; visible Latin-1, whatever an upstream calls its models."""
    said: dict[str, str | None] = {
        "x-loopwright-provider": delta.provider,
        "x-loopwright-model": delta.model,
        "x-loopwright-attempts": str(delta.attempts) if delta.attempts > 1 else None,
        "x-loopwright-cost-usd": None if delta.cost_nano is None or not delta.done else usd(delta.cost_nano),
        **dict(delta.headers),
    }
    if delta.cache is not None:
        said |= {"x-loopwright-cache": delta.cache.kind, "x-loopwright-cache-of": delta.cache.call_id}
    return {
        name: "".join(char if " " <= char <= "~" else "?" for char in value) for name, value in said.items() if value
    }


def _bodies(form: Mapping[str, str]) -> list[dict[str, Any]]:
    bodies = [_body(form, form[column]) for column in ("model", "model_b") if form.get(column, "").strip()]
    if not bodies:
        raise BadRequest("choose a model", param="model")
    return bodies


def _body(form: Mapping[str, str], model: str) -> dict[str, Any]:
    prompt = form.get("prompt", "").strip()
    if not prompt:
        raise BadRequest("write a message first", param="prompt")
    system = form.get("system", "").strip()
    messages = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {"model": model, "messages": [*messages, {"role": "user", "content": prompt}]}
    for name, kind in _NUMBERS.items():
        text = form.get(name, "").strip()
        if not text:
            continue
        try:
            body[name] = kind(text)
        except ValueError:
            raise BadRequest(f"{name} {text[:40]!r} is not a number", param=name) from None
    return body
