"""Help: questions about what the assistant's documents hold, answered with quotes of them, and in words where wanted."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.assistant import TASK, assistant_of, quoted
from loopwright.console.playground import Playground
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.kit.wire_read import dicts

_LONGEST: Final = 2_000
"""Characters of a question."""


class HelpPages:
    """Quotes cost no model; an answer in words is a call like any other, of who is signed in."""

    def __init__(self, shell: Shell, playground: Playground) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._playground = playground

    def routes(self) -> list[Route]:
        """The page with quotes, and with an answer written from them."""
        return [*self._shell.page("/help", "help.html", self._view), self._shell.action("/help", self._write)]

    async def _view(self, visit: Visit) -> View:
        return await self._answered(visit, visit.asked("q") or "")

    async def _answered(self, visit: Visit, question: str) -> View:
        assistant = assistant_of(self._app, visit.who)
        data: dict[str, Any] = {"assistant": TASK if assistant else None, "found": None, "error": None, "written": None}
        if assistant is None or not question:
            return View(data=data)
        try:
            if len(question) > _LONGEST:
                raise BadRequest(f"a question has {_LONGEST:,} characters at most", param="q")
            found = await quoted(self._app, visit.who, assistant, question.replace("\x00", ""))
        except LoopwrightError as error:
            return View(data={**data, "error": error.message}, status=error.status)
        return View(data={**data, "found": found})

    async def _write(self, visit: Visit, form: dict[str, str]) -> Response:
        """The answer in words, without scripts."""
        view = await self._answered(visit, form.get("q", "").strip())
        found = view.data["found"]
        if found is None:
            return self._shell.html(visit, "help.html", view)
        written: dict[str, Any] = {"text": "", "sources": [], "outcome": "", "call_id": None, "error": None}
        body = {"model": f"task/{TASK}", "messages": [{"role": "user", "content": found["question"]}]}
        try:
            question = self._playground.question(visit, msgspec.json.encode(body))
            written["call_id"] = question.id
            written |= _read(msgspec.json.decode((await self._playground.whole(question)).raw))
        except LoopwrightError as error:
            written["error"] = error.message
        return self._shell.html(visit, "help.html", View(data={**view.data, "written": written}))


def _read(answer: Any) -> dict[str, Any]:
    """What was written, and which of the passages it was shown it names."""
    told = answer["loopwright"]["retrieval"]
    sources = [
        {name: each[name] for name in ("number", "title", "heading", "url", "cited")} for each in dicts(told["sources"])
    ]
    text = answer["choices"][0]["message"]["content"] or ""
    return {"text": text, "outcome": told["outcome"], "sources": sources}
