"""What is said of a call, on its page: scores and corrections, and the forms that give them."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.shell import Shell, Visit
from loopwright.core.errors import BadRequest, Sealed
from loopwright.feedback.given import NOTE, Author, score_of
from loopwright.feedback.reading import plain

_VERDICTS = {"good": True, "bad": False}
VERDICT = "good"
"""Name of the score that the two buttons give."""


class Said:
    """Everybody may say what they think of the calls of their project."""

    def __init__(self, shell: Shell) -> None:
        self._app: App = shell.app
        self._shell = shell

    def routes(self) -> list[Route]:
        """The two forms."""
        return [
            self._shell.action("/calls/{call_id}/scores", self._score),
            self._shell.action("/calls/{call_id}/correction", self._correct),
        ]

    async def _score(self, visit: Visit, form: dict[str, str]) -> Response:
        call_id = visit.request.path_params["call_id"]
        if form.get("verdict") in _VERDICTS:
            score = score_of(VERDICT, passed=_VERDICTS[form["verdict"]])
        else:
            value, label = _value(form.get("value", ""))
            score = score_of(
                form.get("name", "").strip(), value=value, label=label, explanation=form.get("explanation", "").strip()
            )
        await self._app.speaking.score(call_id, score, Author.of(visit.who), project_id=visit.project_id)
        return RedirectResponse(f"/calls/{call_id}#feedback", 303)

    async def _correct(self, visit: Visit, form: dict[str, str]) -> Response:
        call_id = visit.request.path_params["call_id"]
        await self._app.speaking.correct(
            call_id,
            form.get("output", "").strip(),
            Author.of(visit.who),
            project_id=visit.project_id,
            note=form.get("note", "").strip(),
        )
        return RedirectResponse(f"/calls/{call_id}#feedback", 303)


async def said_of(app: App, call_id: str) -> dict[str, Any]:
    """What was said of a call, for its page; why not, where it is sealed with a key that is not here."""
    feedback = app.workshop.feedback
    try:
        scores = [given.shown() for given in await feedback.scores([call_id])]
        corrections = [each.shown() for each in await feedback.corrections(call_id)]
    except Sealed as error:
        return {"scores": [], "corrections": [], "said_sealed": error.message}
    return {"scores": scores, "corrections": corrections, "said_sealed": None}


def drawn_of(data: dict[str, Any], answered: list[dict[str, Any]]) -> dict[str, Any]:
    """What the forms begin with: the correction that counts, else the answer itself."""
    kept = data["call"]["tags"].get("loopwright.store") != "false" and data["request"] is not None
    corrections = data["corrections"]
    begin = plain(corrections[0]["output"]) if corrections else "".join(turn["text"] for turn in answered[:1])
    return {
        "can_correct": kept and data["call"]["operation"] in ("chat", "completion"),
        "correction_begins": begin,
        "corrected": [{**each, "text": plain(each["output"])} for each in corrections],
        "note_limit": NOTE,
    }


def _value(text: str) -> tuple[float | None, str | None]:
    """A number, else a word."""
    text = text.strip()
    if not text:
        raise BadRequest("say a number or a word", param="value")
    try:
        return float(text), None
    except ValueError:
        return None, text
